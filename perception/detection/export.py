"""Detectors as ONNX files: in fp32, and in int8 with the scales that pictures of the simulator ask for.

A file takes pictures uint8 [B, 3, H, W] of one size and any number, and gives boxes and scores of all places, before
suppression, which stays outside: runtimes differ in their own. Batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from perception.detection.detector import Detector, OneStageDetector, letterbox, load_detector
from perception.detection.onnx_detector import (
    FP32_FILE,
    INPUT,
    INT8_FILE,
    NOTE,
    OUTPUTS,
    SCHEMA,
    OnnxDetector,
    read_note,
    require_onnxruntime,
)
from perception.detection.postprocess import OVERLAP
from perception.detection.torchvision_models import PeerDetector
from perception.model_folder import fingerprint, load_facts, moved_into_place

OPSET = 20
QUANTISED = ("Conv", "Add", "Relu", "Concat", "Resize")
"""Operators in int8; what turns their results into boxes stays in fp32."""


class OneStageRaw(nn.Module):
    """A one-stage network that says boxes and scores."""

    def __init__(self, detector: OneStageDetector) -> None:
        super().__init__()
        self.network = folded(detector.network)
        self.overlap = OVERLAP

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> boxes [B, A, 4] [px] and scores [B, A, C]."""
        return self.network.detect(images)


class SsdRaw(nn.Module):
    """torchvision's SSD, which says boxes and scores; its default boxes, which never change, are stored."""

    def __init__(self, detector: PeerDetector) -> None:
        super().__init__()
        self.network = folded(detector.network)
        self.overlap = self.network.nms_thresh
        self.register_buffer("anchors", _anchors(self.network, detector.size))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> boxes [B, A, 4] [px] and scores [B, A, C], without the background's."""
        inputs = self.network.transform.scaled(images)
        head = self.network.head(list(self.network.backbone(inputs).values()))
        moved = head["bbox_regression"]
        count = moved.shape[0]  # len() would fix the number of pictures in the file
        anchors = self.anchors.expand(count, -1, -1).reshape(-1, 4)
        boxes = self.network.box_coder.decode_single(moved.reshape(-1, 4), anchors).reshape(count, -1, 4)
        return boxes, head["cls_logits"].softmax(-1)[..., 1:]


class FcosRaw(nn.Module):
    """torchvision's FCOS, which says boxes and scores; its points, which never change, are stored."""

    def __init__(self, detector: PeerDetector) -> None:
        super().__init__()
        self.network = folded(detector.network)
        self.overlap = self.network.nms_thresh
        self.register_buffer("anchors", _anchors(self.network, detector.size))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> boxes [B, A, 4] [px] and scores [B, A, C]; it has no background."""
        inputs = self.network.transform.scaled(images)
        head = self.network.head(list(self.network.backbone(inputs).values()))
        boxes = self.network.box_coder.decode(head["bbox_regression"], self.anchors)
        scores = (head["cls_logits"].sigmoid() * head["bbox_ctrness"].sigmoid()).sqrt()
        return boxes, scores


@torch.no_grad()
def _anchors(network: nn.Module, size: tuple[int, int]) -> Tensor:
    """The boxes [A, 4] [px] that a network of torchvision's starts from, for pictures of a size."""
    inputs, _ = network.transform(torch.zeros(1, 3, size[1], size[0], dtype=torch.uint8))
    return network.anchor_generator(inputs, list(network.backbone(inputs.tensors).values()))[0]


def raw_network(detector: Detector) -> nn.Module:
    """Return what goes into the file: from pictures to boxes and scores before suppression; `overlap` is of that.

    Raises:
        ValueError: detectors of this kind are not exported.
    """
    if isinstance(detector, OneStageDetector):
        return OneStageRaw(detector).eval()
    makers = {"ssdlite": SsdRaw, "fcos": FcosRaw}
    if isinstance(detector, PeerDetector) and detector.kind in makers:
        return makers[detector.kind](detector).eval()
    raise ValueError(
        f"detectors of kind {detector.kind!r} are not exported to ONNX; known: one-stage, {', '.join(makers)}"
    )


def folded(network: nn.Module) -> nn.Module:
    """Return a copy for inference with each batch normalisation folded into the convolution before it."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for (name, first), (after, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, after, nn.Identity())
    return network


def export(folder: Path) -> Path:
    """Write FOLDER/model.onnx, in fp32, and return its path.

    Raises:
        FileNotFoundError, ValueError: see `load_detector` and `raw_network`. ModuleNotFoundError: no onnx.
    """
    onnx = require_onnx()
    facts = load_facts(folder)
    detector = load_detector(folder)
    network = raw_network(detector)
    width, height = detector.size
    # Two pictures, for torch.export takes a batch of one as never anything else.
    example = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecated calls
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    proto = program.model_proto
    for node in proto.graph.node:  # where in whose folders each line of code stood
        del node.metadata_props[:]
        node.doc_string = ""
    note = {
        "schema": SCHEMA,
        "kind": facts.kind,
        "classes": facts.classes,
        "size": detector.size,
        "overlap": network.overlap,
        "weights": fingerprint(folder),
    }
    _save(onnx, proto, Path(folder) / FP32_FILE, note)
    return Path(folder) / FP32_FILE


def quantise(folder: Path, batches: Iterable[Tensor]) -> Path:
    """Write FOLDER/model_int8.onnx from FOLDER/model.onnx and return its path.

    Weights are int8 with a scale a channel, activations uint8 with a scale a tensor between the least and the largest
    value met in the pictures.

    Args:
        folder: a model folder, exported.
        batches: pictures uint8 [B, 3, H, W] like those that it will be used on; a hundred or more in all.

    Raises:
        ValueError: there are no pictures. FileNotFoundError, ModuleNotFoundError: see `export`.
    """
    onnx = require_onnx()
    require_onnxruntime()
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    source = Path(folder) / FP32_FILE
    if not source.is_file():
        raise FileNotFoundError(f"there is no {source}: export the model first")
    note = read_note(source, {entry.key: entry.value for entry in onnx.load(source).metadata_props})
    reader = _Reader(letterbox(batch, tuple(note["size"]))[0] for batch in batches)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / INT8_FILE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library's own deprecated calls
            quantize_static(
                str(source),
                str(made),
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        proto = onnx.load(made)
    note["calibration_pictures"] = reader.pictures
    _save(onnx, proto, Path(folder) / INT8_FILE, note)
    return Path(folder) / INT8_FILE


class _Reader:
    """Pictures as the quantiser asks for them."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.batches: Iterator[Tensor] = iter(batches)
        self.pictures = 0

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the name of the input; None at the end."""
        batch = next(self.batches, None)
        if batch is None:
            if self.pictures == 0:
                raise ValueError("there are no pictures to take the scales from; give a hundred or more")
            return None
        self.pictures += len(batch)
        return {INPUT: batch.numpy()}


@dataclass(frozen=True)
class Differences:
    """How far a file is from torch before suppression, the largest of all pictures.

    Attributes:
        pictures: how many were compared. boxes: of a side [px]. scores: of a score (0..1).
    """

    pictures: int
    boxes: float
    scores: float


def differences(folder: Path, batches: Iterable[Tensor]) -> Differences:
    """Return how far FOLDER/model.onnx is from torch on pictures uint8 [B, 3, H, W] of the model's size."""
    network = raw_network(load_detector(folder))
    exported = OnnxDetector(folder, load_facts(folder))
    pictures, boxes, scores = 0, 0.0, 0.0
    for images in batches:
        with torch.inference_mode():
            expected = network(images)
        found = exported.raw(images)
        boxes = max(boxes, float((found[0] - expected[0]).abs().max()))
        scores = max(scores, float((found[1] - expected[1]).abs().max()))
        pictures += len(images)
    return Differences(pictures, boxes, scores)


def require_onnx() -> Any:
    """Return the package onnx; ModuleNotFoundError that names the extra where it or onnxscript is not installed."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error.name} is not installed: pip install "slipstream[export]"') from None
    return onnx


def _save(onnx: Any, proto: Any, path: Path, note: dict[str, Any]) -> None:
    onnx.helper.set_model_props(proto, {NOTE: json.dumps(note)})
    with moved_into_place(path) as part:
        onnx.save(proto, part)
