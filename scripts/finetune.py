"""Train a trained driver on under the errors of perception, so that it drives on what the stack will tell it.

python scripts/finetune.py runs/x --out runs/y --time-limit-s 700
python scripts/finetune.py runs/x --out runs/y --time-limit-s 900 --resume

Algorithm, settings and environment are those of the run it starts from; in a quarter of the episodes nothing is wrong.
How large the errors are, and what of: perception/noise.py and docs/stack.md.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

import sim
from agents import checkpoint
from agents.presets import ALGORITHMS
from perception.noise import NoisyWorlds
from sim.command import command, use_threads
from sim.vector import usable_device


@dataclass(frozen=True)
class Arguments:
    """Train a trained driver on under the errors of perception."""

    start_from: Annotated[Path, tyro.conf.Positional]
    """Run folder whose policy is trained on."""
    out: Path
    """Run folder; must be new, or hold the run to --resume."""
    scale: float = 1.0
    """Of the errors; 1 is as large as those measured on the stack."""
    total_steps: int | None = None
    """Environment steps of all worlds."""
    time_limit_s: float | None = None
    """Seconds of training."""
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    """CPU threads of torch; one a core if left out. Where other programs keep the cores busy, 1 is far faster."""
    resume: bool = False
    """Go on from the checkpoint in --out."""


@command
def main(arguments: Arguments) -> None:
    """Builds the worlds and trains."""
    use_threads(arguments.threads)
    device, stored = usable_device(arguments.device), checkpoint.load_config(arguments.start_from)
    algorithm, env = ALGORITHMS[stored["algo"]], stored["env"]
    budget = {"total_steps": arguments.total_steps, "time_limit_s": arguments.time_limit_s, "seed": arguments.seed}
    config = replace(checkpoint.restored(algorithm.Config, stored["config"]), **budget)
    if not arguments.resume:
        checkpoint.check_free(arguments.out)
    options = {"num_envs": env["num_envs"], "precision": env["precision"], "config": env["config"]}
    worlds = NoisyWorlds(sim.make_vec(env["id"], device=str(device), **options), arguments.scale, arguments.seed)
    algorithm.train(config, worlds, arguments.out, arguments.resume, start_from=arguments.start_from)
    print(f"driver in {arguments.out}; judge it with: python scripts/stack_table.py {arguments.out} --detector ...")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
