"""A comparison as one self-contained HTML page: a table with an interval a metric, the cases that tell A from B."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from sim.evaluation.comparison import Comparison
from sim.evaluation.comparison_table import as_dict
from sim.evaluation.report_figures import clean
from sim.evaluation.report_files import Report, write_text
from sim.evaluation.report_page import file_text, page_template, policy_for

MOST_CASES = 400
"""Discordant cases listed; more than anyone watches, and the page stays quick."""


def write_comparison(path: str | Path, comparison: Comparison, gate: dict[str, Any] | None = None) -> None:
    """Writes the page; a kill in the middle leaves no half-written file at `path`.

    Args:
        path: of the page; links to replays are relative to it.
        comparison: of `comparison.compare`.
        gate: max_collision_increase and passed, if there was one.
    """
    style, script = file_text("report.css"), file_text("report.js")
    figures = as_dict(comparison) | ({} if gate is None else {"gate": gate})
    found = discordant(comparison, Path(path).absolute().parent)
    page = page_template("comparison_page.html.j2").render(
        comparison=figures,
        discordant=found[:MOST_CASES],
        hidden=max(len(found) - MOST_CASES, 0),
        policy=policy_for(style, [script]),
        style=Markup(style),
        script=Markup(script),
    )
    write_text(path, clean(page))


def discordant(comparison: Comparison, folder: Path) -> list[dict[str, Any]]:
    """Returns the cases in which one side did better in a rate, those of the primary metric first.

    Args:
        comparison: of one run a side; of several there is no single pair of replays, so none.
        folder: that links start from.

    Returns dicts: metric, case, better ("A" or "B"), a and b: `_side` of each.
    """
    if len(comparison.a) != 1 or len(comparison.b) != 1:
        return []
    one, other = comparison.a[0], comparison.b[0]
    rates = [row for row in comparison.rows if row.spec.rate and row.spec.better]
    found = []
    for row in rates:
        for case in sorted(one.cases):
            values = [_value(report, case, row.name, row.spec.better) for report in (one, other)]
            if None in values or values[0] == values[1]:
                continue
            lower = "A" if values[0] < values[1] else "B"
            higher = "B" if lower == "A" else "A"
            better = lower if row.spec.better == "lower" else higher
            sides = {key: _side(report, case, folder) for key, report in (("a", one), ("b", other))}
            found.append({"metric": row.name, "case": case, "better": better, **sides})
    return found


def _value(report: Report, case: str, metric: str, better: str) -> float | None:
    """The value of a rate, the worst one where the case raised."""
    record = report.cases[case]
    if record["status"] == "error":
        return float(better == "lower")
    return record["metrics"].get(metric)


def _side(report: Report, case: str, folder: Path) -> dict[str, str | None]:
    """What to open and what to type to see a case: `link` to its place on the report's page, `folder`, `error`."""
    page = report.path.with_name("report.html")
    link = None
    if page.is_file():
        link = f"{quote(os.path.relpath(page.absolute(), folder).replace(os.sep, '/'))}#case={quote(case, safe='')}"
    return {"link": link, "folder": str(report.path.parent), "error": report.cases[case].get("error")}
