"""What is not detection in the benchmark: trackers, lane networks and classifiers, each by its own evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.cameras import FRONT
from perception.classification.datasets import load_data, name_of_data
from perception.classification.networks import load_classifier
from perception.classification.scores import score
from perception.detection.postprocess import Detections
from perception.lanes.evaluation import evaluate
from perception.lanes.models import load_lane_model
from perception.latency import RUNS, WARM_UP, measure, size_of
from perception.model_folder import WEIGHTS, load_facts
from perception.tracking.byte_tracker import Tracker, TrackerSettings
from perception.tracking.clips import Clip, ClipSettings, describe, record
from perception.tracking.comparison import PEERS, TUNED_PEERS, compare
from perception.tracking.lstm_motion import LstmMotion

Step = Callable[[str], None]
LANE_BATCH = 20


def check(sources: Mapping[str, Sequence[str]]) -> None:
    """Load every model of these tasks, and its data, once: what cannot be used is said before hours of measuring.

    Raises:
        ValueError, FileNotFoundError, ModuleNotFoundError: a model or data set that cannot be loaded.
    """
    for folder in sources["tracking"]:
        LstmMotion.load(folder)
    for folder in sources["lanes"]:
        load_lane_model(Path(folder))
    for folder in sources["classification"]:
        load_classifier(Path(folder))
        load_data(name_of_data(Path(folder)))


def tracking(
    motions: Sequence[str], clips: int, seconds: float, python: str | None, step: Step, runs: int = RUNS
) -> dict[str, Any]:
    """Return the scores of the trackers on clips of the test split, and the time of an update for one stream.

    Args:
        motions: folders of LSTM motion models; the Kalman filter is always there.
        clips: how many to record at least.
        seconds: of each at most [s].
        python: an interpreter that has Roboflow's `trackers`; they are left out without.
        step: told what begins.
        runs: timed updates of each tracker.
    """
    step("recording clips")
    recorded = record(ClipSettings(split="test", clips=clips, seconds=seconds, least=min(4.0, seconds / 2)))
    if not recorded:
        raise ValueError(f"no clip of {seconds:g} s at most lasted long enough; give more clips or seconds")
    named: dict[str, Any] = {"Kalman": "kalman"}
    named |= {f"LSTM ({Path(folder).name})": LstmMotion.load(folder) for folder in motions}
    step("following objects")
    ours = {name: (motion, TrackerSettings()) for name, motion in named.items()}
    peers = {**PEERS, **TUNED_PEERS} if python else {}
    rows = compare(recorded, ours, peers, **({"python": python} if python else {}))
    step("timing trackers")
    longest = max(recorded, key=len)
    timed = measure({name: _follower(motion, longest) for name, motion in named.items()}, runs, WARM_UP)
    return {"clips": describe(recorded), "rows": rows, "timings": {"update": asdict(timed)}}


def _follower(motion: Any, clip: Clip) -> Callable[[int], Any]:
    """A tracker of one stream that is given a clip's frames over and over."""
    tracker = Tracker(motion, 1)
    frames: list[Detections] = [clip.at(frame) for frame in range(len(clip))]
    first = torch.tensor([True])

    def update(turn: int) -> Any:
        return tracker.update([frames[turn % len(frames)]], restart=first if turn % len(frames) == 0 else None)

    return update


def lanes(folders: Sequence[str], pictures: int, step: Step, runs: int = RUNS) -> dict[str, Any]:
    """Return the scores of lane networks in held-out domains, and the time from a picture to its lanes or classes."""
    rows, calls = [], {}
    given = torch.randint(0, 256, (1, 3, FRONT.height, FRONT.width), dtype=torch.uint8)
    for folder in folders:
        step(f"lanes: {Path(folder).name}")
        model = load_lane_model(Path(folder))
        batches = -(-pictures // LANE_BATCH)
        scores = evaluate(Path(folder), "test", batches, LANE_BATCH, threads=torch.get_num_threads())
        about = {"name": Path(folder).name, "kind": load_facts(Path(folder)).kind}
        rows.append(about | _needs(model, model.predict, given, Path(folder)) | {"scores": scores})
        calls[Path(folder).name] = lambda turn, model=model: model.predict(given)
    step("timing lane networks")
    with torch.no_grad():
        return {"rows": rows, "timings": {"end to end": asdict(measure(calls, runs, WARM_UP))}}


def classification(folders: Sequence[str], pictures: int, step: Step, runs: int = RUNS) -> dict[str, Any]:
    """Return top-1 of classifiers on the test pictures of the data that they were trained on, and the time of one."""
    rows, calls = [], {}
    for folder in folders:
        step(f"classification: {Path(folder).name}")
        model = load_classifier(Path(folder))
        data = name_of_data(Path(folder))
        test = load_data(data).test
        # In the file the classes may follow each other: every so manieth picture.
        every = max(1, len(test) // pictures)
        images, labels = test.images[::every], test.labels[::every]
        one = images[:1]
        about = {
            "name": Path(folder).name,
            "kind": model.config.network,
            "data": data,
        }
        rows.append(about | _needs(model, model, one, Path(folder)) | {"scores": asdict(score(model, images, labels))})
        calls[Path(folder).name] = lambda turn, model=model, one=one: model(one)
    step("timing classifiers")
    with torch.no_grad():
        return {"rows": rows, "timings": {"end to end": asdict(measure(calls, runs, WARM_UP))}}


def _needs(model: nn.Module, call: Callable[[Tensor], Any], given: Tensor, folder: Path) -> dict[str, int]:
    """Parameters, operations for one picture, and bytes on disk."""
    parameters, flops = size_of(model, lambda: call(given))
    return {"parameters": parameters, "flops": flops, "bytes": (folder / WEIGHTS).stat().st_size}
