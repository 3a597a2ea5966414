"""What gradients do to a one-stage detector: attacks on it, and scores of single detections to explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, generalized_box_iou_loss

from perception.cameras import HEIGHT, WIDTH
from perception.data.targets import Target
from perception.detection.assignment import assign
from perception.detection.detector import Detector, OneStageDetector
from perception.detection.learning import CLASSES
from perception.detection.losses import BOX_WEIGHT, FOCUS
from perception.detection.one_stage import OneStage
from perception.trust.detector_trials import Trial, precision
from perception.trust.explanations import Score

SLACK = 0.02
"""Of AP50, by which a control may fail: AP jumps where boxes change places."""
LEAST_OVERLAP = 0.5
"""Of its box with the truth (IoU), for a cell to have found an object."""


def with_gradients(detector: Detector) -> OneStageDetector:
    """Return the detector if gradients of a trial's pictures can be had.

    Raises:
        ValueError: it is of another kind, for other classes or for pictures of another size.
    """
    if not isinstance(detector, OneStageDetector):
        raise ValueError(
            f"attacks and explanations need the gradients of a {OneStageDetector.kind!r} detector; "
            f"this one is {detector.kind!r}"
        )
    for name, has, needs in (("classes", detector.classes, CLASSES), ("size", detector.size, (WIDTH, HEIGHT))):
        if has != needs:
            raise ValueError(f"the detector's {name} are {has}; attacks and explanations need {needs}")
    return detector


@dataclass(frozen=True)
class Asked:
    """What the cells of B pictures are asked for.

    Attributes:
        scores: of each class, float32 [B, A, C]. boxes: float32 [B, A, 4] [px].
        positive, ignored: bool [B, A]: has a box to give; whatever it says does not matter.
    """

    scores: Tensor
    boxes: Tensor
    positive: Tensor
    ignored: Tensor


@torch.no_grad()
def asked_of(network: OneStage, images: Tensor, targets: Sequence[Target]) -> Asked:
    """Return what training would ask of the cells that see these pictures, uint8 [B, 3, H, W]."""
    boxes, chances = network.detect(images)
    found = Asked(
        torch.zeros_like(chances),
        torch.zeros_like(boxes),
        *(torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device) for _ in range(2)),
    )
    for i, target in enumerate(targets):
        wanted, labels = target["boxes"], target["labels"] - 1
        given = assign(chances[i], boxes[i], network.centers, network.strides, wanted, labels, target["ignore"])
        found.positive[i], found.ignored[i] = given.positive, given.ignored
        if len(wanted):
            cells = given.positive.nonzero()[:, 0]
            found.boxes[i, cells] = wanted[given.object[cells]]
            found.scores[i, cells, labels[given.object[cells]]] = given.quality[cells]
    return found


@dataclass(frozen=True)
class DetectorTarget:
    """A detector, attacked away from what is to be found in the pictures of a trial, which have its size.

    The loss is that of its training, but cells are asked for what they were asked for on the clean pictures: anew, a
    detector that is led astray would be asked for less, and attacking it would stop paying.
    """

    detector: OneStageDetector
    trial: Trial
    slack: float = SLACK

    @cached_property
    def asked(self) -> Asked:
        """Of the cells, on the clean pictures."""
        return asked_of(self.detector.network, self.trial.images, self.trial.lessons)

    def loss(self, images: Tensor) -> Tensor:
        """Quality focal loss of the scores and generalised IoU loss of the boxes, summed over the cells."""
        network, asked = self.detector.network, self.asked
        scores, bins = network(images * 255.0)
        focus = (scores.sigmoid() - asked.scores).abs().pow(FOCUS) * ~asked.ignored[..., None]
        entropy = functional.binary_cross_entropy_with_logits(scores, asked.scores, reduction="none")
        positive = asked.positive
        missed = generalized_box_iou_loss(network.boxes(bins)[positive], asked.boxes[positive])
        missed = missed * asked.scores.amax(-1)[positive]
        return (entropy * focus).sum((1, 2)).index_add(0, positive.nonzero()[:, 0], BOX_WEIGHT * missed)

    def broken(self, images: Tensor) -> Tensor:
        """Nothing is ever enough: the greatest loss counts."""
        return torch.zeros(len(images), dtype=torch.bool, device=images.device)

    def quality(self, images: Tensor) -> float:
        """AP50 of what is plainly visible, whatever its class; on pictures rounded to 8 bits, as a camera's are."""
        return precision(self.detector, self.trial, (images * 255.0).round().byte())["AP50"]


@dataclass(frozen=True)
class Found:
    """Single objects that a detector has found.

    Attributes:
        picture: which picture of the trial each is in, int64 [K].
        boxes: true ones, float32 [K, 4] [px].
        cells, labels: the cell of the network that is surest of it, and its label from 0; int64 [K].
    """

    picture: Tensor
    boxes: Tensor
    cells: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.cells)


@torch.no_grad()
def found_objects(detector: OneStageDetector, trial: Trial, most: int) -> Found:
    """Return at most `most` objects that the detector has found, the largest one of each picture."""
    rows: list[tuple[int, Tensor, int, int]] = []
    for number, (image, target) in enumerate(zip(trial.images, trial.lessons, strict=True)):
        asked = (~target["ignore"]).nonzero()[:, 0]
        if len(rows) == most:
            break
        if len(asked) == 0:
            continue
        sides = target["boxes"][asked, 2:] - target["boxes"][asked, :2]
        largest = asked[sides.prod(1).argmax()]
        box, label = target["boxes"][largest], int(target["labels"][largest]) - 1
        boxes, scores = detector.network.detect(image[None])
        near = box_iou(boxes[0], box[None])[:, 0] >= LEAST_OVERLAP
        if bool(near.any()):
            rows.append((number, box, int((scores[0, :, label] * near).argmax()), label))
    if not rows:
        raise ValueError(f"the detector finds the largest object in none of {len(trial.images)} pictures")
    picture, boxes, cells, labels = zip(*rows, strict=True)
    return Found(torch.tensor(picture), torch.stack(boxes), torch.tensor(cells), torch.tensor(labels))


def cell_score(network: OneStage, cells: Tensor, labels: Tensor, chance: bool = False) -> Score:
    """Return the function that gives each picture, [K, 3, H, W] in 0..1, the logit of its cell and label.

    Args:
        network: see `perception.detection.one_stage.OneStage`.
        cells: int64 [K].
        labels: from 0, int64 [K].
        chance: give the probability instead.
    """

    def score(images: Tensor) -> Tensor:
        logits, _ = network(images * 255.0)
        times = len(images) // len(cells)
        wanted = logits[torch.arange(len(images)), cells.repeat(times), labels.repeat(times)]
        return wanted.sigmoid() if chance else wanted

    return score


def levels_of(network: OneStage) -> Sequence[torch.nn.Module]:
    """Return the layers whose channels Grad-CAM weighs: what each level of the pyramid gets from the backbone."""
    return tuple(network.laterals)
