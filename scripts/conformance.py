"""Plays seeds in ours (float64) and in the real highway-env and compares every observation, reward, flag and info.

python scripts/conformance.py --seeds 20                                     # the default config of every id
python scripts/conformance.py --envs merge-v0 exit-v0 --seeds 5 --configs 20 # and 20 random configs of each
Prints a Markdown table and each episode that differs; exit code 1 if one does, 2 for wrong input.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from tqdm import tqdm

from sim.command import command
from sim.evaluation.conformance import compare_all
from sim.evaluation.conformance_report import chosen_cases, report
from sim.evaluation.sensitivity import explain
from sim.provenance import usable_cores
from sim.scenarios import SCENARIOS
from sim.vector import usable_device


@dataclass(frozen=True)
class Arguments:
    """What to compare."""

    envs: tuple[str, ...] = tuple(SCENARIOS)
    """Environment ids."""
    seeds: int = 10
    """Number of seeds of each case."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    config: Path | None = None
    """JSON file with a config dict, or a list of them, instead of the default config."""
    configs: int = 0
    """Number of random configs of each id, besides the default config."""
    config_seeds: int = 2
    """Number of seeds of each random config."""
    actions: str = "random"
    """random, gentle, idle or follow (steers along the lane, so that episodes last)."""
    steps: int | None = None
    """Longest episode; without it until the end, 300 steps where there is none. 0 compares resets only."""
    processes: int = len(usable_cores())
    """Processes for the real highway-env, at least 1."""
    device: str = "cpu"
    """Where ours runs: cpu, cuda or cuda:N."""
    markdown: Path | None = None
    """File for the table."""


@command
def main(arguments: Arguments) -> int:
    """Compare and print; returns the exit code."""
    usable_device(arguments.device)
    if arguments.processes < 1:
        raise ValueError(f"--processes is {arguments.processes}; it must be at least 1")
    if arguments.markdown and not arguments.markdown.absolute().parent.is_dir():
        raise FileNotFoundError(f"--markdown: the folder {arguments.markdown.absolute().parent} does not exist")
    loaded = [] if arguments.config is None else json.loads(arguments.config.read_text())
    given = None if arguments.config is None else loaded if isinstance(loaded, list) else [loaded]
    a = arguments
    cases = chosen_cases(a.envs, a.seeds, a.first_seed, given, a.configs, a.config_seeds, a.steps, a.actions)
    with tqdm(total=sum(len(case.seeds) for case in cases), unit="episode", disable=None) as bar:
        results = list(compare_all(cases, arguments.processes, arguments.device, bar.update))
    explain(results, arguments.processes)
    print(text := report(results))
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")
    return int(not all(result.equal for result in results))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
