"""Several evaluations side by side, as one Markdown table."""

from collections.abc import Sequence

from sim.evaluation.runner import Result
from sim.evaluation.statistics import Estimate

# estimate -> (heading, format)
COLUMNS = {
    "return": ("return", ".2f"),
    "crash_rate": ("crash rate", ".1%"),
    "speed": ("speed [m/s]", ".1f"),
    "lane_changes": ("lane changes", ".1f"),
    "length": ("steps", ".1f"),
}


def comparison(results: Sequence[Result]) -> str:
    """A table with a row an evaluation; each figure stands with its 95 % interval."""
    head = ["driver", "simulator", "episodes", *(heading for heading, _ in COLUMNS.values())]
    rows = [head, ["---"] * len(head)]
    for result in results:
        driver = f"{result.driver} (privileged)" if result.sees == "world" else result.driver
        episodes = str(result.n_run) if not result.errors else f"{result.n_run} of {len(result.seeds)}"
        figures = result.estimates() if result.n_run else dict.fromkeys(COLUMNS)
        cells = [_cell(figures[name], form) for name, (_, form) in COLUMNS.items()]
        rows.append([driver, result.simulator, episodes, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cell(figure: Estimate | None, form: str) -> str:
    """The value and, where there is one, its interval; a dash for a figure without episodes."""
    if figure is None or figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:{form}}"
    return f"{figure.value:{form}} ({figure.low:{form}} to {figure.high:{form}})"
