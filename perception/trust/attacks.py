"""Attacks by gradient, FGSM and PGD, on classifiers and detectors, and the control experiments that they must pass.

Pictures are floats in 0..1; models normalise inside (`perception.classification.networks`), so a budget eps is in
pixels: 8 / 255 means eight steps of 8-bit colour.
Sources: I. Goodfellow et al. (2015), "Explaining and harnessing adversarial examples"; A. Madry et al. (2018), "Towards
deep learning models resistant to adversarial attacks".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.detection.losses import detection_loss
from perception.detection.one_stage import OneStage
from perception.trust.robustness import require_use_mode

ROUNDING = 1e-6
"""By how much a picture may lie outside 0..1 before it is refused; it is cut to 0..1 first."""
LARGE, FEW = 0.5, 0.05
"""A budget that can turn any picture grey, and the share of right answers that may be left then."""
SLACK = 2.0
"""Pictures by which a control may fail: an attack stops where its steps end, not at the optimum."""


class Target(Protocol):
    """What is attacked."""

    def loss(self, images: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in 0..1 -> what the attack makes greater, [B]; each of its own picture alone."""

    def broken(self, images: Tensor) -> Tensor:
        """Pictures -> bool [B]: is the attack's end reached?"""


@dataclass(frozen=True)
class ClassifierTarget:
    """A classifier in the mode of use, attacked away from the right labels int64 [B]."""

    model: nn.Module
    labels: Tensor

    def loss(self, images: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self.model(images), self.labels, reduction="none")

    def broken(self, images: Tensor) -> Tensor:
        """Another answer."""
        return self.model(images).argmax(1) != self.labels


@dataclass(frozen=True)
class DetectorTarget:
    """A one-stage detector in the mode of use, attacked away from `targets`; see `detection_loss`."""

    network: OneStage
    targets: Sequence[dict[str, Tensor]]

    def loss(self, images: Tensor) -> Tensor:
        """The loss it was trained with, of each picture by itself."""
        pairs = zip(images * 255.0, self.targets, strict=True)
        return torch.stack([detection_loss(self.network, image[None], [target])["loss"] for image, target in pairs])

    def broken(self, images: Tensor) -> Tensor:
        """Nothing is ever enough: the greatest loss counts."""
        return torch.zeros(len(images), dtype=torch.bool, device=images.device)


def fgsm(target: Target, images: Tensor, eps: float) -> Tensor:
    """Return pictures moved once by eps along the sign of the gradient, cut to 0..1.

    Args:
        target: what is attacked.
        images: [B, C, H, W] in 0..1.
        eps: the greatest change of a value.

    Raises:
        ValueError: pictures outside 0..1, or eps below 0.
    """
    clean = _checked(images, eps)
    return (clean + eps * _gradient(target, clean).sign()).clamp(0, 1)


def pgd(
    target: Target,
    images: Tensor,
    eps: float,
    steps: int = 20,
    size: float | None = None,
    restarts: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return pictures moved in many small steps, none further than eps from where they began.

    Args:
        target: what is attacked.
        images: [B, C, H, W] in 0..1.
        eps: the greatest change of a value.
        steps: of each start.
        size: of a step; eps / 4 if left out.
        restarts: random starts, of which each picture keeps the one that breaks it, else the greatest loss.
        generator: of the starts, on the host; without one there is a single start, at the picture itself.

    Raises:
        ValueError: as in `fgsm`, or restarts without a generator.
    """
    clean = _checked(images, eps)
    if restarts < 1 or steps < 1 or (restarts > 1 and generator is None):
        raise ValueError(
            f"{steps} steps and {restarts} restarts: both must be at least 1, and restarts need a generator"
        )
    size = eps / 4 if size is None else size
    best, best_loss = clean, torch.full((len(clean),), -torch.inf, device=clean.device)
    best_broken = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
    for _ in range(restarts):
        moved = clean if generator is None else noise(clean, eps, generator)
        for _ in range(steps):
            moved = moved + size * _gradient(target, moved).sign()
            moved = torch.minimum(torch.maximum(moved, clean - eps), clean + eps).clamp(0, 1)
        with torch.no_grad():
            loss, broken = target.loss(moved), target.broken(moved)
        better = (broken & ~best_broken) | ((broken == best_broken) & (loss > best_loss))
        best = torch.where(better.view(-1, 1, 1, 1), moved, best)
        best_loss = torch.where(better, loss, best_loss)
        best_broken = best_broken | broken
    return best


def noise(images: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """Return pictures changed evenly in -eps..eps, cut to 0..1: the control that every attack must beat."""
    clean = _checked(images, eps)
    moved = (torch.rand(clean.shape, generator=generator) * 2 - 1).to(clean)
    return (clean + eps * moved).clamp(0, 1)


def _checked(images: Tensor, eps: float) -> Tensor:
    if not images.is_floating_point():
        raise ValueError(f"pictures are {images.dtype}; an attack needs floats in 0..1")
    low, high = float(images.min()), float(images.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(
            f"pictures lie in {low:.3f} to {high:.3f}; an attack needs 0 to 1, normalised inside the model"
        )
    if not eps >= 0:
        raise ValueError(f"eps is {eps!r}; it must be at least 0")
    return images.detach().clamp(0, 1)


def _gradient(target: Target, images: Tensor) -> Tensor:
    """Of the losses with respect to the pictures; the model's own gradients stay as they are."""
    images = images.detach().requires_grad_(True)
    return torch.autograd.grad(target.loss(images).sum(), images)[0]


@dataclass(frozen=True)
class AttackRow:
    """Share of right answers at one eps: under noise, FGSM and PGD, and under PGD's pictures of another model."""

    eps: float
    noise: float
    fgsm: float
    pgd: float
    transferred: float | None = None


@dataclass(frozen=True)
class AttackReport:
    """Share of right answers on clean pictures, a row for each eps, and which controls hold; see `attack_report`."""

    clean: float
    rows: tuple[AttackRow, ...]
    controls: dict[str, bool] = field(default_factory=dict)


def attack_report(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    seed: int = 0,
    steps: int = 20,
    restarts: int = 1,
    other: nn.Module | None = None,
) -> AttackReport:
    """Attack a classifier at rising budgets and check the attack itself.

    Controls, by name: "zero is clean" (eps 0 gives the very pictures), "inside the budget", "noise is weaker", "PGD is
    at least FGSM", "more budget, less right", "a large budget breaks it" (PGD at eps `LARGE`: at most `FEW` right),
    "another model's attack is weaker" (with `other`). Where one fails, by more than `SLACK` pictures, gradients are
    masked or the attack is mistaken, and the figures mean nothing.

    Args:
        model: in the mode of use.
        images: float [B, C, H, W] in 0..1.
        labels: int64 [B].
        epsilons: rising.
        seed: of noise and starts.
        steps: of PGD.
        restarts: of PGD.
        other: a second classifier, on which PGD's pictures are also made and tried on `model`.

    Raises:
        ValueError: a model in training mode, or epsilons that do not rise.
    """
    require_use_mode(model)
    if list(epsilons) != sorted(set(epsilons)) or not epsilons:
        raise ValueError(f"epsilons are {list(epsilons)!r}; they must rise")
    target = ClassifierTarget(model, labels)

    def right(changed: Tensor) -> float:
        with torch.no_grad():
            return float((~target.broken(changed)).double().mean())

    def strongest(victim: Target, eps: float) -> Tensor:
        return pgd(victim, images, eps, steps, None, restarts, torch.Generator().manual_seed(seed))

    rows, inside = [], True
    for eps in epsilons:
        made = strongest(target, eps)
        inside &= bool(((made - images).abs() <= eps + ROUNDING).all()) and bool((made >= 0).all() & (made <= 1).all())
        transferred = None if other is None else right(strongest(ClassifierTarget(other, labels), eps))
        tried = noise(images, eps, torch.Generator().manual_seed(seed))
        rows.append(AttackRow(eps, right(tried), right(fgsm(target, images, eps)), right(made), transferred))
    same = torch.equal(strongest(target, 0.0), images) and torch.equal(fgsm(target, images, 0.0), images)
    slack = SLACK / len(labels)
    falling = all(later.pgd <= row.pgd + slack for row, later in itertools.pairwise(rows))
    controls = {
        "zero is clean": same,
        "inside the budget": inside,
        "noise is weaker": all(row.noise >= row.pgd - slack for row in rows),
        "PGD is at least FGSM": all(row.pgd <= row.fgsm + slack for row in rows),
        "more budget, less right": falling,
        "a large budget breaks it": right(strongest(target, LARGE)) <= FEW,
    }
    if other is not None:
        controls["another model's attack is weaker"] = all((row.transferred or 0.0) >= row.pgd - slack for row in rows)
    return AttackReport(right(images), tuple(rows), controls)
