"""AP by COCO's rules: cases whose AP is known."""

import math

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
import torch

from perception.detection import average_precision
from perception.detection.average_precision import NAMES, Ledger, boxes_of, plainly_visible, table
from perception.detection.postprocess import Detections, suppress

SIZE = (320, 192)


def there(boxes, labels=None, visibility=None, distance=None):
    count = len(boxes)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels or [1] * count, dtype=torch.int64),
        "visibility": torch.tensor(visibility or [1.0] * count),
        "distance": torch.tensor(distance or [15.0] * count),
    }


def found(boxes, scores=None, labels=None):
    count = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores or [0.9] * count),
        torch.tensor(labels or [1] * count, dtype=torch.int64),
    )


def ledger(*pictures, classes=("car", "van")):
    made = Ledger(classes, SIZE)
    for detections, target in pictures:
        made.add([detections], [target])
    return made


BOX, OTHER = [10, 10, 60, 50], [100, 20, 180, 90]


def test_the_truth_scores_one():
    score = ledger((found([BOX, OTHER]), there([BOX, OTHER]))).score(plainly_visible)
    assert score == {"AP": pytest.approx(1.0), "AP50": pytest.approx(1.0), "AP75": pytest.approx(1.0), "objects": 2}


def test_half_of_the_objects_is_half_the_recall():
    """101 recall points: those up to 0.5 have precision 1, the others 0."""
    score = ledger((found([BOX]), there([BOX, OTHER]))).score(plainly_visible)
    assert score["AP"] == pytest.approx(51 / 101)


def test_boxes_that_overlap_by_seven_tenths_count_up_to_there():
    """IoU 0.72 is right at the thresholds 0.5 to 0.7: five of ten."""
    score = ledger((found([[0, 0, 100, 72]]), there([[0, 0, 100, 100]]))).score(plainly_visible)
    assert (score["AP"], score["AP50"], score["AP75"]) == (pytest.approx(0.5), pytest.approx(1.0), 0.0)


def test_what_nobody_asks_for_is_neither_right_nor_wrong():
    hidden = there([BOX, OTHER], visibility=[1.0, 0.2])
    alone = ledger((found([BOX]), hidden)).score(plainly_visible)
    both = ledger((found([BOX, OTHER], [0.5, 0.9]), hidden)).score(plainly_visible)
    invented = ledger((found([BOX, [200, 100, 260, 150]], [0.5, 0.9]), hidden)).score(plainly_visible)
    assert alone["AP"] == both["AP"] == pytest.approx(1.0) and alone["objects"] == 1
    assert invented["AP"] == pytest.approx(0.5)


def test_classes_are_told_apart_unless_asked_not_to():
    entry = ledger((found([BOX], labels=[2]), there([BOX])))
    assert entry.score(plainly_visible)["AP"] == 0.0
    assert entry.score(plainly_visible, class_blind=True)["AP"] == pytest.approx(1.0)


def test_the_table_hides_no_size_and_no_distance():
    small, large = [10, 10, 30, 18], [100, 20, 200, 120]
    rows = table(ledger((found([large]), there([small, large], distance=[70.0, 5.0]))))
    assert rows["plainly visible"]["AP"] == pytest.approx(1.0)  # 8 px is below what must be seen
    assert rows["all more than half visible"]["AP"] == pytest.approx(51 / 101)
    assert rows["height 0 to 12 px"]["AP"] == 0.0 and rows["height 48 to inf px"]["AP"] == pytest.approx(1.0)
    assert rows["distance 40 to 80 m"]["AP"] == 0.0 and rows["distance 0 to 10 m"]["AP"] == pytest.approx(1.0)
    assert math.isnan(rows["van"]["AP"]) and rows["van"]["objects"] == 0
    assert sum(rows[name]["objects"] for name in rows if name.startswith("height")) == 2
    assert sum(rows[name]["objects"] for name in rows if name.startswith("distance")) == 2


def test_whole_objects_are_cut_to_the_frame():
    target = {
        "amodal": torch.tensor([[-20.0, 30.0, 400.0, 250.0], [0.0, 0.0, 9.0, 9.0]]),
        "labels": torch.tensor([1, 3]),
        "visibility": torch.tensor([0.5, 1.0]),
        "truncation": torch.tensor([0.4, 0.0]),
        "distance": torch.ones(2),
    }
    kept = boxes_of(target, SIZE, classes=2)
    assert kept["boxes"].tolist() == [[0.0, 30.0, 320.0, 192.0]] and kept["labels"].tolist() == [1]
    assert kept["visibility"].tolist() == pytest.approx([0.3])  # half hidden, and four tenths off the frame


def test_suppression_keeps_the_surer_of_two_that_overlap():
    boxes = torch.tensor([[0.0, 0, 50, 50], [2, 0, 52, 50], [100, 100, 150, 150], [-9, -9, 400, 50]])
    scores = torch.tensor([[0.6, 0.0], [0.9, 0.0], [0.0, 0.7], [0.03, 0.0]])
    kept = suppress(boxes, scores, SIZE)
    assert kept.boxes.tolist() == [[2, 0, 52, 50], [100, 100, 150, 150]]
    assert kept.labels.tolist() == [1, 2] and kept.scores.tolist() == pytest.approx([0.9, 0.7])
    assert suppress(boxes, scores, SIZE, least_score=0.01).boxes[2].tolist() == [0, 0, 320, 50]
    assert len(suppress(boxes, scores, SIZE, overlap=0.99)) == 3


def test_a_thing_has_one_class():
    boxes = torch.tensor([[0.0, 0, 50, 50], [1, 0, 50, 50]])
    kept = suppress(boxes, torch.tensor([[0.6, 0.8], [0.0, 0.7]]), SIZE)
    assert kept.labels.tolist() == [2] and kept.scores.tolist() == pytest.approx([0.8])


def test_the_same_as_pycocotools(monkeypatch):
    """The same questions put to COCO's own evaluation: every figure of 60 pictures drawn by chance."""
    random, made = np.random.default_rng(0), Ledger(("car", "van", "truck"), SIZE)
    for _ in range(60):
        count, more = random.integers(0, 8), random.integers(0, 5)
        corners, sides = random.uniform(0, 250, (count, 2)), random.uniform(4, 80, (count, 2))
        boxes, labels = np.hstack([corners, corners + sides]), random.integers(1, 4, count)
        target = there(boxes.tolist(), labels.tolist(), (random.random(count) ** 0.3).tolist(), sides[:, 0].tolist())
        corners, sides = random.uniform(0, 250, (more, 2)), random.uniform(5, 60, (more, 2))
        near = np.repeat(boxes, 2, 0) + random.normal(0, 4, (2 * count, 4))
        seen = np.vstack([near, np.hstack([corners, corners + sides])])
        seen[:, 2:] = np.maximum(seen[:, 2:], seen[:, :2] + 1)
        called = np.concatenate([np.repeat(labels, 2), random.integers(1, 4, more)])
        called = np.where(random.random(len(called)) < 0.2, random.integers(1, 4, len(called)), called)
        scores = random.random(len(called)).round(2).tolist()
        made.add([found(seen.tolist(), scores, called.tolist())], [target])
    ours = table(made)

    def coco(truth):
        one = pycocotools.coco.COCO()
        one.dataset = {"info": {}} | truth
        one.createIndex()
        return one

    monkeypatch.setattr(average_precision, "COCO", coco)
    monkeypatch.setattr(average_precision, "COCOeval_faster", pycocotools.cocoeval.COCOeval)
    theirs = table(made)
    assert 0.1 < ours["plainly visible"]["AP"] < 0.9
    asked = [name for name, row in ours.items() if row["objects"]]
    assert len(asked) > 8
    for name in asked:
        for figure in NAMES:
            assert ours[name][figure] == pytest.approx(theirs[name][figure], abs=1e-12), (name, figure)
