"""Show an episode in a window, or write it to an mp4 or gif file; needs no display for a file.

python scripts/replay.py runs/x --seed 7 --out x.mp4
python scripts/replay.py --driver idm --env highway-v0 --save-trace idm.npz
python scripts/replay.py idm.npz
"""

import sys
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tqdm import tqdm

import sim
from agents.drivers import choose_driver, choose_environment
from sim.recording import Trace, camera, frame_rate, make_envs, pictures, record_episode, replay
from sim.render import NoDisplayError
from sim.video import check_video_path, write_video


@dataclass(frozen=True)
class Arguments:
    """Show or film an episode of a run folder, a trace (.npz) or a --driver."""

    source: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder of scripts/train.py, or a trace."""
    driver: str | None = None
    """random, idle, idm or a Stable-Baselines3 FILE.zip, instead of the run's policy."""
    seed: int = 0
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
    """Where to write the episode as a trace (.npz)."""
    device: str = "cpu"
    precision: str = "float32"
    trust: bool = False
    """Load the pickled code of a Stable-Baselines3 zip."""
    sb3_algo: str = "ppo"
    """The algorithm of the zip: ppo, dqn, a2c, sac, td3 or ddpg."""


def record(arguments: Arguments) -> Trace:
    """Reads the trace, or drives the episode."""
    if arguments.source and arguments.source.suffix == ".npz":
        return Trace.load(arguments.source)
    spec = choose_driver(arguments.source, arguments.driver, arguments.trust, arguments.sb3_algo)
    id, config = choose_environment(arguments.source, arguments.env, arguments.env_config)
    envs = make_envs(id, config, arguments.precision, arguments.device)
    return record_episode(spec.build(arguments.device), envs, arguments.seed, spec.name)


def main(arguments: Arguments) -> int:
    """Runs the replay and returns the exit code."""
    try:
        if arguments.speed <= 0:
            raise ValueError(f"--speed must be positive, got {arguments.speed}")
        if arguments.out:
            check_video_path(arguments.out)
        if arguments.scenario:
            sim.load_scenarios(arguments.scenario)
        trace = record(arguments)
        if arguments.save_trace:
            trace.save(arguments.save_trace)
        envs = make_envs(trace.case.id, trace.case.config, trace.case.precision, arguments.device)
        sees_world = trace.case.sees == "world"
        driver = choose_driver(name=trace.case.driver).build(arguments.device) if sees_world else None
        renderer = camera(envs)
        images, fps = pictures(renderer, replay(trace, envs, driver), frame_rate(envs))
        fps *= arguments.speed
        if arguments.out:
            count = write_video(arguments.out, tqdm(images, unit="picture", disable=None), fps)
            total = trace.rewards.sum()
            print(f"{arguments.out}: {count} pictures, {len(trace.actions)} steps, return {total:.2f}")
            return 0
        for _ in takewhile(lambda _: renderer.show(), images):
            time.sleep(1 / fps)
    except (ValueError, TypeError, OSError, NoDisplayError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
