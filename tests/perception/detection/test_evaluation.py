"""Judging detectors: those that know the truth score 1, those that name things otherwise are refused."""

import json

import pytest
import torch

from perception.cameras import FRONT, LEFT
from perception.detection import evaluation
from perception.detection.evaluation import evaluate, evaluate_folder, json_text, markdown
from perception.detection.folders import Folder
from perception.detection.learning import CLASSES
from perception.detection.postprocess import Detections
from tests.perception.detection.small_folders import NAMES, write_coco, write_yolo

NOTHING = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


class Told:
    """Finds what it was told, picture after picture."""

    kind, size = "told", (64, 64)

    def __init__(self, found, classes=NAMES):
        self.found, self.classes = list(found), classes

    def predict(self, images, least_score=0.05):
        return [self.found.pop(0) if self.found else NOTHING for _ in images]


def truth(folder):
    for i in range(len(folder)):
        target = folder[i][1]
        yield Detections(target["boxes"], torch.full((len(target["labels"]),), 0.9), target["labels"])


@pytest.mark.parametrize("write", [write_coco, write_yolo])
def test_who_knows_the_truth_scores_one(write, tmp_path):
    folder = Folder(write(tmp_path), "val")
    rows = evaluate_folder(Told(truth(folder)), folder)
    assert rows["plainly visible"]["AP"] == pytest.approx(1.0) and rows["post"]["AP50"] == pytest.approx(1.0)
    assert rows["plainly visible, any vehicle"]["objects"] == 5  # the sixth is 10 px high
    assert rows["all more than half visible"]["objects"] == 6 and rows["bar"]["pictures"] == 5
    others = [Detections(one.boxes, one.scores, 3 - one.labels) for one in truth(folder)]
    assert evaluate_folder(Told(others), folder)["plainly visible"]["AP50"] == 0.0
    assert evaluate_folder(Told([]), folder)["plainly visible"]["AP50"] == 0.0


def test_crowds_count_neither_way(tmp_path):
    folder = Folder(write_coco(tmp_path, iscrowd=1), "val")
    assert evaluate_folder(Told(truth(folder)), folder)["plainly visible"]["objects"] == 0


def test_other_classes_are_refused(tmp_path):
    folder = Folder(write_coco(tmp_path), "val")
    with pytest.raises(ValueError, match=r"coco:.* \(val\): label 1 is 'bar', expected 'post'"):
        evaluate_folder(Told([], ("post", "bar")), folder)
    with pytest.raises(ValueError, match="the told detector: label 1 is 'bar', expected 'car'"):
        evaluate(Told([]))


def test_the_simulators_pictures_are_the_same_each_time(monkeypatch):
    monkeypatch.setattr(evaluation, "WORLDS", 2)
    shown = []

    class Looks(Told):
        def predict(self, images, least_score=0.05):
            shown.append(images)
            return super().predict(images)

    for _ in range(2):
        rows = evaluate(Looks([], CLASSES), "test", 1, (FRONT, LEFT))
    assert torch.equal(*shown) and shown[0].shape == (4, 3, FRONT.height, FRONT.width)
    assert rows["all more than half visible"]["pictures"] == 4


def test_tables_are_written_with_what_is_unknown_left_open():
    rows = {"car": {"AP": 0.5, "AP50": 0.75, "AP75": 0.25, "objects": 7, "pictures": 3}}
    rows["van"] = {"AP": float("nan"), "AP50": float("nan"), "AP75": float("nan"), "objects": 0, "pictures": 3}
    text = markdown({"val": rows})
    assert (
        "val (3 pictures)" in text
        and "| car | 7 | 0.750 | 0.500 | 0.250 |" in text
        and "| van | 0 | - | - | - |" in text
    )
    assert json.loads(json_text({"val": rows}))["val"]["van"]["AP"] is None
