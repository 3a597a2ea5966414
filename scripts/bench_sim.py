"""Times Slipstream, highway-env and EnvPool side by side and prints a Markdown table.

    python scripts/bench_sim.py                         # about three minutes
    python scripts/bench_sim.py --json runs/bench.json  # every repeat, with commit, processor and versions

A step is one policy step of one world, observation and automatic reset included; `sim/benchmark.py` says
exactly what is timed and how the runs are interleaved.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from sim import benchmark
from sim.benchmark_report import as_json, as_markdown
from sim.command import command
from sim.provenance import provenance


@dataclass(frozen=True)
class Arguments:
    """Steps/s of Slipstream, highway-env and EnvPool, interleaved in one run."""

    bench: Annotated[benchmark.Config, tyro.conf.OmitArgPrefixes] = field(default_factory=benchmark.Config)
    json: Path | None = None
    """Also write every figure to this file."""


@command
def main(arguments: Arguments) -> None:
    """Runs the benchmark, prints the table, writes the figures."""
    config = arguments.bench
    machine = provenance()
    load = machine["load_average"]
    print(f"{machine['cpu']}, {config.cores} cores, load {load:.2f}, commit {machine['commit']}")
    if load > 0.5:
        print("Something else is running on this machine: expect wide ranges.", file=sys.stderr)
    results = {}
    for env_id in config.envs:
        with tqdm(desc=env_id, unit=" runs", disable=None) as bar:

            def progress(what: str, bar: tqdm = bar) -> None:
                bar.update()
                bar.set_postfix_str(what)

            results[env_id] = benchmark.measure(env_id, config, progress)
    print(as_markdown(results))
    for env_id, timings in results.items():
        for timing in timings:
            if timing.first_call is not None:
                took = f"{timing.first_call:.2f} s (construction, reset and a step; of ours, kernels too)"
                print(f"{env_id}: first call of {timing.rival} took {took}")
            if timing.bytes_per_world is not None:
                print(f"{env_id}: {timing.bytes_per_world:,} bytes a world")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        figures = as_json(machine, config, results)
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
