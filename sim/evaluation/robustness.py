"""How a driver gets worse under faults: curves over severity, paired with the clean run of the same cases.

Of each fault: a degradation curve, the area under it, and the critical severity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sim.evaluation.driver import Driver, DriverSpec, prepare
from sim.evaluation.fault_effects import NotApplicable
from sim.evaluation.faults import ACTION_FAULTS, FAULTS, fault_named, faulty
from sim.evaluation.harness import Chunk, Settings, make_envs, step_limit
from sim.evaluation.report_files import rounded
from sim.evaluation.runner import run_batch, run_or_split
from sim.evaluation.statistics import Estimate, estimate_metrics, tango_interval
from sim.world import Kind

METRICS = {"collision": "crashed", "success": "success", "return": "return", "speed": "speed"}
"""The figures of a curve, as reports call them -> as `metrics.steps` does; success where the id reports it."""
RATES = {"collision": 1.0, "success": 0.0}
"""The figures that are 0 or 1, and what an episode that raised counts as: the worst."""

Curves = dict[str, list[float]]
"""Fault -> its severities, mildest first, 0 included."""
Cells = dict[tuple[str, float], list[dict[str, float] | str]]
"""(fault, severity) -> of each case its figures or what it raised."""


@dataclass(frozen=True)
class Plan:
    """What is asked of every chunk.

    Attributes:
        curves: fault -> severities. seed: of the faults' draws. settings: how to drive.
    """

    curves: Curves
    seed: int
    settings: Settings


def plan_curves(faults: Sequence[str] | None = None, severities: Mapping[str, Sequence[float]] | None = None) -> Curves:
    """Returns the severities to try of each fault, those of `FAULTS` where nothing else is asked for.

    Args:
        faults: names; None: all.
        severities: fault -> severities; the clean run is always among them.

    Raises ValueError for an unknown fault, a severity out of range, severities of a fault that is not asked for, and
    where there is nothing to compare with the clean run.
    """
    names = list(dict.fromkeys(FAULTS if faults is None else faults))
    chosen = dict(severities or {})
    curves = {}
    for name in names:
        fault = fault_named(name)
        asked = [fault.check(severity) for severity in chosen.pop(name, fault.severities)]
        curves[name] = sorted({0.0, *asked})
        if len(curves[name]) == 1:
            raise ValueError(f"{name} needs a severity other than 0")
    if chosen:
        raise ValueError(f"severities for {', '.join(map(repr, chosen))}, but the faults are {', '.join(names)}")
    return curves


def sweep(
    spec: DriverSpec,
    chunks: Sequence[Chunk],
    settings: Settings,
    faults: Sequence[str] | None = None,
    severities: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
    run_chunks: Callable[..., list[Any]] | None = None,
    progress: bool = False,
) -> dict[str, dict[str, Any]]:
    """Drives the cases clean and under each severity of each fault; returns the "robustness" part of report.json.

    Args:
        spec: of the driver.
        chunks: the cases. A fault is tried on those whose observations it makes sense for.
        settings: how to drive.
        faults: names; None: all that make sense somewhere.
        severities: fault -> severities, where not those of `FAULTS`.
        seed: of the faults' draws.
        run_chunks: `cluster.run_chunks`, with its address bound, to shard the chunks; None drives them here.
        progress: shows a progress bar.

    Returns, by fault: unit, severities, n_planned, n_run and n_error (lists, one figure a severity), metrics (name ->
    a dict a severity: value, ci95, difference to the clean run, difference_ci95), area (name -> the mean of the value
    over the severities, the area under the curve by its width), critical_severity (the smallest one whose interval of
    the paired difference in collisions excludes 0, in either direction; None if none does).

    An episode that raises counts as the worst in the rates and takes no part in the means. Raises ValueError for bad
    faults or severities, for a driver that cannot drive one of the ids, and for a fault asked for by name that makes
    sense nowhere.
    """
    if not chunks:
        raise ValueError("a robustness sweep needs at least one case")
    plan = Plan(plan_curves(faults, severities), seed, settings)
    runs = 1 + sum(len(levels) - 1 for levels in plan.curves.values())
    with tqdm(total=runs * len(chunks), desc="robustness", unit="run", disable=not progress) as bar:
        if run_chunks is None:
            driven = [dict(_watched(_cells(spec, plan, chunk), bar)) for chunk in chunks]
        else:
            driven = run_chunks(partial(drive_chunk, spec, plan), chunks, on_result=lambda *_: bar.update(runs))
    results = {}
    for fault, levels in plan.curves.items():
        cases, strata, reasons = _joined(chunks, driven, fault, levels)
        if strata:
            results[fault] = {"unit": FAULTS[fault].unit} | summary(levels, cases, strata)
        elif faults is not None:
            raise ValueError(reasons[0])
    return results


def drive_chunk(spec: DriverSpec, plan: Plan, chunk: Chunk) -> Cells:
    """Drives the cases of a chunk clean and under every fault of the plan that makes sense there."""
    return dict(_cells(spec, plan, chunk))


def _watched(cells: Iterator[Any], bar: tqdm) -> Iterator[Any]:
    for cell in cells:
        bar.update()
        yield cell


def _cells(spec: DriverSpec, plan: Plan, chunk: Chunk) -> Iterator[tuple[tuple[str, float], Any]]:
    """Yields ((fault, severity), figures of each case) or ((fault, 0), why it makes no sense here); clean first."""
    make = partial(make_envs, chunk, plan.settings)
    envs = make(len(chunk.seeds))
    prepare(spec.build(envs.device), envs, chunk.seeds)  # what cannot drive here raises before an episode could count

    def driven(driver: Driver) -> list[dict[str, float] | str]:
        found: dict[int, dict[str, float] | str] = {}
        for seeds, outcomes in run_or_split(make, envs, partial(_figures, driver), list(chunk.seeds)):
            found.update(zip(seeds, outcomes, strict=True))
        return [found[seed] for seed in chunk.seeds]

    yield ("", 0.0), driven(spec.build(envs.device))
    for fault, levels in plan.curves.items():
        try:
            _require_sense(faulty(spec, fault, 0.0, plan.seed).build(envs.device), fault, envs, chunk.seeds)
        except NotApplicable as error:
            yield (fault, 0.0), str(error)
            continue
        for severity in levels[1:]:
            yield (fault, severity), driven(faulty(spec, fault, severity, plan.seed).build(envs.device))


def _figures(driver: Driver, envs: Any, seeds: list[int]) -> list[dict[str, float]]:
    arrays = run_batch(envs, driver, seeds, limit=step_limit(envs.config))
    return [{name: float(arrays[own][i]) for name, own in METRICS.items() if own in arrays} for i in range(len(seeds))]


def _require_sense(driver: Driver, fault: str, envs: Any, seeds: Sequence[int]) -> None:
    """NotApplicable if the fault changes nothing here."""
    prepare(driver, envs, seeds)
    if fault not in ACTION_FAULTS:
        return
    envs.reset(seed=list(seeds))
    driver.reset(torch.ones(len(seeds), dtype=torch.bool, device=envs.device))
    steered = envs.world.kind.gather(1, envs.world.ego.long())
    if not (steered >= Kind.MDP).any():
        raise NotApplicable(f"{fault} delays actions, and here the simulator's own traffic model drives the ego")


def _joined(
    chunks: Sequence[Chunk], driven: Sequence[Any], fault: str, levels: Sequence[float]
) -> tuple[list[list[Any]], list[str], list[str]]:
    """Of each severity the figures of each case; the group of each case; why the fault makes no sense in some chunks.

    A chunk that was lost on a cluster (no dict of cells) is an error of all its cases.
    """
    joined: list[list[Any]] = [[] for _ in levels]
    strata: list[str] = []
    reasons: list[str] = []
    for chunk, cells in zip(chunks, driven, strict=True):
        if not isinstance(cells, dict):
            rows = [[str(cells)] * len(chunk.seeds)] * len(levels)
        elif (fault, 0.0) in cells:
            reasons.append(cells[fault, 0.0])
            continue
        else:
            rows = [cells["", 0.0], *(cells[fault, severity] for severity in levels[1:])]
        for row, part in zip(joined, rows, strict=True):
            row.extend(part)
        strata += [chunk.group] * len(chunk.seeds)
    return joined, strata, reasons


def summary(levels: Sequence[float], cases: Sequence[Sequence[Any]], strata: Sequence[str]) -> dict[str, Any]:
    """Returns the curves of one fault as `sweep` describes them, but for the unit.

    Args:
        levels: the severities, the clean run's 0 first.
        cases: of each severity a dict of figures a case, or the message of an episode that raised.
        strata: the group of each case, for the bootstrap.
    """
    names = [name for name in METRICS if any(name in one for row in cases for one in row if isinstance(one, dict))]
    values = {
        ("value", name, i): np.array([_value(one, name) for one in row])
        for name in names
        for i, row in enumerate(cases)
    }
    changes = {
        ("change", name, i): column - values["value", name, 0] for (_, name, i), column in values.items() if i > 0
    }
    paired = {key: column for key, column in changes.items() if key[1] in RATES}
    # One call for all columns: the bootstrap's draws of cases are its expensive part, and are shared.
    columns = values | {key: column for key, column in changes.items() if key not in paired}
    found = estimate_metrics(columns, [key for key in values if key[1] in RATES], strata)
    found |= {key: _rate_difference(column) for key, column in paired.items()}
    zero = Estimate(0.0, 0.0, 0.0, len(strata))  # the clean run differs from itself by nothing
    curves = {
        name: [_point(found["value", name, i], found.get(("change", name, i), zero)) for i in range(len(levels))]
        for name in names
    }
    errors = [sum(not isinstance(one, dict) for one in row) for row in cases]
    return {
        "severities": list(levels),
        "n_planned": [len(row) for row in cases],
        "n_run": [len(row) - wrong for row, wrong in zip(cases, errors, strict=True)],
        "n_error": errors,
        "metrics": curves,
        "area": {name: rounded(area(levels, [point["value"] for point in curve])) for name, curve in curves.items()},
        "critical_severity": critical_severity(levels, curves.get("collision", [])),
    }


def area(levels: Sequence[float], values: Sequence[float | None]) -> float | None:
    """Returns the area under a curve by the trapezoid rule, divided by its width; None if a value is missing.

    So it is the mean of the figure over the severities, in its own unit.
    """
    if None in values:
        return None
    height = (np.array(values[1:]) + np.array(values[:-1])) / 2
    return float((height * np.diff(levels)).sum() / (levels[-1] - levels[0]))


def critical_severity(levels: Sequence[float], collisions: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the smallest severity whose interval of the difference in collisions excludes 0; None if none does."""
    for severity, point in zip(levels[1:], collisions[1:], strict=False):
        low, high = point["difference_ci95"]
        if low is not None and (low > 0 or high < 0):
            return severity
    return None


def _value(case: dict[str, float] | str, name: str) -> float:
    """A figure of a case, NaN where it has none."""
    return case.get(name, np.nan) if isinstance(case, dict) else RATES.get(name, np.nan)


def _rate_difference(column: np.ndarray) -> Estimate:
    """The difference of a rate from its paired differences, each -1, 0, 1 or NaN."""
    column = column[~np.isnan(column)]
    return tango_interval(int((column > 0).sum()), int((column < 0).sum()), len(column))


def _point(value: Estimate, difference: Estimate) -> dict[str, Any]:
    return {
        "value": rounded(value.value),
        "ci95": [rounded(value.low), rounded(value.high)],
        "difference": rounded(difference.value),
        "difference_ci95": [rounded(difference.low), rounded(difference.high)],
    }
