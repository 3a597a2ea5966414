"""Detections are computed once, come back as they were, and are never taken for another detector's or clip's."""

import json

import numpy as np
import pytest
import torch

from perception.data.mot import read_clip
from perception.detection.postprocess import Detections
from perception.model_folder import ModelFacts, save_model
from perception.tracking.detections_cache import (
    clip_hash,
    detected_clip,
    detector_hash,
    load_detections,
    perfect_clip,
    save_detections,
)
from tests.perception.data.conftest import written  # noqa: F401  a data set, written once a session


def found(n, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Detections(torch.rand(n, 4, generator=random), torch.rand(n, generator=random), torch.arange(n))


def test_they_come_back_as_they_were(tmp_path):
    detections = [found(3), found(0), found(2, 1)]
    save_detections(tmp_path / "a/b.npz", detections, "d" * 64, "c" * 64)
    back = load_detections(tmp_path / "a/b.npz", "d" * 64, "c" * 64)
    for ours, theirs in zip(back, detections, strict=True):
        assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in ("boxes", "scores", "labels"))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.npz"]
    save_detections(tmp_path / "none.npz", [found(0)], "d", "c")
    assert len(load_detections(tmp_path / "none.npz", "d", "c")[0]) == 0


def test_another_detector_or_clip_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    save_detections(path, [found(1)], "d" * 64, "c" * 64)
    with pytest.raises(ValueError, match="was made with another detector: dddddddddddd, not eeeeeeeeeeee; delete it"):
        load_detections(path, "e" * 64, "c" * 64)
    with pytest.raises(ValueError, match="was made with another clip: cccc"):
        load_detections(path, "d" * 64, "f" * 64)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_detections(tmp_path / "y.npz", "d", "c")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="holds no detections that can be read"):
        load_detections(path, "d" * 64, "c" * 64)
    header = np.frombuffer(json.dumps({"schema": 9, "detector": "d", "clip": "c", "frames": 0}).encode(), np.uint8)
    np.savez(path, header=header, frame=[], boxes=[], scores=[], labels=[])
    with pytest.raises(ValueError, match="has schema 9; this version reads schema 1"):
        load_detections(path, "d", "c")


@pytest.fixture
def detector(tmp_path):
    save_model(tmp_path / "det", ModelFacts("test", ("car",), {}), {"w": torch.ones(2)})
    return tmp_path / "det"


def test_a_clip_is_detected_once(written, detector, tmp_path):  # noqa: F811
    folder, manifest = written
    name = manifest["splits"]["train"]["clips"][0]["name"]
    calls = []

    def detect(images):
        calls.append(images.clone())
        return [Detections(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0.5]), torch.tensor([1])) for _ in images]

    clip = detected_clip(folder, name, detector, detect, tmp_path / "cache", batch_size=2)
    stored = read_clip(folder / name)
    assert torch.equal(torch.cat(calls), torch.stack([torch.from_numpy(stored.image(k + 1)) for k in range(len(clip))]))
    assert clip.frame.tolist() == list(range(stored.length)) and clip.frame_rate == stored.fps
    assert np.array_equal(clip.truth.boxes, stored.visible.boxes) and clip.truth.frame.min() >= 0
    again = detected_clip(folder, name, detector, detect, tmp_path / "cache")
    assert len(calls) == -(-stored.length // 2)
    assert np.array_equal(again.boxes, clip.boxes) and len(again.at(0)) == 1

    save_model(detector, ModelFacts("test", ("car",), {}), {"w": torch.zeros(2)})
    detected_clip(folder, name, detector, detect, tmp_path / "cache", batch_size=2)
    assert len(calls) == 2 * -(-stored.length // 2)  # other weights: detected anew, the other file left alone
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("limit", ["least_height", "least_visibility"])
def test_what_does_not_count_is_not_detected(written, detector, tmp_path, limit):  # noqa: F811
    """The least tall, or the most hidden, is neither in the truth nor detected; what lies on nothing stays."""
    folder, manifest = written
    name = manifest["splits"]["train"]["clips"][0]["name"]
    stored = read_clip(folder / name)
    rows = stored.visible
    values = rows.visibility if limit == "least_visibility" else rows.boxes[:, 3] - rows.boxes[:, 1]
    least = float(np.median(values))
    counts = rows.counts & (values >= least)
    assert 0 < counts.sum() < rows.counts.sum()  # else this tells nothing
    turn = iter(range(1, stored.length + 1))

    def detect(images):
        boxes = [rows.boxes[rows.frame == next(turn)] for _ in images]
        boxes = [torch.from_numpy(np.concatenate([one, [[0, 0, 1, 1]]])) for one in boxes]
        return [Detections(one, torch.ones(len(one)), torch.ones(len(one), dtype=torch.int64)) for one in boxes]

    clip = detected_clip(folder, name, detector, detect, tmp_path / "cache", **{limit: least})
    only = {"least_height": 0.0, "least_visibility": 0.0} | {limit: least}
    perfect = perfect_clip(folder, name, **only)
    assert len(perfect.boxes) == len(clip.truth) == counts.sum()
    assert len(clip.boxes) == pytest.approx(counts.sum() + stored.length, abs=2)  # two may lie on one another
    assert np.array_equal(perfect.boxes, clip.truth.boxes) and np.array_equal(perfect.frame, clip.truth.frame)
    assert (perfect.scores == 1).all() and perfect.times.tolist() == clip.times.tolist()


def test_hashes_need_what_they_are_of(written, detector):  # noqa: F811
    folder, _ = written
    before = detector_hash(detector)
    save_model(detector, ModelFacts("test", ("van",), {}), {"w": torch.ones(2)})
    assert detector_hash(detector) != before
    with pytest.raises(FileNotFoundError, match="lists no clip 'train/clips/nowhere'"):
        clip_hash(folder, "train/clips/nowhere")
    with pytest.raises(FileNotFoundError, match="holds no model: there is no"):
        detector_hash(folder)
