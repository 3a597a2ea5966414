"""A small anchor-free detector: a residual backbone, a feature pyramid, one head shared by its levels.

Each cell of three grids (strides 8, 16 and 32 px) says how likely each class is there and, as distributions over bins,
how far the sides of the box are. Nothing but convolutions, so that it exports cleanly; about 1 M parameters.
Sources: Z. Tian et al. (2019), "FCOS"; X. Li et al. (2020), "Generalized focal loss" (distributions for distances).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.blocks import Conv, Encoder

STRIDES = (8, 16, 32)
PRIOR = 0.01
"""How likely a class is at any cell before anything is learnt, so that the first steps are not spent on emptiness."""


@dataclass(frozen=True)
class OneStageConfig:
    """The shape of a network.

    Attributes:
        classes: names, of labels 1, 2, ...
        width, height: of the pictures [px], multiples of 32.
        channels: of the strides 2, 4, 8, 16 and 32. blocks: residual blocks at the strides 4 to 32.
        neck: channels of the pyramid and of the head.
        bins: of each distance; the last one stands for `bins - 1` strides.
    """

    classes: tuple[str, ...]
    width: int = 320
    height: int = 192
    channels: tuple[int, ...] = (16, 32, 64, 96, 128)
    blocks: tuple[int, ...] = (1, 2, 3, 2)
    neck: int = 64
    bins: int = 12

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes are {self.classes!r}; they must be different names, at least one")
        if self.width < 64 or self.height < 64 or self.width % STRIDES[-1] or self.height % STRIDES[-1]:
            raise ValueError(f"pictures of {self.width} x {self.height} px: both must be multiples of 32 from 64 on")
        if len(self.channels) != 5 or len(self.blocks) != 4:
            raise ValueError("channels needs five numbers (strides 2 to 32) and blocks four (strides 4 to 32)")


class OneStage(Encoder):
    """The network; `forward` gives logits, `detect` boxes and scores."""

    def __init__(self, config: OneStageConfig):
        super().__init__(config.channels, config.blocks)
        self.config = config
        channels = config.channels
        self.laterals = nn.ModuleList(Conv(count, config.neck, 1) for count in channels[2:])
        self.smooth = nn.ModuleList(Conv(config.neck, config.neck) for _ in STRIDES[:-1])
        self.head = nn.Sequential(Conv(config.neck, config.neck), Conv(config.neck, config.neck))
        self.scores = nn.Conv2d(config.neck, len(config.classes), 3, padding=1)
        self.distances = nn.Conv2d(config.neck, 4 * config.bins, 3, padding=1)
        nn.init.constant_(self.scores.bias, -math.log(1 / PRIOR - 1))
        nn.init.normal_(self.scores.weight, std=0.01)
        nn.init.normal_(self.distances.weight, std=0.01)
        centers, strides = cells(config.width, config.height)
        self.register_buffer("centers", centers, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.register_buffer("steps", torch.arange(config.bins, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> logits of the classes [B, A, C] and of the bins [B, A, 4, bins].

        A counts the cells of all grids, the finest first, each row by row.
        """
        levels = self.levels(images)[2:]
        tops = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        for finer in (1, 0):
            larger = functional.interpolate(tops[finer + 1], scale_factor=2.0, mode="nearest")
            tops[finer] = self.smooth[finer](tops[finer] + larger)
        heads = [self.head(top) for top in tops]
        scores = torch.cat([self.scores(head).flatten(2) for head in heads], dim=2).transpose(1, 2)
        bins = torch.cat([self.distances(head).flatten(2) for head in heads], dim=2).transpose(1, 2)
        return scores, bins.reshape(bins.shape[0], -1, 4, self.config.bins)

    def boxes(self, bins: Tensor) -> Tensor:
        """Logits of the bins [B, A, 4, bins] -> boxes x0, y0, x1, y1 [B, A, 4] [px]."""
        distances = (bins.softmax(-1) * self.steps).sum(-1) * self.strides[:, None]
        low, high = self.centers - distances[..., :2], self.centers + distances[..., 2:]
        return torch.cat((low, high), dim=-1)

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> boxes [B, A, 4] [px] and scores [B, A, C]; before suppression."""
        scores, bins = self(images)
        return self.boxes(bins), scores.sigmoid()


def cells(width: int, height: int) -> tuple[Tensor, Tensor]:
    """Return the middles of all cells [A, 2] (x, y) and their strides [A], both in px."""
    centers, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centers.append((torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centers), torch.cat(strides)
