"""The benchmark's results as Markdown tables and plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perception.latency import QUIET, WARM_UP

MS, MB = 1e3, 1e-6
MAIN, ANY = "plainly visible", "plainly visible, any vehicle"
"""Rows of `average_precision.table`; COCO's classes are not ours, so any vehicle is what compares everyone."""
DETECTOR_COLUMNS = (
    "detector", "runtime", "AP", "AP50", "AP75", "any vehicle: AP", "AP50", "end to end [ms]: median", "p90",
    "model [ms]: median", "p90", "batch [ms a picture]", "parameters [M]", "GFLOP", "memory [MB]", "file [MB]",
)  # fmt: skip


def markdown(results: dict[str, Any]) -> str:
    """Return all tables, with what a published figure must carry."""
    machine = results["machine"]
    changed = " with uncommitted changes" if machine["uncommitted_changes"] else ""
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if value)
    parts = [
        "# Perception benchmark",
        f"{machine['cpu']}, {results['threads']} threads of {machine['cores']} cores, commit {machine['commit']}"
        f"{changed}, {machine['date']}, Python {machine['python']}, {versions}\n\n`{machine['command']}`",
    ]
    if results["notes"]:
        parts.append("\n".join(f"* {note}" for note in results["notes"]))
    makers = {"detection": _detection, "tracking": _tracking, "lanes": _lanes, "classification": _classification}
    parts += [make(results[name]) for name, make in makers.items() if name in results]
    return "\n\n".join(parts) + "\n"


def _detection(found: dict[str, Any]) -> str:
    timings, lines = found["timings"], []
    for row in sorted(found["rows"], key=lambda row: -_number(row["scores"][ANY]["AP"])):
        main, anything, title = row["scores"][MAIN], row["scores"][ANY], f"{row['name']} ({row['runtime']})"
        whole, alone, batch = (timings[name]["timings"][title] for name in ("end to end", "model", "batch"))
        coco = row["kind"] in ("nanodet", "centernet")
        cells = [row["name"], row["runtime"], *("-" if coco else _share(main[name]) for name in ("AP", "AP50", "AP75"))]
        cells += [_share(anything["AP"]), _share(anything["AP50"])]
        cells += [_ms(one[name]) for one in (whole, alone) for name in ("median", "p90")]
        cells += [_ms(batch["median"] / found["batch"]), _scaled(row["parameters"], 1e-6), _scaled(row["flops"], 1e-9)]
        lines.append([*cells, _scaled(row["memory"], MB, 0), _scaled(row["bytes"], MB)])
    first = found["rows"][0]["scores"]
    ranges = [name for name in first if name.startswith(("height", "distance")) or name == "all more than half visible"]
    by_range = [[f"{name} (n = {first[name]['objects']})"] for name in ranges]
    for row in found["rows"]:
        for line, name in zip(by_range, ranges, strict=True):
            line.append(f"{_share(row['scores'][name]['AP'])} / {_share(row['scores'][name]['AP50'])}")
    titles = [f"{row['name']} ({row['runtime']})" for row in found["rows"]]
    return "\n\n".join(
        [
            "## Detection",
            f"{found['pictures']} pictures of held-out domains ({', '.join(found['domains'])}), 320 x 192, four "
            f"cameras; n = {first[MAIN]['objects']} objects more than half visible and at least 12 px high. AP, AP50 "
            "and AP75 are means over classes; detectors trained on COCO have other classes and stand under any "
            "vehicle alone.",
            _table(DETECTOR_COLUMNS, lines),
            _conditions(timings, f"in batches of {found['batch']} where it says so"),
            "AP / AP50 by size and distance, any vehicle more than half visible:",
            _table(["objects", *titles], by_range),
        ]
    )


def _tracking(found: dict[str, Any]) -> str:
    names = list(dict.fromkeys(row["tracker"] for row in found["rows"]))
    lines = []
    for rate, hidden in dict.fromkeys((row["rate"], row["occlusion"]) for row in found["rows"]):
        here = {row["tracker"]: row for row in found["rows"] if (row["rate"], row["occlusion"]) == (rate, hidden)}
        cells = [" / ".join(_share(here[name][part]) for part in ("IDF1", "MOTA", "HOTA")) for name in names]
        lines.append([f"{rate}, occlusion {hidden}", *cells])
    means = []
    for name in names:
        rows = [row for row in found["rows"] if row["tracker"] == name]
        means.append(
            " / ".join(_share(sum(row[part] for row in rows) / len(rows)) for part in ("IDF1", "MOTA", "HOTA"))
        )
    clips = found["clips"]
    return "\n\n".join(
        [
            "## Tracking",
            f"IDF1 / MOTA / HOTA on the simulator's own boxes, disturbed (see perception/tracking/clips.py): "
            f"{clips['clips']} clips of the test split, {clips['seconds']} s, {clips['objects']} objects, "
            f"{clips['boxes']} boxes; identical detections for all.",
            _table(["frames", *names], [*lines, ["mean", *means]]),
            _times("an update of one stream", found["timings"]["update"]),
        ]
    )


def _lanes(found: dict[str, Any]) -> str:
    parts = {"f1_50": "lane F1", "f1_75": "F1@75", "tusimple_accuracy": "TuSimple accuracy", "miou": "mIoU"}
    lines = [
        [
            row["name"],
            row["kind"],
            *(_share(row["scores"].get(name)) for name in parts),
            str(row["scores"]["pictures"]),
            _scaled(row["parameters"], 1e-6),
            _scaled(row["flops"], 1e-9),
            _scaled(row["bytes"], MB),
        ]
        for row in found["rows"]
    ]
    columns = ["network", "kind", *parts.values(), "n", "parameters [M]", "GFLOP", "file [MB]"]
    return "\n\n".join(
        [
            "## Lanes",
            "Held-out domains, front camera, torch.",
            _table(columns, lines),
            _times("a picture to its lanes or classes", found["timings"]["end to end"]),
        ]
    )


def _classification(found: dict[str, Any]) -> str:
    lines = [
        [
            row["name"],
            row["data"],
            _share(row["scores"]["top1"]),
            _share(row["scores"]["ece"]),
            str(row["scores"]["count"]),
            _scaled(row["parameters"], 1e-6),
            _scaled(row["flops"], 1e-9, 3),
            _scaled(row["bytes"], MB),
        ]
        for row in found["rows"]
    ]
    columns = ["network", "test pictures of", "top-1", "ECE", "n", "parameters [M]", "GFLOP", "file [MB]"]
    return "\n\n".join(
        [
            "## Classification",
            _table(columns, lines),
            _times("a picture to its logits, torch", found["timings"]["end to end"]),
        ]
    )


def _times(what: str, measured: dict[str, Any]) -> str:
    """Timings in a table of their own."""
    lines = [[name, _ms(one["median"]), _ms(one["p90"])] for name, one in measured["timings"].items()]
    return f"Time of {what}:\n\n{_table(['', 'median [ms]', 'p90 [ms]'], lines)}\n\n{_conditions({'': measured})}"


def _conditions(timings: dict[str, Any], more: str = "") -> str:
    """How times were taken, and whether to believe them."""
    one = next(iter(timings.values()))
    runs = next(iter(one["timings"].values()))["runs"]
    shares = [measured["others"] for measured in timings.values()]
    known = [share for share in shares if share is not None]
    text = f"Times: n = {runs} each after {WARM_UP}, in turns in random order, one picture at a time"
    text += f", {more}" if more else ""
    text += f"; {one['threads']} threads, load average before {one['load']:.2f}"
    if len(known) < len(shares):
        return f"{text}; whether other processes ran is not known on this system."
    text += f", other processes took {100 * max(known):.0f} % of the cores meanwhile."
    return text if max(known) <= QUIET else f"{text} **The machine was busy: these times are no results.**"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> float:
    return -1.0 if value is None or math.isnan(value) else value


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _ms(seconds: float) -> str:
    return f"{MS * seconds:.2f}"


def _scaled(value: float | None, factor: float, digits: int = 2) -> str:
    return "-" if value is None else f"{value * factor:.{digits}f}"


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write plots of the detectors into a folder, accuracy over time and over distance, and return their paths."""
    if "detection" not in results:
        return []
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    folder.mkdir(parents=True, exist_ok=True)
    found = results["detection"]
    times = found["timings"]["end to end"]["timings"]
    names = list(dict.fromkeys(row["name"] for row in found["rows"]))
    marks = {"torch": "o", "onnx": "s", "onnx-int8": "^"}
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for row in found["rows"]:
        x, y = MS * times[f"{row['name']} ({row['runtime']})"]["median"], _number(row["scores"][ANY]["AP50"])
        color = f"C{names.index(row['name'])}"
        axes.scatter(x, y, color=color, marker=marks[row["runtime"]], s=60, label=f"{row['name']}, {row['runtime']}")
    axes.set(xscale="log", ylim=(0, 1), xlabel="end to end, batch 1: median [ms]", ylabel="AP50, any vehicle")
    axes.set_title(f"Held-out domains, {found['pictures']} pictures, {results['threads']} threads")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(ticker.FuncFormatter(lambda ms, _: f"{ms:g}"))
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    paths = [folder / "accuracy_and_time.png", folder / "distance.png"]
    figure.savefig(paths[0], dpi=120)
    pyplot.close(figure)

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    first: dict[str, dict[str, Any]] = {}
    for row in found["rows"]:
        first.setdefault(row["name"], row)
    for name, row in first.items():
        ranges = [part for part in row["scores"] if part.startswith("distance")]
        axes.plot(
            [part.removeprefix("distance ").replace("80 to inf m", "beyond 80 m") for part in ranges],
            [math.nan if (score := row["scores"][part]["AP50"]) is None else score for part in ranges],
            marker="o",
            label=f"{name}, {row['runtime']}",
        )
    axes.set(ylim=(0, 1), xlabel="distance", ylabel="AP50, any vehicle more than half visible")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(paths[1], dpi=120)
    pyplot.close(figure)
    return paths
