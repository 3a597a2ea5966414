"""Train a driver with PPO or DQN in our simulator and leave it in a run folder.

python scripts/train.py --algo ppo --env highway-fast-v0 --out runs/x --time-limit-s 120
python scripts/train.py --out runs/x --resume
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import tyro

import sim
from agents import checkpoint
from agents.drivers import read_config
from agents.presets import ALGORITHMS, config_for
from sim.command import command, use_threads
from sim.config import complete
from sim.vector import usable_device

Config = TypeVar("Config")


@dataclass(frozen=True)
class Arguments(Generic[Config]):
    """Train a driver. The settings of the algorithm (--algo ppo --help) follow these; their defaults suit --env."""

    config: tyro.conf.OmitArgPrefixes[Config]
    algo: Literal["ppo", "dqn"] = "ppo"
    """Learning algorithm."""
    env: str = "highway-fast-v0"
    """Environment id."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""
    out: Path = Path("runs/train")
    """Run folder; must be new, or hold the run to --resume."""
    num_envs: int | None = None
    """Worlds; the algorithm's own number if left out."""
    env_config: Path | None = None
    """JSON file with an environment config."""
    device: str = "cpu"
    threads: int | None = None
    """CPU threads of torch; one a core if left out. Where other programs keep the cores busy, 1 is far faster."""
    precision: Literal["float32", "float64"] = "float32"
    resume: bool = False
    """Go on from the checkpoint in --out, with its settings; only budgets and device may change."""


def main(arguments: Arguments) -> None:
    """Builds the environments and trains."""
    device, algorithm = usable_device(arguments.device), ALGORITHMS[arguments.algo]
    env, num_envs, precision = arguments.env, arguments.num_envs or algorithm.NUM_ENVS, arguments.precision
    env_config = read_config(arguments.env_config) if arguments.env_config else None
    use_threads(arguments.threads)
    if arguments.resume:
        stored = checkpoint.load_config(arguments.out)["env"]
        env, env_config, num_envs, precision = (stored[k] for k in ("id", "config", "num_envs", "precision"))
    else:
        checkpoint.check_free(arguments.out)
    envs = sim.make_vec(env, num_envs=num_envs, device=str(device), precision=precision, config=env_config)
    algorithm.train(arguments.config, envs, arguments.out, arguments.resume)
    print(f"driver in {arguments.out}; judge it with: python scripts/evaluate.py {arguments.out}")


def parse() -> Arguments:
    """The command line; a run to resume supplies the algorithm and the defaults of its settings."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--algo", choices=ALGORITHMS)
    first.add_argument("--env", default=Arguments.env)
    first.add_argument("--env-config", type=Path)
    first.add_argument("--scenario", type=Path)
    first.add_argument("--out", type=Path, default=Arguments.out)
    first.add_argument("--resume", action="store_true")
    known, _ = first.parse_known_args()
    if known.scenario:
        sim.load_scenarios(known.scenario)
    algo = known.algo or "ppo"
    if not known.resume:
        config = config_for(algo, complete(known.env, read_config(known.env_config) if known.env_config else None))
    else:
        stored = checkpoint.load_config(known.out)
        if known.algo not in (None, stored["algo"]):
            raise ValueError(f"the run in {known.out} was trained with {stored['algo']}, not {known.algo}")
        algo = stored["algo"]
        config = checkpoint.restored(ALGORITHMS[algo].Config, stored["config"])
    return tyro.cli(Arguments[type(config)], default=Arguments(config, algo))


@command
def run() -> None:
    """Reads the command line and trains."""
    main(parse())


if __name__ == "__main__":
    sys.exit(run())
