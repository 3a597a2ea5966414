"""Search for scenes in which a driver has an avoidable accident; the failures are made small, sorted and replayable.

python scripts/falsify.py --driver idm --env highway-v0 --method cma --time-limit-s 300 --out failures
python scripts/falsify.py runs/x --out failures --show 0003 --video crash.mp4
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tqdm import tqdm

import sim
from agents.drivers import choose_driver, choose_environment, run_of
from sim.command import command
from sim.evaluation import falsification


@dataclass(frozen=True)
class Arguments(falsification.Settings, falsification.Wanted):
    """Search for the failures of a driver. The same command goes on with a search that was stopped."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder of scripts/train.py: its policy, its environment."""
    driver: str | None = None
    """random, idle, idm or a Stable-Baselines3 FILE.zip, instead of the run's policy."""
    out: Path | None = None
    """Folder for failures.json, the traces and the state of the search."""
    space: Path | None = None
    """JSON file with what to search; without it the nearest vehicles and the known config keys."""
    show: str | None = None
    """Search nothing; film this case of --out as --video."""
    video: Path | None = None
    """FILE.mp4 or FILE.gif for --show."""
    env: str | None = None
    """Environment id; the run's, or highway-fast-v0, when left out."""
    env_config: Path | None = None
    """JSON file with an environment config, instead of the run's."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""
    device: str = "cpu"
    precision: str = "float32"
    trust: bool = False
    """Load the pickled code of a Stable-Baselines3 zip."""
    sb3_algo: str = "ppo"
    """The algorithm of the zip: ppo, dqn, a2c, sac, td3 or ddpg."""


@command
def main(arguments: Arguments) -> int:
    """Runs the search and returns the exit code."""
    if arguments.out is None:
        raise ValueError("give --out DIR, where the failures go")
    falsification.Settings.check(arguments)
    falsification.Wanted.check(arguments)
    if arguments.scenario:
        sim.load_scenarios(arguments.scenario)
    spec = choose_driver(arguments.run, arguments.driver, arguments.trust, arguments.sb3_algo)
    driver = spec.build(arguments.device)
    if arguments.show:
        if arguments.video is None:
            raise ValueError("--show films a failure: give --video FILE.mp4")
        show, video = arguments.show, arguments.video
        print(falsification.film(arguments.out, show, video, driver, arguments.device))
        return 0
    run = run_of(arguments.run, arguments.driver)
    id, config = choose_environment(run, arguments.env, arguments.env_config)
    ground = falsification.ProvingGround(driver, id, config, arguments.device, arguments.precision)
    space = falsification.chosen_space(arguments.space, id, config)
    learned = run and (not arguments.driver or arguments.driver.startswith("stack:"))
    weights = run / "policy.safetensors" if learned else None
    digest = weights and hashlib.sha256(weights.read_bytes()).hexdigest()
    who = {"driver": spec.name, "weights_sha256": digest, "id": id, "config": ground.changes}
    who |= {"precision": arguments.precision}
    search = falsification.Search(ground, space, arguments, arguments.out, who)
    with tqdm(total=arguments.budget_episodes, initial=search.found.episodes, unit="ep", disable=None) as bar:
        try:
            for found in search.run():
                bar.set_postfix(failures=len(found), refresh=False)
                bar.update(found.episodes - bar.n)
        except KeyboardInterrupt:
            print("stopped; what was found is kept, the same command goes on", file=sys.stderr)
        print(falsification.conclude(search, arguments, spec.name, bar.set_description))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
