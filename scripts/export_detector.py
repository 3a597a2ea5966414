"""Writes a detector as ONNX files into its folder, in fp32 and int8, and says how far they are from torch.

    python scripts/export_detector.py runs/one
    python scripts/export_detector.py runs/one --verify 200 --no-int8

Afterwards `load_detector(folder, runtime="onnx")` and `"onnx-int8"` run them.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from perception.benchmark.detection import BATCH, CALIBRATION, accuracy, pictures
from perception.detection.detector import load_detector
from perception.detection.export import differences, export, quantise
from perception.detection.learning import CLASSES
from sim.command import command, use_threads


@dataclass(frozen=True)
class Arguments:
    """Export a detector to ONNX."""

    folder: tyro.conf.Positional[Path]
    """Model folder of the detector."""
    int8: bool = True
    """Also quantise it, with pictures of the training split."""
    calibration: Annotated[int, tyro.conf.arg(metavar="N")] = CALIBRATION
    """Pictures that int8's scales are taken from."""
    verify: int = 100
    """Held-out pictures on which the files are compared with torch; 0 for none."""
    threads: int = 2


@command
def main(arguments: Arguments) -> int:
    """Exports, compares, and returns the exit code."""
    use_threads(arguments.threads)
    folder = arguments.folder
    known = load_detector(folder)
    if arguments.calibration < 1 or arguments.verify < 0:
        raise ValueError("--calibration must be at least 1 and --verify at least 0")
    path = export(folder)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.2f} MB")
    if arguments.int8:
        images = pictures("train", arguments.calibration, threads=arguments.threads).images
        path = quantise(folder, images.split(BATCH))
        print(f"wrote {path}, {path.stat().st_size / 1e6:.2f} MB, scales from {len(images)} pictures")
    if arguments.verify and known.classes != CLASSES:
        print("it knows other classes than the simulator's: not compared on its pictures")
    elif arguments.verify:
        held_out = pictures("test", arguments.verify, threads=arguments.threads)
        if held_out.size == known.size:
            far = differences(folder, held_out.images.split(BATCH))
            print(
                f"fp32 against torch, {far.pictures} pictures, before suppression: boxes differ by at most "
                f"{far.boxes:.2g} px, scores by {far.scores:.2g}"
            )
        for runtime in ("torch", "onnx", "onnx-int8")[: 3 if arguments.int8 else 2]:
            detector = load_detector(folder, runtime=runtime)
            scores = accuracy(detector, held_out)["plainly visible, any vehicle"]
            print(
                f"{runtime}: any vehicle AP {scores['AP']:.4f}, AP50 {scores['AP50']:.4f} "
                f"({len(held_out)} pictures of held-out domains, {scores['objects']} objects)"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
