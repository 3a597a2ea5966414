"""The explanations of one model on one set of pictures: their maps, and how they do against maps of chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from perception.trust.explanations import (
    Randomised,
    Score,
    grad_cam,
    insertion_deletion,
    integrated_gradients,
    occlusion,
    parameter_randomisation,
    pointing_game,
    saliency,
    smooth_grad,
)

SAMPLES, STEPS = 10, 20
"""Noisy pictures of SmoothGrad, and steps of integrated gradients."""
PARTS = 20
"""In which pixels are put in and taken out."""
WINDOWS, LARGE = 8, 96
"""Windows of occlusion across the shorter side, and the shorter side [px] from which on it is left out: too slow."""
SANITY_PICTURES, SANITY_LOOKS = 8, 3
"""Pictures whose maps are compared with those of random weights, and after how many layers."""
SANITY_GRID = (16, 16)
"""Of the part of a map inside a box, as which maps are compared."""
CHANCE = "chance"
"""Name of the maps of random numbers."""


@dataclass(frozen=True)
class Explained:
    """What is explained.

    Attributes:
        model: in the mode of use.
        images: float [B, C, H, W] in 0..1.
        score: makes the score to explain, such as a logit, of pictures number ... (a slice).
        chance: the same as a probability.
        layers: whose channels Grad-CAM weighs; the maps of several are added.
        boxes: of what the pictures show, [B, 4] [px], or None.
        unused: names of layers that the score does not rest on.
        seed: of what SmoothGrad draws.
    """

    model: nn.Module
    images: Tensor
    score: Callable[[slice], Score]
    chance: Callable[[slice], Score]
    layers: Sequence[nn.Module]
    boxes: Tensor | None = None
    unused: tuple[str, ...] = ()
    seed: int = 0

    @property
    def methods(self) -> tuple[str, ...]:
        """Those of `METHODS` that are tried."""
        return tuple(name for name in METHODS if name != "occlusion" or min(self.images.shape[2:]) < LARGE)

    @property
    def grey(self) -> Tensor:
        """Pictures of their mean colours, [B, C, 1, 1]: what stands where nothing is to be seen."""
        return self.images.mean((2, 3), keepdim=True)


def maps_of(explained: Explained, method: str, part: slice = slice(None)) -> Tensor:
    """Return the maps [B, H, W] of one of `METHODS` of pictures number `part`."""
    return METHODS[method](explained, explained.score(part), explained.images[part], part)


def _smooth_grad(explained: Explained, score: Score, images: Tensor, part: slice) -> Tensor:
    return smooth_grad(score, images, torch.Generator().manual_seed(explained.seed), SAMPLES)


def _grad_cam(explained: Explained, score: Score, images: Tensor, local: bool) -> Tensor:
    return torch.stack([grad_cam(score, images, layer, local) for layer in explained.layers]).sum(0)


def _integrated(explained: Explained, score: Score, images: Tensor, part: slice) -> Tensor:
    return integrated_gradients(score, images, explained.grey[part], STEPS).map.abs()


def _occlusion(explained: Explained, score: Score, images: Tensor, part: slice) -> Tensor:
    window = min(images.shape[2:]) // WINDOWS
    return occlusion(score, images, window, max(1, window // 2), float(explained.grey.mean())).relu()


METHODS: dict[str, Callable[[Explained, Score, Tensor, slice], Tensor]] = {
    "saliency": lambda explained, score, images, part: saliency(score, images),
    "SmoothGrad": _smooth_grad,
    "Grad-CAM": lambda explained, score, images, part: _grad_cam(explained, score, images, False),
    "HiResCAM": lambda explained, score, images, part: _grad_cam(explained, score, images, True),
    "integrated gradients": _integrated,
    "occlusion": _occlusion,
}


@dataclass(frozen=True)
class ExplanationRow:
    """How the maps of a method do.

    Attributes:
        method: one of `METHODS`, or `CHANCE`.
        insertion, deletion: areas under the probability, means over the pictures; see `insertion_deletion`.
        pointing: share of the maps whose peak lies in the box, or None without boxes.
        inside: share of a map's sum that lies in the box, mean over the pictures, or None.
        randomised: after how many layers maps correlate how much with the true ones; none of chance.
    """

    method: str
    insertion: float
    deletion: float
    pointing: float | None
    inside: float | None
    randomised: tuple[Randomised, ...] = ()


def explanation_row(explained: Explained, method: str, batch: int = 8, seed: int = 0) -> tuple[ExplanationRow, Tensor]:
    """Return how a method does, and its maps [B, H, W].

    Args:
        explained: see `Explained`.
        method: one of `METHODS`, or `CHANCE`.
        batch: pictures at a time.
        seed: of the maps of chance and of the random weights.
    """
    images, boxes = explained.images, explained.boxes
    parts = [slice(start, start + batch) for start in range(0, len(images), batch)]
    if method == CHANCE:
        drawn = torch.rand(len(images), *images.shape[2:], generator=torch.Generator().manual_seed(seed))
        maps = drawn.to(images)
    else:
        maps = torch.cat([maps_of(explained, method, part) for part in parts]).detach()
    areas = [
        insertion_deletion(explained.chance(part), images[part], maps[part], PARTS, explained.grey[part])
        for part in parts
    ]
    inserted, deleted = (float(torch.cat(area).mean()) for area in zip(*areas, strict=True))
    randomised: list[Randomised] = []
    if method != CHANCE:
        randomised = parameter_randomisation(
            explained.model, lambda _: _compared(explained, method), seed, SANITY_LOOKS, explained.unused
        )
    pointing = None if boxes is None else float(pointing_game(maps, boxes).double().mean())
    inside = None if boxes is None else float(mass_inside(maps, boxes).mean())
    return ExplanationRow(method, inserted, deleted, pointing, inside, tuple(randomised)), maps


def _compared(explained: Explained, method: str) -> Tensor:
    """The maps of the first pictures; their boxes alone, where there are any, each on a grid of `SANITY_GRID`.

    What lies outside would flatter a map: no score of one place sees far, whatever its weights.
    """
    few = slice(0, min(SANITY_PICTURES, len(explained.images)))
    maps = maps_of(explained, method, few).detach()
    if explained.boxes is None:
        return maps
    return roi_align(maps[:, None], list(explained.boxes[few, None]), SANITY_GRID, aligned=True)[:, 0]


def mass_inside(maps: Tensor, boxes: Tensor) -> Tensor:
    """Return which share of each map's sum lies in its box, [B]; of a map of zeros, none.

    Args:
        maps: [B, H, W], 0 and more.
        boxes: [B, 4], x0, y0, x1, y1 [px]; a pixel belongs to the box that holds its middle.
    """
    y = torch.arange(maps.shape[1], device=maps.device)[:, None] + 0.5
    x = torch.arange(maps.shape[2], device=maps.device) + 0.5
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)
    held = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
    return (maps * held).sum((1, 2)) / maps.sum((1, 2)).clamp(min=1e-12)
