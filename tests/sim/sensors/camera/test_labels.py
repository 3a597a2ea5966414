"""Depth, masks and boxes against projections worked out elsewhere (`solids`), and against each other."""

import cv2
import numpy as np
import pytest
import torch

from sim.sensors.camera.bodies import GOAL_HEIGHT, GOAL_MARGIN, OBSTACLE_HEIGHT, WALL_HEIGHT
from sim.sensors.camera.cameras import Camera
from sim.sensors.classes import Semantic
from sim.world import Kind
from tests.sim.sensors.camera.solids import corners, depth_of_hull, projected, rays, rendered
from tests.sim.sensors.things import random_scenes, thing, world_of

FRONT = Camera(width=160, height=120, fov=80.0)
TURNED = Camera(width=150, height=110, fov=70.0, x=0.5, y=0.4, z=2.2, yaw=25.0, pitch=-12.0, roll=9.0)
POSE = (40.0, 3.0, 0.3)


def obstacle(x, y, heading, length=2.0, width=2.0, kind=Kind.OBSTACLE):
    return thing(x, y, heading, kind=kind, length=length, width=width)


def ahead(distance, aside=0.0):
    c, s = np.cos(POSE[2]), np.sin(POSE[2])
    return POSE[0] + distance * c - aside * s, POSE[1] + distance * s + aside * c


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("camera", [FRONT, TURNED])
@pytest.mark.parametrize(
    ("distance", "aside", "heading", "size", "height"),
    [
        (9.0, 1.0, 0.9, (2.0, 2.0), OBSTACLE_HEIGHT),
        (25.0, 6.0, -0.4, (3.0, 1.0), OBSTACLE_HEIGHT),
        (14.0, 4.0, 1.7, (30.0, 1.0), WALL_HEIGHT),
        (2.5, 2.0, 0.3, (4.0, 2.0), OBSTACLE_HEIGHT),  # reaches behind the image plane
    ],
)
def test_a_box_at_a_known_pose(camera, precision, distance, aside, heading, size, height):
    x, y = ahead(distance, aside)
    world = world_of([[thing(*POSE), obstacle(x, y, heading, *size)]], precision)
    _, frames = rendered(world, camera)
    body = corners(x, y, heading, *size, height)
    expected = depth_of_hull(camera, POSE, body)
    eye, directions = rays(camera, POSE)
    with np.errstate(divide="ignore"):
        ground = np.where(directions[..., 2] > 0, -eye[2] / directions[..., 2], np.inf)
    ground[ground > 2000] = np.inf
    mask, depth = frames.instance[0, 0].numpy() == 2, frames.depth[0, 0].numpy()
    wrong = mask != np.isfinite(expected)
    assert wrong.sum() <= 2 and mask.sum() > 40  # edges through the very middle of a pixel
    np.testing.assert_allclose(depth[mask & ~wrong], expected[mask & ~wrong], rtol=1e-4, atol=1e-4)
    beside = ~mask & ~wrong
    assert (np.isinf(depth[beside]) == np.isinf(ground[beside])).all()
    here = beside & np.isfinite(ground)
    np.testing.assert_allclose(depth[here], ground[here], rtol=1e-3)
    assert (frames.semantic[0, 0].numpy()[mask] == Semantic.OBSTACLE).all()
    assert (frames.semantic[0, 0].numpy()[beside & np.isinf(ground)] == Semantic.SKY).all()

    objects = frames.objects
    assert objects.present[0, 0].tolist() == [False, True]
    box = objects.box[0, 0, 1].numpy()
    if distance > 5:
        outline = projected(camera, POSE, body)
        np.testing.assert_allclose(box, [*outline.min(axis=0), *outline.max(axis=0)], rtol=1e-4, atol=0.02)
        drawn = cv2.fillConvexPoly(
            np.zeros(mask.shape, np.uint8), cv2.convexHull(np.rint(outline * 16).astype(np.int32)), 1, shift=4
        ).astype(bool)
        assert (cv2.erode(drawn.astype(np.uint8), np.ones((3, 3))).astype(bool) <= mask).all()
        assert (mask <= cv2.dilate(drawn.astype(np.uint8), np.ones((3, 3))).astype(bool)).all()
    np.testing.assert_allclose(objects.size[0, 0, 1], [*size, height], rtol=1e-6)
    middle = camera.to_camera([x, y, height / 2], POSE)
    np.testing.assert_allclose(objects.center[0, 0, 1], middle, atol=1e-4)
    assert float(objects.distance[0, 0, 1]) == pytest.approx(np.linalg.norm(middle), abs=1e-4)
    turned = heading - POSE[2] - np.radians(camera.yaw)
    assert float(objects.yaw[0, 0, 1]) == pytest.approx(np.arctan2(np.sin(turned), np.cos(turned)), abs=1e-5)


def test_a_goal_lies_flat_around_its_spot():
    x, y = ahead(12.0)
    world = world_of([[thing(*POSE), obstacle(x, y, 0.45, kind=Kind.LANDMARK)]])
    _, frames = rendered(world, FRONT)
    body = corners(x, y, 0.45, 5 + 2 * GOAL_MARGIN, 2 + 2 * GOAL_MARGIN, GOAL_HEIGHT)
    expected = np.isfinite(depth_of_hull(FRONT, POSE, body))
    mask = frames.instance[0, 0].numpy() == 2
    assert (mask != expected).sum() <= 2 and (frames.semantic[0, 0].numpy()[mask] == Semantic.GOAL).all()


def visible_points(camera, depth, mask):
    """Points [n, 3] in the camera's frame that the pixels of a mask show."""
    i, j = np.nonzero(mask)
    offset = (np.stack([j, i], axis=1) + 0.5 - [camera.width / 2, camera.height / 2]) / camera.focal
    return np.concatenate([offset, np.ones((len(i), 1))], axis=1) * depth[mask][:, None]


@pytest.mark.parametrize("camera", [FRONT, TURNED])
def test_what_is_seen_of_a_vehicle_fills_its_box(camera):
    """Every kind of body: points of its pixels lie in the 3-D box; without anything in front the boxes fit the mask."""
    episodes = torch.arange(60) * 31 + 5
    x, y = ahead(9.0, 3.0)
    world = world_of([[thing(*POSE), thing(x, y, 1.1 + 0.1 * k)] for k in range(60)], episodes=episodes)
    _, frames = rendered(world, camera)
    objects = frames.objects
    assert len(set(objects.category[:, 0, 1].tolist())) == 4
    for w in range(60):
        mask = frames.instance[w, 0].numpy() == 2
        points = visible_points(camera, frames.depth[w, 0].numpy(), mask)
        # From the camera's frame to the box's: level the camera, turn by the label's yaw.
        level = (points - objects.center[w, 0, 1].numpy()) @ camera.axes()  # forward, right, up of the camera's vehicle
        turn = float(objects.yaw[w, 0, 1]) + np.radians(camera.yaw)
        inside = level @ np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        half = objects.size[w, 0, 1].numpy() / 2
        assert (np.abs(inside) < half + 2e-3).all()
        assert (np.ptp(inside, axis=0)[2] > 1.7 * half[2]) and len(points) > 100
        box = objects.box[w, 0, 1].numpy()
        if (box[:2] > 0).all() and box[2] < camera.width and box[3] < camera.height:
            i, j = np.nonzero(mask)
            seen = np.array([j.min(), i.min(), j.max() + 1, i.max() + 1])
            assert np.abs(box - seen).max() < 1.6  # a thin tip may pass between the middles of pixels
            assert float(objects.truncation[w, 0, 1]) == 0.0
    assert bool((objects.visibility[:, 0, 1] == 1.0).all())


@pytest.fixture(scope="module")
def crowd():
    world = world_of(random_scenes(24, things=14, seed=3, spread=35.0))
    cameras = (FRONT, Camera("back", 160, 120, 95.0, -1.0, yaw=170.0, pitch=-5.0, roll=-7.0))
    return world, cameras, rendered(world, *cameras)[1].clone()


def test_labels_are_those_of_the_instance_image(crowd):
    world, cameras, frames = crowd
    objects = frames.objects
    hidden = 0
    for w in range(world.num_worlds):
        for c in range(len(cameras)):
            picture, depth = frames.instance[w, c].numpy(), frames.depth[w, c].numpy()
            found = set(np.unique(picture)) - {0}
            assert found <= {v + 1 for v in range(1, 14)}
            for v in range(14):
                i, j = np.nonzero(picture == v + 1)
                labels = {name: tensor[w, c, v] for name, tensor in vars(objects).items()}
                assert int(labels["pixels"]) == len(i) <= int(labels["whole"])
                if not labels["present"]:
                    assert all(not bool(tensor.any()) for tensor in labels.values())
                    continue
                assert int(labels["number"]) == v
                assert float(labels["visibility"]) == pytest.approx(len(i) / int(labels["whole"]))
                tight = [j.min(), i.min(), j.max() + 1, i.max() + 1] if len(i) else [0, 0, 0, 0]
                assert labels["visible"].tolist() == tight
                hidden += len(i) == 0
                if len(i):
                    assert (frames.semantic[w, c].numpy()[i, j] == int(labels["category"])).all()
                    x0, y0, x1, y1 = labels["box"].tolist()
                    assert x0 <= j.min() + 0.52 and y0 <= i.min() + 0.52
                    assert x1 >= j.max() + 0.48 and y1 >= i.max() + 0.48
                    reach = float(labels["size"].norm()) / 2
                    away = np.abs(depth[i, j] - float(labels["center"][2]))
                    assert (away <= reach + 1e-2).all()
            assert (frames.semantic[w, c].numpy()[picture == 0] < Semantic.CAR).all()
    assert hidden > 3


def test_hidden_share_is_what_the_picture_without_the_others_shows(crowd):
    world, cameras, frames = crowd
    for v in range(1, 14):
        alone = world.clone()
        others = [slot for slot in range(1, 14) if slot != v]
        alone.x[:, others] += 5000.0
        alone.y[:, others] += 5000.0
        single = rendered(alone, *cameras)[1].objects
        assert torch.equal(single.pixels[:, :, v], frames.objects.whole[:, :, v])
        assert torch.equal(single.box[:, :, v], frames.objects.box[:, :, v])


def test_a_car_behind_a_truck_is_partly_hidden():
    truck = obstacle(*ahead(12.0), POSE[2], 7.0, 2.0)
    world = world_of([[thing(*POSE), truck, thing(*ahead(22.0, 0.9), POSE[2])]])
    objects = rendered(world, Camera(width=320, height=240))[1].objects
    assert 0.0 < float(objects.visibility[0, 0, 2]) < 1.0
    assert float(objects.visibility[0, 0, 1]) == 1.0


def test_nothing_behind_the_camera_or_out_of_its_picture_is_labelled():
    scene = [thing(*POSE), thing(*ahead(-15.0)), thing(*ahead(5.0, 60.0)), thing(*ahead(30.0))]
    objects = rendered(world_of([scene]), FRONT)[1].objects
    assert objects.present[0, 0].tolist() == [False, False, False, True]
    assert not objects.number[0, 0, :3].any() and not objects.box[0, 0, :3].any()


def test_truncation_is_the_share_of_the_box_outside():
    x, y = ahead(8.0, 5.0)
    world = world_of([[thing(*POSE), obstacle(x, y, POSE[2], 2.0, 2.0)]])
    objects = rendered(world, FRONT)[1].objects
    outline = projected(FRONT, POSE, corners(x, y, POSE[2], 2.0, 2.0, OBSTACLE_HEIGHT))
    low, high = outline.min(axis=0), outline.max(axis=0)
    inside = np.clip(high, 0, (160, 120)) - np.clip(low, 0, (160, 120))
    assert float(objects.truncation[0, 0, 1]) == pytest.approx(1 - np.prod(inside) / np.prod(high - low), abs=1e-3)
    assert 0.1 < float(objects.truncation[0, 0, 1]) < 0.9
