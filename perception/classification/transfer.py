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

from perception.classification import backbones
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
VIEWS = 4
"""Changed versions (moved, mirrored) of each picture whose features a frozen backbone computes."""


LEAST_RESOLUTION = 32
"""Of pictures inside a shipped backbone, which halves them five times [px]."""


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
        if self.resolution < LEAST_RESOLUTION:
            raise ValueError(f"resolution is {self.resolution}; it must be at least {LEAST_RESOLUTION} px")
        if self.scratch and self.network not in SHIPPED:
            raise ValueError(
                f"{self.network} starts from nothing anyway; only {', '.join(SHIPPED)} have shipped weights"
            )

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
        rows, _ = self.rows()
        changes = self.changes(len(rows), 2 * self.position + 1)
        self.position += 1
        return self.changed(self.pictures.images[rows], *changes), self.pictures.labels[rows]

    def rows(self) -> tuple[Tensor, Tensor]:
        """Which pictures the next batch has, and of which epoch each is; int64 [batch] both."""
        first, count = self.position * self.batch, len(self.pictures)
        epochs = range(first // count, (first + self.batch - 1) // count + 1)
        order = torch.cat([self._order(epoch) for epoch in epochs])[first % count :][: self.batch]
        return order, (first + torch.arange(self.batch)) // count

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.pictures), generator=self._generator(2 * epoch))

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + number)

    def changes(self, count: int, number: int) -> tuple[Tensor, Tensor]:
        """Draw number `number` of which pictures are mirrored, bool [count], and moved how far, int64 [2, count]."""
        generator = self._generator(number)
        flip = torch.rand(count, generator=generator) < (0.5 if self.mirrored else 0.0)
        return flip, torch.randint(-self.shift, self.shift + 1, (2, count), generator=generator)

    def changed(self, images: Tensor, flip: Tensor, moved: Tensor) -> Tensor:
        """Pictures mirrored and moved [px], see `changes`; what comes in from outside repeats the edge."""
        count, channels, height, width = images.shape
        if self.mirrored:
            images = torch.where(flip[:, None, None, None], images.flip(-1), images)
        if self.shift:
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


class FeatureBatches(LabelledBatches):
    """Batches of what a frozen backbone makes of pictures, float32 [B, F, 1, 1]: the means that its head begins with.

    An epoch takes one of `VIEWS` changed versions of the pictures; each goes through the backbone once.

    Args:
        classifier: of a shipped backbone, all its stages frozen.
        pictures, batch, seed, mirrored, shift: see `LabelledBatches`.
    """

    def __init__(
        self, classifier: Classifier, pictures: Labelled, batch: int, seed: int, mirrored: bool, shift: int
    ) -> None:
        super().__init__(pictures, batch, seed, mirrored, shift)
        self.classifier = classifier
        self._features = torch.empty(VIEWS, len(pictures), backbones.WIDTH, 1, 1)
        self._known = torch.zeros(VIEWS, len(pictures), dtype=torch.bool)

    def __next__(self) -> tuple[Tensor, Tensor]:
        rows, epochs = self.rows()
        self.position += 1
        views = epochs % VIEWS
        for view in views.unique().tolist():
            wanted = rows[views == view].unique()
            missing = wanted[~self._known[view, wanted]]
            if len(missing):
                self._features[view, missing] = self._computed(view, missing)
                self._known[view, missing] = True
        return self._features[views, rows], self.pictures.labels[rows]

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position; features are computed in the groups of an unbroken run, else their sums differ."""
        self.position, once = 0, -(-VIEWS * len(self.pictures) // self.batch)
        while self.position < min(state["position"], once):
            next(self)
        self.position = state["position"]

    @torch.no_grad()
    def _computed(self, view: int, rows: Tensor) -> Tensor:
        flip, moved = self.changes(len(self.pictures), 2 * view + 1)
        images = self.changed(self.pictures.images[rows], flip[rows], moved[:, rows])
        return self.classifier.features(self.classifier.prepared(images)).mean((2, 3), keepdim=True)


def head_loss(model: Classifier, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the loss of features, as `classification_loss` does of pictures."""
    return _cross_entropy(model.head(batch[0]), batch[1])


def classification_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return cross entropy, and beside it the share of right answers."""
    return _cross_entropy(model(batch[0]), batch[1])


def _cross_entropy(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
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
    about = {"recipe": {"data": data.name, "pictures": len(kept)} | asdict(recipe)}
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
        drawn = (pictures, recipe.batch, 2 * recipe.seed + number, data.mirrored, data.shift)
        all_frozen = frozen == len(classifier.features)
        batches = FeatureBatches(classifier, *drawn) if all_frozen else LabelledBatches(*drawn)
        loss = head_loss if all_frozen else classification_loss
        facts = facts_of(config, about | {"part": name})
        training = Training(classifier, facts, loss, batches, folder / name, settings)
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
