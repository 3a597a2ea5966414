import json

import pytest

from scripts.train_detector import Arguments, main
from tests.perception.detection.small_folders import write_coco, write_yolo

SMALL = {"steps": 2, "batch": 4, "width": 64, "height": 64}


def test_it_trains_on_a_folder_judges_and_judges_again(tmp_path, capsys):
    data = write_coco(tmp_path / "data", ("train", "val", "test"))
    assert main(Arguments(tmp_path / "run", data=data, **SMALL)) == 0
    assert "val (5 pictures)" in capsys.readouterr().out
    stored = json.loads((tmp_path / "run/scores.json").read_text())
    assert list(stored) == ["val", "test"] and stored["test"]["post"]["objects"] == 3
    assert "| post | 3 |" in (tmp_path / "run/scores.md").read_text()
    weights = (tmp_path / "run/model.safetensors").read_bytes()
    other = write_yolo(tmp_path / "yolo", ("val",))
    assert main(Arguments(tmp_path / "run", data=other, evaluate_only=True)) == 0
    assert list(json.loads((tmp_path / "run/scores.json").read_text())) == ["val"]
    assert (tmp_path / "run/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    "change, message",
    [
        ({"network": "detr"}, "network is 'detr'; it must be one of one-stage"),
        ({"data": "coco:nowhere"}, "coco:nowhere has no train split"),
        ({"data": "kitti"}, "'kitti' names no folder of pictures"),
        ({"steps": 0}, "steps is 0"),
        ({"evaluate_only": True}, "holds no model"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change, message, tmp_path, capsys):
    options = {"data": write_coco(tmp_path / "data")} | SMALL | change
    assert main(Arguments(tmp_path / "run", **options)) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_a_detector_of_other_classes_is_not_judged(tmp_path, capsys):
    data = write_coco(tmp_path / "data")
    assert main(Arguments(tmp_path / "run", data=data, **SMALL)) == 0
    renamed = write_coco(tmp_path / "renamed", names=("bar", "pole"))
    assert main(Arguments(tmp_path / "run", data=renamed, evaluate_only=True)) == 2
    assert "label 2 is 'pole', expected 'post'; it has bar, pole; expected are bar, post" in capsys.readouterr().err
    assert main(Arguments(tmp_path / "run", evaluate_only=True)) == 2
    assert "the one-stage detector: label 1 is 'bar', expected 'car'" in capsys.readouterr().err
