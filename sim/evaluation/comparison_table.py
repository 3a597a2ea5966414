"""A comparison in words: Markdown for people, a dict for programs."""

from __future__ import annotations

from typing import Any

from sim.evaluation.comparison import Comparison, Row
from sim.evaluation.report_files import Report, rounded
from sim.evaluation.statistics import CONFIDENCE, MIN_RUNS, POWER, Estimate

ALPHA = 1 - CONFIDENCE
SHOWN_ERRORS, MESSAGE = 10, 200  # how many are listed, and how many letters of each
HEAD = ("metric", "A", "B", "B - A (95 %)", "p", "p (Holm)", "B wins / ties / loses", "verdict")


def verdict(row: Row) -> str:
    """Returns what a row shows, in words; "no difference" never stands without what could have been seen."""
    if row.p is None:
        return "not comparable: no case is valid on both sides"
    if row.p_adjusted is not None and row.p_adjusted < ALPHA:
        value = row.difference.value
        if not row.spec.better:
            return f"B is {'higher' if value > 0 else 'lower'}"
        return "B is better" if (value < 0) == (row.spec.better == "lower") else "B is worse"
    if row.equal:
        words = f"the same in all {row.difference.n} cases"
    elif row.p < ALPHA:
        words = "no difference shown among so many metrics"
    else:
        words = "no difference shown"
    if row.detectable is None:
        reach = "" if row.equal and not row.spec.rate else "; so few cases could show none"
    else:
        reach = f"; {100 * POWER:.0f} % power from {_size(row.detectable, row)}"
    needed = f", what was seen would take {row.needed:,} cases" if row.needed else ""
    return words + reach + needed


def markdown(comparison: Comparison) -> str:
    """Returns the comparison as Markdown: who, over what, errors, the table, its notes."""
    suite = comparison.suite
    lines = [
        f"Suite {suite['name']} {suite['version']} (sha256 {suite['sha256'][:12]}), {comparison.cases} cases",
        "",
        f"- A: {_side(comparison.a)}",
        f"- B: {_side(comparison.b)}",
    ]
    lines += _errors(comparison)
    lines += ["", _line(HEAD), _line(["---"] * len(HEAD))]
    lines += [_line(_cells(row, first=place == 0)) for place, row in enumerate(comparison.rows)]
    notes = [f"{row.name}: {note}" for row in comparison.rows for note in _notes(row)]
    fewest = min(len(comparison.a), len(comparison.b))
    if len(comparison.a) + len(comparison.b) > 2 and fewest < MIN_RUNS:
        runs = "1 training run" if fewest == 1 else f"{fewest} training runs"
        notes.insert(0, f"{runs} on a side; {MIN_RUNS} are the least for claims about training")
    lone = ", ".join(f"{row.name} {row.one_sided}" for row in comparison.rows if row.one_sided)
    if lone:
        single = len(comparison.a) + len(comparison.b) == 2
        notes.append(f"cases with a value on one side only{', left out' if single else ''}: {lone}")
    if comparison.missing:
        notes.append(f"metrics on one side only, not compared: {', '.join(comparison.missing)}")
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    lines += ["", "The first metric is the primary one, tested alone; Holm's correction is over all others."]
    return "\n".join(lines)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison for JSON; figures have nine significant digits."""

    def side(reports: tuple[Report, ...]) -> list[dict[str, str]]:
        return [{"driver": report.driver, "report": str(report.path)} for report in reports]

    return {
        "schema": 1,
        "suite": comparison.suite,
        "a": side(comparison.a),
        "b": side(comparison.b),
        "cases": comparison.cases,
        "errors": [
            {"side": side, "run": place, "case": case, "message": message}
            for side, place, case, message in comparison.errors
        ],
        "primary": comparison.rows[0].name,
        "metrics": {row.name: _row_dict(row) for row in comparison.rows},
        "missing": list(comparison.missing),
    }


def _row_dict(row: Row) -> dict[str, Any]:
    def estimate(one: Estimate) -> dict[str, Any]:
        return {"value": rounded(one.value), "ci95": [rounded(one.low), rounded(one.high)], "note": one.note}

    return {
        "unit": row.spec.unit,
        "better": row.spec.better,
        "rate": row.spec.rate,
        "a": estimate(row.a),
        "b": estimate(row.b),
        "difference": estimate(row.difference),
        "pairs": row.difference.n,
        "one_sided": row.one_sided,
        "test": row.test,
        "p": rounded(row.p),
        "p_holm": rounded(row.p_adjusted),
        "q_benjamini_hochberg": rounded(row.q),
        "win_tie_loss": None if row.outcome is None else list(row.outcome),
        "detectable": rounded(row.detectable),
        "cases_needed": row.needed,
        "verdict": verdict(row),
    }


def _side(reports: tuple[Report, ...]) -> str:
    names = ", ".join(dict.fromkeys(_one_line(report.driver) for report in reports))
    places = ", ".join(str(report.path) for report in reports)
    return f"{names}, {len(reports)} run{'s' if len(reports) > 1 else ''}: {places}"


def _errors(comparison: Comparison) -> list[str]:
    if not comparison.errors:
        return []
    count = {side: sum(error[0] == side for error in comparison.errors) for side in "AB"}
    lines = [
        "",
        f"Errors: {count['A']} on A, {count['B']} on B. They count as the worst in rates and have no part in means.",
    ]
    shown = comparison.errors[:SHOWN_ERRORS]
    lines += [f"- {side}{place + 1}, {case}: {_one_line(text)}" for side, place, case, text in shown]
    if len(comparison.errors) > SHOWN_ERRORS:
        lines.append(f"- and {len(comparison.errors) - SHOWN_ERRORS} more")
    return lines


def _one_line(text: str) -> str:
    """A message as it can stand in a list and on a terminal."""
    words = " ".join(text.split())
    return "".join(letter for letter in words if letter.isprintable())[:MESSAGE]


def _cells(row: Row, first: bool) -> list[str]:
    name = f"**{row.name}**" if first else row.name
    unit = "%" if row.spec.rate else row.spec.unit
    p, adjusted = (_p(value) for value in (row.p, row.p_adjusted))
    outcome = "-" if row.outcome is None else " / ".join(map(str, row.outcome))
    return [
        f"{name} [{unit}]" if unit else name,
        _with_interval(row.a, row.spec.rate),
        _with_interval(row.b, row.spec.rate),
        _with_interval(row.difference, row.spec.rate, sign="+"),
        p,
        "primary" if first else adjusted,
        outcome,
        verdict(row),
    ]


def _with_interval(estimate: Estimate, rate: bool, sign: str = "") -> str:
    if estimate.value is None:
        return "-"
    scale, form = (100, f"{sign}.2f") if rate else (1, f"{sign}.4g")
    value = f"{scale * estimate.value:{form}}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({scale * estimate.low:{form}} to {scale * estimate.high:{form}})"


def _size(difference: float, row: Row) -> str:
    if row.spec.rate:
        return f"{100 * difference:.2f} points"
    return f"{difference:.3g} {row.spec.unit}".rstrip()


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _notes(row: Row) -> list[str]:
    notes = list(dict.fromkeys(estimate.note for estimate in (row.difference, row.a, row.b) if estimate.note))
    if row.difference.low is not None or row.equal:
        # A side that does not vary needs no word where the difference has an interval.
        notes = [row.difference.note] if row.difference.note and not row.equal else []
    notes = [note for note in notes if "run" not in note]  # said once for the whole table
    return notes


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
