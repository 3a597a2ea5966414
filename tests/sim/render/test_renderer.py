import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pygame
import pytest
import torch

from sim import render
from sim.engine.lanes import CircularLane, LineType, StraightLane
from sim.render import Hud, NoDisplayError, Renderer
from sim.render.window import Window
from sim.road_shapes import STRIPE_LENGTH, STRIPE_SPACING
from sim.world import Kind

SCALING = 8.0  # px/m


def highway(lanes=3, length=770 * STRIPE_SPACING):
    types = [
        (
            LineType.CONTINUOUS_LINE if i == 0 else LineType.STRIPED,
            LineType.CONTINUOUS_LINE if i == lanes - 1 else LineType.NONE,
        )
        for i in range(lanes)
    ]
    return [StraightLane((0.0, 4.0 * i), (length, 4.0 * i), line_types=t) for i, t in enumerate(types)]


def world(*things, egos=(0,), worlds=1):
    """Worlds with the same cars and objects."""
    columns = [torch.tensor([list(values)] * worlds) for values in zip(*things, strict=True)]
    x, y, heading, kind, crashed, length, width = columns
    return SimpleNamespace(
        x=x, y=y, heading=heading, kind=kind, crashed=crashed, acceleration=torch.zeros_like(x),
        length=length, width=width, ego=torch.tensor([list(egos)] * worlds, dtype=torch.int32),
    )  # fmt: skip


def car(x, y, heading=0.0, kind=Kind.IDM, crashed=False, size=(5.0, 2.0)):
    return float(x), float(y), float(heading), int(kind), crashed, *size


def thing(kind, x, y, length=2.0, width=2.0, **options):
    return car(x, y, kind=kind, size=(float(length), float(width)), **options)


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
            thing(Kind.OBSTACLE, 530, 0),
            car(460, 4, kind=Kind.PARKED),
        )
    )
    assert image.shape == (200, 800, 3)
    assert image.dtype == np.uint8
    assert close_to(rear_deck(image, 0, 0), render.EGO)
    assert close_to(rear_deck(image, 20, 4), render.TRAFFIC[1])
    assert close_to(rear_deck(image, -20, -4), render.CRASHED)
    assert close_to(pixel(image, 30, -4), render.OBSTACLE)
    assert close_to(rear_deck(image, -40, 0), render.PARKED)
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
    # World coordinate 499 to 502 m is a dash (38.5 * 13 = 500.5): the dashes stand still while the camera moves.
    assert pixel(image, 500.5 - 502, -2)[0] > 200
    assert pixel(image, 497.0 - 502, -2)[0] < 120


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


def test_walls_have_their_size_and_struck_ones_turn_red():
    state = world(
        car(500, 4, kind=Kind.MDP),
        thing(Kind.OBSTACLE, 500, -4, 70, 1),
        thing(Kind.OBSTACLE, 540, 4, 12, 1, heading=np.pi / 2, crashed=True),
    )
    image = renderer().draw(state)
    for ahead in (-34.5, -20, 0, 20, 34.5):
        assert close_to(pixel(image, ahead, -8), render.OBSTACLE)
        assert close_to(pixel(image, ahead, -8.8), render.GRASS)
        assert close_to(pixel(image, ahead, -7.2), render.SHOULDER)
    for ahead in (-35.5, 35.5):
        assert close_to(pixel(image, ahead, -8), render.GRASS)
    for aside in (-5.5, 0, 5.5):
        assert close_to(pixel(image, 40, aside), render.CRASHED)
    assert close_to(pixel(image, 40, 7), render.SHOULDER) and close_to(pixel(image, 41, 0), render.ASPHALT)
    # Its middle is 36 m past the right edge: a wall of which half is out of sight is drawn all the same.
    far = renderer().draw(world(car(500, 4, kind=Kind.MDP), thing(Kind.OBSTACLE, 584, -4, 70, 1)))
    assert close_to(pixel(far, 49.5, -8), render.OBSTACLE) and close_to(pixel(far, 48.5, -8), render.GRASS)


def test_a_goal_can_be_told_from_an_obstacle_and_shows_when_it_is_reached():
    def draw(hit, x):
        return renderer().draw(world(car(500, 4, kind=Kind.VEHICLE), thing(Kind.LANDMARK, x, 4, crashed=hit)))

    for hit, colour in ((False, render.LANDMARK), (True, render.REACHED)):
        assert close_to(pixel(draw(hit, 520), 20, 0), colour)
        under_the_car = draw(hit, 500)
        assert close_to(pixel(under_the_car, 0, 0), render.EGO, 60)
        # Only the frame around the car can be seen.
        assert any(close_to(pixel(under_the_car, 0, aside), colour) for aside in np.arange(1.1, 1.8, 0.1))
    colours = np.array([render.LANDMARK, render.REACHED, render.OBSTACLE, render.CRASHED, render.EGO, render.ASPHALT])
    apart = np.abs(colours[:, None] - colours[None]).max(axis=2)
    assert (apart + 255 * np.eye(len(colours), dtype=int)).min() > 60


def test_every_ego_is_marked_and_a_crashed_one_keeps_its_roof():
    cars = [car(500, 4), car(515, 0), car(530, 8, crashed=True), car(485, 8)]
    image = renderer().draw(world(*cars, egos=(0, 1, 2)))
    roof = tuple(min(255, round(1.12 * channel)) for channel in render.EGO)
    for ahead, aside in ((0, 0), (15, -4), (30, 4)):
        assert close_to(pixel(image, ahead - 0.4, aside), roof)
    assert [close_to(rear_deck(image, *at), render.EGO) for at in ((0, 0), (15, -4), (30, 4))] == [True, True, False]
    assert close_to(rear_deck(image, 30, 4), render.CRASHED)
    assert close_to(rear_deck(image, -15, 4), render.TRAFFIC[3])


def test_the_lines_of_an_arc_lie_at_its_radii():
    arc = CircularLane((500.0, 4.0), 10.0, 0.0, 4.5, line_types=(LineType.CONTINUOUS, LineType.CONTINUOUS))
    image = renderer([arc], height=300).draw(world(car(500, 4, kind=Kind.MDP))).astype(int)
    rows, columns = np.nonzero(image.min(axis=2) > 215)
    away = np.stack([columns - 400, rows - 150]) / SCALING
    radius, angle = np.hypot(*away), np.arctan2(away[1], away[0]) % (2 * np.pi)
    painted = radius > 6  # without the headlights in the middle
    assert (np.minimum(abs(radius - 8), abs(radius - 12))[painted] < 0.3).all()
    for line in (8, 12):
        angles = angle[abs(radius - line) < 0.3]
        assert len(np.unique((angles * 10).astype(int))) >= 45  # every tenth of a radian of the arc
        assert angles.max() < 4.55


def test_a_car_park_is_paved_between_its_bays_and_up_to_its_walls():
    bays = [
        StraightLane((x, near), (x, far)) for x in (496.0, 500.0, 504.0) for near, far in ((6.0, 0.0), (14.0, 20.0))
    ]
    ego = car(500, 10, kind=Kind.VEHICLE)
    image = renderer(bays).draw(world(ego))
    assert close_to(pixel(image, 3.5, 0), render.ASPHALT) and close_to(pixel(image, 10, 0), render.GRASS)
    walls = [thing(Kind.OBSTACLE, x, 10, 1, 24) for x in (488, 512)]
    image = renderer(bays).draw(world(ego, *walls))
    assert close_to(pixel(image, 10, 0), render.ASPHALT) and close_to(pixel(image, 13, 0), render.GRASS)


@pytest.mark.parametrize(("width", "panel"), [(1200, 34), (600, render.HUD_HEIGHT)])
def test_the_hud_of_several_agents_fits_its_frame(width, panel):
    view, state = renderer(width=width), world(car(500, 4, kind=Kind.MDP))
    title = "random on intersection-multi-agent-v0, seed 3"
    hud = Hud(title, 12.3, [9.1, 8.25], -12.34, -56.78, "SLOWER, FASTER")
    plain, written = view.draw(state), view.draw(state, 0, hud)
    changed = np.flatnonzero((plain != written).any(axis=(1, 2)))
    assert changed.tolist() == [*range(panel), *range(200 - 28, 200)]
    bright = written.min(axis=2) > 150
    assert bright[:panel, : width // 2].any() and bright[-28:, : width // 2].any()
    assert not bright[:panel, -10:].any()  # nothing is cut off at the right edge
    if panel > 34:
        assert bright[36:panel].any()  # the title has a row of its own
    view.draw(state, 0, Hud(speed=9.1))
    one = renderer(width=width).draw(state, 0, Hud(speed=[9.1]))
    assert np.array_equal(one, view.draw(state, 0, Hud(speed=9.1)))
    assert np.array_equal(one[:, width // 2 :], plain[:, width // 2 :])  # a panel as wide as its text


def test_the_real_highway_env_is_drawn_with_the_same_pen():
    from sim.evaluation.highway_env import HighwayEnv

    envs = HighwayEnv("highway-fast-v0")
    envs.reset(seed=0)
    image = Renderer(envs.network, 800, 200, SCALING, (0.5, 0.5)).draw(envs.world)
    assert close_to(rear_deck(image, 0, 0), render.EGO)


def test_a_frame_needs_neither_display_nor_environment_variables():
    code = (
        "from tests.sim.render.test_renderer import *\n"
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


def test_a_window_opens_though_somebody_has_drawn_without_one(monkeypatch):
    """SDL stays with the driver it began with: highway-env's pictures begin with "offscreen"."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")
    pygame.display.quit()
    pygame.display.init()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window((32, 32))
    assert pygame.display.get_driver() == "dummy"
    window.close()
