"""What all detectors have in common: pictures of any size, clear refusals, folders that can be loaded."""

import json
from dataclasses import asdict

import pytest
import torch

from perception.detection.detector import OneStageDetector, letterbox, load_detector, predict_letterboxed
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.detection.postprocess import Detections
from perception.detection.torchvision_models import PeerConfig, PeerDetector, build_peer
from perception.model_folder import ModelFacts, save_model

SIZE = (64, 96)
SMALL = OneStageConfig(("box", "post"), *SIZE, (8, 8, 16, 16, 16), (1, 1, 1, 1), 16, 8)


def bright(images):
    """A detector that cannot err: the box around what is bright, or nothing."""
    found = []
    for image in images:
        y, x = (image[0] > 128 + 60).nonzero(as_tuple=True)
        rows = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else []
        boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
        found.append(Detections(boxes, torch.full((len(rows),), 0.9), torch.ones(len(rows), dtype=torch.int64)))
    return found


@pytest.mark.parametrize("width, height", [SIZE, (640, 480), (31, 200), (200, 31), (640, 960), (32, 48), (65, 96)])
def test_boxes_come_back_in_the_pixels_of_the_picture(width, height):
    image = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    x, y, wide, high = width // 4, height // 3, width // 2, height // 3
    image[0, :, y : y + high, x : x + wide] = 255
    found = predict_letterboxed(image, SIZE, "cpu", bright)
    pixel = max(width / SIZE[0], height / SIZE[1], 1.0)  # of the input, in pixels of the picture
    assert found[0].boxes[0].tolist() == pytest.approx([x, y, x + wide, y + high], abs=pixel)
    assert len(found[1]) == 0


def test_a_picture_that_fits_is_neither_copied_nor_changed():
    image = torch.zeros(1, 3, SIZE[1], SIZE[0], dtype=torch.uint8)
    assert letterbox(image, SIZE)[0] is image


def test_bars_are_grey_and_the_picture_is_in_the_middle():
    inputs, place = letterbox(torch.full((1, 3, 30, 60), 255, dtype=torch.uint8), SIZE)
    assert inputs.shape == (1, 3, SIZE[1], SIZE[0])
    assert (inputs == 255).any(1)[0].sum() == 64 * 32 and place.corner == (0, 32)
    assert inputs[0, :, 31].unique().tolist() == [128] and inputs[0, :, 64].unique().tolist() == [128]


def test_things_on_the_bars_are_dropped_and_others_cut():
    _, place = letterbox(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), SIZE)  # bars of 16 px above and below
    boxes = torch.tensor([[0.0, 0, 64, 15], [10, 10, 20, 26], [-5, 20, 70, 30]])
    back = place.back(Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([1, 2, 1])))
    assert back.boxes.tolist() == [[10, 0, 20, 10], [0, 4, 64, 14]]
    assert back.labels.tolist() == [2, 1] and back.scores.tolist() == pytest.approx([0.8, 0.7])


@pytest.mark.parametrize(
    "images, message",
    [
        (torch.zeros(1, 3, 8, 8), r"uint8 \[B, 3, H, W\] \(RGB\); these are torch.float32 \(1, 3, 8, 8\)"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.uint8), r"these are torch.uint8 \(1, 4, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"these are torch.uint8 \(3, 8, 8\)"),
        ([[1]], "these are list"),
        (torch.zeros(1, 3, 0, 8, dtype=torch.uint8), "8 x 0 px have nothing in them"),
    ],
)
def test_what_are_no_pictures_is_said(images, message):
    with pytest.raises(ValueError, match=message):
        OneStageDetector(OneStage(SMALL)).predict(images)
    assert OneStageDetector(OneStage(SMALL)).predict(torch.zeros(0, 3, 8, 8, dtype=torch.uint8)) == []


def made(kind):
    torch.manual_seed(1)
    if kind == "one-stage":
        network = OneStage(SMALL)
        return OneStageDetector(network), network, ModelFacts(kind, SMALL.classes, asdict(SMALL))
    config = PeerConfig(kind, SMALL.classes, "mobilenet-v3", *SIZE, channels=32)
    network = build_peer(config)
    return PeerDetector(network, config), network, ModelFacts(kind, config.classes, asdict(config))


@pytest.mark.parametrize("kind", ["one-stage", "faster-rcnn", "ssdlite", "fcos"])
def test_what_was_saved_is_loaded_and_finds_the_same(kind, tmp_path):
    detector, network, facts = made(kind)
    save_model(tmp_path, facts, network.state_dict())
    loaded = load_detector(tmp_path)
    assert (loaded.kind, loaded.classes, loaded.size) == (kind, ("box", "post"), SIZE)
    images = torch.randint(0, 256, (2, 3, 50, 70), dtype=torch.uint8)
    for mine, its in zip(detector.predict(images, 0.001), loaded.predict(images, 0.001), strict=True):
        assert len(mine) > 0 and mine.labels.max() <= 2 and mine.labels.min() >= 1
        assert torch.equal(mine.labels, its.labels) and torch.allclose(mine.boxes, its.boxes, atol=1e-3)
        assert (mine.scores.diff() <= 0).all()
        assert (mine.boxes >= 0).all() and (mine.boxes[:, 2] <= 70).all() and (mine.boxes[:, 3] <= 50).all()
    assert all(len(one) == 0 for one in loaded.predict(images, 1.0))


def test_what_is_no_detector_is_said(tmp_path):
    _, network, facts = made("one-stage")
    with pytest.raises(FileNotFoundError, match=r"holds no model: there is no model\.json"):
        load_detector(tmp_path)
    save_model(tmp_path, facts, network.state_dict())
    with pytest.raises(ValueError, match="unknown runtime 'tensorrt'; known: torch, onnx, onnx-int8"):
        load_detector(tmp_path, runtime="tensorrt")
    stored = json.loads((tmp_path / "model.json").read_text())

    def change(**changes):
        (tmp_path / "model.json").write_text(json.dumps(stored | changes))

    change(kind="classifier")
    with pytest.raises(ValueError, match="kind 'classifier', which is no detector; known: one-stage, faster-rcnn"):
        load_detector(tmp_path)
    change(classes=["box"])
    with pytest.raises(ValueError, match=r"contradicts itself: classes \('box',\) and \('box', 'post'\)"):
        load_detector(tmp_path)
    change(classes=["box", "post", "sign"], network=stored["network"] | {"classes": ["box", "post", "sign"]})
    with pytest.raises(ValueError, match=r"of another network: scores\.weight has shape"):
        load_detector(tmp_path)
    change(kind="fcos")
    with pytest.raises(ValueError, match="of another fcos network"):
        load_detector(tmp_path)
