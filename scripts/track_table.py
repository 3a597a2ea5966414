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
from perception.cameras import FRONT
from perception.data.dataset import DatasetWriter
from perception.data.dataset_settings import DatasetSettings
from perception.data.driving import MixedDriver
from perception.data.manifest import NAME, read_manifest
from perception.detection.detector import load_detector
from perception.tracking.byte_tracker import TrackerSettings
from perception.tracking.clips import FRAME_RATE, LEAST_HEIGHT, LEAST_VISIBILITY, SOURCES, describe, thinned, troubled
from perception.tracking.comparison import PEERS, TUNED_ON_DETECTIONS, TUNED_PEERS, compare, summary, table
from perception.tracking.detections_cache import detected_clip, perfect_clip
from perception.tracking.lstm_motion import LstmMotion
from sim.command import command

DRIVERS = ("idm", "idm", "random")
"""Who drives the clips: the random one changes lanes, which turns the camera."""


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
    clips: int = 24
    seconds: float = 10.0
    """Length of a clip; it ends with its episode."""
    least_score: float = 0.05
    """Below which a detection is dropped."""
    seed: int = 11
    """Of the trouble that is made."""
    json: Path | None = None
    """File for the rows of the table."""


def recorded(arguments: Arguments) -> list[str]:
    """Writes the clips if they are not all there, and returns their names."""
    if not (arguments.data / NAME).is_file():
        drivers = partial(MixedDriver, [choose_driver(name=name).build for name in DRIVERS])
        length, common = round(arguments.seconds * FRAME_RATE), {"sources": SOURCES, "cameras": (FRONT,), "frames": 0}
        about = {"clip_length": length, "fps": FRAME_RATE, "splits": (arguments.split,), "drivers": (DRIVERS, DRIVERS)}
        settings = DatasetSettings(clips=arguments.clips, **about, **common)
        DatasetWriter(arguments.data, settings, (drivers, drivers)).write(sys.stderr.isatty())
    return [clip["name"] for clip in read_manifest(arguments.data)["splits"][arguments.split]["clips"]]


@command
def main(arguments: Arguments) -> int:
    """Makes the comparison and returns the exit code."""
    bar = partial(tqdm, desc="clips", disable=not sys.stderr.isatty())
    names = recorded(arguments)
    if arguments.detector:
        model = load_detector(arguments.detector)
        detect = torch.inference_mode()(partial(model.predict, least_score=arguments.least_score))
        cache = arguments.data.with_name(arguments.data.name + "-detections")
        least = {"least_height": LEAST_HEIGHT, "least_visibility": LEAST_VISIBILITY}
        clips = [detected_clip(arguments.data, n, arguments.detector, detect, cache, **least) for n in bar(names)]
    else:
        clips = [perfect_clip(arguments.data, name) for name in bar(names)]
    motions = {"Kalman": "kalman"} | ({"LSTM": LstmMotion.load(arguments.lstm)} if arguments.lstm else {})
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
