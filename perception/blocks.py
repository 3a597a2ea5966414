"""The convolution blocks and the encoder that the detector and the lane networks are built from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU; never in place and never used twice, so that hooks work."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )


class Residual(nn.Module):
    """A residual block that narrows to half its channels in between."""

    def __init__(self, channels: int):
        super().__init__()
        self.narrow = Conv(channels, channels // 2)
        self.widen = nn.Sequential(nn.Conv2d(channels // 2, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        self.out = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Features [B, channels, H, W] -> the same shape."""
        return self.out(inputs + self.widen(self.narrow(inputs)))


class Encoder(nn.Module):
    """What such networks begin with: a stem at stride 2, then stages of residual blocks at the strides 4, 8, 16, ...

    Args:
        channels: of the strides 2, 4, 8, ... blocks: residual blocks of each but the first.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        self.stem = Conv(3, channels[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(Conv(before, after, stride=2), *(Residual(after) for _ in range(count)))
            for before, after, count in zip(channels, channels[1:], blocks, strict=False)
        )

    def levels(self, images: Tensor) -> list[Tensor]:
        """Pictures uint8 [B, 3, H, W] -> features [B, channels, H / stride, W / stride] of all strides."""
        found = [self.stem(images.float() / 255.0 - 0.5)]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found
