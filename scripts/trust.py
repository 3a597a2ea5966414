"""How far a model can be trusted: corruptions, attacks, explanations, and for a detector held-out domains.

python scripts/trust.py --model runs/fashion/seed-0 --other runs/fashion/seed-1 --out runs/trust-fashion
python scripts/trust.py --model runs/one --only domains corruptions --out runs/trust-one-stage

Tables go to the terminal and, with the picture of the maps, to OUT. A stopped run goes on where the same command is
given again.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from perception.classification.datasets import load_data, name_of_data
from perception.classification.networks import KIND, load_classifier
from perception.detection.detector import load_detector
from perception.model_folder import load_facts
from perception.trust.attacks import AttackSettings
from perception.trust.classifier_trust import ClassifierTrust
from perception.trust.detector_trust import DetectorTrust
from perception.trust.sections import Findings
from sim.command import command, use_threads
from sim.config import require_known

PARTS = ("domains", "corruptions", "attacks", "explanations")
UNSTORED = ("model", "other", "out", "only", "threads")
"""Arguments that what is found does not depend on; models are known by their weights."""


@dataclass(frozen=True)
class Arguments:
    """Tries a classifier or a detector."""

    model: Path
    """A model folder."""
    out: Path
    """Folder of trust.json and maps.png."""
    other: Path | None = None
    """A second model: the baseline of mCE, and where PGD's pictures are also made."""
    only: tuple[str, ...] = ()
    """Of domains (detectors alone), corruptions, attacks and explanations; all that there are unless given."""
    pictures: int | None = None
    """That are corrupted, and of each domain; 1000 for a classifier and 100 for a detector unless given."""
    attacked: int | None = None
    """Pictures that are attacked; 200, or 30 for a detector."""
    explained: int = 32
    epsilons: tuple[float, ...] = (1, 2, 4, 8)
    """Budgets of the attacks in steps of 8-bit colour."""
    steps: int = 20
    """Of PGD."""
    restarts: int = 1
    seed: int = 0
    threads: int = 1


@command
def main(arguments: Arguments) -> int:
    """Prints the tables and returns the exit code."""
    for name in ("pictures", "attacked", "explained", "steps", "restarts"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise ValueError(f"--{name} is {value}; it must be at least 1")
    use_threads(arguments.threads)
    trust = trials(arguments)
    about = {key: value for key, value in asdict(arguments).items() if key not in UNSTORED}
    findings = Findings(arguments.out, about, [one for one in (arguments.model, arguments.other) if one])
    there = [part for part in PARTS if hasattr(trust, part)]
    require_known(arguments.only, there, f"{type(trust).__name__} part")
    for part in there:
        if part in (arguments.only or there):
            for section in findings.add(part, lambda part=part: getattr(trust, part)(findings)):
                print(section.markdown(), flush=True)
    return 0


def trials(arguments: Arguments) -> ClassifierTrust | DetectorTrust:
    """Return the trials of the model, by its kind."""
    steps, seed = (arguments.steps, arguments.restarts), arguments.seed
    attacks = AttackSettings(tuple(one / 255 for one in arguments.epsilons), *steps, seed)
    kind = load_facts(arguments.model).kind
    load = load_classifier if kind == KIND else load_detector
    pair = load(arguments.model), None if arguments.other is None else load(arguments.other)
    if kind != KIND:
        counts = arguments.pictures or 100, arguments.attacked or 30, arguments.explained
        return DetectorTrust(*pair, *counts, attacks, seed, told)
    test = load_data(name_of_data(arguments.model)).test
    mixed = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))[: arguments.pictures or 1000]
    counts = arguments.attacked or 200, arguments.explained
    return ClassifierTrust(*pair, test.images[mixed], test.labels[mixed], attacks, *counts, seed, told)


def told(what: str) -> None:
    """Says what is done next."""
    print(f"trust: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
