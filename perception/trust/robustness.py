"""How much corruption costs: errors per corruption and severity, and what is made of them.

Sources: D. Hendrycks and T. Dietterich (2019), section 3 (mCE, relative mCE); C. Michaelis et al. (2019), "Benchmarking
robustness in object detection" (mPC, rPC).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perception.trust.corruptions import CORRUPTIONS, SEVERITIES, STREAM, corrupt
from sim.evaluation.counted_random import CountedRandom


@dataclass(frozen=True)
class CorruptionErrors:
    """Share of wrong answers: on clean pictures, and of each corruption at each severity from 1 on."""

    clean: float
    corrupted: Mapping[str, tuple[float, ...]]

    @property
    def mean(self) -> float:
        """Over corruptions and severities."""
        return _mean([_mean(errors) for errors in self.corrupted.values()])


@torch.no_grad()
def corruption_errors(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    seed: int = 0,
    names: Sequence[str] = tuple(CORRUPTIONS),
    batch: int = 250,
    told: Callable[[str], None] = lambda name: None,
) -> CorruptionErrors:
    """Return a classifier's errors; picture number i is corrupted the same way for every model.

    Args:
        model: in the mode of use (`model.eval()`); takes floats in 0..1.
        images: [B, C, H, W], uint8 or float in 0..1.
        labels: int64 [B].
        seed: of the corruptions.
        names: of the corruptions.
        batch: pictures at a time.
        told: hears which pictures are next.
    """
    require_use_mode(model)
    clean = images if images.is_floating_point() else images.float() / 255.0
    wrong = {(name, severity): 0 for name in names for severity in SEVERITIES}
    wrong_clean = 0
    for start in range(0, len(labels), batch):
        told(f"corruptions of pictures {start} to {min(start + batch, len(labels))} of {len(labels)}")
        part, label = clean[start : start + batch], labels[start : start + batch]
        wrong_clean += int((model(part).argmax(1) != label).sum())
        random = CountedRandom(seed, STREAM, range(start, start + len(part)), part.device)
        step = torch.zeros(len(part), dtype=torch.int64, device=part.device)
        for name, severity in wrong:
            answers = model(corrupt(part, name, severity, random, step)).argmax(1)
            wrong[name, severity] += int((answers != label).sum())
    return CorruptionErrors(
        wrong_clean / len(labels),
        {name: tuple(wrong[name, severity] / len(labels) for severity in SEVERITIES) for name in names},
    )


def mean_corruption_error(model: CorruptionErrors, baseline: CorruptionErrors, relative: bool = False) -> float:
    """Return mCE: the mean over corruptions of the model's errors summed over severities, over the baseline's.

    Args:
        model: its errors.
        baseline: errors of the same corruptions on the same pictures.
        relative: take each one's clean error off first (relative mCE).

    Raises:
        ValueError: other corruptions, or a baseline that corruption does not harm.
    """
    if model.corrupted.keys() != baseline.corrupted.keys():
        raise ValueError("the model's and the baseline's errors are of different corruptions")
    ratios = []
    for name, errors in model.corrupted.items():
        against = baseline.corrupted[name]
        above = sum(errors) - (len(errors) * model.clean if relative else 0)
        below = sum(against) - (len(against) * baseline.clean if relative else 0)
        if below <= 0:
            above_what = "above its clean ones" if relative else "at all"
            raise ValueError(f"the baseline's errors under {name} sum up to {below:.4f}; mCE needs some {above_what}")
        ratios.append(above / below)
    return _mean(ratios)


@dataclass(frozen=True)
class CorruptedPrecision:
    """A detector's precision, such as AP: on clean pictures, and of each corruption at each severity tried."""

    clean: float
    corrupted: Mapping[str, tuple[float, ...]]

    @property
    def mean(self) -> float:
        """Over corruptions and severities: mPC."""
        return _mean([_mean(left) for left in self.corrupted.values()])

    @property
    def relative(self) -> float:
        """What is left of the clean precision: rPC; NaN where there was none."""
        return self.mean / self.clean if self.clean > 0 else float("nan")


def corrupted_precision(
    precision: Callable[[Callable[[Tensor, Tensor], Tensor]], float],
    seed: int = 0,
    names: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = SEVERITIES,
    told: Callable[[str], None] = lambda name: None,
) -> CorruptedPrecision:
    """Return how much of a detector's precision is left.

    Args:
        precision: runs the detector over a test set and returns its precision; it is given `change`, to which it must
            pass every batch, uint8 [B, 3, H, W], with the numbers of its pictures, int64 [B], and use what comes back.
        seed: of the corruptions.
        names: of the corruptions.
        severities: that are tried.
        told: hears the name of each corruption before it is tried.
    """
    clean = precision(lambda images, _: images)

    def corrupted(name: str, severity: int) -> float:
        def change(images: Tensor, numbers: Tensor) -> Tensor:
            random = CountedRandom(seed, STREAM, numbers.tolist(), images.device)
            step = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            return (corrupt(images.float() / 255.0, name, severity, random, step) * 255.0).round().byte()

        return precision(change)

    left = {}
    for name in names:
        told(name)
        left[name] = tuple(corrupted(name, severity) for severity in severities)
    return CorruptedPrecision(clean, left)


def require_use_mode(model: nn.Module) -> None:
    """Raise ValueError for a model in training mode: dropout would blur every figure."""
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
