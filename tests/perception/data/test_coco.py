"""COCO's format: faster-coco-eval's tools read what we write, and we read what others write."""

import json
import shutil

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image, ImageDraw

from perception.data.coco import CocoFolder, mask_of
from perception.data.stream import FrameStream
from perception.data.targets import CATEGORIES
from tests.perception.data.small_set import SETTINGS


@pytest.fixture
def pictures():
    """The first pictures of the training split, straight from the simulator."""
    stream = FrameStream(SETTINGS.stream("train", clips=False), threads=1)
    return [next(stream) for _ in range(3)]


def test_the_set_is_the_stream(written, pictures):
    folder, _ = written
    data = CocoFolder(folder / "train/annotations.json", masks=True)
    index = compared = 0
    for batch in pictures:
        for i in range(len(batch)):
            image, target = data[index]
            assert torch.equal(image, batch.images[i])
            like = batch.targets[i]
            for name in ("boxes", "labels", "area", "number", "masks", "iscrowd"):
                assert torch.equal(target[name], like[name]), name
            for name in ("visibility", "truncation", "distance"):
                assert torch.allclose(target[name], like[name], atol=1e-3), name
            index, compared = index + 1, compared + len(target["boxes"])
    assert index == 12 and compared > 20


def test_masks_read_by_coco_s_tools_are_the_instances_pixel_for_pixel(written, pictures):
    folder, _ = written
    coco = COCO(str(folder / "train/annotations.json"))
    assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == CATEGORIES
    index = 0
    for batch in pictures:
        for i in range(len(batch)):
            found = coco.loadAnns(coco.getAnnIds(imgIds=[index + 1]))
            painted = np.zeros(batch.instance.shape[1:], dtype=int)
            for annotation in found:
                mask = coco.annToMask(annotation).astype(bool)
                assert not painted[mask].any() and mask.sum() == annotation["area"]
                x, y, width, height = map(int, annotation["bbox"])
                assert mask[y : y + height, x : x + width].sum() == mask.sum()
                assert (
                    mask[y].any() and mask[y + height - 1].any() and mask[:, x].any() and mask[:, x + width - 1].any()
                )
                painted[mask] = 1
            assert np.array_equal(painted > 0, batch.instance[i].numpy() > 0)
            index += 1


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_truth_evaluated_as_a_result_is_perfect(written, kind, capsys):
    folder, _ = written
    coco = COCO(str(folder / "train/annotations.json"))
    keys = ("image_id", "category_id", "bbox", "segmentation")
    results = [{key: one[key] for key in keys} | {"score": 0.9} for one in coco.loadAnns(coco.getAnnIds())]
    evaluation = COCOeval_faster(coco, coco.loadRes(results), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_each_picture_says_where_it_comes_from(written):
    folder, manifest = written
    data = CocoFolder(folder / "train/annotations.json")
    assert {image["seed"] for image in data.images} <= set(manifest["splits"]["train"]["seeds"])
    assert {image["env"] for image in data.images} == {"highway-fast-v0", "roundabout-v0"}
    names = [image["file_name"] for image in data.images]
    assert len(set(names)) == len(names) == len(data) == 17


@pytest.fixture
def foreign(tmp_path):
    """A set as others write it: one picture, polygons, ids with gaps."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "brush"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 90,
                "bbox": [5, 5, 20, 10],
                "segmentation": [[5, 5, 25, 5, 25, 15, 5, 15]],
            }
        ],
    }

    def write(change=None):
        copy = json.loads(json.dumps(content))
        if change:
            change(copy)
        (tmp_path / "a.json").write_text(json.dumps(copy))
        return tmp_path / "a.json"

    return write


def test_other_sets_are_read_once_their_labels_are_accepted(foreign):
    path = foreign()
    with pytest.raises(ValueError, match=r"label 1 is no such label, expected 'car'"):
        CocoFolder(path)
    data = CocoFolder(path, expected=None, masks=True)
    image, target = data[0]
    assert image.shape == (3, 30, 40) and data.categories == {3: "car", 90: "brush"}
    assert target["boxes"].tolist() == [[5, 5, 25, 15]] and target["labels"].tolist() == [90]
    assert target["area"].tolist() == [200] and target["number"].tolist() == [-1]
    assert torch.isnan(target["distance"]).all()
    expected = np.zeros((30, 40), dtype=bool)
    expected[5:15, 5:25] = True
    off = (target["masks"][0].numpy() != expected).sum()
    assert off <= 60  # its outline at most


def test_shifted_labels_are_refused(written, tmp_path):
    folder, _ = written
    content = json.loads((folder / "train/annotations.json").read_text())
    for category in content["categories"]:
        category["id"] -= 1
    (tmp_path / "shifted.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"shifted\.json: label 0 is 'car', expected none"):
        CocoFolder(tmp_path / "shifted.json", folder / "train")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=4), ValueError, "annotation 1: there is no category 4"),
        (lambda c: c["annotations"][0].update(image_id=8), ValueError, "annotation 1: there is no image 8"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4]), ValueError, "annotation 1: bbox is"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2]), ValueError, "annotation 1: bbox is"),
        (lambda c: c["images"].append(c["images"][0]), ValueError, "one id to several images"),
        (lambda c: c["categories"].append(c["categories"][0]), ValueError, "one id to several categories"),
        (lambda c: c["images"][0].update(file_name="b.jpg"), FileNotFoundError, r"picture that is missing: .*b\.jpg"),
        (lambda c: c.pop("annotations"), ValueError, "is no COCO file"),
        (lambda c: c["images"][0].pop("file_name"), ValueError, "is no COCO file: KeyError 'file_name'"),
        (lambda c: c["images"][0].pop("id"), ValueError, "is no COCO file: KeyError 'id'"),
        (lambda c: c["images"][0].pop("width"), ValueError, "is no COCO file: KeyError 'width'"),
        (lambda c: c["images"][0].update(width=0), ValueError, "states a picture of 0 x"),
        (lambda c: c["annotations"][0].update(bbox=["3", 1, 2, 4]), ValueError, "is no COCO file: TypeError"),
        (lambda c: c["annotations"][0].update(bbox=None), ValueError, "is no COCO file: TypeError"),
        (lambda c: c["annotations"][0].update(area=None), ValueError, "is no COCO file: TypeError"),
    ],
)
def test_what_is_wrong_is_said_at_load(foreign, change, error, message):
    with pytest.raises(error, match=message):
        CocoFolder(foreign(change), expected=None)


def test_a_broken_json_or_picture_is_named(foreign, tmp_path):
    path = foreign()
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match=r"a\.json is no COCO file, or breaks off"):
        CocoFolder(path, expected=None)
    data = CocoFolder(foreign(lambda c: c["images"][0].update(width=41)), expected=None)
    with pytest.raises(ValueError, match=r"a\.jpg is 40x30, but .* says 41x30"):
        data[0]
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a\.jpg is not a whole picture"):
        data[0]


def test_polygons_are_filled_as_pillow_fills_them():
    random = np.random.default_rng(1)
    for _ in range(20):
        middle, angles = random.uniform(15, 35, 2), np.sort(random.uniform(0, 2 * np.pi, 9))
        corners = middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(8, 14, (9, 1))
        image = Image.new("1", (50, 50))
        ImageDraw.Draw(image).polygon([tuple(corner - 0.5) for corner in corners], fill=1)
        ours, theirs = mask_of([corners.ravel().tolist()], 50, 50), np.asarray(image)
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.8
    with pytest.raises(ValueError, match="run lengths or polygons"):
        mask_of([[1.0, 2.0]], 50, 50)
    with pytest.raises(ValueError, match=r"a mask of size \[2, 2\]"):
        mask_of({"size": [2, 2], "counts": "04"}, 50, 50)


def test_a_missing_file_is_named(written):
    folder, _ = written
    copy = folder.parent / "copy"
    shutil.copytree(folder / "test", copy)
    (copy / "images/00000000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"00000000\.png"):
        CocoFolder(copy / "annotations.json")
