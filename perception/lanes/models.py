"""The lane networks by name: made, trained, loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from perception.lanes import row_anchor, segmentation
from perception.lanes.learning import LaneLesson, LaneLessons, lane_stream
from perception.lanes.row_anchor import SLOTS, RowAnchor, RowAnchorConfig, row_anchor_loss
from perception.lanes.segmentation import Segmentation, SegmentationConfig, segmentation_loss
from perception.model_folder import ModelFacts, load_facts, load_weights
from perception.training import Training, TrainingSettings

LaneModel = RowAnchor | Segmentation
NETWORKS = (row_anchor.KIND, segmentation.KIND)
AVERAGING = 0.99
"""Of the weights: about the last hundred steps, for trainings of a thousand or two."""


@dataclass(frozen=True)
class LaneRecipe:
    """How a lane network is trained.

    Attributes:
        network: one of `NETWORKS`.
        steps: updates. time_limit_s: the rate falls to zero by then at the latest [s].
        batch: pictures in each. rate: the highest learning rate. seed: of the weights and of the pictures.
        threads: that render.
    """

    network: str
    steps: int
    time_limit_s: float | None = None
    batch: int = 10
    rate: float = 2e-3
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}; it must be one of {', '.join(NETWORKS)}")


def make_network(recipe: LaneRecipe) -> tuple[LaneModel, ModelFacts]:
    """Return the network of a recipe, with weights that its seed decides, and what it is."""
    torch.manual_seed(recipe.seed)
    if recipe.network == row_anchor.KIND:
        network, classes = RowAnchor(RowAnchorConfig()), SLOTS
    else:
        network = Segmentation(SegmentationConfig())
        classes = network.config.classes
    facts = ModelFacts(recipe.network, classes, asdict(network.config), {"recipe": asdict(recipe)})
    return network.to(memory_format=torch.channels_last), facts


def lane_loss(network: nn.Module, lesson: LaneLesson) -> dict[str, Tensor]:
    """Return the parts of the loss of either network."""
    if isinstance(network, RowAnchor):
        return row_anchor_loss(network, lesson.images, lesson.lanes)
    return segmentation_loss(network, lesson.images, lesson.labels)


def lane_training(recipe: LaneRecipe, folder: Path) -> Training:
    """Return a training of a recipe in a folder, ready to run, or to go on.

    Raises:
        ValueError: an impossible recipe. FileExistsError: the folder holds another training, or something else.
    """
    network, facts = make_network(recipe)
    lines = recipe.network == row_anchor.KIND
    stream = lane_stream("train", recipe.batch, recipe.seed, lines, not lines, recipe.threads)
    settings = TrainingSettings(recipe.steps, recipe.time_limit_s, recipe.rate, averaging=AVERAGING, seed=recipe.seed)
    rows = network.config.rows if isinstance(network, RowAnchor) else 0
    return Training(network, facts, lane_loss, LaneLessons(stream, rows, recipe.seed), folder, settings)


def load_lane_model(folder: Path, device: torch.device | str = "cpu") -> LaneModel:
    """Return the lane network in a folder, ready to `predict`.

    Raises:
        FileNotFoundError: the folder holds no model.
        ValueError: the model is no lane network, cannot be read, or its weights are of another network.
    """
    facts = load_facts(folder)
    makers = {row_anchor.KIND: (RowAnchor, RowAnchorConfig), segmentation.KIND: (Segmentation, SegmentationConfig)}
    if facts.kind not in makers:
        raise ValueError(
            f"{folder} holds a model of kind {facts.kind!r}, which finds no lanes; known: {', '.join(makers)}"
        )
    make, configure = makers[facts.kind]
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.network.items()}
    try:
        network = make(configure(**options))
    except TypeError as error:
        raise ValueError(f"{folder} describes another {facts.kind} network: {error}") from None
    load_weights(folder, network)
    return network.to(device, memory_format=torch.channels_last).eval()
