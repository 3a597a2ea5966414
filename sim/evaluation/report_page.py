"""report.json as one self-contained HTML page: no network, no other file, everything that comes from data escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sim.evaluation.report_figures import (
    DASH,
    clean,
    curve,
    difference_bar,
    histogram,
    interval,
    interval_bar,
    label,
    number,
    shares_bar,
    span,
    unit,
)
from sim.evaluation.report_files import SCHEMA, write_text
from sim.evaluation.worst_cases import OUTCOMES, moments, outcome, worst_first

FOLDER = Path(__file__).parent / "page"
"""The template, the styles and the scripts."""
SHOWN_CASES = 300
"""Cases listed, the worst; of all of them the page would grow beyond what a browser opens quickly."""

# The first of these that a report has, in this order.
HEADLINE, HEADLINES = ("at_fault_collision", "collision", "success", "return", "nuplan16", "speed"), 4
GROUP_COLUMNS = ("at_fault_collision", "collision", "success", "return")
CASE_COLUMNS = ("return", "success", "delta_v", "min_ttc_2d", "max_drac", "min_pet", "min_thw", "speed", "mean_speed")
DISTRIBUTIONS = ("min_ttc_2d", "min_ttc", "min_thw", "max_drac", "min_gap", "min_pet", "delta_v", "speed", "return")
DISTRIBUTIONS += ("mean_speed", "relative_speed", "nuplan16", "completion")
MOST_DISTRIBUTIONS = 9


def write_page(
    path: str | Path,
    report: dict[str, Any],
    comparison: dict[str, Any] | None = None,
    replays: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the page; a kill in the middle leaves no half-written file at `path`. As `render`."""
    write_text(path, render(report, comparison, replays))


def render(
    report: dict[str, Any], comparison: dict[str, Any] | None = None, replays: Sequence[dict[str, Any]] = ()
) -> str:
    """Returns the page.

    Args:
        report: as report.schema.json says.
        comparison: with another driver, of `sim.evaluation.comparison_table.as_dict`.
        replays: the worst cases, in the order in which they are to stand; of `sim.evaluation.player.pack`.

    Raises:
        ValueError: another schema, or a replay of a case that the report does not have.
    """
    if report.get("schema") != SCHEMA:
        raise ValueError(f"a report of schema {report.get('schema')}; this version shows schema {SCHEMA}")
    ranked = worst_first(report["cases"])
    films, roads = _replays(report, replays)
    data = {
        "replays": films,
        "roads": roads,
        "groups": _groups_data(report),
        "metrics": {name: _about(name, metric) for name, metric in report["metrics"].items()},
    }
    style = file_text("report.css")
    scripts = [file_text("report.js"), file_text("player.js")]
    page = page_template("report.html.j2").render(
        report=report,
        run=report["run"],
        policy=policy_for(style, scripts),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        data=_as_script_data(data),
        headline=_headline(report),
        machine=_machine(report["run"].get("machine")),
        outcomes=(outcomes := _outcomes(report["cases"])),
        outcome_bar=shares_bar(outcomes),
        groups=_groups(report),
        group_columns=[name for name in GROUP_COLUMNS if _known(report, name)],
        cases=[_case(case, films) for case in ranked[:SHOWN_CASES]],
        case_columns=[name for name in CASE_COLUMNS if _known(report, name)],
        films=films,
        distributions=_distributions(report),
        robustness=_robustness(report),
        comparison=comparison,
        OUTCOMES=OUTCOMES,
    )
    return clean(page)


@cache
def page_template(name: str) -> Any:
    """Returns a template of `FOLDER`."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"DASH": DASH, "difference_bar": difference_bar}
    environment.filters |= {"label": label, "figure": number, "interval": interval, "unit": unit, "plain": _plain}
    environment.filters |= {"points": _points, "probability": _probability}
    return environment.get_template(name)


def file_text(name: str) -> str:
    """Returns a script or the styles; inside a page they end where `</` begins."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"{FOLDER / name} holds '</', which would end it inside the page")
    return text


def policy_for(style: str, scripts: Sequence[str]) -> str:
    """Returns the content security policy of a page with these styles and scripts and nothing else."""
    allowed = " ".join(map(_hash, scripts))
    return f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {allowed}"


def _hash(text: str) -> str:
    """What a content security policy names an inline script by: nothing else may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_script_data(data: Any) -> Markup:
    """JSON that cannot end the script element that it stands in."""
    return Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _plain(value: Any) -> str:
    """Text, numbers and whatever else as a line of text; a dash for nothing."""
    if value is None or value == "":
        return DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _machine(machine: Any) -> str:
    """What the driver ran on, as words."""
    if not isinstance(machine, dict):
        return _plain(machine)
    return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in machine.items())


def _points(value: float | Sequence[float | None] | None, rate: bool) -> str:
    """A difference with its sign, or the interval of one; of rates in percentage points."""
    if isinstance(value, Sequence):
        return interval(value, rate).replace("%", "points")
    text = number(value, rate).replace("%", "points")
    return f"+{text}" if value is not None and value > 0 else text


def _probability(p: float | None) -> str:
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _about(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    return {"label": label(name), "unit": unit(metric["unit"]), "rate": metric["rate"]}


def _known(report: dict[str, Any], name: str) -> bool:
    """Has any case a value of this metric."""
    return name in report["metrics"] and report["metrics"][name]["value"] is not None


def _headline(report: dict[str, Any]) -> list[dict[str, Any]]:
    names = [name for name in HEADLINE if _known(report, name)][:HEADLINES]
    found = []
    for name in names:
        metric = report["metrics"][name]
        scale = span([metric], zero=True)
        found.append({"name": name, "bar": interval_bar(metric, scale), **metric})
    return found


def _outcomes(cases: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """(key, text, how many) of each outcome that there is."""
    counts = Counter(map(outcome, cases))
    return [(key, text, counts[key]) for key, text in OUTCOMES.items() if counts[key]]


def _groups(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups with the bars of their columns; each column has one scale."""
    columns = [name for name in GROUP_COLUMNS if _known(report, name)]
    scales = {}
    for name in columns:
        scales[name] = span([group["metrics"].get(name) for group in report["groups"]], zero=True)
    rows = []
    for group in report["groups"]:
        found = {name: group["metrics"].get(name) for name in columns}
        rows.append(group | {"bars": {name: interval_bar(one, scales[name]) for name, one in found.items()}})
    return rows


def _groups_data(report: dict[str, Any]) -> dict[str, list]:
    """Of each metric, of each group [value, low, high, n] or None, for the column that the reader chooses."""
    found: dict[str, list] = {}
    for name in report["metrics"]:
        row = []
        for group in report["groups"]:
            one = group["metrics"].get(name)
            row.append(None if one is None else [one["value"], *(one["ci95"] or (None, None)), one["n"]])
        found[name] = row
    return found


def _case(case: dict[str, Any], films: Sequence[dict[str, Any]]) -> dict[str, Any]:
    what = outcome(case)
    film = next((number for number, film in enumerate(films) if film["case"] == case["case"]), None)
    return case | {"outcome": what, "film": film, "rank": list(OUTCOMES).index(what)}


def _replays(report: dict[str, Any], replays: Sequence[dict[str, Any]]) -> tuple[list, list]:
    """The replays with what the page says of them, and their roads, each once."""
    cases = {case["case"]: case for case in report["cases"]}
    roads: dict[str, int] = {}
    films = []
    for replay in replays:
        if replay["case"] not in cases:
            raise ValueError(f"a replay of {replay['case']!r}, which is no case of the report")
        case = cases[replay["case"]]
        road = roads.setdefault(json.dumps(replay["road"]), len(roads))
        stop = replay["first"] + replay["frames"]
        found = [(what, frame) for what, frame in moments(case) if replay["first"] <= frame < stop]
        what = outcome(case)
        film = {
            "outcome": what,
            "text": OUTCOMES[what],
            "group": case["group"],
            "seed": case["seed"],
            "moments": [{"label": label(name), "frame": frame} for name, frame in found],
            "why": _why(case, report),
            "trace": f"{case['trace'][0]}, episode {case['trace'][1]}" if case["trace"] else "",
        }
        films.append(replay | film | {"road": road})
    return films, [json.loads(road) for road in roads]


def _why(case: dict[str, Any], report: dict[str, Any]) -> str:
    """The figure that says most about a case."""
    metrics = case["metrics"]
    names = ("delta_v", "min_ttc_2d", "min_ttc", "min_pet", "min_thw", "max_drac", "min_gap")
    if outcome(case) not in ("at_fault_collision", "collision"):
        names = names[1:]
    name = next((name for name in names if metrics.get(name) is not None), None)
    if name is None:
        return ""
    of_metric = unit(report["metrics"].get(name, {}).get("unit", ""))
    return f"{label(name)} {number(metrics[name])} {of_metric}".strip()


def _distributions(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Histograms of the metrics that a reader asks for first, then of others until there are enough."""
    metrics = report["metrics"]
    rest = [name for name in metrics if name not in DISTRIBUTIONS]
    chosen = [name for name in (*DISTRIBUTIONS, *rest) if name in metrics and not metrics[name]["rate"]]
    charts = []
    for name in chosen:
        pairs = [
            (case["metrics"][name], outcome(case) in ("at_fault_collision", "collision"))
            for case in report["cases"]
            if case["status"] == "ok" and case["metrics"].get(name) is not None
        ]
        if len({value for value, _ in pairs}) < 2:
            continue
        values, crashed = zip(*pairs, strict=True)
        of_metric = unit(metrics[name]["unit"])
        chart = {"name": name, "unit": of_metric, "n": len(values), "missing": len(report["cases"]) - len(values)}
        charts.append(chart | {"svg": histogram(name, of_metric, values, crashed)})
        if len(charts) == MOST_DISTRIBUTIONS:
            break
    return charts


def _robustness(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each fault its curves and the rows of its table."""
    found = []
    for fault, sweep in (report.get("robustness") or {}).items():
        curves = []
        for name, points in sweep["metrics"].items():
            about = report["metrics"].get(name, {"unit": "", "rate": False, "better": ""})
            svg = curve(name, sweep["severities"], points, about["rate"])
            rows = list(zip(sweep["severities"], points, strict=True))
            curves.append({"name": name, "unit": unit(about["unit"]), "rate": about["rate"], "svg": svg, "rows": rows})
        errors = sum(sweep.get("n_error") or ())
        one = {"fault": fault, "unit": unit(sweep.get("unit", "")), "critical": sweep["critical_severity"]}
        found.append(one | {"errors": errors, "curves": curves})
    return found
