"""What several sensors say of one thing becomes one place; what they say of two stays two."""

import math

import pytest
import torch

import sim
from perception.detection.postprocess import Detections
from perception.fusion import Boxes, Measurements, Sweep, average, merged, with_lidar
from sim.scene import scene_from_world
from sim.sensors.lidar import LidarSensor

REAL = torch.float64


def measured(places, variance=1.0, score=0.5, label=1):
    """One world's measurements with the same variance along both axes."""
    count = len(places)
    place = torch.tensor(places, dtype=REAL).view(1, count, 2)
    covariance = variance * torch.eye(2, dtype=REAL).expand(1, count, 2, 2)
    whole = torch.full((1, count), label)
    return Measurements(
        place, covariance, torch.ones(1, count, dtype=torch.bool), torch.full((1, count), score, dtype=REAL), whole,
        torch.full((1, count), -1),
    )  # fmt: skip


def test_the_surer_place_weighs_more():
    """Of variances 1 and 3 the mean lies at a quarter of the way and has 3/4; the axes do not mix."""
    first, other = torch.tensor([0.0, 0.0], dtype=REAL), torch.tensor([4.0, 4.0], dtype=REAL)
    one, three = torch.diag(torch.tensor([1.0, 1e-12], dtype=REAL)), torch.diag(torch.tensor([3.0, 1.0], dtype=REAL))
    place, covariance = average(first, one, other, three, torch.tensor(True))
    assert place.tolist() == pytest.approx([1.0, 0.0], abs=1e-9)
    assert covariance.flatten().tolist() == pytest.approx([0.75, 0, 0, 1e-12], abs=1e-14)


def test_cameras_that_agree_saw_one_thing():
    front = measured([[10.0, 0.0], [30.0, 4.0]], score=0.4, label=1)
    left = measured([[11.0, 0.0], [10.0, -8.0]], score=0.9, label=3)
    found = merged([front, left])
    assert found.there.tolist() == [[True, True, True]]
    assert sorted(found.place[0].tolist()) == [[10.0, -8.0], [10.5, 0.0], [30.0, 4.0]]
    both = found.place[0, :, 0].tolist().index(10.5)
    assert found.score[0, both] == 0.9 and found.label[0, both] == 3  # the surer one's
    assert found.covariance[0, both].diagonal().tolist() == pytest.approx([0.5, 0.5])


def test_each_thing_has_one_partner():
    """Two things side by side, both seen twice: not one of the four is left over and none is used twice."""
    found = merged([measured([[20.0, 0.0], [20.0, 2.0]]), measured([[20.0, 1.8], [20.0, -0.2]])])
    assert sorted(found.place[0, :, 1].tolist()) == pytest.approx([-0.1, 1.9])


def test_one_box_of_two_classes_is_one_thing():
    boxes = torch.tensor([[10.0, 10.0, 50.0, 40.0], [11.0, 10.0, 50.0, 41.0], [100.0, 10.0, 140.0, 40.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.6, 0.3]), torch.tensor([1, 2, 1]))
    nothing = Detections(boxes[:0], torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    kept = Boxes.of([found, nothing], 1, 2)
    assert kept.labels[0].tolist() == [[1, 0, 1], [0, 0, 0]]


def test_a_part_of_a_thing_is_no_thing():
    """A small box in a large one that ends at the same height is a part of it; one that ends higher stands behind."""
    boxes = torch.tensor([[10.0, 10.0, 110.0, 90.0], [30.0, 50.0, 60.0, 88.0], [70.0, 20.0, 100.0, 60.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.6, 0.5]), torch.tensor([3, 4, 1]))
    assert Boxes.of([found], 1, 1).labels.tolist() == [[[3, 0, 1]]]


def test_a_lidar_tells_the_range():
    """A camera that is two metres off along the ray is put right; where no beam answers, nothing changes."""
    envs = sim.make_vec("highway-fast-v0", num_envs=8, precision="float64")
    envs.reset(seed=0)
    scene = scene_from_world(envs, objects=6, reach=60.0)
    assert int(scene.valid.sum()) > 12
    from_x, from_y = scene.tracked.x - scene.ego.x[:, None], scene.tracked.y - scene.ego.y[:, None]
    ray = torch.stack([from_x, from_y], -1) / torch.hypot(from_x, from_y)[..., None]
    truth = torch.stack([scene.tracked.x, scene.tracked.y], -1)
    covariance = 9.0 * ray[..., :, None] * ray[..., None, :] + 0.01 * torch.eye(2, dtype=REAL)
    score = torch.ones_like(from_x)
    label = torch.ones_like(scene.number)
    found = Measurements(truth + 2.0 * ray, covariance, scene.valid, score, label, label)
    footprint = torch.stack([scene.tracked.length, scene.tracked.width], -1)
    sensor = LidarSensor(envs.world, beams=720, range=80.0)
    ego = (scene.ego.x, scene.ego.y, scene.ego.heading)
    sweep = Sweep(sensor.scan(), 80.0, torch.from_numpy(sensor.angles), *ego)
    better = with_lidar(found, scene.tracked.heading, footprint, sweep)
    # What the plane of beams meets at all: not what is hidden.
    seen = torch.zeros_like(scene.valid)
    for world, slots in enumerate(sweep.scan.instance.long()):
        numbers = {int(envs.world.number[world, slot - 1]) for slot in slots.tolist() if slot}
        seen[world] = torch.tensor([int(number) in numbers for number in scene.number[world]])
    error = (better.place - truth).norm(dim=-1)
    whole = scene.valid & seen & (error < 1.9)
    assert int(whole.sum()) > 0.6 * int((scene.valid & seen).sum())
    assert float(error[whole].max()) < 0.5
    along = (ray * (better.covariance @ ray[..., None])[..., 0]).sum(-1)
    assert float(along[whole].max()) < 0.5**2
    unseen = scene.valid & ~seen
    torch.testing.assert_close(better.place[unseen], found.place[unseen])
    blind = Sweep(sweep.scan, 1.0, sweep.angles, *ego)
    torch.testing.assert_close(with_lidar(found, scene.tracked.heading, footprint, blind).place, found.place)
    assert math.isfinite(float(better.place.sum()))
