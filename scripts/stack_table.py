"""What perception costs a driver: the same policy behind true features, cameras, and cameras with one stage's oracle.

python scripts/stack_table.py runs/x runs/y --detector runs/one --out runs/stack --also domain=held-out

Kept in --out, in parts of 50 episodes. Exit code 1 if crashes rise by more than --most.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from agents.drivers import choose_environment
from agents.stack_comparison import CAMERAS, HEAD, PERFECT, drive, line, rows_of
from sim.command import command


@dataclass(frozen=True)
class Arguments:
    """Drives each run's policy with perfect perception and through the stack, on the same seeds."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders whose policies drive."""
    detector: Path
    """Model folder."""
    out: Path
    """Folder of the results."""
    stack: str = "rate=5,runtime=onnx"
    """Settings of all rows; see docs/stack.md."""
    also: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Settings of a row more, such as lidar=on; repeat the option for each."""
    beside: Path | None = None
    """Run folder of a policy with eyes of its own, such as a CNN trained on pictures, that drives the same seeds."""
    episodes: int = 200
    seed: int = 1_000_000
    """Training starts from 0 and never gets here."""
    most: float = 3.0
    """Percentage points by which crashes may rise through the cameras."""


@command
def main(arguments: Arguments) -> int:
    """Drives what is missing, prints the tables and returns the exit code."""
    runs, worst = arguments.runs, 0.0
    if not runs or arguments.episodes < 2:
        raise ValueError("give a run folder or more, and --episodes of at least 2")
    if len({run.name for run in runs}) < len(runs):
        raise ValueError("the run folders must have different names: results are kept by them")
    tables = [rows_of(run, arguments.detector, arguments.stack, arguments.also, arguments.beside) for run in runs]
    arguments.out.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    for run, rows in zip(runs, tables, strict=True):
        print(f"\n{run.name}, {choose_environment(run)[0]}\n\n{HEAD}", flush=True)
        perfect: dict = {}
        for row in rows:
            result = drive(row, seeds, arguments.out, sys.stderr.isatty())
            perfect = result if row.name == PERFECT else perfect
            text, rise = line(row.name, perfect, result)
            print(text, flush=True)
            worst = max(worst, rise * (row.name == CAMERAS))
    return int(worst > arguments.most)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
