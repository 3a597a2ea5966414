"""Training classifiers: from scratch, or from a shipped backbone, first its head and then its last stages too.

Budgets are what is compared: from scratch has as many updates, and as much time where a limit is set, as head and last
stages together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.classification.datasets import DataSet, Labelled, labelled_share
from perception.classification.networks import (
    SHIPPED,
    Classifier,
    NetworkConfig,
    build,
    facts_of,
    fill_backbone,
    imagenet_config,
)
from perception.classification.scores import Scores, score
from perception.model_folder import save_model
from perception.training import Training, TrainingSettings

HEAD_SHARE = 0.5
"""Of the budget of a fine-tuning goes to the head alone, before the last stages join it."""
TUNING_RATE = 0.25
"""Rate of the second part over that of the first: what was learnt from ImageNet is to be adjusted, not forgotten."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        network: see `networks.NETWORKS`.
        share: of the training pictures that keep their labels.
        steps, batch: updates in all, and pictures of each. time_limit_s: of all updates together [s], or None.
        rate: the highest learning rate.
        seed: of the weights, the order and which pictures keep their labels.
        scratch: whether a network with a shipped backbone starts from random weights all the same.
        resolution: to which pictures are scaled for a shipped backbone [px].
        tuned: stages at the end of a shipped backbone that learn in the second part.
    """

    network: str
    share: float = 1.0
    steps: int = 2000
    batch: int = 64
    time_limit_s: float | None = None
    rate: float = 2e-3
    seed: int = 0
    scratch: bool = False
    resolution: int = 96
    tuned: int = 6

    def __post_init__(self) -> None:
        if self.batch < 2 or self.steps < 2:
            raise ValueError(f"batch is {self.batch} and steps {self.steps}; both must be at least 2")

    @property
    def pretrained(self) -> bool:
        """Whether it starts from a shipped backbone."""
        return self.network in SHIPPED and not self.scratch


class LabelledBatches:
    """Endless batches, each a function of seed and position: every epoch in an order of its own, moved, mirrored.

    Args:
        pictures: to draw from.
        batch: pictures at a time.
        seed: of order and changes.
        mirrored, shift: see `DataSet`; every second picture is mirrored, on average.
    """

    def __init__(self, pictures: Labelled, batch: int, seed: int, mirrored: bool = False, shift: int = 0) -> None:
        self.pictures, self.batch, self.seed = pictures, batch, seed
        self.mirrored, self.shift = mirrored, shift
        self.position = 0

    def __next__(self) -> tuple[Tensor, Tensor]:
        first = self.position * self.batch
        count = len(self.pictures)
        rows = torch.cat(
            [self._order(epoch) for epoch in range(first // count, (first + self.batch - 1) // count + 1)]
        )[first % count :][: self.batch]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + 2 * self.position + 1)
        self.position += 1
        return self._changed(self.pictures.images[rows], generator), self.pictures.labels[rows]

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + 2 * epoch)
        return torch.randperm(len(self.pictures), generator=generator)

    def _changed(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, channels, height, width = images.shape
        if self.mirrored:
            flip = torch.rand(count, generator=generator) < 0.5
            images = torch.where(flip[:, None, None, None], images.flip(-1), images)
        if self.shift:
            moved = torch.randint(-self.shift, self.shift + 1, (2, count), generator=generator)
            rows = (torch.arange(height) + moved[0, :, None]).clamp(0, height - 1)[:, None, :, None]
            columns = (torch.arange(width) + moved[1, :, None]).clamp(0, width - 1)[:, None, None, :]
            picture, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None]
            images = images[picture, channel, rows, columns]
        return images

    def state_dict(self) -> dict[str, int]:
        """The position."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position."""
        self.position = state["position"]


def classification_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return cross entropy, and beside it the share of right answers."""
    images, labels = batch
    logits = model(images)
    right = (logits.argmax(1) == labels).float().mean()
    return {"loss": functional.cross_entropy(logits, labels), "right": right}


def config_for(recipe: Recipe, data: DataSet) -> NetworkConfig:
    """Return the network for a data set, normalised by the training pictures' own mean and spread."""
    images = data.train.images
    _, channels, height, width = images.shape
    if recipe.network in SHIPPED:
        inside = imagenet_config(recipe.network, recipe.resolution)
    else:
        sample = images[:: max(1, len(images) // 5000)].float() / 255.0
        mean, spread = sample.mean((0, 2, 3)).tolist(), sample.std((0, 2, 3)).tolist()
        inside = {"mean": tuple(mean), "std": tuple(max(one, 1e-3) for one in spread)}
    return NetworkConfig(recipe.network, data.classes, channels, height, width, **inside)


def train(recipe: Recipe, data: DataSet, folder: Path, progress: bool = False) -> Classifier:
    """Train a classifier; the folder then holds the model, and its parts' folders all that training left.

    The folder may be one where the same training was stopped: it goes on.

    Raises:
        ValueError: the recipe does not fit. FileExistsError: the folder holds another training.
        ModuleNotFoundError, FileNotFoundError: a shipped backbone is not installed.
        FloatingPointError: the loss is no number; its batch is saved.
    """
    kept = labelled_share(data.train.labels, recipe.share, recipe.seed)
    pictures = Labelled(data.train.images[kept], data.train.labels[kept])
    config = config_for(recipe, data)
    torch.manual_seed(recipe.seed)
    classifier = build(config)
    about = {"data": data.name, "pictures": len(kept)} | asdict(recipe)
    parts: Sequence[tuple[str, float, float, int]] = (("scratch", 1.0, 1.0, 0),)
    if recipe.pretrained:
        fill_backbone(classifier)
        stages = len(classifier.features)
        if not 1 <= recipe.tuned <= stages:
            raise ValueError(f"tuned is {recipe.tuned!r}; the backbone has 1 to {stages} stages to learn")
        second = (f"last-{recipe.tuned}-stages", 1 - HEAD_SHARE, TUNING_RATE, stages - recipe.tuned)
        parts = (("head", HEAD_SHARE, 1.0, stages), second)
    for number, (name, share, rate, frozen) in enumerate(parts):
        classifier.freeze(frozen)
        settings = _settings(recipe, share, rate)
        batches = LabelledBatches(pictures, recipe.batch, 2 * recipe.seed + number, data.mirrored, data.shift)
        facts = facts_of(config, about | {"part": name})
        training = Training(classifier, facts, classification_loss, batches, folder / name, settings)
        training.run(progress)
        classifier.load_state_dict(training.average)
    save_model(folder, facts_of(config, about), classifier.state_dict())
    classifier.freeze(0)
    return classifier.eval()


def _settings(recipe: Recipe, share: float, rate: float) -> TrainingSettings:
    steps = max(1, round(recipe.steps * share))
    limit = None if recipe.time_limit_s is None else recipe.time_limit_s * share
    return TrainingSettings(
        steps, limit, recipe.rate * rate, warm_up=max(1, min(100, steps // 10)), averaging=0.99, seed=recipe.seed
    )


def spread(recipe: Recipe, data: DataSet, folder: Path, seeds: int, progress: bool = False) -> list[dict[str, Scores]]:
    """Train with several seeds, each in a folder of its own; of each the scores on "test", and "seen" if there is one.

    Args:
        recipe: its seed is the first one.
        data: see `train`.
        folder: of the seeds' folders.
        seeds: how many.
        progress: whether to show it.
    """
    found = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        classifier = train(replace(recipe, seed=seed), data, folder / f"seed-{seed}", progress)
        tests = {"test": data.test} | ({"seen": data.seen} if data.seen else {})
        found.append({name: score(classifier, one.images, one.labels) for name, one in tests.items()})
    return found
