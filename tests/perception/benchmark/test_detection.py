from dataclasses import asdict

import pytest
import torch

from perception.benchmark import detection
from perception.benchmark.detection import Entrant, Pictures, accuracy, entrants, latencies, network_of
from perception.detection.detector import OneStageDetector
from perception.detection.learning import CLASSES
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.detection.peers import AsVehicles
from perception.detection.postprocess import Detections
from perception.model_folder import WEIGHTS, ModelFacts, save_model


def held_out(count=4):
    """Pictures with a car and a truck each, at places that differ."""
    targets = []
    for k in range(count):
        boxes = torch.tensor([[10.0 + 5 * k, 20, 60 + 5 * k, 50], [100.0, 20 + k, 180, 80 + k]])
        targets.append(
            {
                "boxes": boxes,
                "amodal": boxes,
                "labels": torch.tensor([1, 3]),
                "visibility": torch.ones(2),
                "truncation": torch.zeros(2),
                "distance": torch.tensor([15.0, 30.0]),
            }
        )
    return Pictures(torch.zeros(count, 3, 96, 192, dtype=torch.uint8), targets, ("dusk",))


class Oracle:
    """Finds what is there, moved by some pixels; every picture is asked for once, in order."""

    kind, classes, size = "oracle", CLASSES, (192, 96)

    def __init__(self, pictures, moved=0.0):
        self.left, self.moved, self.least = list(pictures.targets), moved, []

    def predict(self, images, least_score=0.05):
        self.least.append(least_score)
        targets = [self.left.pop(0) for _ in images]
        scores = torch.tensor([0.9, 0.8])
        return [Detections(one["boxes"] + self.moved, scores, one["labels"]) for one in targets]


def test_who_finds_everything_has_an_average_precision_of_one_by_every_size_and_distance():
    pictures = held_out(10)
    oracle = Oracle(pictures)
    rows = accuracy(oracle, pictures)
    assert set(oracle.least) == {detection.LEAST_SCORE}
    for name in ("plainly visible", "plainly visible, any vehicle", "car", "truck", "distance 10 to 20 m"):
        assert rows[name]["AP"] == pytest.approx(1.0), name
    assert rows["plainly visible"]["objects"] == 20 and rows["distance 10 to 20 m"]["objects"] == 10


def test_boxes_beside_things_find_nothing():
    pictures = held_out(10)
    assert accuracy(Oracle(pictures, moved=70.0), pictures)["plainly visible, any vehicle"]["AP50"] < 0.05


class Counts:
    kind, classes, size = "counting", CLASSES, (192, 96)

    def __init__(self):
        self.shapes, self.alone = [], 0

    def predict(self, images, least_score=0.05):
        assert images.dtype == torch.uint8
        self.shapes.append(tuple(images.shape))
        return []

    def network(self, images):
        self.alone += 1


def test_timings_count_whole_pictures_the_network_alone_and_batches():
    one, other = Counts(), Counts()
    field = [Entrant("a", "torch", "runs/a", one, 1), Entrant("b", "onnx", "runs/b", other, 1)]
    found = latencies(field, held_out(detection.BATCH + 1), runs=5, warm_up=2)
    assert list(found) == ["end to end", "model", "batch"]
    for measured in found.values():
        assert {name: timing.runs for name, timing in measured.timings.items()} == {"a (torch)": 5, "b (onnx)": 5}
    assert one.shapes == [(1, 3, 96, 192)] * 7 + [(detection.BATCH, 3, 96, 192)] * 7
    assert one.alone == other.alone == 7


def small(tmp_path, classes=CLASSES, name="small"):
    config = OneStageConfig(classes, 64, 64, channels=(4, 4, 4, 4, 4), blocks=(1, 1, 1, 1), neck=4, bins=4)
    torch.manual_seed(0)
    network = OneStage(config)
    save_model(tmp_path / name, ModelFacts("one-stage", classes, asdict(config)), network.state_dict())
    return tmp_path / name


def test_a_folder_is_an_entrant_with_its_parameters_and_operations(tmp_path):
    folder = small(tmp_path)
    found, notes = entrants(str(folder), ["torch"])
    assert [one.title for one in found] == ["small (torch)"] and notes == []
    assert found[0].bytes == (folder / WEIGHTS).stat().st_size
    detector = found[0].detector
    assert isinstance(detector, OneStageDetector) and network_of(detector) == detector.network.detect
    parameters, flops = detection.parameters_and_flops(detector)
    assert parameters == sum(value.numel() for value in detector.network.parameters())
    # The first convolution alone: 32 x 32 places, 4 channels out, 3 in, 9 taps, twice.
    assert flops > 2 * 32 * 32 * 4 * 3 * 9


def test_what_cannot_be_exported_is_a_note_and_not_the_end(tmp_path, monkeypatch):
    def refuse(folder):
        raise ValueError("detectors of kind 'faster-rcnn' are not exported to ONNX")

    monkeypatch.setattr(detection, "export", refuse)
    found, notes = entrants(str(small(tmp_path)), ["torch", "onnx", "onnx-int8"])
    assert [one.runtime for one in found] == ["torch"]
    assert notes == [
        f"small ({runtime}): detectors of kind 'faster-rcnn' are not exported to ONNX"
        for runtime in ("onnx", "onnx-int8")
    ]


def test_detectors_of_other_classes_missing_and_damaged_ones_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"knows cat; the simulator has car"):
        entrants(str(small(tmp_path, ("cat",), "cats")), ["torch"])
    with pytest.raises(FileNotFoundError, match=r"holds no model"):
        entrants(str(tmp_path / "nowhere"), ["torch"])
    with pytest.raises(FileNotFoundError, match=r"nanodet.json; it comes with"):
        entrants(f"nanodet:{tmp_path}")
    folder = small(tmp_path)
    (folder / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model.safetensors cannot be read"):
        entrants(str(folder), ["torch"])


def test_the_network_of_a_mapped_detector_is_the_one_inside():
    class Coco(Counts):
        classes = ("car", "truck", "bus", "motorcycle")

    inside = Coco()
    assert network_of(AsVehicles(inside, CLASSES)) == inside.network
