import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sim import render
from sim.engine.lanes import CircularLane, LineType, SineLane, StraightLane
from sim.render import Hud, NoDisplayError, Renderer
from sim.road_shapes import STRIPE_LENGTH, STRIPE_SPACING, RoadShapes
from sim.world import Kind

SCALING = 8.0  # px/m


def highway(lanes=3, length=10_000.0):
    types = [
        (
            LineType.CONTINUOUS_LINE if i == 0 else LineType.STRIPED,
            LineType.CONTINUOUS_LINE if i == lanes - 1 else LineType.NONE,
        )
        for i in range(lanes)
    ]
    return [StraightLane((0.0, 4.0 * i), (length, 4.0 * i), line_types=t) for i, t in enumerate(types)]


def world(*vehicles, ego=0, worlds=1):
    """Worlds with the same vehicles, each (x, y, heading, kind, crashed)."""
    columns = [torch.tensor([list(values)] * worlds) for values in zip(*vehicles, strict=True)]
    x, y, heading, kind, crashed = columns
    return SimpleNamespace(
        x=x, y=y, heading=heading, kind=kind, crashed=crashed, acceleration=torch.zeros_like(x),
        ego=torch.full((worlds, 1), ego, dtype=torch.int32),
    )  # fmt: skip


def car(x, y, heading=0.0, kind=Kind.IDM, crashed=False):
    return float(x), float(y), float(heading), int(kind), crashed


def renderer(lanes=None, **options):
    network = SimpleNamespace(lanes=lanes or highway())
    return Renderer(network, **{"width": 800, "height": 200, "scaling": SCALING, "centering": (0.5, 0.5)} | options)


def pixel(image, ahead, aside):
    """Colour at a point given in metres from the ego, which stands in the middle of the image."""
    height, width = image.shape[:2]
    return image[round(height / 2 + aside * SCALING), round(width / 2 + ahead * SCALING)].astype(int)


def close_to(colour, expected, tolerance=30):
    return np.abs(np.asarray(colour) - expected).max() < tolerance


def rear_deck(image, ahead, aside):
    """The lid of a car's boot, which has the colour of its body."""
    return pixel(image, ahead - 2.1, aside)


def test_each_thing_has_its_colour_in_its_place():
    image = renderer().draw(
        world(
            car(500, 4, kind=Kind.MDP),
            car(520, 8),
            car(480, 0, crashed=True),
            car(530, 0, kind=Kind.OBSTACLE),
        )
    )
    assert image.shape == (200, 800, 3)
    assert image.dtype == np.uint8
    assert close_to(rear_deck(image, 0, 0), render.EGO)
    assert close_to(rear_deck(image, 20, 4), render.TRAFFIC[1])
    assert close_to(rear_deck(image, -20, -4), render.CRASHED)
    assert close_to(pixel(image, 30, -4), render.OBSTACLE)
    assert close_to(pixel(image, 10, 0), render.ASPHALT)
    assert close_to(pixel(image, 10, -10), render.GRASS)
    assert close_to(pixel(image, 10, 7.2), render.SHOULDER)


def test_lines_follow_their_types():
    image = renderer().draw(world(car(502, 4, kind=Kind.MDP)))
    row = np.array([pixel(image, ahead, -6)[0] for ahead in np.arange(-40, 40, 0.25)])  # left edge: unbroken
    assert (row > 200).all()
    striped = np.array([pixel(image, ahead, -2)[0] for ahead in np.arange(-39, 39, 0.125)])
    share = (striped > 180).mean()
    assert share == pytest.approx(STRIPE_LENGTH / STRIPE_SPACING, abs=0.04)
    # World coordinate 494 to 497 m is a dash (38 * 13 = 494): the dashes stand still while the camera moves.
    assert pixel(image, 495.5 - 502, -2)[0] > 200
    assert pixel(image, 499.0 - 502, -2)[0] < 120


def test_a_turned_vehicle_points_where_its_heading_says():
    image = renderer().draw(world(car(500, 4, heading=np.pi / 2, kind=Kind.MDP)))
    assert close_to(pixel(image, 0, -2.1), render.EGO)  # its tail lies up the frame: y grows downwards
    assert close_to(pixel(image, 0, 2.1), render.EGO)
    assert close_to(pixel(image, 1.7, 0), render.ASPHALT)
    lamps = image[round(100 + 2.35 * SCALING), 400 - 8 : 400 + 8].astype(int)
    assert (lamps.min(axis=1) > 150).any()  # headlights in front


def test_absent_slots_and_other_worlds_are_not_drawn():
    alone = renderer().draw(world(car(500, 4, kind=Kind.MDP)))
    crowded = world(car(500, 4, kind=Kind.MDP), car(515, 4, kind=Kind.ABSENT), worlds=2)
    assert np.array_equal(renderer().draw(crowded), alone)
    crowded.kind[1, 1] = int(Kind.IDM)
    assert np.array_equal(renderer().draw(crowded, 0), alone)
    assert not np.array_equal(renderer().draw(crowded, 1), alone)


def test_the_camera_follows_the_ego_and_keeps_its_place():
    view = renderer(centering=(0.25, 0.5))
    first = view.draw(world(car(13 * 40, 4, kind=Kind.MDP)))
    second = view.draw(world(car(13 * 400, 4, kind=Kind.MDP)))
    assert np.array_equal(first, second)  # the road repeats every 13 m
    assert close_to(first[100, 200 - round(2.1 * SCALING)].astype(int), render.EGO)


def test_a_long_lane_is_sampled_at_two_points_and_a_curve_finely():
    arc = CircularLane((0.0, 0.0), 20.0, 0.0, 6.0)
    wave = SineLane((0.0, 0.0), (100.0, 0.0), 3.0, 2 * np.pi * 32 / 100, 0.0)  # zero at all of 33 even samples
    shapes = RoadShapes([*highway(1), arc, wave])
    assert [len(table) for table in shapes.tables] == [2, 122, 102]
    [(lane, start, end)] = list(shapes.visible(np.array([5000.0, 0.0]), 60.0))
    assert lane == 0
    assert 100 < end - start < 150
    assert start < 5000 < end


def test_the_outline_of_an_arc_lies_on_its_edges():
    arc = CircularLane((10.0, -5.0), 20.0, 0.0, 6.0, line_types=(LineType.CONTINUOUS, LineType.NONE))
    shapes = RoadShapes([arc])
    radii = np.hypot(*(shapes.ribbon(0, 10.0, 40.0) - (10.0, -5.0)).T)
    np.testing.assert_allclose(np.sort(radii)[[0, -1]], [18.0, 22.0], atol=0.02)
    [line] = shapes.markings(0, 10.0, 40.0)
    # A clockwise lane turns right on the screen: its left edge is the outer one.
    np.testing.assert_allclose(np.hypot(*(line - (10.0, -5.0)).T), 22.0, atol=0.15)
    assert [lane for lane, *_ in shapes.visible(np.array([10.0, -5.0]), 5.0)] == []


def test_the_hud_writes_and_its_bars_have_the_lengths_of_the_scores():
    view, state = renderer(), world(car(500, 4, kind=Kind.MDP))
    plain = view.draw(state)
    names = ["LEFT", "IDLE"]
    hud = Hud("who", 1.0, 25.0, 0.5, 3.0, "IDLE", names, np.array([0.25, 0.75]), "probability")
    written = view.draw(state, 0, hud)
    assert not np.array_equal(written[:34], plain[:34])
    bars = written[200 - 46 + 31]
    lengths = [(np.abs(bars.astype(int) - colour).max(axis=1) < 8).sum() for colour in (render.TRAFFIC[0], render.EGO)]
    assert lengths[1] / lengths[0] == pytest.approx(3.0, rel=0.1)
    assert np.array_equal(written[40:150], plain[40:150])


def test_the_real_highway_env_is_drawn_with_the_same_pen():
    from sim.evaluation.highway_env import HighwayEnv

    envs = HighwayEnv("highway-fast-v0")
    envs.reset(seed=0)
    image = Renderer(envs.network, 800, 200, SCALING, (0.5, 0.5)).draw(envs.world)
    assert close_to(rear_deck(image, 0, 0), render.EGO)


def test_a_frame_needs_neither_display_nor_environment_variables():
    code = (
        "from tests.sim.test_render import *\n"
        "assert renderer().draw(world(car(9, 4, kind=Kind.MDP)), 0, Hud('t', 1.0)).std() > 10\n"
        "import os, pygame; assert 'SDL_VIDEODRIVER' not in os.environ and not pygame.display.get_init()"
    )
    bare = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")}
    subprocess.run([sys.executable, "-c", code], check=True, env=bare, timeout=60)


def test_a_window_without_a_display_is_a_clear_error(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    view = renderer()
    view.draw(world(car(500, 4, kind=Kind.MDP)))
    with pytest.raises(NoDisplayError, match="no display"):
        view.show()
    monkeypatch.setenv("DISPLAY", ":987")  # where nothing listens
    with pytest.raises(NoDisplayError, match="no display"):
        view.show()


def test_a_window_shows_the_frame_and_closes_when_asked(monkeypatch):
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    view = renderer()
    image = view.draw(world(car(500, 4, kind=Kind.MDP)))
    try:
        assert view.show()
        shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
        assert np.array_equal(shown, image)
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert not view.show()
        assert not pygame.display.get_init()
    finally:
        pygame.display.quit()


@pytest.mark.parametrize("options", [{"width": 3}, {"height": 0}, {"scaling": 0.0}])
def test_frames_too_small_to_see_are_refused(options):
    with pytest.raises(ValueError, match="at least 16 x 16 px"):
        renderer(**options)
