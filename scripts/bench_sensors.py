"""Times the sensors beside highway-env's image observations and pybullet's TinyRenderer and prints Markdown tables.

    python scripts/bench_sensors.py                            # about two minutes
    python scripts/bench_sensors.py --json runs/sensors.json   # every repeat, with commit, processor and versions
    python scripts/bench_sensors.py --rivals camera pybullet --no-sizes

`sim/sensors/benchmark.py` says exactly what is timed and how the runs are interleaved.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from sim.command import command
from sim.provenance import provenance
from sim.sensors import benchmark


@dataclass(frozen=True)
class Arguments:
    """Frames/s of the sensors and of other renderers, interleaved in one run."""

    bench: Annotated[benchmark.Config, tyro.conf.OmitArgPrefixes] = field(default_factory=benchmark.Config)
    json: Path | None = None
    """Also write every figure to this file."""


@command
def main(arguments: Arguments) -> None:
    """Runs the benchmark, prints the tables, writes the figures."""
    config = arguments.bench
    machine = provenance()
    load = machine["load_average"]
    changed = " with uncommitted changes" if machine["uncommitted_changes"] else ""
    print(f"{machine['cpu']}, {config.cores} cores, load {load:.2f}, commit {machine['commit']}{changed}")
    if load > 0.5:
        print("Something else is running on this machine: expect wide ranges.", file=sys.stderr)
    with tqdm(unit=" runs", disable=None) as bar:

        def progress(what: str) -> None:
            bar.update()
            bar.set_postfix_str(what)

        timings = benchmark.measure(config, progress)
        sizes = benchmark.measure_sizes(config, progress) if config.sizes else []
    print(benchmark.as_markdown(config, timings, sizes))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        figures = benchmark.as_json(machine, config, timings, sizes)
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
