"""Train a lane network on the simulator's front camera and say how good it is, beside knowing no picture at all.

python scripts/train_lanes.py --network row-anchor --time-limit-s 1200 --out runs/lanes
python scripts/train_lanes.py --network segmentation --time-limit-s 1200 --out runs/road
python scripts/train_lanes.py --network row-anchor --evaluate-only --out runs/lanes --sheet lanes.png

A stopped training goes on where the same command is given again.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from perception.lanes.drawing import contact_sheet
from perception.lanes.evaluation import baseline, evaluate
from perception.lanes.models import NETWORKS, LaneRecipe, lane_training
from perception.model_folder import load_facts, moved_into_place
from sim.command import command, use_threads


@dataclass(frozen=True)
class Arguments:
    """Train and judge a lane network."""

    out: Path
    """Model folder; scores.json is written into it, too."""
    network: str = ""
    """row-anchor (lane lines, usual) or segmentation (the class of each pixel)."""
    steps: int = 4000
    """Updates."""
    time_limit_s: float | None = None
    """The rate falls to zero by then, if the steps have not ended it before [s]."""
    batch: int = 10
    """Pictures in an update."""
    rate: float = 2e-3
    seed: int = 0
    threads: int = 2
    evaluate_only: bool = False
    """Judge the model that is there."""
    batches: int = 20
    """Of 20 pictures, to judge it on, of the training domains and of the held-out ones each; 0 leaves that out."""
    sheet: Path | None = None
    """Write a picture of what it finds in the held-out domains to this file."""


@command
def main(arguments: Arguments) -> int:
    """Trains, prints the scores and returns the exit code."""
    use_threads(arguments.threads)
    if arguments.batches < 0:
        raise ValueError(f"--batches is {arguments.batches}; it must be at least 0")
    if (path := arguments.sheet) and not (path.absolute().parent.is_dir() and path.suffix == ".png"):
        raise ValueError(f"--sheet is {path}; it must be a .png in a folder that exists")
    options = {key: value for key, value in vars(arguments).items() if key in LaneRecipe.__dataclass_fields__}
    if not arguments.evaluate_only:
        options["network"] = arguments.network or NETWORKS[0]
        lane_training(LaneRecipe(**options), arguments.out).run(sys.stderr.isatty())
    rows, kind = {}, load_facts(arguments.out, arguments.network or None).kind
    for split in ("val", "test") if arguments.batches else ():
        rows[split] = evaluate(arguments.out, split, arguments.batches, threads=arguments.threads)
        rows[f"{split}, no picture"] = baseline(kind, split, arguments.batches, threads=arguments.threads)
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if rows:
        with moved_into_place(arguments.out / "scores.json") as path:
            path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if arguments.sheet is not None:
        contact_sheet(arguments.out, "test").save(arguments.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
