"""Show an episode in a window, or write it to an mp4 or gif file; needs no display for a file.

python scripts/replay.py runs/x --seed 7 --out x.mp4
python scripts/replay.py --driver idm --env highway-v0 --save-trace idm.npz
python scripts/replay.py judged --verify
python scripts/replay.py judged --where at_fault_collision --out films --overlay ttc,seen
python scripts/replay.py judged --case dense/17 --against other --from-worst min_ttc
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sim
from agents.drivers import choose_driver, choose_environment, driver_again, run_of
from sim.command import command
from sim.recording import Trace, make_envs, record_episode
from sim.recording.show import Selection, Stage
from sim.video import check_video_path


@dataclass(frozen=True)
class Arguments(Selection):
    """Show or film an episode of a run folder, a trace (.npz), an evaluation folder or a --driver."""

    source: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder of scripts/train.py, a trace, or a folder that evaluate.py --suite or falsify.py wrote."""
    driver: str | None = None
    """random, idle, idm, blind, search or a Stable-Baselines3 FILE.zip, instead of the run's policy."""
    seed: int = 0
    verify: bool = False
    """Show nothing; simulate again and compare every state hash."""
    overlay: str | None = None
    """What to draw too, commas between: ttc, rss, seen, camera, trail, plan, metrics, minimap, scale."""
    out: Path | None = None
    """FILE.mp4 or FILE.gif; a window when left out."""
    env: str | None = None
    """Environment id; the run's, or highway-fast-v0, when left out."""
    env_config: Path | None = None
    """JSON file with an environment config, instead of the run's."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""
    speed: float = 1.0
    """Simulated seconds a second of watching."""
    save_trace: Path | None = None
    """Where to write the episode as a trace (.npz), with the states of all frames."""
    device: str = "cpu"
    precision: str = "float32"
    trust: bool = False
    """Load the pickled code of a Stable-Baselines3 zip."""
    sb3_algo: str = "ppo"
    """The algorithm of the zip: ppo, dqn, a2c, sac, td3 or ddpg."""


def drive(arguments: Arguments) -> Trace:
    """Drives the episode that is asked for."""
    spec = choose_driver(arguments.source, arguments.driver, arguments.trust, arguments.sb3_algo)
    id, config = choose_environment(run_of(arguments.source, arguments.driver), arguments.env, arguments.env_config)
    envs, driver = make_envs(id, config, arguments.precision, arguments.device), spec.build(arguments.device)
    return record_episode(driver, envs, arguments.seed, spec.name, full=arguments.save_trace is not None)


@command
def main(arguments: Arguments) -> int:
    """Shows, films or verifies what is asked for and returns the exit code: 1 where --verify finds something."""
    source, out, device = arguments.source, arguments.out, arguments.device
    if arguments.out and not arguments.where:
        check_video_path(arguments.out)
    if arguments.scenario:
        sim.load_scenarios(arguments.scenario)
    stage = Stage(
        lambda case: driver_again(case.driver, device),
        device, arguments.overlay, arguments.speed, arguments.recorded,
    )  # fmt: skip
    if arguments.verify:
        return 0 if stage.verify(source, print) else 1
    if shown := stage.show_folder(source, arguments, out):
        print(shown)
        return 0
    trace = Trace.load(source) if source and source.suffix == ".npz" else drive(arguments)
    if arguments.save_trace:
        trace.save(arguments.save_trace)
    what = f"{len(trace.actions)} steps, return {trace.rewards.sum():.2f}"
    print(stage.show(trace).present(out, what))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
