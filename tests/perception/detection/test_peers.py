import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from perception.detection import peers
from perception.detection.learning import CLASSES
from perception.detection.postprocess import Detections
from tests.perception.detection.graph_files import convolution, node, write


class Told(nn.Module):
    """A network that says what it was told to, and keeps what it was given."""

    def __init__(self, *out):
        super().__init__()
        self.out, self.given = out, None
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        self.given = inputs
        return list(self.out)


def test_nanodet_reads_distances_from_the_middle_of_a_cell_and_wants_normalised_bgr():
    scores, bins = torch.zeros(1, 80, 2, 4), torch.zeros(1, 44, 2, 4)
    scores[0, 7, 1, 2] = 0.9
    for side, steps in enumerate((1, 2, 3, 0)):
        bins[0, side * 11 + steps, 1, 2] = 200.0
    graph = Told(scores, bins)
    red = torch.zeros(1, 3, 16, 32, dtype=torch.uint8)
    red[:, 0] = 255
    boxes, found = peers.NanoDet(graph)(red)
    # Stride 8: the middle of row 1, column 2 is (20, 12); left, top, right, bottom are 8, 16, 24, 0 px away.
    assert boxes.shape == (1, 8, 4) and boxes[0, 6].tolist() == pytest.approx([12.0, -4.0, 44.0, 12.0])
    assert found[0, 6, 7] == pytest.approx(0.9) and found.sum() == pytest.approx(0.9)
    blue, green, red = graph.given[0, :, 0, 0].tolist()
    assert (blue, green, red) == pytest.approx((-103.53 / 57.375, -116.28 / 57.12, (255 - 123.675) / 58.395))


def test_nanodet_lists_its_levels_one_after_the_other():
    levels = []
    for rows, columns in ((4, 4), (2, 2), (1, 1)):
        levels += [torch.zeros(2, 80, rows, columns), torch.zeros(2, 44, rows, columns)]
    boxes, scores = peers.NanoDet(Told(*levels))(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert boxes.shape == (2, 21, 4) and scores.shape == (2, 21, 80)
    middles = (boxes[0, [0, 1, 16, 20], :2] + boxes[0, [0, 1, 16, 20], 2:]) / 2
    assert middles.tolist() == [[4.0, 4.0], [12.0, 4.0], [8.0, 8.0], [16.0, 16.0]]


def test_centernet_keeps_peaks_alone_and_measures_from_a_cells_corner():
    heat, sides = torch.zeros(1, 4, 8, 80), torch.zeros(1, 4, 8, 4)
    heat[0, 1, 2, 2], heat[0, 1, 3, 2], heat[0, 2, 3, 0] = 0.8, 0.7, 0.6  # the second is a neighbour of the first
    sides[0, 1, 2] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    graph = Told(heat, sides)
    picture = torch.randint(0, 256, (1, 3, 16, 32), dtype=torch.uint8)
    boxes, scores = peers.CenterNet(graph)(picture)
    assert boxes[0, 10].tolist() == [7.0, 2.0, 11.0, 8.0]
    assert scores.nonzero().tolist() == [[0, 10, 2], [0, 19, 0]]
    assert torch.equal(graph.given, picture.permute(0, 2, 3, 1).float())


def test_pictures_are_stretched_to_the_input_and_boxes_come_back():
    boxes, scores = torch.tensor([[[104.0, 104.0, 208.0, 208.0]]]), torch.zeros(1, 1, 80)
    scores[0, 0, 2] = 0.5
    network = Told(boxes, scores)
    detector = peers.CocoDetector("nanodet", network, peers.COCO_CLASSES, (416, 416))
    (found,) = detector.predict(torch.zeros(1, 3, 192, 320, dtype=torch.uint8))
    assert network.given.shape == (1, 3, 416, 416)
    assert found.boxes.tolist() == [pytest.approx([80.0, 48.0, 160.0, 96.0])] and found.labels.tolist() == [3]
    with pytest.raises(ValueError, match="uint8"):
        detector.predict(torch.zeros(1, 3, 192, 320))


def test_stretching_keeps_a_picture_of_the_right_size():
    picture = torch.randint(0, 256, (1, 3, 20, 30), dtype=torch.uint8)
    same, placed = peers.stretched(picture, (30, 20))
    assert torch.equal(same, picture) and placed.scale == (1.0, 1.0)


def test_coco_names_stand_in_their_order():
    # Category numbers of COCO's 2017 release without the gaps.
    names = peers.COCO_CLASSES
    assert len(names) == len(set(names)) == 80
    assert [names.index(name) for name in ("person", "car", "bus", "truck", "dog", "toothbrush")] == [
        0,
        2,
        5,
        7,
        16,
        79,
    ]


class Finds:
    kind, size, classes = "nanodet", (416, 416), peers.COCO_CLASSES

    def predict(self, images, least_score=0.05):
        labels = torch.tensor([self.classes.index(name) + 1 for name in ("bus", "dog", "car", "motorcycle")])
        return [Detections(torch.arange(16.0).reshape(4, 4), torch.tensor([0.9, 0.8, 0.7, 0.6]), labels)]


def test_cocos_vehicles_get_our_labels_and_other_things_are_dropped():
    detector = peers.AsVehicles(Finds(), CLASSES)
    (found,) = detector.predict(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert [CLASSES[label - 1] for label in found.labels] == ["truck", "car", "motorcycle"]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6]) and found.boxes[1].tolist() == [8.0, 9.0, 10.0, 11.0]
    assert detector.classes == CLASSES
    with pytest.raises(ValueError, match="no class 'van'"):
        peers.AsVehicles(Finds(), CLASSES, {"van": "van"})


def tiny_centernet(folder):
    """A CenterNet of two 1 x 1 convolutions on a picture of 8 x 8 px: 80 scores of nought but the red car's."""
    scores, sides = np.zeros((1, 1, 3, 80), np.float32), np.zeros((1, 1, 3, 4), np.float32)
    scores[0, 0, 0, 2] = 1 / 256
    nodes = [
        node("images", "Placeholder"),
        convolution("tower_0/keypoints", "Conv2D", ["images", "scores"], stride=4),
        convolution("tower_0/wh", "_FusedConv2D", ["images", "sides", "bias"], stride=4, fused=("BiasAdd",)),
    ]
    write(folder, nodes, {"scores": scores, "sides": sides, "bias": np.full(4, 2.0, np.float32)}, "centernet")
    digests = tuple(hashlib.sha256((folder / f"centernet.{end}").read_bytes()).hexdigest() for end in ("json", "bin"))
    return replace(peers.PEERS["centernet"], size=(8, 8), sha256=digests)


def test_a_peer_is_read_from_its_files(tmp_path, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "centernet", tiny_centernet(tmp_path))
    detector = peers.load_peer("centernet", tmp_path)
    picture = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    picture[0, 0, 4, 4] = 128
    (found,) = detector.predict(picture)
    assert (detector.kind, found.scores.tolist(), found.boxes.tolist()) == ("centernet", [0.5], [[2.0, 2.0, 6.0, 6.0]])
    assert detector.classes[found.labels[0] - 1] == "car"


def test_files_other_than_the_known_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown peer 'yolo'; known: nanodet, centernet"):
        peers.load_peer("yolo", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nanodet.json; it comes with the npm package @vladmandic"):
        peers.load_peer("nanodet", tmp_path)
    monkeypatch.setitem(peers.PEERS, "centernet", tiny_centernet(tmp_path))
    damaged = bytearray((tmp_path / "centernet.bin").read_bytes())
    damaged[5] ^= 1
    (tmp_path / "centernet.bin").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"centernet.bin is not that of @vladmandic.*SHA-256"):
        peers.load_peer("centernet", tmp_path)
