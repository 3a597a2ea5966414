"""A detector that runs in ONNX Runtime: the network in its file, suppression here.

`perception.detection.export` writes the files. A file knows which weights it was made of and is refused beside others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.detection.detector import predict_letterboxed
from perception.detection.postprocess import LEAST_SCORE, Detections, suppress
from perception.model_folder import ModelFacts, fingerprint

FP32_FILE, INT8_FILE = "model.onnx", "model_int8.onnx"
NOTE = "slipstream"
"""Name of the entry in a file's own metadata that says what it is."""
SCHEMA = 1
INPUT, OUTPUTS = "images", ("boxes", "scores")
"""Pictures uint8 [B, 3, H, W]; boxes float32 [B, A, 4] [px] and scores float32 [B, A, C] before suppression."""


class OnnxDetector:
    """A detector exported from a model folder, on the CPU.

    Args:
        folder: the model folder.
        facts: what the model in it is.
        int8: run the quantised file.
        threads: that a picture is spread over; as many as torch uses where None.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed. FileNotFoundError: nothing was exported.
        ValueError: the file is damaged, or of another model.
    """

    def __init__(self, folder: Path, facts: ModelFacts, int8: bool = False, threads: int | None = None) -> None:
        runtime = require_onnxruntime()
        path = Path(folder) / (INT8_FILE if int8 else FP32_FILE)
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: export it with python scripts/export_detector.py {folder}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        # Between two pictures its threads would go on waiting in a loop, at the cost of whoever else wants the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an error class of its own for each kind of damage
            raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}; export it again") from None
        note = read_note(path, self.session.get_modelmeta().custom_metadata_map)
        if (note["kind"], tuple(note["classes"])) != (facts.kind, facts.classes):
            raise ValueError(
                f"{path} is of another model: a {note['kind']!r} of {', '.join(note['classes'])}; {folder} holds a "
                f"{facts.kind!r} of {', '.join(facts.classes)}"
            )
        if note["weights"] != fingerprint(folder):
            raise ValueError(f"{path} was made of other weights than {folder} holds; export it again")
        self.kind, self.classes = facts.kind, facts.classes
        self.size: tuple[int, int] = tuple(note["size"])
        self.overlap = float(note["overlap"])

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] of `size` -> boxes [B, A, 4] [px] and scores [B, A, C], before suppression."""
        boxes, scores = self.session.run(OUTPUTS, {INPUT: images.contiguous().numpy()})
        return torch.from_numpy(boxes), torch.from_numpy(scores)

    def predict(self, images: Tensor, least_score: float = LEAST_SCORE) -> list[Detections]:
        """See `Detector.predict`."""

        def found(inputs: Tensor) -> list[Detections]:
            return [suppress(*one, self.size, least_score, self.overlap) for one in zip(*self.raw(inputs), strict=True)]

        return predict_letterboxed(images, self.size, "cpu", found)


def require_onnxruntime() -> Any:
    """Return ONNX Runtime; ModuleNotFoundError that names the extra where it is not installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise ModuleNotFoundError('ONNX Runtime is not installed: pip install "slipstream[export]"') from None
    return onnxruntime


def read_note(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Return what a file says about itself; ValueError where it is none of ours."""
    try:
        note = json.loads(metadata[NOTE])
        known = {"schema", "kind", "classes", "size", "overlap", "weights"} <= set(note)
    except (KeyError, TypeError, json.JSONDecodeError):
        known = False
    if not known or note["schema"] != SCHEMA:
        raise ValueError(f"{path} is no detector of ours, or of another version; export it again")
    return note
