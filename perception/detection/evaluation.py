"""Judges detectors: on pictures of the simulator that no training saw, and on folders of pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor
from tqdm import tqdm

from perception.cameras import FRONT
from perception.data.stream import FrameStream, StreamSettings
from perception.data.targets import Target
from perception.detection.average_precision import Ledger, boxes_of, table
from perception.detection.detector import Detector
from perception.detection.folders import Folder, pictures_with_truth, require_classes
from perception.detection.learning import CLASSES
from sim.sensors.camera.cameras import Camera

FLOOR = 0.005
"""Score below which boxes are dropped here: the curve of precision needs the uncertain ones too."""
WORLDS, FRAMES = 20, 3
"""Worlds of a batch of pictures, and pictures of each scenario seed."""

Rows = dict[str, dict[str, float]]
"""Of each question: AP, AP50, AP75 (0..1) and how many objects it asks for; see `average_precision.table`."""


def evaluate(
    detector: Detector,
    split: str = "val",
    batches: int = 25,
    cameras: Sequence[Camera] = (FRONT,),
    domains: tuple[str, ...] | None = None,
    threads: int = 1,
    progress: bool = False,
) -> Rows:
    """Return how good a detector is on the simulator's pictures; the same arguments show the same pictures.

    Args:
        detector: of the classes `CLASSES`.
        split: "val" (domains of training, other scenarios) or "test" (held-out domains).
        batches: of 20 worlds, each seen by every camera.
        cameras: all of one size, of any.
        domains: only these of the split's.
        threads: CPU threads that render.
        progress: show a bar.

    Raises:
        ValueError: the detector has other classes, or the settings cannot be met.
    """
    require_classes(detector.classes, CLASSES, f"the {detector.kind} detector")
    if batches < 1:
        raise ValueError(f"{batches} batches; an evaluation needs at least 1")
    settings = StreamSettings(split, cameras=tuple(cameras), domains=domains, batch_size=WORLDS, frames=FRAMES)
    stream = FrameStream(settings, threads=threads)
    size = cameras[0].width, cameras[0].height

    def pictures() -> Iterator[tuple[Tensor, list[Target]]]:
        for _ in range(batches):
            batch = next(stream)
            yield batch.images, [boxes_of(target, size, len(CLASSES)) for target in batch.targets]

    bar = tqdm(pictures(), total=batches, unit="batch", desc=split, disable=not progress)
    rows = judged(detector, bar, size)
    stream.close()
    return rows


def evaluate_folder(detector: Detector, folder: Folder, progress: bool = False) -> Rows:
    """Return how good a detector is on a folder; ValueError where the detector's classes are not the folder's."""
    require_classes(folder.classes, detector.classes, folder.where)
    bar = tqdm(pictures_with_truth(folder), total=len(folder), unit="picture", desc="folder", disable=not progress)
    return judged(detector, bar, detector.size)


def judged(detector: Detector, pictures: Iterable[tuple[Tensor, list[Target]]], size: tuple[int, int]) -> Rows:
    """Return the table of a detector on pictures uint8 [B, 3, H, W] with their truth; see `Ledger.add`."""
    ledger = Ledger(detector.classes, size)
    for images, truth in pictures:
        ledger.add(detector.predict(images, FLOOR), truth)
    rows = table(ledger)
    for row in rows.values():
        row["pictures"] = ledger.pictures
    return rows


def json_text(results: Mapping[str, Rows]) -> str:
    """Return tables as JSON; null where nothing was asked for, since JSON knows no NaN."""

    def known(row: Mapping[str, float]) -> dict[str, float | None]:
        return {key: value if math.isfinite(value) else None for key, value in row.items()}

    rows = {name: {what: known(row) for what, row in rows.items()} for name, rows in results.items()}
    return json.dumps(rows, indent=1)


def markdown(results: Mapping[str, Rows]) -> str:
    """Return tables as Markdown, one for each set of pictures."""
    parts = []
    for name, rows in results.items():
        pictures = next(iter(rows.values()))["pictures"]
        parts += [f"{name} ({pictures} pictures)", "", "| what | objects | AP50 | AP[.5:.95] | AP75 |"]
        parts.append("|---|--:|--:|--:|--:|")
        for what, row in rows.items():
            scores = (f"{row[key]:.3f}" if math.isfinite(row[key]) else "-" for key in ("AP50", "AP", "AP75"))
            parts.append(f"| {what} | {row['objects']} | {' | '.join(scores)} |")
        parts.append("")
    return "\n".join(parts)
