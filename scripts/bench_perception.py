"""Measures perception models, accuracy and latency of the same files in one run, and prints Markdown tables.

    python scripts/bench_perception.py --quick                     # under five minutes; trains tiny models first
    python scripts/bench_perception.py --models runs/one,runs/ssdlite,nanodet:package/models --json runs/bench.json
    python scripts/bench_perception.py --tasks tracking --peers peers/bin/python

Latencies count only on a machine that does nothing else; the tables say whether it did.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from perception.benchmark.report import draw, markdown
from perception.benchmark.run import Config, run
from perception.model_folder import moved_into_place
from sim.command import command


@dataclass(frozen=True)
class Arguments:
    """Accuracy and latency of detectors, trackers, lane networks and classifiers."""

    bench: Annotated[Config, tyro.conf.OmitArgPrefixes] = field(default_factory=Config)
    json: Path | None = None
    """Also write every figure to this file."""
    out: Path = Path("runs/bench_perception")
    """Folder for the tables (table.md) and plots."""


@command
def main(arguments: Arguments) -> int:
    """Runs the benchmark, prints the tables, writes files, and returns the exit code."""
    for folder in (arguments.out, *([arguments.json.parent] if arguments.json else [])):
        folder.mkdir(parents=True, exist_ok=True)  # said before an hour of measuring, if it can't be
    with tqdm(unit=" steps", disable=None) as bar:

        def step(what: str) -> None:
            bar.update()
            bar.set_postfix_str(what)

        results = run(arguments.bench, step)
    text = markdown(results)
    print(text)
    files = [(arguments.out / "table.md", text)]
    if arguments.json:
        files.append((arguments.json, json.dumps(results, indent=1) + "\n"))
    for path, content in files:
        with moved_into_place(path) as part:
            part.write_text(content, encoding="utf-8")
    for path in [*(path for path, _ in files), *draw(results, arguments.out)]:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
