"""The one-stage network: what its numbers mean, and that it can learn."""

import math

import pytest
import torch

from perception.detection.losses import detection_loss
from perception.detection.one_stage import STRIDES, OneStage, OneStageConfig, cells
from perception.detection.postprocess import suppress

SMALL = OneStageConfig(("box", "post"), 64, 64, (8, 8, 16, 16, 16), (1, 1, 1, 1), 16, 8)


def test_cells_lie_in_the_middle_of_their_squares():
    centers, strides = cells(96, 64)
    assert len(centers) == sum((96 // stride) * (64 // stride) for stride in STRIDES)
    assert centers[0].tolist() == [4.0, 4.0] and centers[1].tolist() == [12.0, 4.0]  # along the row first
    assert centers[12].tolist() == [4.0, 12.0]
    assert centers[-1].tolist() == [80.0, 48.0] and strides[-1] == 32.0


def test_bins_are_distances_in_strides():
    """A distribution all on bin k is k strides away; one that is split evenly lies in between."""
    network = OneStage(SMALL)
    bins = torch.full((1, len(network.centers), 4, SMALL.bins), -1e4)
    for side, k in enumerate((1, 2, 3, 0)):
        bins[..., side, k] = 0.0
    bins[..., 3, 1] = 0.0  # half way between 0 and 1
    box = network.boxes(bins)[0, 0]
    assert box.tolist() == pytest.approx([4 - 8, 4 - 16, 4 + 24, 4 + 4])
    assert network.boxes(bins)[0, -1].tolist() == pytest.approx([48 - 32, 48 - 64, 48 + 96, 48 + 16])


def test_the_default_is_about_a_million_parameters_and_sees_nothing_at_first():
    network = OneStage(OneStageConfig(("car", "van"))).eval()
    assert 0.8e6 < sum(weight.numel() for weight in network.parameters()) < 1.2e6
    with torch.inference_mode():
        boxes, scores = network.detect(torch.randint(0, 256, (1, 3, 192, 320), dtype=torch.uint8))
    assert boxes.shape == (1, 1260, 4) and scores.shape == (1, 1260, 2)
    assert scores.median() == pytest.approx(0.01, abs=0.01)


def picture(generator, count):
    """A grey picture with bright boxes (class 1) and dark posts (class 2)."""
    image = torch.full((3, 64, 64), 110, dtype=torch.uint8)
    boxes, labels = [], []
    for k in range(count):
        wide = bool(torch.rand(1, generator=generator) < 0.5)
        width, height = (24, 12) if wide else (8, 22)
        x = int(torch.randint(0, 64 - width, (1,), generator=generator))
        y = int(torch.randint(0, 32 - height, (1,), generator=generator)) + 32 * k
        image[:, y : y + height, x : x + width] = 240 if wide else 20
        boxes.append([x, y, x + width, y + height])
        labels.append(1 if wide else 2)
    return image, {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(labels),
        "ignore": torch.zeros(count, dtype=torch.bool),
    }


def test_it_learns_to_find_boxes_it_has_not_seen():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = OneStage(SMALL)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(120):
        images, targets = zip(*(picture(generator, 2) for _ in range(16)), strict=True)
        loss = detection_loss(network, torch.stack(images), list(targets))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    right = 0
    for _ in range(20):
        image, target = picture(generator, 2)
        with torch.inference_mode():
            boxes, scores = network.detect(image[None])
        found = suppress(boxes[0], scores[0], (64, 64), least_score=0.3)
        for box, label in zip(target["boxes"], target["labels"], strict=True):
            near = (found.boxes - box).abs().amax(-1) < 3.0
            right += bool((near & (found.labels == label)).any())
    assert right >= 30  # of 40; none before it has learned


def test_pictures_without_objects_have_a_finite_loss():
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "ignore": torch.zeros(0) > 0}
    parts = detection_loss(OneStage(SMALL), torch.zeros(2, 3, 64, 64, dtype=torch.uint8), [nothing, nothing])
    assert math.isfinite(float(parts["loss"].detach())) and float(parts["box"].detach()) == 0.0
    parts["loss"].backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ()}, "different names"),
        ({"classes": ("car", "car")}, "different names"),
        ({"width": 300}, "multiples of 32"),
        ({"height": 32}, "multiples of 32"),
        ({"blocks": (1, 1)}, "blocks four"),
    ],
)
def test_impossible_networks(change, message):
    with pytest.raises(ValueError, match=message):
        OneStageConfig(**({"classes": ("car",)} | change))


def test_what_is_not_asked_for_teaches_nothing():
    """Inside an object that is ignored no score is pulled anywhere; outside of it all are."""
    torch.manual_seed(0)
    network, kept = OneStage(SMALL), []

    def keep(_module, _inputs, output):
        for one in output if isinstance(output, tuple) else (output,):
            one.retain_grad()
            kept.append(one)

    network.register_forward_hook(keep)
    target = {
        "boxes": torch.tensor([[0.0, 0, 32, 64]]),
        "labels": torch.tensor([1]),
        "ignore": torch.tensor([True]),
    }
    detection_loss(network, torch.full((1, 3, 64, 64), 90, dtype=torch.uint8), [target])["loss"].backward()
    scores = next(one for one in kept if one.shape[-1] == 2 and one.ndim == 3)
    inside = network.centers[:, 0] < 32
    pulled = scores.grad[0].abs().sum(1) > 0
    assert not pulled[inside].any() and pulled[~inside].all()
