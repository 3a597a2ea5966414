"""Trouble is what it says, trackers are compared on identical detections, and Roboflow's get exactly these."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from perception.data.driving import Source
from perception.tracking.byte_tracker import TrackerSettings
from perception.tracking.clips import (
    FRAME_RATE,
    ClipSettings,
    Trouble,
    belongs,
    describe,
    record,
    thinned,
    troubled,
)
from perception.tracking.comparison import (
    OCCLUSION,
    PEERS,
    RATES,
    Peer,
    compare,
    follow,
    follow_with_peers,
    losses,
    score,
    summary,
    table,
)
from perception.tracking.lstm_motion import LstmMotion, LstmSettings, MotionNetwork
from perception.tracking.metrics import BoxTracks
from sim.sensors.camera.cameras import Camera
from tests.perception.tracking.made_clips import made_clip

CALM = Trouble(missed=0, dropped=0, noise=0, uncertain=0, invented=0)


def test_trouble_is_what_it_says():
    clip = made_clip(seconds=60, objects=20)
    trouble = Trouble(missed=0.1, dropped=0.2, noise=0.05, uncertain=0.3, invented=0.5, seed=3)
    bad = troubled(clip, trouble)
    assert len(bad) / len(clip) == pytest.approx(0.8, abs=0.04)
    assert np.isin(bad.times, clip.times).all() and (np.diff(bad.times) > 0).all()
    assert len(bad.truth) == 20 * len(bad)  # what is missed still counts
    per_frame = len(bad.boxes) / len(bad)
    assert per_frame == pytest.approx(20 * 0.9 + 0.5, abs=0.15)
    assert (bad.scores < 0.6).mean() == pytest.approx(0.3, abs=0.03)
    again = troubled(clip, trouble)
    assert np.array_equal(again.boxes, bad.boxes) and np.array_equal(again.times, bad.times)
    assert not np.array_equal(troubled(clip, Trouble(seed=4)).times, bad.times)
    clip = made_clip(seconds=60, speed=0)
    only_noise = troubled(clip, Trouble(missed=0, dropped=0, noise=0.05, uncertain=0, invented=0))
    order = np.lexsort((only_noise.boxes[:, 0], only_noise.frame))
    true = clip.boxes[np.lexsort((clip.boxes[:, 0], clip.frame))]
    off = (only_noise.boxes[order] - true)[:, 2] / (true[:, 2] - true[:, 0])
    assert off.std() == pytest.approx(0.05, rel=0.1) and abs(off.mean()) < 0.01


def test_hidden_things_are_neither_detected_nor_counted():
    clip = made_clip(seconds=60, objects=20)
    calm = troubled(clip, CALM)
    assert len(calm.boxes) == len(calm.truth) == len(clip.boxes) and calm.frame_rate == 15
    hidden = troubled(clip, Trouble(**{**vars(CALM), "hidden": 0.1, "every": 3}))
    assert hidden.frame_rate == 5 and len(hidden) == len(clip) / 3
    assert len(hidden.boxes) == len(hidden.truth)
    # One disappearance in ten seconds, of 1.25 s on average: an eighth of the time, less where two overlap.
    assert len(hidden.truth) / (20 * len(hidden)) == pytest.approx(1 - 0.125, abs=0.03)
    gaps = [np.diff(hidden.times[hidden.truth.frame[hidden.truth.track == k]]) for k in range(20)]
    longest = max(gap.max() for gap in gaps)
    assert 1 < longest < 4.5


def test_a_box_belongs_to_what_it_overlaps_most():
    truth = BoxTracks([0, 0, 1], [1, 2, 1], [[0, 0, 10, 10], [4, 0, 14, 10], [0, 0, 10, 10]])
    frame = np.array([0, 0, 0, 1, 1])
    boxes = np.array([[1, 0, 11, 10], [4, 0, 13, 10], [40, 0, 50, 10], [1, 0, 11, 10], [6, 0, 16, 10]], dtype=float)
    marked = np.array([True, False, True])
    assert belongs(frame, boxes, truth, marked).tolist() == [True, False, False, True, False]
    assert belongs(frame, boxes, truth, ~marked).tolist() == [False, True, False, False, False]
    assert belongs(frame[:0], boxes[:0], truth, marked).tolist() == []


def test_a_detector_s_clip_is_thinned_alone():
    """Its boxes stay as they are; frames go, and what is hidden goes with what was detected on it."""
    clip = made_clip(seconds=60, objects=20, speed=0)
    shifted = replace(clip, boxes=clip.boxes + 1, scores=np.linspace(0, 1, len(clip.boxes)))
    plain = thinned(shifted, Trouble(dropped=0))
    assert all(np.array_equal(getattr(plain, name), getattr(shifted, name)) for name in ("boxes", "scores", "times"))
    thin = thinned(shifted, Trouble(dropped=0.2, hidden=0.1, every=3, seed=2))
    like = troubled(clip, Trouble(dropped=0.2, hidden=0.1, every=3, seed=2))
    assert np.array_equal(thin.times, like.times) and np.array_equal(thin.truth.boxes, like.truth.boxes)
    assert thin.frame_rate == 5 and len(thin.boxes) == len(thin.truth)
    order, true = (np.lexsort((rows[:, 0], frame)) for rows, frame in ((thin.boxes, thin.frame), _rows(thin.truth)))
    assert thin.boxes[order] == pytest.approx(thin.truth.boxes[true] + 1)


def _rows(truth):
    return truth.boxes, truth.frame


@pytest.fixture(scope="module")
def clips():
    return [made_clip(f"made-{seed}", seconds=4, seed=seed) for seed in range(2)]


def test_calm_clips_are_followed_without_a_mistake(clips):
    calm = [troubled(clip, CALM) for clip in clips]
    scores = score(calm, follow(calm, "kalman"))
    assert scores["IDSW"] == 0 and scores["IDF1"] > 0.99 and scores["MOTA"] > 0.99 and scores["HOTA"] > 0.94


def test_clips_of_other_lengths_do_not_disturb(clips):
    bad = [troubled(clip, Trouble()) for clip in (*clips, made_clip("long", seconds=6, seed=5))]
    together = follow(bad, "kalman")
    for clip, found in zip(bad, together, strict=True):
        alone = follow([clip], "kalman")[0]
        assert np.array_equal(alone.boxes, found.boxes) and np.array_equal(alone.track, found.track)


FAKES = {
    "supervision.py": """
import numpy as np
class Detections:
    def __init__(self, xyxy, confidence, class_id):
        assert xyxy.dtype == confidence.dtype == np.float32
        self.xyxy, self.confidence = xyxy, confidence
    def __len__(self):
        return len(self.xyxy)
""",
    "trackers.py": """
import numpy as np
class Leftmost:
    '''Numbers boxes from left to right; 5 is added where asked for, and -1 stands for no number.'''
    def __init__(self, frame_rate, add=0):
        self.add, self.last, self.frame_rate = add, -1.0, frame_rate
    def update(self, found, timestamp):
        assert timestamp > self.last and self.frame_rate in (15, 5, 3)
        self.last = timestamp
        order = np.argsort(np.argsort(found.xyxy[:, 0]))
        found.tracker_id = np.where(order == 0, -1, order + self.add)
        return found
""",
}


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    for name, text in FAKES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_roboflow_s_trackers_get_the_same_detections(clips, fakes):
    calm = [troubled(clip, CALM) for clip in clips]
    peers = {"plain": Peer("Leftmost"), "other": Peer("Leftmost", {"add": 5})}
    found = follow_with_peers(calm, peers)
    for k, clip in enumerate(calm):
        plain, other = found["plain"][k], found["other"][k]
        assert np.array_equal(np.sort(plain.track), np.sort(other.track - 5))
        for frame in (0, 17, 59):
            boxes = clip.boxes[clip.frame == frame]
            left = boxes[np.argsort(boxes[:, 0])][1:]
            assert plain.boxes[plain.frame == frame] == pytest.approx(left, abs=1e-4)
            assert plain.track[plain.frame == frame].tolist() == [1, 2, 3, 4, 5]


def test_a_comparison_says_who_is_ahead(clips, fakes):
    ours = {"ours": ("kalman", TrackerSettings())}
    rows = compare(clips, ours, {"fake": Peer("Leftmost")})
    assert len(rows) == 2 * len(RATES) * len(OCCLUSION)
    ahead = losses(rows, ["ours"])
    assert len(ahead) == 9 and all(row["best"] == "fake" and row["ahead"] > 0 for row in ahead)
    by = {(row["rate"], row["occlusion"], row["tracker"]): row["IDF1"] for row in rows}
    assert ahead[0]["ahead"] == by["15/s", "none", "ours"] - by["15/s", "none", "fake"]
    lines = table(rows).split("\n")
    assert len(lines) == 11 and lines[0] == "| frames, occlusion | fake | ours |"
    assert lines[2].startswith("| 15/s, none | ") and f"{by['15/s', 'none', 'ours']:.3f} / " in lines[2]
    lines = summary(rows, ["ours"]).split("\n")
    mean = sum(value for key, value in by.items() if key[2] == "ours") / 9
    assert f"| ours | {mean:.3f} |" in lines and lines[5] == "| frames, occlusion | ours | best other |"
    assert lines[7] == f"| 15/s, none | {ahead[0]['ahead']:+.3f} | fake |" and len(lines) == 16
    alone = [row for row in rows if row["tracker"] == "ours"]
    assert summary(alone, ["ours"]).split("\n")[2:] == [f"| ours | {mean:.3f} |"]


def test_a_missing_package_is_named(clips, fakes):
    (fakes / "trackers.py").write_text("raise ModuleNotFoundError(\"No module named 'trackers'\")")
    with pytest.raises(
        ChildProcessError, match="No module named 'trackers'; make an environment of its own: python -m venv"
    ):
        follow_with_peers(clips, PEERS, sys.executable)


def test_clips_come_from_the_simulator():
    settings = ClipSettings(
        clips=2,
        seconds=1,
        least=0.5,
        sources=(Source("highway-v0", {"vehicles_density": 2.5}),),
        camera=Camera(width=160, height=96),
    )
    clips = record(settings)
    assert len(clips) == 2 and len({clip.name for clip in clips}) == 2
    for clip in clips:
        assert len(clip) <= round(FRAME_RATE) and (clip.width, clip.height) == (160, 96)
        assert np.array_equal(clip.boxes, clip.truth.boxes) and (clip.scores == 1).all()
        sides = clip.boxes[:, 2:] - clip.boxes[:, :2]
        assert (sides[:, 1] >= 6).all() and (clip.boxes >= 0).all() and (clip.boxes[:, [0, 2]] <= 160).all()
    assert sum(len(clip.boxes) for clip in clips) > 20
    again = record(settings)
    assert all(np.array_equal(one.boxes, other.boxes) for one, other in zip(clips, again, strict=True))
    assert describe(clips)["clips"] == 2


def test_the_seed_decides_the_trouble_and_the_trouble_may_be_another(clips):
    ours = {"ours": ("kalman", TrackerSettings())}
    rows = [compare(clips, ours, {}, seed=seed) for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    asked = []

    def spoil(clip, trouble):
        asked.append((clip.name, trouble.every, trouble.hidden, trouble.seed))
        return clip

    calm = compare(clips, ours, {}, seed=5, spoil=spoil)
    assert len(asked) == len(set(asked)) == 9 * len(clips) and {one[3] for one in asked} == {5}
    assert all(row["IDF1"] > 0.9 for row in calm)


def test_clips_must_suit_the_comparison_and_the_model_of_motion(clips):
    ours = {"ours": ("kalman", TrackerSettings())}
    with pytest.raises(ValueError, match="has 5 frames a second; a comparison needs 15"):
        compare([replace(clips[0], frame_rate=5.0)], ours, {})
    motion = LstmMotion(MotionNetwork(LstmSettings(hidden=8)), (2 * clips[0].width, clips[0].height))
    with pytest.raises(ValueError, match="the model of motion is for pictures of"):
        follow(clips, motion)
