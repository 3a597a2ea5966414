"""Find things in a picture, a folder of pictures, a video or a drive in the simulator; draw them and write them down.

python scripts/detect.py --model runs/one --input street.mp4 --out found --track
python scripts/detect.py --model runs/one --input simulator:merge-v0 --out found --track
python scripts/detect.py --model runs/one nanodet:package/models --input photos --out found
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from agents.drivers import choose_driver
from perception.detection.detector import Detector, load_detector
from perception.detection.peers import PEERS, load_peer
from perception.pictures import FRAME_RATE, SIMULATOR, Footage, drive, open_footage
from perception.prediction import Finder, detect, lane_layer
from sim.command import Interrupt, command
from sim.vector import usable_device


@dataclass(frozen=True)
class Arguments:
    """Find things and write DIR/detections.json (COCO results), DIR/images.json (what their ids mean) and drawings."""

    model: tuple[str, ...]
    """Folder of a detector, or nanodet:FOLDER or centernet:FOLDER; several are drawn beside each other."""
    input: str
    """A picture, a folder of pictures, a video, or simulator[:ENV_ID[:KEY=VALUE,...]] (highway-v0 if left out)."""
    out: Path
    """Folder of the results, made if missing."""
    track: bool = False
    """Follow things from picture to picture; writes DIR/tracks.txt (MOT) too."""
    least_score: float = 0.3
    """Score below which a thing is not told."""
    lanes: tuple[Path, ...] = ()
    """Folders of lane networks (scripts/train_lanes.py), whose lines or classes are drawn too."""
    runtime: Literal["torch", "onnx", "onnx-int8"] = "torch"
    """What runs our own detectors; onnx needs what their export wrote."""
    fps: float | None = None
    """Pictures a second of a folder (10 if left out) or a drive (15)."""
    frames: int | None = None
    """Only the first so many pictures; a drive has 150 if left out."""
    width: int | None = None
    """Draw on pictures of this width where they are larger [px]; several models beside each other get large."""
    driver: str = "idm"
    """Who drives, named as for scripts/evaluate.py."""
    seed: int = 0
    domain: str = "clear"
    """What a drive looks like; docs/domains.md lists them."""
    device: str = "cpu"


def footage_of(arguments: Arguments) -> Footage:
    """Returns what is to be looked at."""
    if arguments.frames is not None and arguments.frames < 1:
        raise ValueError(f"frames is {arguments.frames}; it must be at least 1")
    if arguments.seed < 0 or not arguments.model:
        raise ValueError("--seed must be at least 0, and --model needs at least one folder")
    (kind, _, source), fps = arguments.input.partition(":"), arguments.fps
    if kind != SIMULATOR:
        return open_footage(arguments.input, FRAME_RATE if fps is None else fps).first(arguments.frames)
    build, count = choose_driver(name=arguments.driver).build, arguments.frames or 150
    return drive(source or "highway-v0", build, count, 15.0 if fps is None else fps, arguments.seed, arguments.domain)


def detector_of(name: str, arguments: Arguments) -> Detector:
    """Returns the detector that --model names."""
    peer, _, folder = name.partition(":")
    if peer in PEERS:
        return load_peer(peer, Path(folder), arguments.device)
    return load_detector(Path(name), arguments.device, arguments.runtime)


@command
def main(arguments: Arguments) -> int:
    """Looks at everything and returns the exit code."""
    usable_device(arguments.device)
    footage = footage_of(arguments)
    finders = [Finder(detector_of(name, arguments), arguments.least_score, arguments.track) for name in arguments.model]
    layers = [lane_layer(folder, arguments.device) for folder in arguments.lanes]
    with Interrupt() as interrupt:

        def stop() -> bool:
            return interrupt.requested

        lines = detect(footage, finders, arguments.out, layers, arguments.width, stop, sys.stderr.isatty())
    print("\n".join([*lines, f"{arguments.out}" + " (stopped early)" * interrupt.requested]))
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
