import math

import numpy as np
import pytest
import torch
import warp as wp

from sim.sensors.camera.views import View
from sim.sensors.effects.chain import Effects
from sim.sensors.looks.look import FIELD
from sim.sensors.looks.look_sampler import LookSampler
from sim.world import Kind
from tests.sim.sensors.pictures import everywhere, named_worlds, run

HEIGHT, WIDTH, FOCAL = 61, 81, 50.0
FRAME = 0.1  # s


def blurred(
    marks, depth=10.0, speed=0.0, slip=0.0, share=1.0, heading=0.0, yaw=0.0, front=None, precision="float32", **batch
):
    """What becomes of white marks, (row, column), on black; worlds of one vehicle, or two if `front` is a speed."""
    worlds, threads = batch.get("worlds", 1), batch.get("threads", 1)
    world = named_worlds([3] * worlds, precision=precision)
    world.kind[:, 0], world.speed[:, 0], world.slip[:, 0] = Kind.MDP, speed, slip
    world.kind[:, 1], world.speed[:, 1] = Kind.IDM, front or 0.0
    for vehicle in range(2):
        world.heading[:, vehicle] = heading
        world.cos_heading[:, vehicle], world.sin_heading[:, vehicle] = math.cos(heading), math.sin(heading)
    rows = np.zeros((worlds, 1), dtype=View.numpy_dtype())
    turned = heading + yaw
    rows["right"], rows["down"] = (-math.sin(turned), math.cos(turned), 0), (0, 0, -1)
    rows["ahead"], rows["focal"] = (math.cos(turned), math.sin(turned), 0), FOCAL
    rgb = torch.zeros(worlds, 1, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    for row, column in marks:
        rgb[..., row, column] = 255
    far = torch.full((worlds, 1, HEIGHT, WIDTH), depth)
    instance = torch.full((worlds, 1, HEIGHT, WIDTH), 0 if front is None else 2, dtype=torch.int16)
    sampler = LookSampler("clear", world.struct(), worlds)
    sampler.tensor[:, FIELD["blur"]] = share
    views = wp.array(rows, dtype=View, device="cpu")
    effects = Effects(sampler, world.struct(), rgb, views, far, instance, frame_time=FRAME, only=["blur"])
    run(effects.launches(everywhere(worlds)), worlds, threads)
    return rgb


def extent(image):
    """First and last row and column that are not black."""
    lit = torch.nonzero(image.amax(dim=0))
    return lit.min(dim=0).values.tolist(), lit.max(dim=0).values.tolist()


@pytest.mark.parametrize(
    ("column", "speed", "share"), [(60, 20.0, 1.0), (60, 20.0, 0.5), (75, 30.0, 0.6), (70, 12.0, 1.0), (70, 40.0, 1.0)]
)
def test_a_point_ahead_is_smeared_away_from_the_vanishing_point(column, speed, share):
    """Half of the vehicle's way is before, half after: the point is seen at focal * X / Z from Z + vt/2 to Z - vt/2."""
    image = blurred([(30, column)], speed=speed, share=share)[0, 0]
    (top, left), (bottom, right) = extent(image)
    aside = (column + 0.5 - WIDTH / 2) * 10.0  # focal * X [px m]
    ends = [WIDTH / 2 + aside / (10 + sign * speed * share * FRAME / 2) - 0.5 for sign in (1, -1)]
    assert top == bottom == 30 and abs(left - ends[0]) <= 1.2 and abs(right - ends[1]) <= 1.2
    total = float(image[0].double().sum())
    assert abs(total / 255 - 1) < 0.35  # the light of the point, spread


def test_a_point_above_moves_up_and_one_below_down():
    for row, column in ((10, 40), (50, 40)):
        (top, left), (bottom, right) = extent(blurred([(row, column)], speed=30.0)[0, 0])
        assert left == right == 40 and abs(bottom - top - abs(row - 30) * 30 * FRAME / 10) <= 1.5


def test_the_middle_the_standing_and_the_far_stay_sharp():
    for kwargs in ({"speed": 30.0}, {"speed": 0.0}, {"speed": 30.0, "share": 0.0}, {"speed": 30.0, "depth": math.inf}):
        assert extent(blurred([(30, 40)], **kwargs)[0, 0]) == ([30, 40], [30, 40])
    for kwargs in ({"speed": 0.0}, {"speed": 30.0, "share": 0.0}, {"speed": 30.0, "depth": math.inf}):
        assert extent(blurred([(20, 65)], **kwargs)[0, 0]) == ([20, 65], [20, 65])


def test_a_turn_smears_the_whole_picture_even_the_sky():
    """The yaw rate of a bicycle is v * sin(slip) over half its wheelbase, 2.5 m; the picture goes by focal * angle."""
    speed, slip = 20.0, 0.1
    image = blurred([(30, 40)], speed=speed, slip=slip, depth=math.inf)[0, 0]
    (top, left), (bottom, right) = extent(image)
    assert top == bottom == 30 and abs((right - left) - FOCAL * speed * slip / 2.5 * FRAME) <= 1.5
    assert torch.equal(image, blurred([(30, 40)], speed=speed, slip=-slip, depth=math.inf)[0, 0])


def test_a_vehicle_that_is_followed_at_the_same_speed_is_sharp():
    assert extent(blurred([(20, 65)], speed=30.0, front=30.0)[0, 0]) == ([20, 65], [20, 65])
    slower = blurred([(30, 70)], speed=30.0, front=20.0)
    assert torch.equal(slower, blurred([(30, 70)], speed=10.0))


def test_a_camera_to_the_side_sees_the_world_pass():
    """Looking right while driving ahead: the world goes to the left by focal * v * t / Z, wherever in the picture."""
    for mark in ((30, 40), (12, 55)):
        (top, left), (bottom, right) = extent(blurred([mark], speed=30.0, yaw=math.pi / 2, depth=15.0)[0, 0])
        assert top == bottom == mark[0] and abs((right - left) - FOCAL * 30 * FRAME / 15) <= 1.5


def test_neither_heading_nor_batch_matters():
    alone = blurred([(12, 66), (40, 20)], speed=25.0, slip=0.02)
    turned = blurred([(12, 66), (40, 20)], speed=25.0, slip=0.02, heading=2.0)
    assert float((alone.int() - turned.int()).abs().float().mean()) < 0.5
    many = blurred([(12, 66), (40, 20)], speed=25.0, slip=0.02, worlds=40, threads=2)
    assert torch.equal(many, alone.expand_as(many))


def test_both_precisions_blur_alike():
    single, double = (blurred([(12, 66)], speed=25.0, slip=0.02, precision=name) for name in ("float32", "float64"))
    assert float((single.int() - double.int()).abs().float().mean()) < 0.1 and int(single.count_nonzero()) > 6


def test_without_depth_there_is_none():
    world = named_worlds([3])
    rgb = torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8)
    sampler = LookSampler("old-camera", world.struct(), 1)
    assert Effects(sampler, world.struct(), rgb, only=["blur"]).launches(everywhere(1)) == []
