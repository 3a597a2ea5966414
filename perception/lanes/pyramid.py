"""The part that both lane networks share: a small residual encoder, and a decoder that brings its views together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.blocks import Conv, Encoder

STRIDES = (2, 4, 8, 16, 32)
"""Of the encoder's levels [px]."""


@dataclass(frozen=True)
class PyramidConfig:
    """The shape of a pyramid, and of the pictures it takes.

    Attributes:
        width, height: of the pictures [px]. top: so many rows of them are cut off, for they show the sky [px].
        channels: of the five levels. blocks: residual blocks at the strides 4 to 32.
        neck: channels of the decoder. finest: stride of what it gives, one of `STRIDES`.
    """

    width: int = 320
    height: int = 192
    top: int = 0
    channels: tuple[int, ...] = (16, 24, 48, 64, 96)
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    neck: int = 32
    finest: int = 4

    def __post_init__(self) -> None:
        kept = self.height - self.top
        if self.width < 64 or self.width % STRIDES[-1] or kept < 64 or kept % STRIDES[-1] or self.top < 0:
            raise ValueError(
                f"pictures of {self.width} x {self.height} px less {self.top} rows at the top: "
                "the width and the rows left must be multiples of 32 from 64 on"
            )
        if len(self.channels) != len(STRIDES) or len(self.blocks) != len(STRIDES) - 1:
            raise ValueError("channels needs five numbers (strides 2 to 32) and blocks four (strides 4 to 32)")
        if self.finest not in STRIDES[:-1]:
            raise ValueError(f"finest is {self.finest!r}; it must be one of {', '.join(map(str, STRIDES[:-1]))}")


class Pyramid(Encoder):
    """Pictures -> features at the stride `finest` that know their surroundings, and those of the whole at stride 32."""

    def __init__(self, config: PyramidConfig):
        super().__init__(config.channels, config.blocks)
        self.config = config
        channels = config.channels
        self.skipped = STRIDES.index(config.finest)
        self.laterals = nn.ModuleList(Conv(count, config.neck, 1) for count in channels[self.skipped :])
        self.smooth = nn.ModuleList(Conv(config.neck, config.neck) for _ in channels[self.skipped + 1 :])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> features [B, neck, h, w] and [B, channels[-1], (H - top) / 32, W / 32].

        h is (H - top) / finest, w is W / finest.
        """
        levels = self.levels(images[:, :, self.config.top :])
        tops = [lateral(level) for lateral, level in zip(self.laterals, levels[self.skipped :], strict=True)]
        merged = tops[-1]
        for top, smooth in zip(reversed(tops[:-1]), self.smooth, strict=True):
            merged = smooth(top + functional.interpolate(merged, scale_factor=2.0, mode="nearest"))
        return merged, levels[-1]


def fitted(images: Tensor, width: int, height: int) -> Tensor:
    """Return pictures uint8 [B, 3, H, W] stretched to a network's size, as they are where they have it.

    Raises:
        ValueError: these are no such pictures.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        given = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"pictures must be a tensor uint8 [B, 3, H, W] (RGB); these are {given}")
    if images.shape[2] == 0 or images.shape[3] == 0:
        raise ValueError(f"pictures of {images.shape[3]} x {images.shape[2]} px have nothing in them")
    if images.shape[2:] == (height, width):
        return images
    # Antialiasing, else markings vanish where large pictures shrink. No CUDA kernel takes bytes.
    source = images if images.device.type == "cpu" else images.float()
    scaled = functional.interpolate(source, (height, width), mode="bilinear", antialias=True)
    return scaled if scaled.dtype == torch.uint8 else scaled.round().clamp(0, 255).to(torch.uint8)
