"""How a detector is trained: which network, on which pictures, for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from perception.cameras import HEIGHT, SURROUND, WIDTH
from perception.data.stream import FrameStream, StreamSettings
from perception.detection.folders import Folder, FolderLessons
from perception.detection.learning import CLASSES, Lesson, Lessons
from perception.detection.losses import detection_loss
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.detection.torchvision_models import BACKBONES, SHIPPED, PeerConfig, build_peer, peer_loss
from perception.model_folder import ModelFacts
from perception.training import Training, TrainingSettings

NETWORKS = ("one-stage", *BACKBONES)
SIMULATOR = "simulator"
AROUND_SHARE = 8
"""One world in so many pictures of a batch is seen by the three cameras to the sides and back, the rest in front."""
FRAMES = 6
"""Pictures of a scenario seed before the next one takes its place."""
CHECKPOINT_EVERY_S = 120.0


@dataclass(frozen=True)
class Recipe:
    """A training.

    Attributes:
        network: one of `NETWORKS`. backbone: "" takes the network's usual one; one-stage has no other.
        frozen: stages of a shipped backbone that do not learn. scratch: do not start from shipped weights.
        data: "simulator", "coco:DIR" or "yolo:DIR".
        steps, batch: updates, and pictures of each.
        time_limit_s: the rate falls to zero by then, if the steps have not ended it before [s].
        rate: the highest learning rate.
        seed: of weights, pictures and changes.
        width, height: of the detector's input [px], multiples of 32.
    """

    network: str = "one-stage"
    backbone: str = ""
    frozen: int = 0
    scratch: bool = False
    data: str = SIMULATOR
    steps: int = 5600
    batch: int = 16
    time_limit_s: float | None = None
    rate: float = 2e-3
    seed: int = 0
    width: int = WIDTH
    height: int = HEIGHT

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}; it must be one of {', '.join(NETWORKS)}")
        if self.network == "one-stage" and (self.backbone or self.frozen):
            raise ValueError("one-stage has a backbone of its own, of which nothing is frozen")
        if (
            self.scratch
            and self.network != "one-stage"
            and (self.backbone or BACKBONES[self.network][0]) not in SHIPPED
        ):
            raise ValueError(
                f"the backbone starts from scratch anyway; only {' and '.join(SHIPPED)} have shipped weights"
            )
        if self.scratch and self.frozen:
            raise ValueError("stages that start from nothing can't be frozen; give either --scratch or --frozen")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must be at least 0")
        if self.batch < 4:
            raise ValueError(f"batch is {self.batch}; it must be at least 4, else batches say little about the mean")


def lessons_of(recipe: Recipe) -> tuple[Lessons | FolderLessons, tuple[str, ...]]:
    """Return what a detector is to learn from, and the names of its classes.

    Raises:
        FileNotFoundError, ValueError: see `folders.Folder`.
    """
    if recipe.data != SIMULATOR:
        folder = Folder(recipe.data, "train")
        return FolderLessons(folder, (recipe.width, recipe.height), recipe.batch, recipe.seed), folder.classes
    cameras = tuple(replace(camera, width=recipe.width, height=recipe.height) for camera in SURROUND)
    around = max(1, recipe.batch // AROUND_SHARE)
    front = recipe.batch - around * len(cameras[1:])
    shares = ((cameras[:1], front), (cameras[1:], around))
    streams = [
        FrameStream(
            StreamSettings(cameras=some, batch_size=worlds, frames=FRAMES, seed=2 * recipe.seed + i),
            threads=1,
        )
        for i, (some, worlds) in enumerate(shares)
    ]
    return Lessons(*streams, seed=recipe.seed), CLASSES


def built(recipe: Recipe, classes: tuple[str, ...]) -> tuple[nn.Module, ModelFacts, Callable[..., dict[str, Tensor]]]:
    """Return a network, what it is, and its loss(network, images, targets)."""
    torch.manual_seed(recipe.seed)
    training = {"recipe": asdict(recipe), "pictures": 0, "cpu_s": 0.0}
    if recipe.network == "one-stage":
        config = OneStageConfig(classes, recipe.width, recipe.height)
        network: nn.Module = OneStage(config)
        return network, ModelFacts(recipe.network, classes, asdict(config), training), detection_loss
    peer = PeerConfig(recipe.network, classes, recipe.backbone, recipe.width, recipe.height, frozen=recipe.frozen)
    return build_peer(peer, not recipe.scratch), ModelFacts(recipe.network, classes, asdict(peer), training), peer_loss


def train(recipe: Recipe, folder: Path, progress: bool = True) -> Training:
    """Train a detector into a folder, or go on with what was begun there.

    model.json then tells, under "training", the recipe, the pictures seen, steps, seconds and CPU seconds (of all
    threads, rendering included).

    Raises:
        FileExistsError: the folder holds something else, or another training.
        FloatingPointError: the loss is no number.
        FileNotFoundError, ValueError, ModuleNotFoundError: data or weights are missing, or not what they must be.
    """
    batches, classes = lessons_of(recipe)
    network, facts, loss = built(recipe, classes)
    told = facts.training

    def counted(model: nn.Module, lesson: Lesson) -> dict[str, Tensor]:
        told["pictures"] += len(lesson.images)
        told.update(steps=training.step + 1, seconds=training.seconds, cpu_s=time.process_time() - begun)
        return loss(model, lesson.images, lesson.targets)

    settings = TrainingSettings(
        steps=recipe.steps,
        time_limit_s=recipe.time_limit_s,
        rate=recipe.rate,
        checkpoint_every_s=CHECKPOINT_EVERY_S,
        seed=recipe.seed,
    )
    network = network.to(memory_format=torch.channels_last)
    training = Training(network, facts, counted, batches, folder, settings)
    begun = time.process_time() - told["cpu_s"]
    training.run(progress)
    return training
