"""Detectors in the benchmark: how much they find in held-out domains, how long they take, and what they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.cameras import SURROUND
from perception.data.stream import FrameStream, StreamSettings
from perception.data.targets import Target
from perception.detection.average_precision import Ledger, boxes_of, table
from perception.detection.detector import RUNTIMES, Detector, OneStageDetector, load_detector
from perception.detection.export import export, quantise
from perception.detection.folders import require_classes
from perception.detection.learning import CLASSES
from perception.detection.onnx_detector import FP32_FILE, INT8_FILE, OnnxDetector
from perception.detection.peers import PEERS, AsVehicles, load_peer, stretched
from perception.latency import RUNS, WARM_UP, Measured, measure, size_of
from perception.model_folder import WEIGHTS

LEAST_SCORE = 0.005
"""Score below which boxes do not count towards average precision; timings have the usual, higher one."""
SEED = 7
"""Of the held-out pictures."""
BATCH = 8
"""Pictures in the larger of the two batches that are timed."""
DIFFERENT = 20
"""Pictures that are scaled beforehand for networks with another input, where these alone are timed."""
CALIBRATION = 128
"""Pictures of the training split that int8's scales are taken from."""
Progress = Callable[[], None]
"""Called after each batch of pictures and each round of timing."""


@dataclass
class Entrant:
    """A detector in one runtime.

    Attributes:
        name: of its folder. runtime: see `load_detector`. source: the folder, or "nanodet:DIR" or "centernet:DIR".
        detector: as it finds vehicles of our classes. bytes: of its file of weights.
    """

    name: str
    runtime: str
    source: str
    detector: Detector
    bytes: int

    @property
    def title(self) -> str:
        """Name and runtime."""
        return f"{self.name} ({self.runtime})"


@dataclass
class Pictures:
    """Held-out pictures uint8 [M, 3, H, W], what is in them, and where they are from."""

    images: Tensor
    targets: list[Target]
    domains: tuple[str, ...] = field(default_factory=tuple)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height [px]."""
        return self.images.shape[3], self.images.shape[2]


def pictures(split: str, count: int, seed: int = SEED, threads: int | None = None) -> Pictures:
    """Return at least `count` pictures of all cameras of the stack; "test" has the held-out domains alone."""
    worlds, frames = 10, 2
    settings = StreamSettings(split=split, cameras=SURROUND, batch_size=worlds, frames=frames, seed=seed)
    stream = FrameStream(settings, threads=threads)
    batches = [next(stream) for _ in range(math.ceil(count / stream.pictures))]
    stream.close()
    return Pictures(
        torch.cat([batch.images for batch in batches]),
        [target for batch in batches for target in batch.targets],
        stream.domains,
    )


def entrants(
    source: str, runtimes: Sequence[str] = RUNTIMES, calibration: Callable[[], Pictures] | None = None
) -> tuple[list[Entrant], list[str]]:
    """Return a detector in each runtime, and notes on those it could not have.

    Files for ONNX Runtime that are missing, or of other weights, are written into the folder first.

    Args:
        source: a model folder, "nanodet:DIR" or "centernet:DIR" (torch alone).
        runtimes: which.
        calibration: gives the pictures for int8.

    Raises:
        ValueError, FileNotFoundError: there is no such detector; see `load_detector` and `load_peer`.
    """
    kind, _, folder = source.partition(":")
    if folder and kind in PEERS:
        peer = AsVehicles(load_peer(kind, Path(folder)), CLASSES)
        size = (Path(folder) / f"{kind}.bin").stat().st_size
        notes = [f"{PEERS[kind].title}: torch only, upstream's COCO weights, not trained here"]
        return [Entrant(kind, "torch", source, peer, size)], notes
    found, notes, path = [], [], Path(source)
    for runtime in runtimes:
        if runtime != "torch":
            try:
                _prepare(path, runtime, calibration)
            except ValueError as error:
                notes.append(f"{path.name} ({runtime}): {error}")
                continue
        file = {"torch": WEIGHTS, "onnx": FP32_FILE, "onnx-int8": INT8_FILE}[runtime]
        detector = load_detector(path, runtime=runtime)
        if detector.classes != CLASSES:
            raise ValueError(f"{source} knows {', '.join(detector.classes)}; the simulator has {', '.join(CLASSES)}")
        found.append(Entrant(path.name, runtime, source, detector, (path / file).stat().st_size))
    return found, notes


def _prepare(folder: Path, runtime: str, calibration: Callable[[], Pictures] | None) -> None:
    """Export a model where that has not been done with these weights; ValueError where its kind cannot be."""
    try:
        load_detector(folder, runtime=runtime)
        return
    except (FileNotFoundError, ValueError):
        load_detector(folder)  # what is wrong with the model itself is said as such
    if runtime == "onnx":
        export(folder)
        return
    _prepare(folder, "onnx", None)
    images = (calibration or (lambda: pictures("train", CALIBRATION)))().images
    quantise(folder, images.split(BATCH))


def accuracy(detector: Detector, held_out: Pictures, progress: Progress | None = None) -> dict[str, dict[str, float]]:
    """Return what `average_precision.table` says of a detector: rows by what is asked, AP, AP50, AP75 and objects.

    Raises:
        ValueError: the detector is of other classes than the simulator's.
    """
    require_classes(detector.classes, CLASSES, f"the {detector.kind} detector")
    ledger = Ledger(CLASSES, held_out.size)
    for first in range(0, len(held_out), BATCH):
        part = slice(first, first + BATCH)
        found = detector.predict(held_out.images[part], LEAST_SCORE)
        truth = [boxes_of(target, held_out.size, len(CLASSES)) for target in held_out.targets[part]]
        ledger.add(found, truth)
        if progress:
            progress()
    return table(ledger)


def latencies(
    field_of: Sequence[Entrant], held_out: Pictures, runs: int = RUNS, warm_up: int = WARM_UP,
    progress: Progress | None = None,
) -> dict[str, Measured]:  # fmt: skip
    """Return how long the detectors take, in three goes; in each all take turns.

    "end to end": from a picture uint8 [H, W, 3] in memory to its detections. "model": the network alone, from a tensor
    to what it gives before suppression (torchvision's suppress inside). "batch": end to end, `BATCH` pictures a call.
    """
    single, several = _as_taken(held_out, 1), _as_taken(held_out, BATCH)
    tensors = held_out.images.split(1)

    def whole(detector: Detector, given: Sequence[np.ndarray]) -> Callable[[int], Any]:
        return lambda turn: detector.predict(torch.from_numpy(given[turn % len(given)]).permute(0, 3, 1, 2))

    def alone(detector: Detector) -> Callable[[int], Any]:
        network = network_of(detector)
        same = detector.size == held_out.size
        inputs = tensors if same else [stretched(one, detector.size)[0] for one in tensors[:DIFFERENT]]
        return lambda turn: network(inputs[turn % len(inputs)])

    with torch.no_grad():
        return {
            "end to end": measure(
                {one.title: whole(one.detector, single) for one in field_of}, runs, warm_up, progress=progress
            ),
            "model": measure({one.title: alone(one.detector) for one in field_of}, runs, warm_up, 1, progress=progress),
            "batch": measure(
                {one.title: whole(one.detector, several) for one in field_of}, runs, warm_up, 2, progress=progress
            ),
        }


def _as_taken(held_out: Pictures, count: int) -> list[np.ndarray]:
    """Pictures as a camera gives them: arrays uint8 [count, H, W, 3]."""
    return [
        np.ascontiguousarray(part.permute(0, 2, 3, 1).numpy())
        for part in held_out.images.split(count)
        if len(part) == count
    ]


def network_of(detector: Detector) -> Callable[[Tensor], Any]:
    """Return a detector without what comes before and after its network: from uint8 [B, 3, H, W] of its own size."""
    inside: Any = detector.detector if isinstance(detector, AsVehicles) else detector
    if isinstance(inside, OnnxDetector):
        return inside.raw
    if isinstance(inside, OneStageDetector):
        return inside.network.detect
    return inside.network


def parameters_and_flops(detector: Detector) -> tuple[int | None, int | None]:
    """Return a network's parameters and operations for one picture; None for ONNX files, see the torch row."""
    inside: Any = detector.detector if isinstance(detector, AsVehicles) else detector
    if isinstance(inside, OnnxDetector):
        return None, None
    width, height = inside.size
    call = network_of(detector)
    return size_of(inside.network, lambda: call(torch.zeros(1, 3, height, width, dtype=torch.uint8)))
