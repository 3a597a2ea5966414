"""What each pixel of the road shows: a small encoder and decoder, and how well it tells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.lanes.pyramid import Pyramid, PyramidConfig, fitted
from sim.sensors.classes import Semantic

KIND = "segmentation"
GROUPS: dict[str, tuple[Semantic, ...]] = {
    "rest": (Semantic.SKY, Semantic.GRASS, Semantic.GOAL),
    "shoulder": (Semantic.SHOULDER,),
    "road": (Semantic.ROAD,),
    "marking": (Semantic.MARKING,),
    "object": (Semantic.CAR, Semantic.VAN, Semantic.TRUCK, Semantic.MOTORCYCLE, Semantic.OBSTACLE),
}
"""The classes that are told apart and what belongs to each: where one may drive, its lines, what stands in the way."""


@dataclass(frozen=True)
class SegmentationConfig(PyramidConfig):
    """The shape of a network: that of its pyramid, and more.

    Attributes:
        classes: names, of labels 0, 1, ...
    """

    neck: int = 24
    finest: int = 2
    classes: tuple[str, ...] = tuple(GROUPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top:
            raise ValueError(f"top is {self.top!r}; every pixel gets a class, so no row may be cut off")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes are {self.classes!r}; they must be different names, at least two")


class Segmentation(nn.Module):
    """The network; `forward` gives logits, `predict` classes."""

    def __init__(self, config: SegmentationConfig):
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config)
        self.classes = nn.Conv2d(config.neck, len(config.classes), 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures uint8 [B, 3, H, W] -> logits [B, C, H, W]."""
        features, _ = self.pyramid(images)
        scale = float(self.config.finest)
        return functional.interpolate(self.classes(features), scale_factor=scale, mode="bilinear", align_corners=False)

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each pixel, uint8 [B, H, W].

        Args:
            images: uint8 [B, 3, H, W], RGB, of any size; stretched to that of the network, the classes back to theirs.

        Raises:
            ValueError: these are no such pictures.
        """
        inputs = fitted(images, self.config.width, self.config.height)
        with torch.no_grad():
            logits = self(inputs.to(self.classes.weight.device))
            if inputs.shape != images.shape:
                logits = functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)
            return logits.argmax(1).to(torch.uint8).to(images.device)


def grouped(semantic: Tensor) -> Tensor:
    """Return the place in GROUPS of each class of `Semantic`, uint8 of the same shape."""
    table = torch.zeros(len(Semantic), dtype=torch.uint8, device=semantic.device)
    for label, members in enumerate(GROUPS.values()):
        table[list(members)] = label
    return table[semantic.long()]


def segmentation_loss(network: Segmentation, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the parts of the loss: cross entropy, and Dice's over the whole batch, which markings weigh on, too.

    Args:
        network: what learns.
        images: uint8 [B, 3, H, W] of its size.
        labels: uint8 [B, H, W].
    """
    logits = network(images)
    labels = labels.long()
    entropy = functional.cross_entropy(logits, labels)
    chances = logits.softmax(1)
    truth = functional.one_hot(labels, chances.shape[1]).permute(0, 3, 1, 2)
    size = truth.sum((0, 2, 3)).float()
    dice = 2 * (chances * truth).sum((0, 2, 3)) / (chances.sum((0, 2, 3)) + size).clamp(min=1.0)
    missed = (1 - dice)[size > 0].mean()
    return {"loss": entropy + missed, "entropy": entropy.detach(), "dice": missed.detach()}


class Confusion:
    """How often each class was taken for each, over any number of pictures.

    Args:
        classes: names, of labels 0, 1, ...

    Attributes:
        counts: int64 [C, C], pixels by true class and class told.
    """

    def __init__(self, classes: tuple[str, ...]):
        self.classes = classes
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def add(self, told: Tensor, truth: Tensor) -> None:
        """Count pixels, labels of the same shape.

        Raises:
            ValueError: shapes that differ, or a label that is no class.
        """
        if told.shape != truth.shape:
            raise ValueError(f"classes told are {tuple(told.shape)}, true ones {tuple(truth.shape)}; they must agree")
        count = len(self.classes)
        if told.numel() and not 0 <= min(told.min(), truth.min()) <= max(told.max(), truth.max()) < count:
            raise ValueError(f"a label is outside 0 to {count - 1}, the classes {', '.join(self.classes)}")
        pairs = truth.flatten().long() * count + told.flatten().long()
        self.counts += torch.bincount(pairs, minlength=count * count).reshape(count, count).cpu()

    def iou(self) -> dict[str, float]:
        """Return the intersection over union of each class; those neither there nor told are left out."""
        hit = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        return {name: float(hit[i] / union[i]) for i, name in enumerate(self.classes) if union[i]}

    def summary(self) -> dict[str, float]:
        """Return miou (the mean of `iou`; NaN before any pixel), accuracy, and "iou <class>" of each."""
        each = self.iou()
        total = int(self.counts.sum())
        accuracy = float(self.counts.diagonal().sum()) / total if total else float("nan")
        mean = sum(each.values()) / len(each) if each else float("nan")
        return {"miou": mean, "accuracy": accuracy} | {f"iou {name}": value for name, value in each.items()}
