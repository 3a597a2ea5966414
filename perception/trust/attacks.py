"""Attacks by gradient, FGSM and PGD, and the control experiments that they must pass.

What is attacked is a `Target`: a classifier here, a detector in `perception.trust.detector_attacks`.
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

from perception.trust.robustness import require_use_mode

ROUNDING = 1e-6
"""By how much a picture may lie outside 0..1 before it is refused; it is cut to 0..1 first."""
LARGE, FEW = 0.5, 0.05
"""A budget that can turn any picture grey, and the quality that may be left then."""
LOSS_SLACK = 0.01
"""Share of FGSM's loss by which PGD's may be smaller."""
SLACK = 2.0
"""Pictures by which a control may fail: an attack stops where its steps end, not at the optimum."""


class Target(Protocol):
    """What is attacked.

    Attributes:
        slack: of its quality, by which a control may fail.
    """

    slack: float

    def loss(self, images: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in 0..1 -> what the attack makes greater, [B]; each of its own picture alone."""

    def broken(self, images: Tensor) -> Tensor:
        """Pictures -> bool [B]: is the attack's end reached?"""

    def quality(self, images: Tensor) -> float:
        """Pictures -> how good it is on them, 0..1: what the attack is to bring down."""


@dataclass(frozen=True)
class ClassifierTarget:
    """A classifier, attacked away from the right labels int64 [B].

    Raises:
        ValueError: it is in training mode.
    """

    model: nn.Module
    labels: Tensor

    def __post_init__(self) -> None:
        require_use_mode(self.model)

    @property
    def slack(self) -> float:
        """The share of `SLACK` pictures."""
        return SLACK / len(self.labels)

    def loss(self, images: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(self.model(images), self.labels, reduction="none")

    def broken(self, images: Tensor) -> Tensor:
        """Another answer."""
        return self.model(images).argmax(1) != self.labels

    @torch.no_grad()
    def quality(self, images: Tensor) -> float:
        """Share of right answers."""
        return float((~self.broken(images)).double().mean())


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
    """Return pictures changed evenly in -eps..eps, cut to 0..1: where attacks start."""
    clean = _checked(images, eps)
    moved = (torch.rand(clean.shape, generator=generator) * 2 - 1).to(clean)
    return (clean + eps * moved).clamp(0, 1)


def sign_noise(images: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """Return pictures with each value moved by eps, up or down by chance, cut to 0..1.

    This is the control that every attack must beat: it changes a picture as much as FGSM does.
    """
    clean = _checked(images, eps)
    up = torch.rand(clean.shape, generator=generator) < 0.5
    return (clean + torch.where(up, eps, -eps).to(clean)).clamp(0, 1)


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
    """Quality at one eps: under noise, FGSM and PGD, and under PGD's pictures of another model; and mean losses."""

    eps: float
    noise: float
    fgsm: float
    pgd: float
    fgsm_loss: float
    pgd_loss: float
    transferred: float | None = None


@dataclass(frozen=True)
class AttackReport:
    """Quality on clean pictures, a row for each eps, and which controls hold; see `attack_report`."""

    clean: float
    rows: tuple[AttackRow, ...]
    controls: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class AttackSettings:
    """How attacks are tried.

    Attributes:
        epsilons: budgets, rising.
        steps, restarts: of PGD.
        seed: of noise and starts.
    """

    epsilons: tuple[float, ...]
    steps: int = 20
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if list(self.epsilons) != sorted(set(self.epsilons)) or not self.epsilons or not 0 < self.epsilons[0] < 1:
            raise ValueError(f"epsilons are {list(self.epsilons)!r}; they must rise, from above 0")

    def generator(self) -> torch.Generator:
        """The same numbers each time, so that rows differ in eps alone."""
        return torch.Generator().manual_seed(self.seed)

    def strongest(self, victim: Target, images: Tensor, eps: float) -> Tensor:
        """Return the pictures that PGD makes."""
        return pgd(victim, images, eps, self.steps, None, self.restarts, self.generator())


def attack_report(
    target: Target, images: Tensor, settings: AttackSettings, other: Target | None = None
) -> AttackReport:
    """Attack at rising budgets and check the attack itself.

    Controls, by name: "zero is clean" (eps 0 gives the very pictures), "inside the budget", "noise is weaker", "PGD is
    at least FGSM" (in the loss, which is what they make greater), "more budget, less right", "a large budget breaks it"
    (PGD at eps `LARGE`: at most `FEW` is left), "another model's attack is weaker" (with `other`). Where one fails, by
    more than the target's slack, gradients are masked or the attack is mistaken, and the figures mean nothing.

    Args:
        target: what is attacked.
        images: float [B, C, H, W] in 0..1.
        settings: see `AttackSettings`.
        other: a second model and the same truth; PGD's pictures are also made on it and tried on `target`.

    Raises:
        ValueError: pictures outside 0..1.
    """
    rows, inside = [], True
    for eps in settings.epsilons:
        made = settings.strongest(target, images, eps)
        inside &= bool(((made - images).abs() <= eps + ROUNDING).all() & (made >= 0).all() & (made <= 1).all())
        transferred = None if other is None else target.quality(settings.strongest(other, images, eps))
        stepped = fgsm(target, images, eps)
        left = [target.quality(one) for one in (sign_noise(images, eps, settings.generator()), stepped, made)]
        rows.append(AttackRow(eps, *left, _mean_loss(target, stepped), _mean_loss(target, made), transferred))
    controls = {
        "zero is clean": all(
            torch.equal(made, images) for made in (settings.strongest(target, images, 0.0), fgsm(target, images, 0.0))
        ),
        "inside the budget": inside,
        "a large budget breaks it": target.quality(settings.strongest(target, images, LARGE)) <= FEW,
    }
    return AttackReport(target.quality(images), tuple(rows), controls | row_controls(rows, target.slack))


@torch.no_grad()
def _mean_loss(target: Target, images: Tensor) -> float:
    return float(target.loss(images).mean())


def row_controls(rows: Sequence[AttackRow], slack: float) -> dict[str, bool]:
    """Return which of the controls that compare figures hold; see `attack_report`."""
    controls = {
        "noise is weaker": all(row.noise >= row.pgd - slack for row in rows),
        "PGD is at least FGSM": all(row.pgd_loss >= row.fgsm_loss - LOSS_SLACK * max(row.fgsm_loss, 1) for row in rows),
        "more budget, less right": all(after.pgd <= row.pgd + slack for row, after in itertools.pairwise(rows)),
    }
    transferred = [row for row in rows if row.transferred is not None]
    if transferred:
        controls["another model's attack is weaker"] = all(row.transferred >= row.pgd - slack for row in transferred)
    return controls
