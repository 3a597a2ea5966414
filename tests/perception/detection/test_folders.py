"""Folders of pictures: what is taught is where it is in the picture, and labels mean what they say."""

import json

import pytest
import torch

from perception.data.targets import CATEGORIES
from perception.detection import learning
from perception.detection.folders import Folder, FolderLessons, fitted, require_classes, splits_in
from tests.perception.detection.small_folders import NAMES, PICTURES, write_coco, write_yolo

SIZE = (96, 64)


@pytest.fixture
def plain(monkeypatch):
    """Lessons that are mirrored alone: neither enlarged nor changed in colour."""
    monkeypatch.setattr(learning, "ZOOMED", 0.0)
    monkeypatch.setattr(learning, "augmented", lambda images, generator: images)


@pytest.mark.parametrize("write", [write_coco, write_yolo])
def test_boxes_lie_on_what_is_bright_in_the_scaled_and_mirrored_picture(write, tmp_path, plain):
    lessons = FolderLessons(Folder(write(tmp_path), "train"), SIZE, 4)
    seen = 0
    for _ in range(5):
        lesson = next(lessons)
        assert lesson.images.shape == (4, 3, SIZE[1], SIZE[0]) and lesson.images.dtype == torch.uint8
        for image, target in zip(lesson.images, lesson.targets, strict=True):
            # Halfway between a thing and the dark around it (40), or the grey bars (128) around that.
            bright = image[0] > (190 if 2 in target["labels"] else 139)
            for label, box in zip(target["labels"].tolist(), target["boxes"].round().int().tolist(), strict=True):
                x0, y0, x1, y1 = box
                inside = image[0, y0:y1, x0:x1].float().median()
                assert inside == pytest.approx(150 if label == 1 else 240, abs=3)
                if label == 2:
                    assert bright[y0:y1, x0:x1].float().mean() > 0.85
                seen += 1
            if 2 in target["labels"]:
                assert bright.sum() == pytest.approx(
                    float((target["boxes"][:, 2:] - target["boxes"][:, :2]).prod(1)[target["labels"] == 2].sum()),
                    rel=0.25,
                )
    assert seen == sum(len(things) for *_, things in PICTURES) * 4


def test_both_formats_teach_the_same(tmp_path):
    coco = FolderLessons(Folder(write_coco(tmp_path / "a"), "train"), SIZE, 3, seed=5)
    yolo = FolderLessons(Folder(write_yolo(tmp_path / "b"), "train"), SIZE, 3, seed=5)
    for _ in range(3):
        one, other = next(coco), next(yolo)
        assert torch.equal(one.images, other.images)
        for mine, its in zip(one.targets, other.targets, strict=True):
            assert torch.allclose(mine["boxes"], its["boxes"], atol=1e-3)
            assert torch.equal(mine["labels"], its["labels"]) and torch.equal(mine["ignore"], its["ignore"])


def test_every_picture_comes_once_an_epoch_and_each_epoch_in_its_own_order(tmp_path, plain, monkeypatch):
    shown, original = [], Folder.__getitem__
    folder = Folder(write_coco(tmp_path), "train")
    monkeypatch.setattr(Folder, "__getitem__", lambda self, i: (shown.append(i), original(self, i))[1])
    lessons = FolderLessons(folder, SIZE, 2)
    for _ in range(15):
        next(lessons)
    epochs = [shown[k : k + 5] for k in range(0, 30, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs) and len(set(map(tuple, epochs))) > 1


def test_they_go_on_from_a_position(tmp_path):
    folder = Folder(write_yolo(tmp_path), "train")
    lessons, later = FolderLessons(folder, SIZE, 4, seed=2), FolderLessons(folder, SIZE, 4, seed=2)
    for _ in range(3):
        next(lessons)
    later.load_state_dict(lessons.state_dict())
    assert torch.equal(next(lessons).images, next(later).images)
    assert not torch.equal(
        next(FolderLessons(folder, SIZE, 4, seed=3)).images, next(FolderLessons(folder, SIZE, 4)).images
    )


def test_ids_with_gaps_count_through(tmp_path):
    folder = Folder(write_coco(tmp_path, ids=(90, 7)), "train")
    assert folder.classes == ("post", "bar")
    assert folder[0][1]["labels"].tolist() == [2, 1]


def test_whole_boxes_and_what_is_not_asked_for(tmp_path):
    """Our own sets tell whole boxes and how much is seen; a crowd is not asked for, nor what is too low when scaled."""
    write_coco(tmp_path / "whole", amodal_bbox=[-10, 10, 40, 20])
    _, target = fitted(*Folder(f"coco:{tmp_path / 'whole'}", "train")[1], (64, 64), 2)
    assert target["boxes"].tolist() == [[0, 10, 30, 30]] and not target["ignore"].any()
    for name, more, ignored in (
        ("crowd", {"iscrowd": 1}, [True, True]),
        ("hidden", {"visibility": 0.2}, [True, True]),
        ("cut", {"truncation": 0.8}, [True, True]),
        ("plain", {}, [False, False]),
    ):
        image, target = Folder(write_coco(tmp_path / name, **more), "train")[0]
        assert fitted(image, target, (80, 64), 2)[1]["ignore"].tolist() == ignored
    assert fitted(image, target, (32, 32), 2)[1]["ignore"].tolist() == [True, False]  # 12 px become 4.8


def test_a_set_of_the_simulator_has_a_detectors_classes(tmp_path):
    """The last category, goal, is nothing a detector looks for."""
    place = write_coco(tmp_path, ids=(1, 6), names=("car", "goal"))
    path = tmp_path / "train/annotations.json"
    stored = json.loads(path.read_text())
    stored["categories"] = [{"id": label, "name": name} for label, name in CATEGORIES.items()]
    path.write_text(json.dumps(stored))
    folder = Folder(place, "train")
    assert folder.classes == learning.CLASSES
    assert fitted(*folder[0], SIZE, len(folder.classes))[1]["labels"].tolist() == [1]


def test_other_classes_are_named_with_both_lists():
    require_classes(["car", "van"], ("car", "van"), "a")
    with pytest.raises(
        ValueError, match="a: label 2 is 'truck', expected 'van'; it has car, truck; expected are car, van"
    ):
        require_classes(["car", "truck"], ["car", "van"], "a")
    with pytest.raises(ValueError, match="label 3 is no such label, expected 'bus'"):
        require_classes(["car", "van"], ["car", "van", "bus"], "a")
    with pytest.raises(ValueError, match="label 1 is 'van', expected 'car'"):
        require_classes(["van", "car"], ["car", "van"], "a")


def test_splits_are_those_that_are_there(tmp_path):
    assert splits_in(write_coco(tmp_path / "a")) == ["train", "val"]
    assert splits_in(write_yolo(tmp_path / "b", ("train", "test"))) == ["train", "test"]
    assert splits_in(f"coco:{tmp_path / 'c'}") == splits_in(f"yolo:{tmp_path / 'c'}") == []


def test_folders_that_cannot_be_taught_from_are_refused(tmp_path):
    for named in ("runs/x", "voc:runs/x", "coco:", "coco"):
        with pytest.raises(ValueError, match="names no folder of pictures; write coco:DIR or yolo:DIR"):
            Folder(named, "train")
    with pytest.raises(FileNotFoundError, match=r"has no train split: there is no .*annotations\.json"):
        Folder(f"coco:{tmp_path}", "train")
    with pytest.raises(FileNotFoundError, match="is no YOLO folder"):
        Folder(f"yolo:{tmp_path}", "train")
    named = write_coco(tmp_path / "empty")
    path = tmp_path / "empty/train/annotations.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": [], "annotations": []}))
    with pytest.raises(FileNotFoundError, match="holds no pictures"):
        Folder(named, "train")
    with pytest.raises(ValueError, match="gives one name to several classes: bar, bar"):
        Folder(write_coco(tmp_path / "twice", names=("bar", "bar")), "train")
    folder = Folder(write_coco(tmp_path / "broken"), "train")
    assert folder.classes == NAMES
    (tmp_path / "broken/train/images/3.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"3\.png is not a whole picture"):
        folder[2]
