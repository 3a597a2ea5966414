"""Segmentation: groups, scores, and that the network can learn."""

import math

import numpy as np
import pytest
import torch

from perception.lanes.segmentation import (
    GROUPS,
    Confusion,
    Segmentation,
    SegmentationConfig,
    grouped,
    segmentation_loss,
)
from sim.sensors.classes import Semantic

SMALL = SegmentationConfig(64, 64, 0, (8, 8, 16, 16, 16), (1, 1, 1, 1), 8, 2, ("floor", "wall", "post"))


def test_every_class_of_a_pixel_is_in_one_group():
    assert sorted(member for members in GROUPS.values() for member in members) == list(Semantic)
    labels = grouped(torch.tensor([list(Semantic)], dtype=torch.uint8))
    names = [list(GROUPS)[label] for label in labels[0].tolist()]
    assert dict(zip((one.name for one in Semantic), names, strict=True)) == {
        "SKY": "rest", "GRASS": "rest", "SHOULDER": "shoulder", "ROAD": "road", "MARKING": "marking", "CAR": "object",
        "VAN": "object", "TRUCK": "object", "MOTORCYCLE": "object", "OBSTACLE": "object", "GOAL": "rest",
    }  # fmt: skip


def test_scores_of_a_small_example_by_hand():
    confusion = Confusion(("a", "b", "c", "never"))
    confusion.add(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 0, 0, 1]]))
    confusion.add(torch.tensor([2, 1]), torch.tensor([2, 2]))
    assert confusion.iou() == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 1 / 2})  # the absent one is left out
    scores = confusion.summary()
    assert scores["miou"] == pytest.approx(0.5) and scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["iou c"] == 0.5 and "iou never" not in scores
    assert math.isnan(Confusion(("a", "b")).summary()["miou"])


def test_scores_agree_with_sets_of_pixels_over_all_pictures():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, (6, 9, 11))
    told = np.where(generator.random(truth.shape) < 0.7, truth, generator.integers(0, 4, truth.shape))
    truth[0], told[0] = 0, 3  # one picture that a mean over pictures would weigh otherwise
    confusion = Confusion(tuple("abcd"))
    for one, other in zip(told, truth, strict=True):
        confusion.add(torch.from_numpy(one), torch.from_numpy(other))
    sets = [({*np.flatnonzero(told == k)}, {*np.flatnonzero(truth == k)}) for k in range(4)]
    assert list(confusion.iou().values()) == pytest.approx([len(a & b) / len(a | b) for a, b in sets])


@pytest.mark.parametrize(
    ("told", "truth", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "they must agree"),
        (torch.tensor([2]), torch.tensor([0]), "outside 0 to 1"),
        (torch.tensor([0]), torch.tensor([255]), "outside 0 to 1"),
    ],
)
def test_labels_that_are_none_are_refused(told, truth, message):
    with pytest.raises(ValueError, match=message):
        Confusion(("a", "b")).add(told, truth)


def rooms(generator, count):
    """Pictures of a floor below a wall, with a bright post; and the class of each pixel."""
    images = np.full((count, 3, 64, 64), 90, dtype=np.uint8)
    labels = np.zeros((count, 64, 64), dtype=np.uint8)
    for i in range(count):
        horizon, x = generator.integers(20, 44), generator.integers(0, 60)
        images[i, :, :horizon] = 170
        labels[i, :horizon] = 1
        images[i, :, 10:54, x : x + 4] = (20, 200, 240)[generator.integers(3)]
        labels[i, 10:54, x : x + 4] = 2
    noise = generator.integers(-15, 16, images.shape)
    return torch.from_numpy((images + noise).clip(0, 255).astype(np.uint8)), torch.from_numpy(labels)


def test_it_learns_to_tell_pixels_apart():
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    network = Segmentation(SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=6e-3)
    for _ in range(60):
        loss = segmentation_loss(network, *rooms(generator, 8))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    images, labels = rooms(generator, 16)
    confusion = Confusion(SMALL.classes)
    confusion.add(network.predict(images), labels)
    assert confusion.iou()["post"] > 0.7 and confusion.summary()["miou"] > 0.85
    larger = network.predict(images.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert larger.shape == (16, 128, 128) and larger.dtype == torch.uint8
    assert (larger[:, ::2, ::2] == labels).float().mean() > 0.95


def test_the_loss_is_nought_for_certain_right_answers_and_ignores_absent_classes():
    labels = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    network = torch.nn.Module()
    sure = torch.nn.functional.one_hot(labels.long(), 3).permute(0, 3, 1, 2) * 60.0
    network.forward = lambda images: sure
    parts = segmentation_loss(network, None, labels)
    assert parts["loss"] == pytest.approx(0.0, abs=1e-6)
    network.forward = lambda images: sure.flip(2)
    assert segmentation_loss(network, None, labels)["dice"] == pytest.approx(1.0)


def test_every_pixel_of_a_picture_of_another_size_gets_a_class():
    network = Segmentation(SegmentationConfig()).eval()
    assert sum(weight.numel() for weight in network.parameters()) < 1e6
    assert network(torch.zeros(1, 3, 192, 320, dtype=torch.uint8)).shape == (1, 5, 192, 320)
    assert network.predict(torch.zeros(1, 3, 50, 70, dtype=torch.uint8)).shape == (1, 50, 70)
    with pytest.raises(ValueError, match="uint8"):
        network.predict(torch.zeros(1, 1, 192, 320, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"top": 32}, "no row may be cut off"), ({"classes": ("a", "a")}, "different names"), ({"height": 90}, "of 32")],
)
def test_impossible_networks(change, message):
    with pytest.raises(ValueError, match=message):
        SegmentationConfig(**change)
