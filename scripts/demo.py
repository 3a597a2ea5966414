"""The whole product once: train a driver, judge it in both simulators, compare it with baselines, film it.

Leaves a run folder with `evaluation.json` and `replay.mp4` under runs/demo; an older demo is renamed, not overwritten.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch
import tyro
from tqdm import tqdm

import sim
from agents import ppo
from agents.drivers import choose_driver
from sim.command import command
from sim.evaluation.driver import DriverSpec
from sim.evaluation.report import comparison
from sim.evaluation.runner import Result, evaluate
from sim.provenance import provenance, usable_cores
from sim.recording import frame_rate, make_envs, pictures, record_episode, replay
from sim.render import Renderer
from sim.video import write_video

ENV = "highway-fast-v0"
# Episodes are judged on seeds that training, which starts from 0, never reaches.
FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Arguments:
    """Train, judge and film one driver."""

    out: Path = Path("runs/demo")
    """Where everything is written."""
    time_limit_s: float = 120.0
    """Wall time of the training."""
    seed: int = 0
    """Seed of the training."""
    quick: bool = False
    """Train for three seconds and judge over a few episodes."""


def make_room(out: Path) -> None:
    """Renames an older demo to the first free name of the form demo-1, demo-2, ..."""
    if out.exists() and any(out.iterdir()):
        older = next(path for n in count(1) if not (path := out.with_name(f"{out.name}-{n}")).exists())
        out.rename(older)
        print(f"The older demo is now in {older}")


def judge(driver: DriverSpec, simulator: str, episodes: int) -> Result:
    """Drives `episodes` unseen seeds."""
    return evaluate(driver, ENV, None, range(FIRST_SEED, FIRST_SEED + episodes), simulator)


def film(run: Path, seed: int) -> None:
    """Writes one unseen episode of the trained driver as a video."""
    envs = make_envs(ENV, None, "float32")
    trace = record_episode(choose_driver(run).build("cpu"), envs, seed, "ppo")
    renderer = Renderer(envs.network)
    images, fps = pictures(renderer, replay(trace, envs), frame_rate(envs))
    write_video(run / "replay.mp4", tqdm(images, unit="frame", disable=None), fps)


@command
def main(arguments: Arguments) -> None:
    """Runs the four stages and prints the table."""
    start, machine, run = time.perf_counter(), provenance(), arguments.out
    limit, ours, real = (3.0, 8, 2) if arguments.quick else (arguments.time_limit_s, 200, 200)
    make_room(run)
    print(f"1/4 Training PPO on {ENV} for {limit:.0f} s", flush=True)
    envs = sim.make_vec(ENV, num_envs=ppo.NUM_ENVS)
    ppo.train(ppo.Config(seed=arguments.seed, time_limit_s=limit), envs, run)

    print(f"2/4 Judging it over {ours} seeds in ours and {real} in the real highway-env", flush=True)
    driver = replace(choose_driver(run), name="ppo")
    results = [judge(driver, "ours", ours), judge(driver, "highway-env", real)]
    print("3/4 Judging the baselines in ours", flush=True)
    results += [judge(choose_driver(name=name), "ours", ours) for name in ("idm", "idle", "random")]

    print(f"4/4 Filming the episode of seed {FIRST_SEED}", flush=True)
    film(run, FIRST_SEED)
    figures = {"machine": machine, "training_s": limit, "results": [result.as_dict() for result in results]}
    (run / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{comparison(results)}")
    print(f"\n{run}: replay.mp4, evaluation.json, policy; {time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    torch.set_num_threads(len(usable_cores()))
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
