"""Judge a driver closed-loop over a fixed list of seeds, in our simulator or in the real highway-env.

python scripts/evaluate.py runs/x --simulator highway-env --episodes 200 --seed 1000 --json x.json
python scripts/evaluate.py --driver idm --env highway-v0
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sim
from agents.drivers import choose_driver, choose_environment
from sim.evaluation.runner import evaluate


@dataclass(frozen=True)
class Arguments:
    """Judge a driver closed-loop over the seeds SEED .. SEED + EPISODES - 1."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder of scripts/train.py: its policy, its environment."""
    driver: str | None = None
    """random, idle, idm or a Stable-Baselines3 FILE.zip, instead of the run's policy."""
    simulator: str = "ours"
    """ours or highway-env."""
    episodes: int = 200
    seed: int = 0
    json: Path | None = None
    """Where to write the figures as JSON."""
    env: str | None = None
    """Environment id; the run's, or highway-fast-v0, when left out."""
    env_config: Path | None = None
    """JSON file with an environment config, instead of the run's."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""
    device: str = "cpu"
    precision: str = "float32"
    processes: int | None = None
    """Worker processes for highway-env; one a core when left out."""
    trust: bool = False
    """Load the pickled code of a Stable-Baselines3 zip."""
    sb3_algo: str = "ppo"
    """The algorithm of the zip: ppo, dqn, a2c, sac, td3 or ddpg."""


def main(arguments: Arguments) -> int:
    """Runs the evaluation, prints its table and returns the exit code."""
    try:
        if arguments.json and not arguments.json.absolute().parent.is_dir():
            raise FileNotFoundError(f"--json: the folder {arguments.json.absolute().parent} does not exist")
        if arguments.episodes < 1:
            raise ValueError(f"--episodes must be at least 1, got {arguments.episodes}")
        if arguments.scenario:
            sim.load_scenarios(arguments.scenario)
        spec = choose_driver(arguments.run, arguments.driver, arguments.trust, arguments.sb3_algo)
        id, config = choose_environment(arguments.run, arguments.env, arguments.env_config)
        seeds = range(arguments.seed, arguments.seed + arguments.episodes)
        result = evaluate(
            spec, id, config, seeds, arguments.simulator, arguments.device,
            arguments.precision, arguments.processes, progress=sys.stderr.isatty(),
        )  # fmt: skip
    except (ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(result.table())
    if arguments.json:
        arguments.json.write_text(json.dumps(result.as_dict(), indent=2, allow_nan=False) + "\n")
    return 0 if result.n_run else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
