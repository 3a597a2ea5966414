"""What perception costs a driver: the same policy behind true features, cameras, and cameras with one stage's oracle.

python scripts/stack_table.py runs/x runs/y --detector weights/one-stage --out runs/stack --also domain=held-out
A row that is done stands in --out. Exit code 1 if crashes rise by more than --most.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from agents.drivers import choose_environment, stack_of
from sim.evaluation.report_files import write_text
from sim.evaluation.runner import evaluate
from sim.evaluation.statistics import mean_interval, tango_interval

FIRST_SEED = 1_000_000  # training starts from 0 and never gets here
PERFECT = "detector=oracle,fusion=oracle,tracker=oracle"
HEAD = "| perception | crashes | rise [points] | return | change | ms a decision and world |\n|---" + "|--:" * 5 + "|"


@dataclass(frozen=True)
class Arguments:
    """Drives each run's policy in its environment with perfect perception and through the stack, on the same seeds."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders whose policies drive."""
    detector: Path
    """Model folder of the detector."""
    out: Path
    """Where the results of the rows are kept."""
    stack: str = "rate=1"
    """Settings of all rows, such as rate=5,runtime=onnx; see agents/stack.py."""
    also: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Settings of a row more, such as lidar=on; repeat the option for each."""
    episodes: int = 200
    seed: int = FIRST_SEED
    most: float = 3.0
    """Percentage points by which crashes may rise through the cameras."""


def rows_of(arguments: Arguments) -> dict[str, str]:
    """The stacks by the names of their rows, the perfect one first."""
    ours = f"detector={arguments.detector},{arguments.stack}"
    texts = ("detector=oracle", "fusion=oracle", "tracker=oracle", *arguments.also)
    return {"perfect": f"{ours},{PERFECT}", "cameras": ours} | {text: f"{ours},{text}" for text in texts}


def driven(run: Path, name: str, text: str, arguments: Arguments) -> dict:
    """The result of a row, from its file if it has been driven."""
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    path, text = arguments.out / f"{run.name}-{name}-{seeds[0]}-{len(seeds)}.json", f"{run},{text}"
    if not path.is_file():
        result = evaluate(stack_of(text), *choose_environment(run), seeds, progress=sys.stderr.isatty())
        write_text(path, json.dumps(result.as_dict(), indent=1, allow_nan=False) + "\n")
    stored = json.loads(path.read_text())
    if stored["driver"] != f"stack:{text}" or stored["n_error"]:
        raise ValueError(f"{path} is of another stack, or an episode in it raised; remove it")
    return stored


def line(name: str, perfect: dict, result: dict) -> tuple[str, float]:
    """A row of the table, and by how many percentage points crashes rose."""
    figures = [one["per_episode"] for one in (result, perfect)]
    (hit, before), earned = ([torch.tensor(one[name]) for one in figures] for name in ("crashed", "return"))
    more, less = int((hit > before).sum()), int((before > hit).sum())
    rise, gain = tango_interval(more, less, len(hit)), mean_interval((earned[0] - earned[1]).numpy())
    cells = [name, f"{int(hit.sum())} of {len(hit)}", f"{100 * rise.value:+.1f}"]
    cells[-1] += f" ({100 * rise.low:+.1f} to {100 * rise.high:+.1f})"
    cells += [f"{float(earned[0].mean()):.2f}", f"{gain.value:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"]
    stages = result["notes"].get("stages, a world", {}).items()
    times = ", ".join(f"{stage} {figures['ms_a_decision']:.1f}" for stage, figures in stages)
    return f"| {' | '.join(cells)} | {times} |", 100 * rise.value


def main(arguments: Arguments) -> int:
    """Drives what is missing, prints the tables and returns the exit code."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    worst, perfect = 0.0, {}
    for run in arguments.runs:
        print(f"\n{run.name}, {choose_environment(run)[0]}\n\n{HEAD}", flush=True)
        for name, text in rows_of(arguments).items():
            result = driven(run, name, text, arguments)
            perfect = result if name == "perfect" else perfect
            shown, rise = line(name, perfect, result)
            worst = max(worst, rise if name == "cameras" else 0.0)
            print(shown, flush=True)
    return int(worst > arguments.most)


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        sys.exit(main(tyro.cli(Arguments)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
