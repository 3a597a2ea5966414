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
        ({"data": "coco:nowhere"}, "coco:nowhere has no val split"),
        ({"data": "kitti"}, "'kitti' names no folder of pictures"),
        ({"steps": 0}, "steps is 0"),
        ({"evaluate_only": True}, "holds no model"),
        ({"pictures": 0}, "--pictures is 0; it must be at least 1"),
        ({"threads": 0}, "--threads is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"network": "fcos", "frozen": 4, "scratch": True}, "give either --scratch or --frozen"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change, message, tmp_path, capsys):
    options = {"data": write_coco(tmp_path / "data")} | SMALL | change
    assert main(Arguments(tmp_path / "run", **options)) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_what_cannot_be_judged_leaves_the_tables_as_they_are(tmp_path, capsys):
    assert main(Arguments(tmp_path / "run", data=write_coco(tmp_path / "data"), **SMALL)) == 0
    before = (tmp_path / "run/scores.json").read_bytes()
    only = write_coco(tmp_path / "only", ("train",))
    for options, message in (
        ({"data": "coco:nowhere"}, "coco:nowhere has no val split"),
        ({"data": only}, "has no val split"),
        ({"pictures": -5}, "--pictures is -5"),
    ):
        assert main(Arguments(tmp_path / "run", evaluate_only=True, **options)) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "run/scores.json").read_bytes() == before


def test_a_split_of_other_classes_is_refused_before_training(tmp_path, capsys):
    data = write_coco(tmp_path / "data", ("train",))
    write_coco(tmp_path / "data", ("val",), names=("bar", "pole"))
    assert main(Arguments(tmp_path / "run", data=data, **SMALL)) == 2
    assert "(val): label 2 is 'pole', expected 'post'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_same_command_again_keeps_what_is_told_of_the_training(tmp_path):
    data = write_coco(tmp_path / "data")
    told = []
    for _ in range(2):
        assert main(Arguments(tmp_path / "run", data=data, **SMALL)) == 0
        told.append(json.loads((tmp_path / "run/model.json").read_text())["training"])
    assert told[0] == told[1] and {"recipe", "pictures", "cpu_s", "steps", "seconds"} == set(told[0])


def test_a_detector_of_other_classes_is_not_judged(tmp_path, capsys):
    data = write_coco(tmp_path / "data")
    assert main(Arguments(tmp_path / "run", data=data, **SMALL)) == 0
    renamed = write_coco(tmp_path / "renamed", names=("bar", "pole"))
    assert main(Arguments(tmp_path / "run", data=renamed, evaluate_only=True)) == 2
    assert "label 2 is 'pole', expected 'post'; it has bar, pole; expected are bar, post" in capsys.readouterr().err
    assert main(Arguments(tmp_path / "run", evaluate_only=True)) == 2
    assert "the one-stage detector: label 1 is 'bar', expected 'car'" in capsys.readouterr().err
