"""What perception costs a driver: the same policy behind true features, cameras, and cameras with one stage's oracle.

python scripts/stack_table.py runs/x runs/y --detector runs/one --out runs/stack --also domain=held-out
Kept in --out, in parts of 50 episodes. Exit code 1 if crashes rise by more than --most.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from agents.drivers import choose_driver, choose_environment, stack_of
from sim.command import command
from sim.evaluation.report_files import write_text
from sim.evaluation.runner import evaluate
from sim.evaluation.statistics import mean_interval, tango_interval

PART = 50  # episodes driven at once
PERFECT = "detector=oracle,fusion=oracle,tracker=oracle"
HEAD = "| perception | crashes | rise [points] | return | change | ms a decision and world |\n|---" + "|--:" * 5 + "|"


@dataclass(frozen=True)
class Arguments:
    """Drives each run's policy with perfect perception and through the stack, on the same seeds."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders whose policies drive
    detector: Path  # model folder
    out: Path  # folder of the results
    stack: str = "rate=5,runtime=onnx"  # settings of all rows; see agents/stack.py
    also: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Settings of a row more, such as lidar=on; repeat the option for each."""
    beside: Path | None = None  # run folder of a policy with eyes of its own (a CNN) that drives the same seeds
    episodes: int = 200
    seed: int = 1_000_000  # training starts from 0 and never gets here
    most: float = 3.0  # percentage points by which crashes may rise through the cameras


def driven(run: Path, name: str, text: str | None, arguments: Arguments) -> dict:
    """The results of a row's episodes, joined; parts that have been driven are read."""
    parts, end = [], arguments.seed + arguments.episodes
    for seeds in (range(first, min(first + PART, end)) for first in range(arguments.seed, end, PART)):
        path = arguments.out / f"{run.name}-{name}-{seeds[0]}-{len(seeds)}.json"
        driver = choose_driver(run) if text is None else stack_of(f"{run},{text}")
        if not path.is_file():
            result = evaluate(driver, *choose_environment(run), seeds, progress=sys.stderr.isatty())
            write_text(path, json.dumps(result.as_dict(), indent=1, allow_nan=False) + "\n")
        parts.append(json.loads(path.read_text()))
        if parts[-1]["driver"] != driver.name or parts[-1]["n_error"]:
            raise ValueError(f"{path} is of another stack, or an episode in it raised; remove it")
    hits, earned = ([one for part in parts for one in part["per_episode"][name]] for name in ("crashed", "return"))
    times = [part["notes"].get("stages, a world", {}) for part in parts]
    ms = {stage: sum(one[stage]["ms_a_decision"] for one in times) / len(times) for stage in times[0]}
    return {"crashed": hits, "return": earned, "ms": ms}


def shown(name: str, perfect: dict, result: dict) -> float:
    """Prints a row of the table and returns by how many percentage points crashes rose."""
    hit, before = torch.tensor(result["crashed"]), torch.tensor(perfect["crashed"])
    rise = tango_interval(int((hit > before).sum()), int((before > hit).sum()), len(hit))
    gain = mean_interval(np.subtract(result["return"], perfect["return"]))
    points = [f"{100 * value:+.1f}" for value in (rise.value, rise.low, rise.high)]
    crashes = f"{int(hit.sum())} of {len(hit)} | {points[0]} ({points[1]} to {points[2]})"
    change = f"{np.mean(result['return']):.2f} | {gain.value:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"
    times = ", ".join(f"{stage} {ms:.1f}" for stage, ms in result["ms"].items())
    print(f"| {name} | {crashes} | {change} | {times} |", flush=True)
    return 100 * rise.value


@command
def main(arguments: Arguments) -> int:
    """Drives what is missing, prints the tables and returns the exit code."""
    if not arguments.runs or arguments.episodes < 2:
        raise ValueError("give a run folder or more, and --episodes of at least 2")
    arguments.out.mkdir(parents=True, exist_ok=True)
    ours, worst, perfect = f"detector={arguments.detector},{arguments.stack}", 0.0, {}
    rows = {"perfect": f"{ours},{PERFECT}", "cameras": ours}
    rows |= {more: f"{ours},{more}" for more in (*PERFECT.split(","), *arguments.also)}
    rows |= {arguments.beside.name: None} if arguments.beside else {}
    for text in (f"{run},{text}" for run in arguments.runs for text in rows.values() if text):
        stack_of(text).build("cpu")  # what is wrong is said before anything is driven
    if arguments.beside:
        choose_driver(arguments.beside).build("cpu")
    for run in arguments.runs:
        print(f"\n{run.name}, {choose_environment(run)[0]}\n\n{HEAD}", flush=True)
        for name, text in rows.items():
            result = driven(run if text else arguments.beside, name, text, arguments)
            perfect = result if name == "perfect" else perfect
            worst = max(worst, shown(name, perfect, result) * (name == "cameras"))
    return int(worst > arguments.most)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
