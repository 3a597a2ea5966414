"""Two drivers on the same cases of a suite: which one is better, and how sure is that.

The difference is always B - A: A is the baseline, B the candidate. docs/evaluation.md says which test and interval is
used where; `comparison_table` puts the result in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.evaluation.metrics.base import Spec
from sim.evaluation.report_files import Report
from sim.evaluation.statistics import (
    CONFIDENCE,
    POWER,
    Estimate,
    benjamini_hochberg,
    bootstrap_means,
    detectable_mean_difference,
    detectable_rate_difference,
    difference_over_runs,
    holm,
    mcnemar_test,
    mean_over_runs,
    normal_quantile,
    pairs_needed,
    sign_flip_test,
    tango_interval,
    wilson_interval,
    win_tie_loss,
)

PRIMARY = "collision"
"""The metric declared before looking: tested alone, at the full level."""
GATED = "collision"
"""The metric of the non-inferiority gate."""


@dataclass(frozen=True)
class Row:
    """One metric of a comparison.

    Attributes:
        name, spec: the metric.
        a, b: its value on each side, over the pairs alone.
        difference: B - A; its `n` is the number of pairs.
        test: how `p` was found: "McNemar", "sign flips" or "two-level bootstrap"; empty without a pair.
        p: two-sided; None without a test.
        p_adjusted: Holm's over all metrics but the primary one, which keeps its own p.
        q: Benjamini and Hochberg's over all metrics.
        outcome: cases B wins, ties and loses; None where neither direction is better.
        one_sided: cases valid on one side only, which take no part.
        detectable: the smallest true difference found with 80 % power; None where none could be.
        needed: cases that would show a true difference as large as the one seen; None for means and for no difference.
        equal: whether A and B are equal in every pair.
    """

    name: str
    spec: Spec
    a: Estimate
    b: Estimate
    difference: Estimate
    test: str
    p: float | None
    outcome: tuple[int, int, int] | None
    one_sided: int
    detectable: float | None
    needed: int | None = None
    equal: bool = False
    p_adjusted: float | None = None
    q: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two sides over the same cases.

    Attributes:
        suite: name, version, sha256.
        a, b: the reports of each side, one a training run.
        cases: how many the suite has.
        errors: (side, report's place on it, case, message) of every case that raised.
        rows: the metrics, the primary one first.
        missing: metrics that only one side has.
    """

    suite: dict[str, str]
    a: tuple[Report, ...]
    b: tuple[Report, ...]
    cases: int
    errors: tuple[tuple[str, int, str, str], ...]
    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def gate(self, margin: float) -> tuple[bool, str]:
        """Returns whether B's collision rate is shown to exceed A's by no more than `margin`, and a sentence.

        The upper end of the 95 % interval decides, so a comparison with too few cases fails. Raises ValueError where
        collisions were not measured.
        """
        row = next((row for row in self.rows if row.name == GATED), None)
        if row is None:
            raise ValueError(f"the gate needs the metric {GATED!r}, which the reports do not have")
        high = row.difference.high
        if high is None:
            return False, f"GATE FAILED: no upper bound for the increase of the {GATED} rate"
        passed = high <= margin
        words = f"the {GATED} rate may have risen by up to {100 * high:.2f} points, {100 * margin:.2f} are allowed"
        return passed, f"{'gate passed' if passed else 'GATE FAILED'}: {words}"


def compare(a: Sequence[Report], b: Sequence[Report], primary: str = PRIMARY) -> Comparison:
    """Returns the comparison of two sides, each one report a training run.

    Args:
        a: the baseline.
        b: the candidate.
        primary: the metric declared beforehand.

    A case that raised counts as the worst in a rate and leaves no pair in a mean: an exception is never a zero.

    Raises:
        ValueError: the reports are of different suites or cases, a report stands twice on a side, a metric is defined
            differently, or no report has the primary metric.
    """
    reports = (*a, *b)
    if not a or not b:
        raise ValueError("a comparison needs a report on each side")
    for side, members in (("A", a), ("B", b)):
        if len({report.path.resolve() for report in members}) < len(members):
            raise ValueError(f"side {side} names a report twice; the same run again is no second run")
    _check_same_cases(reports)
    specs, missing = _shared_specs(reports)
    if primary not in specs:
        raise ValueError(f"the primary metric {primary!r} is not in all reports; they share {', '.join(specs)}")
    names = [primary, *(name for name in specs if name != primary)]
    order = sorted(reports[0].cases)  # the intervals must not depend on the order of a file
    strata = [reports[0].cases[case]["group"] for case in order]
    applies = _applying(reports)
    tables = [np.stack([_table(report, order, names, specs, applies) for report in side], axis=1) for side in (a, b)]
    judge = _single_runs if len(reports) == 2 else _several_runs
    rows = judge(names, specs, *tables, strata)
    errors = [
        (side, place, case, report.cases[case]["error"] or "")
        for side, members in (("A", a), ("B", b))
        for place, report in enumerate(members)
        for case in order
        if report.cases[case]["status"] == "error"
    ]
    suite = reports[0].suite
    return Comparison(suite, tuple(a), tuple(b), len(order), tuple(errors), tuple(_adjusted(rows)), missing)


def _check_same_cases(reports: Sequence[Report]) -> None:
    first = reports[0]
    for other in reports[1:]:
        if other.suite["sha256"] != first.suite["sha256"]:
            one, two = (f"{r.suite['name']} {r.suite['version']} ({r.suite['sha256'][:12]})" for r in (first, other))
            raise ValueError(f"different suites cannot be compared: {first.path} is of {one}, {other.path} of {two}")
        for here, there in ((first, other), (other, first)):
            lacking = sorted(here.cases.keys() - there.cases.keys())
            if lacking:
                names = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
                raise ValueError(f"{there.path} lacks {len(lacking)} cases that {here.path} has: {names}")


def _shared_specs(reports: Sequence[Report]) -> tuple[dict[str, Spec], tuple[str, ...]]:
    """The metrics that all reports have, and the names of the others."""
    shared = {name: spec for name, spec in reports[0].specs.items() if all(name in r.specs for r in reports)}
    for name, spec in shared.items():
        for report in reports:
            kind = (spec.unit, spec.better, spec.rate)
            if (other := (report.specs[name].unit, report.specs[name].better, report.specs[name].rate)) != kind:
                raise ValueError(f"{name} is defined differently in {reports[0].path} {kind} and {report.path} {other}")
    return shared, tuple(sorted({name for report in reports for name in report.specs} - shared.keys()))


def _applying(reports: Sequence[Report]) -> dict[str, set[str]]:
    """The metrics asked of each group: those with a value in any of its cases; without any, those of all groups."""
    asked: dict[str, set[str]] = {}
    for report in reports:
        for record in report.cases.values():
            valid = (name for name, value in record["metrics"].items() if value is not None)
            asked.setdefault(record["group"], set()).update(valid)
    known = [names for names in asked.values() if names]
    everywhere = set.intersection(*known) if known else {name for report in reports for name in report.specs}
    return {group: names or everywhere for group, names in asked.items()}


def _table(
    report: Report,
    order: Sequence[str],
    names: Sequence[str],
    specs: dict[str, Spec],
    applies: dict[str, set[str]],
) -> np.ndarray:
    """The values of a report, [metric, case]; NaN where there is none, the worst for a rate where the case raised."""
    worst = [
        float(specs[name].better == "lower") if specs[name].rate and specs[name].better else math.nan for name in names
    ]
    table = np.empty((len(names), len(order)))
    for i, case in enumerate(order):
        record = report.cases[case]
        if record["status"] == "error":
            asked = applies[record["group"]]
            table[:, i] = [value if name in asked else math.nan for name, value in zip(names, worst, strict=True)]
        else:
            found = record["metrics"]
            table[:, i] = [math.nan if found.get(name) is None else found[name] for name in names]
    for name, row in zip(names, table, strict=True):
        if specs[name].rate and not np.isin(row[~np.isnan(row)], (0, 1)).all():
            raise ValueError(f"{report.path}: {name} is a rate, so its values are 0 or 1")
    return table


def _single_runs(
    names: Sequence[str], specs: dict[str, Spec], a: np.ndarray, b: np.ndarray, strata: Sequence[str]
) -> list[Row]:
    """One run a side, a and b [metric, 1, case]: exact McNemar for rates, sign flips and bootstrap for means."""
    a, b = a[:, 0], b[:, 0]
    paired = ~np.isnan(a) & ~np.isnan(b)
    alone = (~np.isnan(a) ^ ~np.isnan(b)).sum(1)
    a, b = np.where(paired, a, np.nan), np.where(paired, b, np.nan)
    means = [j for j, name in enumerate(names) if not specs[name].rate]
    # One pass over the resamples for all means: A, B and the difference are columns of one table.
    columns = np.concatenate([a[means], b[means], b[means] - a[means]]).T
    estimates = bootstrap_means(columns, strata) if means else []
    p_means = sign_flip_test(b[means].T - a[means].T) if means else []
    rows = []
    for j, name in enumerate(names):
        spec, n, change = specs[name], int(paired[j].sum()), (b[j] - a[j])[paired[j]]
        more, less = int((change > 0).sum()), int((change < 0).sum())
        shared = {
            "outcome": win_tie_loss(change, spec.better) if spec.better and n else None,
            "one_sided": int(alone[j]),
            "equal": n > 0 and more + less == 0,
        }
        if spec.rate:
            sides = [wilson_interval(int(side[j][paired[j]].sum()), n) for side in (a, b)]
            p = mcnemar_test(more, less) if n else None
            share = (more + less) / n if n else 0.0
            needed = pairs_needed((more - less) / n, share) if n else None
            row = Row(
                name, spec, *sides, tango_interval(more, less, n), "McNemar" if n else "", p,
                detectable=detectable_rate_difference(n, more + less), needed=needed, **shared,
            )  # fmt: skip
        else:
            k, place = len(means), means.index(j)
            deviation = float(change.std(ddof=1)) if n > 1 else 0.0
            detectable = detectable_mean_difference(deviation, n) if deviation else None
            row = Row(
                name, spec, estimates[place], estimates[k + place], estimates[2 * k + place],
                "sign flips" if n else "", float(p_means[place]) if n else None, detectable=detectable, **shared,
            )  # fmt: skip
        rows.append(row)
    return rows


def _several_runs(
    names: Sequence[str], specs: dict[str, Spec], a: np.ndarray, b: np.ndarray, strata: Sequence[str]
) -> list[Row]:
    """Several runs on a side, a [metric, run, case] and b likewise: two-level bootstrap for all."""
    rows: dict[str, Row] = {}
    for rate in (True, False):
        chosen = [j for j, name in enumerate(names) if specs[name].rate is rate]
        if not chosen:
            continue
        sides = [mean_over_runs(side[chosen], rate, strata) for side in (a, b)]
        differences = difference_over_runs(a[chosen], b[chosen], rate, strata)
        for j, of_a, of_b, (difference, p) in zip(chosen, *sides, differences, strict=True):
            rows[names[j]] = _row_over_runs(names[j], specs[names[j]], of_a, of_b, difference, p, a[j], b[j])
    return [rows[name] for name in names]


def _row_over_runs(
    name: str,
    spec: Spec,
    of_a: Estimate,
    of_b: Estimate,
    difference: Estimate,
    p: float | None,
    a: np.ndarray,
    b: np.ndarray,
) -> Row:
    """One metric, a [run, case] and b likewise; a case is won by the better mean over its runs."""
    counts = [np.maximum((~np.isnan(side)).sum(0), 1) for side in (a, b)]
    valid = [(~np.isnan(side)).any(0) for side in (a, b)]
    paired = valid[0] & valid[1]
    averages = [np.where(np.isnan(side), 0, side).sum(0) / count for side, count in zip((a, b), counts, strict=True)]
    change = (averages[1] - averages[0])[paired]
    if p is None and len(change):  # no spread at all: all that is left are the signs
        p = float(sign_flip_test(change[:, None])[0])
    detectable = None
    if difference.low is not None:
        z = normal_quantile(CONFIDENCE)
        detectable = (z + normal_quantile(2 * POWER - 1)) / z * (difference.high - difference.low) / 2
    return Row(
        name, spec, of_a, of_b, difference, "two-level bootstrap" if len(change) else "", p,
        outcome=win_tie_loss(change, spec.better) if spec.better and len(change) else None,
        one_sided=int((valid[0] ^ valid[1]).sum()),
        detectable=detectable,
        equal=bool(len(change)) and not change.any(),
    )  # fmt: skip


def _adjusted(rows: list[Row]) -> list[Row]:
    """The rows with their adjusted p; the first is the primary metric and stands alone."""
    p = np.array([math.nan if row.p is None else row.p for row in rows])
    corrected = np.concatenate([p[:1], holm(p[1:])])
    explored = benjamini_hochberg(p)

    def known(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return [
        replace(row, p_adjusted=known(adjusted), q=known(q))
        for row, adjusted, q in zip(rows, corrected, explored, strict=True)
    ]
