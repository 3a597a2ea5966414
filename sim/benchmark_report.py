"""What a benchmark measured, as a Markdown table and as JSON."""

import statistics
from dataclasses import asdict
from typing import Any

from sim.benchmark import ONE_WORLD, Config, Timing


def _first(timings: list[Timing]) -> Timing | None:
    """The rival others are compared with: the first that has figures."""
    return next((timing for timing in timings if timing.steps_per_second), None)


def as_json(machine: dict[str, Any], config: Config, results: dict[str, list[Timing]]) -> dict[str, Any]:
    """All figures, every repeat of them, and the provenance of the `machine`, taken at the start."""
    environments = {}
    for env_id, timings in results.items():
        rows = []
        for timing in timings:
            row = asdict(timing)
            if timing.steps_per_second:
                row["median"] = timing.median
                row["first_is_faster"] = _first(timings).ratios_to(timing)
            rows.append(row)
        environments[env_id] = rows
    return {"machine": machine, "config": asdict(config), "results": environments}


def as_markdown(results: dict[str, list[Timing]]) -> str:
    """A row an environment: each rival's median steps/s, and how many times faster the first is, with its range.

    One world of ours is compared with highway-env instead, which it could replace. Below: who ran how.
    """
    names = list(dict.fromkeys(timing.rival for timings in results.values() for timing in timings))
    head = ["environment"]
    for name in names:
        compared = "highway-env" if name == ONE_WORLD else name
        head += [f"{name}, steps/s"] if name == names[0] else [f"{name}, steps/s", f"faster than {compared}"]
    lines = [f"| {' | '.join([*head, 'bytes a world'])} |", "|---" + "|--:" * len(head) + "|"]
    for env_id, timings in results.items():
        measured = {timing.rival: timing for timing in timings if timing.steps_per_second}
        cells = [env_id]
        for name in names:
            cells.append(_figure(measured[name].median) if name in measured else "-")
            if name == names[0]:
                continue
            fast, slow = (name, "highway-env") if name == ONE_WORLD else (names[0], name)
            both = fast in measured and slow in measured
            cells.append(_ratio(measured[fast].ratios_to(measured[slow])) if both else "-")
        size = next((timing.bytes_per_world for timing in timings if timing.bytes_per_world), None)
        lines.append(f"| {' | '.join(cells)} | {f'{size:,}' if size else '-'} |")
    lines.append("")
    for env_id, timings in results.items():
        settings = "; ".join(f"{timing.rival}: {timing.missing or timing.setting}" for timing in timings)
        lines.append(f"* {env_id}: {settings}")
    return "\n".join(lines)


def _ratio(ratios: list[float]) -> str:
    """Median and range."""
    return f"{_figure(statistics.median(ratios))}x ({_figure(min(ratios))} to {_figure(max(ratios))})"


def _figure(value: float) -> str:
    """Three significant digits, thousands separated."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    step = 10 ** max(0, len(str(int(value))) - 3)
    return f"{round(value / step) * step:,.0f}" if value >= 100 else f"{value:.{digits}f}"
