"""How good a classifier is: top-1 and calibration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

ECE_BINS = 15
"""Equal parts of confidence 0..1. Source: C. Guo et al. (2017), "On calibration of modern neural networks"."""


@dataclass(frozen=True)
class Scores:
    """Of a test set: share of right answers, expected calibration error, and how many pictures there were."""

    top1: float
    ece: float
    count: int


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor, batch: int = 250) -> Tensor:
    """Return logits float32 [N, classes] of pictures [N, C, H, W], with the model in the mode of use."""
    training = model.training
    model.eval()
    try:
        return torch.cat([model(part) for part in images.split(batch)])
    finally:
        model.train(training)


def top1(logits: Tensor, labels: Tensor) -> float:
    """Return the share of pictures whose greatest logit is at their label."""
    return float((logits.argmax(1) == labels).double().mean())


def calibration_error(logits: Tensor, labels: Tensor, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error in 0..1: |accuracy - confidence|, averaged over bins of confidence.

    Each bin (low, high] counts as often as it has pictures; confidence is the greatest softmax value.
    """
    confidence, answer = logits.double().softmax(1).max(1)
    right = (answer == labels).double()
    bin_of = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64, device=logits.device).index_add_(0, bin_of, right - confidence)
    return float(gaps.abs().sum() / len(labels))


def score(model: nn.Module, images: Tensor, labels: Tensor) -> Scores:
    """Return a model's scores on labelled pictures."""
    logits = logits_of(model, images)
    return Scores(top1(logits, labels), calibration_error(logits, labels), len(labels))
