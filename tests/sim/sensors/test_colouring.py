import math

import numpy as np
import pytest
import torch

from sim.sensors.camera.cameras import Camera
from sim.sensors.camera.frames import Frames, Objects
from sim.sensors.classes import Semantic
from sim.sensors.colouring import (
    AMODAL,
    CLASS_COLOURS,
    GAP,
    LABEL,
    SOLID,
    VISIBLE,
    class_picture,
    depth_picture,
    instance_picture,
    rgb_picture,
    sheet,
    solid_corners,
    with_boxes,
    with_solids,
)

HEIGHT, WIDTH = 24, 32


def frames_of_one(**labels):
    """Black pictures of one world and camera with one object, slot 0."""
    numbers = {name: torch.zeros(1, 1, 1) for name in Objects.__dataclass_fields__}
    numbers |= {"box": torch.zeros(1, 1, 1, 4), "visible": torch.zeros(1, 1, 1, 4)}
    numbers |= {"center": torch.zeros(1, 1, 1, 3), "size": torch.zeros(1, 1, 1, 3), "pixels": torch.ones(1, 1, 1)}
    for name, value in labels.items():
        numbers[name][0, 0, 0] = torch.as_tensor(value, dtype=torch.float32)
    return Frames(
        rgb=torch.zeros(1, 1, 3, HEIGHT, WIDTH, dtype=torch.uint8),
        depth=torch.full((1, 1, HEIGHT, WIDTH), math.inf),
        semantic=torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.uint8),
        instance=torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.int16),
        objects=Objects(**numbers),
    )


def where(picture, colour):
    """First and last row and column of a colour."""
    rows, columns = np.nonzero((picture == np.array(colour)).all(axis=-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_pictures_show_channels_depths_and_classes():
    frames = frames_of_one()
    frames.rgb[0, 0, 1, 3, 4] = 200
    assert rgb_picture(frames)[3, 4].tolist() == [0, 200, 0]
    frames.depth[0, 0, 0, :3] = torch.tensor([2.0, 20.0, 250.0])
    near, middle, far = depth_picture(frames)[0, :3].astype(int)
    assert near[0] > near[2] and middle[1] > middle[2] and far.sum() < 400  # red, green, dark blue
    assert (depth_picture(frames)[5] == 0).all()
    for one in Semantic:
        frames.semantic[0, 0, 0, one] = one
    assert [tuple(pixel) for pixel in class_picture(frames)[0, : len(Semantic)]] == [
        CLASS_COLOURS[one] for one in Semantic
    ]
    assert len({*CLASS_COLOURS.values()}) == len(Semantic)


def test_neighbouring_instances_differ_in_colour():
    frames = frames_of_one()
    frames.instance[0, 0, 0] = torch.arange(WIDTH)
    colours = instance_picture(frames)[0].astype(int)
    assert np.abs(np.diff(colours, axis=0)).max(axis=-1).min() > 40


def test_boxes_are_drawn_around_what_is_labelled():
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames = frames_of_one(box=(4.0, 6.0, 20.0, 18.0), visible=(8, 9, 15, 16))
    drawn = with_boxes(picture, frames)
    assert where(drawn, VISIBLE) == (9, 15, 8, 14)  # the last pixels inside
    assert where(drawn, AMODAL) == (5, 18, 3, 20)  # the first outside
    assert not with_boxes(picture, frames, amodal=False, visible=False).any()
    assert not with_boxes(picture, frames_of_one(box=(4.0, 6.0, 20.0, 18.0), pixels=0)).any()


@pytest.mark.parametrize(("yaw", "width", "depth"), [(0.0, 2, 4), (math.pi / 2, 4, 2), (math.pi, 2, 4)])
def test_a_solid_has_its_sizes(yaw, width, depth):
    corners = solid_corners(np.array([1.0, 0.5, 10.0]), np.array([4.0, 2.0, 1.5]), yaw)
    assert np.allclose(np.ptp(corners, axis=0), [width, 1.5, depth]) and np.allclose(corners.mean(axis=0), [1, 0.5, 10])
    front = corners[4:].mean(axis=0) - corners[:4].mean(axis=0)
    assert np.allclose(front, 4 * np.array([math.sin(yaw), 0, math.cos(yaw)]), atol=1e-9)
    assert np.allclose(corners[1] - corners[0], [0, -1.5, 0])  # up is -y


def test_a_solid_is_projected_by_the_pinhole():
    """The near face of a 4 m cube 10 m ahead is 8 m away: 16 px of focal length make 8 px of it."""
    lens = Camera(width=WIDTH, height=HEIGHT, fov=90.0)
    frames = frames_of_one(center=(0.0, 0.0, 10.0), size=(4.0, 4.0, 4.0))
    drawn = with_solids(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), frames, lens)
    top, bottom, left, right = where(drawn, SOLID)
    assert abs(bottom - top - 8) <= 1 and abs(right - left - 8) <= 1
    assert abs((top + bottom) / 2 - HEIGHT / 2) <= 0.5 and abs((left + right) / 2 - WIDTH / 2) <= 0.5


def test_a_solid_that_reaches_behind_the_camera_is_cut():
    lens = Camera(width=WIDTH, height=HEIGHT, fov=90.0)
    beside = frames_of_one(center=(3.0, 0.0, 0.0), size=(8.0, 2.0, 2.0))
    drawn = with_solids(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), beside, lens)
    assert where(drawn, SOLID)[2] >= WIDTH / 2  # nothing of it flips to the left
    behind = frames_of_one(center=(0.0, 0.0, -10.0), size=(4.0, 4.0, 4.0))
    assert not with_solids(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), behind, lens).any()


def test_a_sheet_sets_pictures_side_by_side():
    red, wide = np.zeros((10, 20, 3), dtype=np.uint8), np.zeros((14, 30, 3), dtype=np.uint8)
    red[..., 0], wide[..., 1] = 255, 255
    page = np.array(sheet([("a", red), ("b", wide), ("", red)], 2))
    assert page.shape == (14 + 10 + 2 * LABEL + GAP, 20 + 30 + GAP, 3)
    assert (page[LABEL : LABEL + 10, :20] == red).all() and (page[LABEL : LABEL + 14, 24:54] == wide).all()
    assert (page[-10:, :20] == red).all() and (page[:LABEL, :20] < 200).any()
