"""Train image classifiers and say how good they are: top-1 and calibration error, over several seeds.

python scripts/train_classifier.py --data fashion-mnist --network plain --out runs/fashion
python scripts/train_classifier.py --data signs --network mobilenet-v2 --share 0.01 --seeds 3 --out runs/signs-1
python scripts/train_classifier.py --data signs --network mobilenet-v2 --share 0.01 --scratch --out runs/scratch-1

A stopped training goes on where the same command is given again.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import tyro

from perception.classification.datasets import load_data
from perception.classification.networks import NETWORKS
from perception.classification.transfer import Recipe, spread
from perception.model_folder import moved_into_place
from sim.command import command, use_threads


@dataclass(frozen=True)
class Arguments:
    """Train a classifier with one or more seeds."""

    out: Path
    """Folder: a model folder for each seed, and scores.json."""
    data: str = "fashion-mnist"
    """fashion-mnist, fashion-mnist:DIR (four idx files), mnist-5k, signs or cifar10:DIR (binary version)."""
    network: str = "plain"
    """plain, resnet, mobilenet-v2 or efficientnet-lite0; the last two start from weights that packages ship."""
    share: float = 1.0
    """Share of the training pictures that keep their labels, such as 0.01."""
    scratch: bool = False
    """Start a shipped backbone from random weights all the same, to compare."""
    steps: int = 2000
    """Updates; a fine-tuning spends half of them on the head alone."""
    time_limit_s: float | None = None
    """The rate falls to zero by then, if the steps have not ended it before [s]; each seed has so long."""
    batch: int = 64
    rate: float = 2e-3
    seed: int = 0
    """The first one."""
    seeds: int = 1
    resolution: int = 96
    """To which pictures are scaled for a shipped backbone [px]."""
    threads: int = 2


@command
def main(arguments: Arguments) -> int:
    """Trains, prints a line for each seed and test set, and returns the exit code."""
    if arguments.network not in NETWORKS or arguments.seeds < 1:
        raise ValueError(f"--network must be one of {', '.join(NETWORKS)} and --seeds at least 1")
    use_threads(arguments.threads)
    options = {key: value for key, value in vars(arguments).items() if key in Recipe.__dataclass_fields__}
    recipe = Recipe(**options)
    data = load_data(arguments.data)
    found = spread(recipe, data, arguments.out, arguments.seeds, sys.stderr.isatty())
    for name in found[0]:
        scores = [one[name] for one in found]
        right = [100 * one.top1 for one in scores]
        print(
            f"{arguments.data} {name}: top-1 {mean(right):.2f} % ({min(right):.2f} to {max(right):.2f}, seeds: "
            f"{len(right)}), ECE {mean(one.ece for one in scores):.4f}, {scores[0].count} pictures"
        )
    stored = {
        "data": arguments.data,
        "recipe": asdict(recipe),
        "scores": [{name: asdict(one) for name, one in seed.items()} for seed in found],
    }
    with moved_into_place(arguments.out / "scores.json") as path:
        path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
