"""Train a detector, on the simulator's pictures or on a folder's, and say how good it is.

python scripts/train_detector.py --out runs/one
python scripts/train_detector.py --network faster-rcnn --frozen 4 --batch 8 --rate 1e-3 --steps 4100 --out runs/frcnn
python scripts/train_detector.py --data coco:DIR --steps 2000 --out runs/mine
python scripts/train_detector.py --out runs/one --evaluate-only

A stopped training goes on where the same command is given again. scores.json and scores.md in the folder have the
tables: average precision as a whole, by class, height and distance, each on several sets of pictures.
"""

import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import tyro

from perception.cameras import FRONT, HEIGHT, SURROUND, WIDTH
from perception.detection.detector import Detector, load_detector
from perception.detection.evaluation import WORLDS, Rows, evaluate, evaluate_folder, json_text, markdown
from perception.detection.folders import Folder, unseen
from perception.detection.recipe import SIMULATOR, Recipe, train
from perception.model_folder import moved_into_place
from sim.command import command, use_threads

SETS = {"val, front": ("val", (FRONT,)), "held out, front": ("test", (FRONT,)), "held out, around": ("test", SURROUND)}
"""Sets of simulator pictures by name: split and cameras. "val" has the domains of training, "test" others."""


@dataclass(frozen=True)
class Arguments:
    """Train a detector and judge it."""

    out: Path
    """Model folder: new or empty, or of the same training."""
    network: str = "one-stage"
    """one-stage, faster-rcnn, ssdlite or fcos."""
    backbone: str = ""
    """mobilenet-v2 (usual), efficientnet-lite0, mobilenet-v3, resnet18 or resnet34; only for faster-rcnn and fcos."""
    frozen: int = 0
    """First stages of a shipped backbone that keep ImageNet's weights."""
    scratch: bool = False
    """Start a shipped backbone from random weights all the same, to compare."""
    data: str = SIMULATOR
    """simulator, coco:DIR or yolo:DIR."""
    steps: int = 5600
    time_limit_s: float | None = None
    """The rate falls to zero by then, if the steps have not ended it before [s]."""
    batch: int = 16
    """Pictures of a step."""
    rate: float = 2e-3
    threads: int = 1
    """Of torch; another thread makes pictures."""
    seed: int = 0
    width: int = WIDTH
    height: int = HEIGHT
    pictures: int = 1500
    """On which it is judged, of each set."""
    evaluate_only: bool = False
    """Judge what is in --out, by --data, without training."""


def judged(detector: Detector, folders: list[Folder], pictures: int) -> dict[str, Rows]:
    """The tables of a detector on sets that its training did not see."""
    shown = sys.stderr.isatty()
    if not folders:
        counts = {name: ceil(pictures / WORLDS / len(cameras)) for name, (_, cameras) in SETS.items()}
        return {name: evaluate(detector, *at[:1], counts[name], at[1], progress=shown) for name, at in SETS.items()}
    return {folder.split: evaluate_folder(detector, folder, shown) for folder in folders}


@command
def main(arguments: Arguments) -> int:
    """Trains, writes and prints the tables, and returns the exit code."""
    use_threads(arguments.threads)
    if arguments.pictures < 1:
        raise ValueError(f"--pictures is {arguments.pictures}; it must be at least 1")
    folders = [] if arguments.data == SIMULATOR else unseen(arguments.data)
    if not arguments.evaluate_only:
        options = {name: value for name, value in vars(arguments).items() if name in Recipe.__dataclass_fields__}
        train(Recipe(**options), arguments.out, sys.stderr.isatty())
    found = judged(load_detector(arguments.out), folders, arguments.pictures)
    for name, text in {"scores.json": json_text(found), "scores.md": markdown(found)}.items():
        with moved_into_place(arguments.out / name) as path:
            path.write_text(text + "\n", encoding="utf-8")
    print(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
