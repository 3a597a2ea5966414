"""Several evaluations side by side, as one Markdown table."""

from collections.abc import Sequence

from sim.evaluation.runner import Result
from sim.evaluation.statistics import Estimate

# estimate -> (heading, format)
COLUMNS = {
    "return": ("return", ".2f"),
    "crash_rate": ("crash rate", ".1%"),
    "success_rate": ("success", ".1%"),  # only where an id reports it
    "speed": ("speed [m/s]", ".1f"),
    "lane_changes": ("lane changes", ".1f"),
    "length": ("steps", ".1f"),
}


def comparison(results: Sequence[Result]) -> str:
    """A table with a row an evaluation; each figure stands with its 95 % interval."""
    figures = [result.estimates() if result.n_run else {} for result in results]
    columns = dict(COLUMNS)
    if not any("success_rate" in one for one in figures):
        del columns["success_rate"]
    head = ["driver", "simulator", "episodes", *(heading for heading, _ in columns.values())]
    rows = [head, ["---"] * len(head)]
    for result, found in zip(results, figures, strict=True):
        driver = f"{result.driver} (privileged)" if result.sees == "world" else result.driver
        episodes = str(result.n_run) if not result.errors else f"{result.n_run} of {len(result.seeds)}"
        cells = [_cell(found.get(name), form) for name, (_, form) in columns.items()]
        rows.append([driver, result.simulator, episodes, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cell(figure: Estimate | None, form: str) -> str:
    """The value and, where there is one, its interval; a dash for a figure without episodes."""
    if figure is None or figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:{form}}"
    return f"{figure.value:{form}} ({figure.low:{form}} to {figure.high:{form}})"
