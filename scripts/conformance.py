"""Plays seeds in ours (float64) and in the real highway-env and compares every observation, reward and flag.

    python scripts/conformance.py --seeds 20                       # the default config of every id
    python scripts/conformance.py --envs highway-fast-v0 --config case.json --seeds 100

Prints a Markdown table; exit code 1 if an episode differs.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from sim.evaluation.conformance import TABLE_HEAD, compare
from sim.provenance import usable_cores
from sim.scenarios import SCENARIOS


@dataclass
class Arguments:
    """What to compare."""

    envs: tuple[str, ...] = tuple(SCENARIOS)
    """Environment ids."""
    seeds: int = 10
    """Number of seeds."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    config: Path | None = None
    """JSON file with a config dict, or a list of them; without it the default config."""
    resets_only: bool = False
    """Compare the reset observations only."""
    processes: int = len(usable_cores())
    """Processes for the real highway-env."""


def main(arguments: Arguments) -> int:
    """Compare and print; returns the exit code."""
    configs = [None]
    if arguments.config is not None:
        loaded = json.loads(arguments.config.read_text())
        configs = loaded if isinstance(loaded, list) else [loaded]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cases = [(env_id, config) for env_id in arguments.envs for config in configs]
    rows, equal, total = [], 0, 0
    for env_id, config in tqdm(cases, unit="case"):
        result = compare(env_id, config, seeds, arguments.processes, arguments.resets_only)
        rows.append(result.row())
        total += len(result.seeds)
        equal += len(result.seeds) - len(result.differences)
    print(TABLE_HEAD, *rows, sep="\n")
    print(f"\n{equal} of {total} {'resets' if arguments.resets_only else 'episodes'} equal")
    return int(equal < total)


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Arguments, description=__doc__)))
    except (ValueError, TypeError, OSError, json.JSONDecodeError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        sys.exit(2)
