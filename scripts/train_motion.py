"""Train the LSTM model of motion that trackers take instead of the Kalman filter, on true tracks of the simulator.

python scripts/train_motion.py --out runs/motion
python scripts/track_table.py --data runs/track-clips --lstm runs/motion

A stopped training goes on where the same command is given again.
"""

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import tyro

from agents.drivers import choose_driver
from perception.data.driving import MixedDriver
from perception.tracking.clips import ClipSettings, record
from perception.tracking.lstm_motion import SETTINGS, TrackSettings, train
from sim.command import command, use_threads


@dataclass(frozen=True)
class Arguments:
    """Train a model of motion."""

    out: Path
    """Model folder: new or empty, or of the same training."""
    clips: int = 48
    """Recorded of the training split, without pictures."""
    seconds: float = 10.0
    """Length of a clip at most; it ends with its episode."""
    drivers: tuple[str, ...] = ("idm", "idm", "random")
    """Named as for scripts/evaluate.py; the scenario seed decides. The random one turns the camera."""
    steps: int = 2000
    """Updates."""
    seed: int = 0
    """Of clips, histories and weights."""
    threads: int = 1


@command
def main(arguments: Arguments) -> int:
    """Records, trains and returns the exit code."""
    use_threads(arguments.threads)
    if arguments.clips < 1 or arguments.seconds <= 0:
        raise ValueError(f"{arguments.clips} clips of {arguments.seconds:g} s; both must be above 0")
    drivers = partial(MixedDriver, [choose_driver(name=name).build for name in arguments.drivers])
    settings = ClipSettings("train", arguments.seed, arguments.clips, arguments.seconds, min(4.0, arguments.seconds))
    clips = record(settings, drivers)
    training = replace(SETTINGS, steps=arguments.steps, seed=arguments.seed)
    train(clips, arguments.out, None, TrackSettings(seed=arguments.seed), training, sys.stderr.isatty())
    print(f"{arguments.out}: learned from {len(clips)} clips, {sum(map(len, clips))} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
