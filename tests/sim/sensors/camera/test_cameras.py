import math

import numpy as np
import pytest

from sim.sensors.camera.cameras import PRESETS, Camera, camera_from, preset
from tests.sim.sensors.camera.solids import extrinsics, projected

CAMERAS = [
    Camera(),
    Camera(width=200, height=120, fov=50.0, x=2.0, y=-0.5, z=1.2, yaw=30.0, pitch=-10.0, roll=5.0),
    Camera(fov=110.0, x=-1.0, z=3.0, yaw=180.0, pitch=-20.0),
]
POSE = (120.0, -40.0, 0.7)


@pytest.mark.parametrize("camera", CAMERAS)
def test_projection_is_opencvs(camera):
    rng = np.random.default_rng(0)
    seen = np.column_stack([rng.uniform(-0.5, 0.5, (50, 2)), np.ones(50)]) * rng.uniform(2, 60, (50, 1))
    turn, shift = extrinsics(camera, POSE)
    points = (seen - shift) @ turn  # x, y, down
    heights = points * (1, 1, -1)
    np.testing.assert_allclose(camera.to_camera(heights, POSE), seen, atol=1e-9)
    pixels, depth = camera.project(heights, POSE)
    np.testing.assert_allclose(pixels, projected(camera, POSE, points), atol=1e-6)
    np.testing.assert_allclose(depth, seen[:, 2], atol=1e-9)
    assert np.isnan(camera.project(-heights + 2 * np.array([*POSE[:2], camera.z]), POSE)[0]).any()


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_point_on_the_ground_comes_back_from_its_pixel(camera):
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1) + 0.5
    ground = camera.to_ground(grid, POSE)
    assert np.isnan(ground[: camera.height // 8]).any() and not np.isnan(ground[-1]).any()
    known = ~np.isnan(ground[..., 0])
    points = np.concatenate([ground[known], np.zeros((known.sum(), 1))], axis=-1)
    pixels, depth = camera.project(points, POSE)
    np.testing.assert_allclose(pixels, grid[known], atol=1e-6)
    assert (depth > 0).all()


def test_fifty_metres_away_the_ground_is_known_to_a_centimetre():
    camera = Camera(width=640, height=480, z=1.5)
    turn = np.linspace(-0.4, 0.4, 21)
    there = np.column_stack([50 * np.cos(turn) + POSE[0], 50 * np.sin(turn) + POSE[1], 0 * turn])
    pixels, _ = camera.project(there, (*POSE[:2], 0.0))
    assert np.abs(camera.to_ground(pixels.astype(np.float32), (*POSE[:2], 0.0)) - there[:, :2]).max() < 0.01


def test_the_field_of_view_spans_the_width():
    camera = Camera(fov=90.0, x=0.0)
    left, right = camera.to_ground([[0.0, 90.0], [128.0, 90.0]], (0.0, 0.0, 0.0))
    assert left == pytest.approx([left[0], -left[0]]) and right == pytest.approx([right[0], right[0]])
    assert camera.intrinsics() == pytest.approx(np.array([[64, 0, 64], [0, 64, 48], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "camera width is 0; it must be an integer of at least 8"),
        ({"height": 7}, "camera height is 7"),
        ({"width": 64.0}, "camera width is 64.0"),
        ({"width": True}, "camera width is True"),
        ({"fov": 180}, "camera fov is 180; it must be between 0 and 180"),
        ({"fov": 0.0}, "camera fov is 0.0"),
        ({"z": 0.0}, "camera z is 0.0; it must be above the ground"),
        ({"z": -1}, "camera z is -1"),
        ({"yaw": math.nan}, "camera yaw is nan; it must be a finite number"),
        ({"x": math.inf}, "camera x is inf"),
        ({"pitch": "up"}, "camera pitch is 'up'"),
        ({"heigth": 96}, "unknown camera field 'heigth'; did you mean 'height'"),
    ],
)
def test_impossible_cameras_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        camera_from(options)
    assert "\n" not in str(caught.value)


def test_presets():
    assert [camera.name for camera in preset("surround", width=64)] == ["front", "left", "right", "rear"]
    assert all(camera.width == 64 for camera in preset("surround", width=64))
    assert {len(preset(name)) for name in PRESETS if name != "surround"} == {1}
    seen = [(camera.yaw + side * camera.fov / 2) % 360 for camera in preset("surround") for side in (-1, 1)]
    assert seen == [322.5, 37.5, 225, 325, 35, 135, 132.5, 227.5]  # each begins before its neighbour ends
    with pytest.raises(ValueError, match="unknown camera preset 'frnt'; did you mean 'front'"):
        preset("frnt")
