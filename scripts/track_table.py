"""Compare our trackers with Roboflow's on identical detections: the truth made worse, and a detector's own.

python scripts/track_table.py --data runs/track-clips --lstm runs/motion --peers peers/bin/python
python scripts/track_table.py --data runs/track-clips --lstm runs/motion --peers peers/bin/python --detector runs/one
"""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from tqdm import tqdm

from agents.drivers import choose_driver
from perception.data.driving import MixedDriver
from perception.detection.detector import load_detector
from perception.tracking.byte_tracker import TrackerSettings
from perception.tracking.clips import LEAST_HEIGHT, LEAST_VISIBILITY, clip_set, describe, thinned, troubled
from perception.tracking.comparison import PEERS, TUNED_ON_DETECTIONS, TUNED_PEERS, compare, summary, table
from perception.tracking.detections_cache import detected_clip, perfect_clip
from perception.tracking.lstm_motion import LstmMotion
from sim.command import command

DRIVERS = ("idm", "idm", "random")
"""Who drives the clips: the random one changes lanes, which turns the camera."""
LEAST_SCORE = 0.05
"""Below which a detection is not kept."""


@dataclass(frozen=True)
class Arguments:
    """Print IDF1, MOTA and HOTA of every tracker at three rates of frames and three of occlusion."""

    data: Path
    """Data set with the clips; where there is none it is written first, or gone on with."""
    detector: Path | None = None
    """Its model folder; without, the truth made worse is followed. Its detections are kept in DATA-detections."""
    lstm: Path | None = None
    """Folder of a trained model of motion."""
    peers: Path | None = None
    """A Python that has Roboflow's trackers."""
    split: str = "test"
    clips: int | None = None
    """24 where they are written."""
    seconds: float | None = None
    """Length of a clip, 10 where they are written; it ends with its episode."""
    seed: int = 11
    """Of the trouble that is made."""
    json: Path | None = None
    """File for the rows of the table."""


@command
def main(arguments: Arguments) -> int:
    """Makes the comparison and returns the exit code."""
    bar = partial(tqdm, desc="clips", disable=not sys.stderr.isatty())
    if arguments.json and not (folder := arguments.json.absolute().parent).is_dir():
        raise FileNotFoundError(f"--json: the folder {folder} does not exist")
    motions = {"Kalman": "kalman"} | ({"LSTM": LstmMotion.load(arguments.lstm)} if arguments.lstm else {})
    model = load_detector(arguments.detector) if arguments.detector else None
    drivers = partial(MixedDriver, [choose_driver(name=name).build for name in DRIVERS])
    names = clip_set(arguments.data, arguments.split, arguments.clips, arguments.seconds, (DRIVERS, drivers))
    if model:
        detect = torch.inference_mode()(partial(model.predict, least_score=LEAST_SCORE))
        cache = arguments.data.with_name(arguments.data.name + "-detections")
        least = {"least_height": LEAST_HEIGHT, "least_visibility": LEAST_VISIBILITY}
        clips = [detected_clip(arguments.data, n, arguments.detector, detect, cache, **least) for n in bar(names)]
    else:
        clips = [perfect_clip(arguments.data, name) for name in bar(names)]
    ours = {name: (motion, TrackerSettings()) for name, motion in motions.items()}
    tuned = TUNED_ON_DETECTIONS if arguments.detector else TUNED_PEERS
    peers = {**tuned, **PEERS} if arguments.peers else {}
    spoil = thinned if arguments.detector else troubled
    rows = compare(clips, ours, peers, str(arguments.peers), arguments.seed, spoil)
    print(describe(clips), table(rows), summary(rows, list(ours)), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
