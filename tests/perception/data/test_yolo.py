"""YOLO folders: boxes come back, and what does not fit is said at load."""

import numpy as np
import pytest
import torch
import yaml

from perception.data.images import png
from perception.data.targets import CATEGORIES
from perception.data.yolo import YoloFolder, label_text, write_data

BOXES = torch.tensor([[10.0, 20.0, 50.0, 60.0], [0.0, 0.0, 80.0, 96.0]])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "labels/train").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / f"images/train/{name}.png").write_bytes(png(np.zeros((3, 96, 80), dtype=np.uint8)))
    target = {"boxes": BOXES, "labels": torch.tensor([1, 3])}
    (tmp_path / "labels/train/a.txt").write_text(label_text(target, 80, 96))
    write_data(tmp_path, ("train",))
    return tmp_path


def test_boxes_and_labels_come_back(folder):
    data = YoloFolder(folder)
    image, target = data[0]
    assert len(data) == 2 and image.shape == (3, 96, 80) and data.categories == CATEGORIES
    assert torch.allclose(target["boxes"], BOXES, atol=1e-4)
    assert target["labels"].tolist() == [1, 3]
    assert target["area"].tolist() == pytest.approx([1600, 80 * 96], rel=1e-5)
    assert len(data[1][1]["boxes"]) == 0  # no label file: nothing to see


def test_a_label_line_is_class_middle_and_size(folder):
    first = (folder / "labels/train/a.txt").read_text().splitlines()[0].split()
    assert first[0] == "0"
    assert [float(value) for value in first[1:]] == pytest.approx([30 / 80, 40 / 96, 40 / 80, 40 / 96])


def test_names_as_a_list_are_read_and_others_than_expected_refused(folder):
    about = {"path": ".", "train": "images/train", "names": list(CATEGORIES.values())}
    (folder / "data.yaml").write_text(yaml.safe_dump(about))
    assert YoloFolder(folder).categories == CATEGORIES
    about["names"] = ["van", "car", *list(CATEGORIES.values())[2:]]
    (folder / "data.yaml").write_text(yaml.safe_dump(about))
    with pytest.raises(ValueError, match=r"data\.yaml: label 1 is 'van', expected 'car'"):
        YoloFolder(folder)
    assert YoloFolder(folder, expected=None).categories[1] == "van"
    (folder / "data.yaml").write_text(yaml.safe_dump(about | {"nc": 80}))
    with pytest.raises(ValueError, match="says nc is 80, but names 6 classes"):
        YoloFolder(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0.5 0.5 0.1 0.1", "line 1: there is no class 7"),
        ("0 0.5 0.5 0.1", "line 1 is no class and box"),
        ("0 0.5 0.5 20 0.1", "line 1 is no class and box"),
        ("car 0.5 0.5 0.1 0.1", "line 1 is no class and box"),
        ("0 nan 0.5 0.1 0.1", "line 1 is no class and box"),
    ],
)
def test_broken_lines_are_named(folder, line, message):
    (folder / "labels/train/b.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        YoloFolder(folder)


def test_missing_parts_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="names no folder of split 'val'"):
        YoloFolder(folder, "val")
    with pytest.raises(FileNotFoundError, match=r"it has no data\.yaml"):
        YoloFolder(tmp_path / "images")
    (folder / "data.yaml").write_text("names: {0: car")
    with pytest.raises(ValueError, match=r"data\.yaml cannot be read"):
        YoloFolder(folder)
    (folder / "data.yaml").write_text("train: images/train\n")
    with pytest.raises(ValueError, match="must name its classes"):
        YoloFolder(folder)


def test_a_split_without_any_label_file_is_refused(folder):
    for path in folder.rglob("labels/train/*.txt"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"has a label file; they are looked for in .*labels.train"):
        YoloFolder(folder, "train")
