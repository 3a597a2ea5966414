"""What all detectors are from outside: pictures of any size in, lists of things out; and how one is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from perception.detection.one_stage import OneStage, OneStageConfig
from perception.detection.postprocess import LEAST_SCORE, Detections, suppress
from perception.model_folder import ModelFacts, load_facts, load_weights
from sim.vector import usable_device

PADDING = 128
"""Grey of the bars beside a picture of another shape: near nought for a network, once it has shifted its input."""
RUNTIMES = ("torch", "onnx", "onnx-int8")


class Detector(Protocol):
    """Finds things in pictures.

    Attributes:
        kind: of which network, such as "one-stage".
        classes: names, of labels 1, 2, ...
        size: width and height of its input [px].
    """

    kind: str
    classes: tuple[str, ...]
    size: tuple[int, int]

    def predict(self, images: Tensor, least_score: float = LEAST_SCORE) -> list[Detections]:
        """Return what is in each picture, in its own pixels and on its device.

        Args:
            images: uint8 [B, 3, H, W], RGB, of any size: scaled to fit `size` and padded where they differ from it.
            least_score: below which a box is dropped; 0.005 or so for evaluation.

        Raises:
            ValueError: these are no such pictures.
        """


@dataclass(frozen=True)
class Letterbox:
    """Where pictures lie in a detector's input.

    Attributes:
        size: width and height of the pictures [px].
        scale: pixels of the input a pixel of the pictures, along x and y (they differ by rounding).
        corner: of the pictures in the input, x and y [px].
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    corner: tuple[int, int] = (0, 0)

    def into(self, boxes: Tensor) -> Tensor:
        """Boxes [..., 4] in pixels of the picture -> of the input."""
        return boxes * boxes.new_tensor(self.scale * 2) + boxes.new_tensor(self.corner * 2)

    def back(self, found: Detections) -> Detections:
        """Things in pixels of the input -> of the picture, cut to it; those on the bars are dropped."""
        boxes = (found.boxes - found.boxes.new_tensor(self.corner * 2)) / found.boxes.new_tensor(self.scale * 2)
        boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor(self.size * 2))
        seen = (boxes[:, 2:] > boxes[:, :2]).all(-1)
        return Detections(boxes[seen], found.scores[seen], found.labels[seen])


def letterbox(images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Letterbox]:
    """Scale pictures uint8 [B, 3, H, W] to fit `size` (width, height) and pad them; as they are where they fit."""
    width, height = images.shape[3], images.shape[2]
    if (width, height) == size:
        return images, Letterbox(size)
    scale = min(size[0] / width, size[1] / height)
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    corner = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    if inner != (width, height):
        # Antialiasing, else thin things vanish where large pictures shrink. No CUDA kernel takes bytes.
        source = images if images.device.type == "cpu" else images.float()
        scaled = functional.interpolate(source, (inner[1], inner[0]), mode="bilinear", antialias=True)
        images = scaled if scaled.dtype == torch.uint8 else scaled.round().clamp(0, 255).to(torch.uint8)
    whole = images.new_full((len(images), 3, size[1], size[0]), PADDING)
    whole[:, :, corner[1] : corner[1] + inner[1], corner[0] : corner[0] + inner[0]] = images
    return whole, Letterbox((width, height), (inner[0] / width, inner[1] / height), corner)


def predict_letterboxed(
    images: Tensor, size: tuple[int, int], device: torch.device | str, found: Callable[[Tensor], list[Detections]]
) -> list[Detections]:
    """`Detector.predict` by a function that takes uint8 [B, 3, H, W] of `size` (width, height) on `device`.

    Raises:
        ValueError: these are no pictures uint8 [B, 3, H, W].
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        given = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"pictures must be a tensor uint8 [B, 3, H, W] (RGB); these are {given}")
    if images.shape[2] == 0 or images.shape[3] == 0:
        raise ValueError(f"pictures of {images.shape[3]} x {images.shape[2]} px have nothing in them")
    if len(images) == 0:
        return []
    with torch.no_grad():  # not inference_mode, whose tensors no one could learn from or change
        inputs, placed = letterbox(images, size)
        things = found(inputs.to(device))
        if placed.size != size:
            things = [placed.back(one) for one in things]
    if torch.device(device) != images.device:
        at = images.device
        things = [Detections(one.boxes.to(at), one.scores.to(at), one.labels.to(at)) for one in things]
    return things


class OneStageDetector:
    """Our one-stage network as a `Detector`; it is put into evaluation mode."""

    kind = "one-stage"

    def __init__(self, network: OneStage) -> None:
        self.network = network.eval()
        self.classes = network.config.classes
        self.size = network.config.width, network.config.height

    def predict(self, images: Tensor, least_score: float = LEAST_SCORE) -> list[Detections]:
        """See `Detector.predict`."""

        def found(inputs: Tensor) -> list[Detections]:
            boxes, scores = self.network.detect(inputs)
            return [suppress(box, score, self.size, least_score) for box, score in zip(boxes, scores, strict=True)]

        return predict_letterboxed(images, self.size, self.network.centers.device, found)


def load_detector(folder: Path, device: torch.device | str = "cpu", runtime: str = "torch") -> Detector:
    """Return the detector in a folder.

    Args:
        folder: a model folder; see `perception.model_folder`.
        device: where the network runs; ONNX Runtime takes "cpu" only.
        runtime: "torch", "onnx" (FOLDER/model.onnx) or "onnx-int8" (FOLDER/model_int8.onnx), once exported.

    Raises:
        FileNotFoundError: the folder holds no model, or none exported for the runtime.
        ValueError: the model is no detector, its weights are of another network, the runtime is unknown, or the device
            is none that it can run on.
    """
    folder = Path(folder)
    if runtime not in RUNTIMES:
        raise ValueError(f"unknown runtime {runtime!r}; known: {', '.join(RUNTIMES)}")
    device = usable_device(device)
    if runtime != "torch" and device.type != "cpu":
        raise ValueError(f"ONNX Runtime runs on cpu here, not on {device}")
    facts = load_facts(folder)
    if runtime != "torch":
        from perception.detection.onnx_detector import OnnxDetector  # its library is loaded only where it is used

        return OnnxDetector(folder, facts, int8=runtime == "onnx-int8")
    if facts.kind == OneStageDetector.kind:
        network = OneStage(one_stage_config(facts))
        load_weights(folder, network)
        return OneStageDetector(network.to(device, memory_format=torch.channels_last))
    from perception.detection import torchvision_models  # it builds on this module

    if facts.kind not in torchvision_models.BACKBONES:
        known = ", ".join((OneStageDetector.kind, *torchvision_models.BACKBONES))
        raise ValueError(f"{folder} holds a model of kind {facts.kind!r}, which is no detector; known: {known}")
    config = torchvision_models.peer_config(facts)
    peer = torchvision_models.build_peer(config)
    load_weights(folder, peer)
    return torchvision_models.PeerDetector(peer.to(device, memory_format=torch.channels_last), config)


def one_stage_config(facts: ModelFacts) -> OneStageConfig:
    """Return what a stored one-stage network is built from; ValueError where that cannot be read."""
    return stored_config(facts, OneStageConfig)


def stored_config(facts: ModelFacts, config: Callable[..., Any]) -> Any:
    """Return `config` of the stored numbers; ValueError where they are others than it takes, or contradict `facts`."""
    network = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.network.items()}
    try:
        made = config(**network)
    except TypeError as error:
        raise ValueError(f"the model description is of another {facts.kind} network: {error}") from None
    if made.classes != facts.classes:
        raise ValueError(f"the model description contradicts itself: classes {facts.classes} and {made.classes}")
    return made
