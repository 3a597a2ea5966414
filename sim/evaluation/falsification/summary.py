"""The end of a search: everything is checked, counted and written, and told in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.evaluation.falsification import outcome
from sim.evaluation.falsification.cluster import Cluster
from sim.evaluation.falsification.estimate import FailureProbability
from sim.evaluation.falsification.outcome import FAILURES, HOUR, Rate
from sim.evaluation.falsification.search import Search
from sim.evaluation.statistics.intervals import Estimate, clopper_pearson_interval

FEWEST_ESTIMATED = 2
MOST_ERRORS = 20
"""Errors that failures.json lists; it counts all."""


@dataclass(frozen=True)
class Wanted:
    """What to do at the end.

    Attributes:
        baseline_episodes: with random seeds, to compare with.
        estimate_episodes: for the failure probability; 0 for none.
        keep: most failures to shrink and write.
    """

    baseline_episodes: int = 2048
    estimate_episodes: int = 4096
    keep: int = 50

    def check(self) -> None:
        """Raise ValueError for numbers that make no sense."""
        if self.baseline_episodes < 1:
            raise ValueError(f"baseline_episodes must be at least 1, got {self.baseline_episodes}")
        if self.estimate_episodes < FEWEST_ESTIMATED and self.estimate_episodes != 0:
            raise ValueError(f"estimate_episodes must be 0 or at least 2, got {self.estimate_episodes}")
        if self.keep < 0:
            raise ValueError(f"keep must not be negative, got {self.keep}")


def ratio(found: Rate, nominal: Rate) -> Estimate:
    """Returns how many times more failures per hour were found than random seeds have, with its exact 95 % interval.

    Given their sum, the failures of one of two Poisson processes are binomial; its interval carries over to the ratio.
    The value, and the upper end, are None where random seeds had no failure.
    Source: J. Przyborowski and H. Wilenski (1940), "Homogeneity of results in testing samples from Poisson series".
    """
    total = found.failures + nominal.failures
    if total == 0 or not found.seconds or not nominal.seconds:
        return Estimate(None, None, None, total)
    share = clopper_pearson_interval(found.failures, total)
    exposure = nominal.seconds / found.seconds

    def odds(p: float) -> float | None:
        return exposure * p / (1 - p) if p < 1 else None

    return Estimate(odds(share.value), odds(share.low), odds(share.high), total)


def conclude(search: Search, wanted: Wanted, name: str, say: Callable[[str], Any] = lambda text: None) -> str:
    """Checks, compares, shrinks, sorts and writes what a search found, and returns the summary to print.

    Args:
        search: with what it found.
        wanted: how much to do.
        name: of the driver.
        say: called with what is being done.
    """
    Wanted.check(wanted)
    ground, settings, folder = search.ground, search.settings, search.folder
    folder.mkdir(parents=True, exist_ok=True)
    say("random seeds")
    nominal = outcome.nominal_rate(ground, wanted.baseline_episodes, settings.seed)
    say("driving the failures again")
    kept, found = outcome.held(ground, search.found)
    probability = None
    if wanted.estimate_episodes:
        say("failure probability")
        probability = outcome.estimated(ground, search.space, kept, wanted.estimate_episodes, settings.seed)
    say("shrinking")
    small = outcome.made_small(ground, kept, wanted.keep)
    more = ratio(found, nominal)
    summary = {
        "driver": {"name": name, "sees": ground.driver.sees},
        "method": settings.method,
        "seed": settings.seed,
        "space": search.space.as_dict(),
        "found": _rate(found) | {"checked_seconds": search.found.checked_seconds},
        "random_seeds": _rate(nominal),
        "ratio": more.as_dict(),
        "probability": None if probability is None else probability.as_dict(),
        "n_error": len(ground.errors),
        "errors": [{"seed": seed, "message": message} for seed, message in ground.errors[:MOST_ERRORS]],
    }
    dropped, kinds = outcome.write(folder, ground, name, small, summary, lambda: say("replaying"))
    lines = _rates(search, found, nominal, more)
    if probability is not None:
        lines += ["", *_probability(probability)]
    if ground.errors:
        seed, message = ground.errors[0]
        lines += [
            "",
            f"{len(ground.errors)} episodes ended in an error of the driver; the first, seed {seed}: {message}",
        ]
    return "\n".join([*lines, "", *_written(folder, small, dropped, kinds)])


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "episodes": rate.episodes,
        "failures": rate.failures,
        "simulated_seconds": rate.seconds,
        "not_repeated": rate.dropped,
        "excused_contacts": rate.excused,
        "per_hour": rate.per_hour.as_dict(),
    }


def _rates(search: Search, found: Rate, nominal: Rate, more: Estimate) -> list[str]:
    method = search.settings.method
    lines = [
        f"| failures of {search.ground.id} | episodes | simulated h | failures | per simulated h | 95 % interval |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for label, rate in ((method, found), ("random seeds", nominal)):
        per_hour = rate.per_hour
        lines.append(
            f"| {label} | {rate.episodes} | {rate.seconds / HOUR:.2f} | {rate.failures} | {_show(per_hour.value)} | "
            f"{_show(per_hour.low)} to {_show(per_hour.high)} |"
        )
    if more.value is None:
        text = "no failure with random seeds to compare with" if found.failures else "no failures"
        text += "" if more.low is None else f"; at least {more.low:.1f} times as many per simulated hour (95 %)"
    else:
        text = f"{more.value:.1f} times as many per simulated hour ({_show(more.low)} to {_show(more.high)})"
    lines += ["", f"{method} against random seeds: {text}"]
    lines.append(
        f"Not counted: {found.excused} contacts that no plan of two actions avoids or in which the ego stood, "
        f"{found.dropped} that did not happen again; random seeds: {nominal.excused}, {nominal.dropped}. "
        f"The checks took {search.found.checked_seconds / HOUR:.2f} simulated h more."
    )
    return lines


def _probability(estimate: FailureProbability) -> list[str]:
    def line(label: str, one: Estimate) -> str:
        return f"{label} {one.value:.3g} ({one.low:.3g} to {one.high:.3g})"

    return [
        f"Failure probability of an episode of the nominal distribution, {estimate.unbiased.n} episodes by importance "
        f"weighting: {line('unbiased', estimate.unbiased)}, {line('self-normalised', estimate.self_normalised)}; "
        f"effective sample size {estimate.effective:.0f}, of the {estimate.failures} failures "
        f"{estimate.effective_failures:.0f}"
    ]


def _written(folder: Path, small: outcome.Small, dropped: int, kinds: list[Cluster]) -> list[str]:
    count = len(small.cases) - dropped
    lines = [f"{folder / FAILURES}: {count} failures, each confirmed by its replay; {dropped} were not and are dropped"]
    if count:
        vehicles = sorted(small.vehicles)
        lines.append(f"Other vehicles left: {vehicles[0]} to {vehicles[-1]}, median {vehicles[len(vehicles) // 2]}")
    return lines + [f"{len(kind.members):4d} like: {kind.about}" for kind in kinds]


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
