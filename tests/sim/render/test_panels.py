"""Panels in the corners: pictures pixel by pixel, bars in metres, and a place for each."""

import itertools
from types import SimpleNamespace

import numpy as np
import pygame
import pytest

from sim import render
from sim.engine.lanes import CircularLane, StraightLane
from sim.render import Chart, Hud, Inset, Minimap, Row, ScaleBar, Table, View
from sim.render.panels import GAP, draw_panels
from sim.render.pen import Pen
from sim.world import Kind
from tests.sim.render.test_renderer import SCALING, car, close_to, highway, renderer, thing, world


def scene():
    return world(car(500, 4, kind=Kind.MDP), car(520, 8))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def find(image, picture):
    """Where `picture` stands in `image`, pixel for pixel, as (row, column)s."""
    windows = np.lib.stride_tricks.sliding_window_view(image, picture.shape)[..., 0, :, :, :]
    corners = np.argwhere((windows[..., 0, 0, :] == picture[0, 0]).all(-1))
    return [
        (r, c) for r, c in corners.tolist() if (image[r : r + len(picture), c : c + picture.shape[1]] == picture).all()
    ]


@pytest.mark.parametrize(
    ("corner", "row", "column"),
    [("top left", 10, 10), ("top right", 10, 600 - 10 - 60), ("bottom left", 300 - 10 - 40, 10)],
)
def test_an_inset_is_the_picture_pixel_for_pixel(corner, row, column):
    picture = noise(40, 60)
    inset = Inset(picture, room=(60, 40), corner=corner)
    image = renderer(width=600, height=300).draw(scene(), 0, None, [inset])
    assert find(image, picture) == [(row, column)]
    without = renderer(width=600, height=300).draw(scene())
    changed = np.argwhere((image != without).any(-1))
    low, high = changed.min(0), changed.max(0) + 1
    assert (high - low == (44, 64)).all()  # with a frame of 2 px, nothing else


def test_a_small_picture_is_enlarged_a_whole_number_of_times():
    picture = noise(20, 30)
    image = renderer(width=600, height=300).draw(scene(), 0, None, [Inset(picture, room=(119, 90))])
    assert len(find(image, picture.repeat(3, axis=0).repeat(3, axis=1))) == 1


def test_a_large_picture_is_scaled_down_into_its_room():
    picture = np.full((300, 400, 3), (200, 30, 90), np.uint8)
    image = renderer(width=600, height=300).draw(scene(), 0, None, [Inset(picture, room=(120, 120))])
    shown = (np.abs(image.astype(int) - (200, 30, 90)).max(-1) < 3).nonzero()
    assert (np.ptp(shown[0]) + 1, np.ptp(shown[1]) + 1) == (90, 120)


def test_a_table_has_its_values_in_their_colours():
    rows = [Row("headway", "0.50 s", (255, 0, 0)), Row("TTC", "-", (0, 0, 255))]
    image = renderer(width=600, height=300).draw(scene(), 0, None, [Table(rows, "now")]).astype(int)
    red = np.argwhere((image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60))
    blue = np.argwhere((image[..., 2] > 200) & (image[..., 0] < 60) & (image[..., 1] < 90))
    assert len(red) > 30 and len(blue) > 3
    assert red[:, 0].max() < blue[:, 0].min()  # line by line
    assert abs(red[:, 1].max() - blue[:, 1].max()) <= 2  # and flush right
    assert red[:, 1].max() < GAP + 196


@pytest.mark.parametrize(("scaling", "metres"), [(8.0, 10.0), (5.5, 20.0), (2.0, 50.0), (70.0, 1.0), (0.02, 5000.0)])
def test_the_scale_bar_is_as_long_as_it_says(scaling, metres):
    view = View(np.zeros(2), scaling, (600, 300))
    assert ScaleBar.length(view)[0] == metres
    image = renderer(width=600, height=300, scaling=scaling).draw(scene(), 0, None, [ScaleBar()])
    corner = image[300 - GAP - 34 : 300 - GAP, GAP : GAP + 16 + round(metres * scaling)]
    bar = max(np.ptp(np.flatnonzero((row > 230).all(-1))) + 1 for row in corner[24:28])
    assert bar == pytest.approx(metres * scaling, abs=1)


@pytest.mark.parametrize("size", [(820, 420), (760, 640)])
def test_panels_stand_apart_inside_the_frame_and_off_the_writing(size):
    view, pen = View(np.zeros(2), 5.0, size), Pen(pygame.Surface(size))
    panels = [
        Inset(noise(96, 128), "front"),
        Inset(noise(96, 128), "rear"),
        Inset(noise(84, 84), room=(84, 84), corner="bottom right"),
        Table([Row("speed", "1")] * 9),
        ScaleBar(),
    ]
    places = draw_panels(pen, view, panels, 34, 46)
    area = pygame.Rect(0, 34, size[0], size[1] - 34 - 46)
    for place in places:
        assert area.inflate(-2 * GAP, -2 * GAP).contains(place)
    for one, other in itertools.combinations(places, 2):
        assert not one.inflate(GAP - 1, GAP - 1).colliderect(other.inflate(GAP - 1, GAP - 1))
    first, second, _, table, bar = places
    assert first.right == size[0] - GAP and first.top == 34 + GAP
    assert table.topleft == (GAP, 34 + GAP) and bar.bottomleft == (GAP, size[1] - 46 - GAP)
    if size[1] == 420:  # a strip: the road goes through the middle
        assert second.top == first.top and second.right == first.left - GAP
    else:
        assert second.right == first.right and second.top == first.bottom + GAP


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"600 x 150 px has no room for the panel 'front' of .*make it larger"):
        renderer(width=600, height=150).draw(scene(), 0, None, [Inset(noise(96, 128), "front")])


def ring(radius=60.0):
    half = [CircularLane((0.0, 0.0), radius, start, start + np.pi) for start in (0.0, np.pi)]
    return SimpleNamespace(lanes=half)


def test_the_minimap_shows_everyone_and_what_is_seen_large():
    network = ring()
    state = world(car(60, 0, kind=Kind.MDP), car(-60, 0), thing(Kind.OBSTACLE, 0, 60), car(0, -60, crashed=True))
    chart = Chart(network, (162, 162))
    image = renderer(network.lanes, width=600, height=400).draw(state, 0, None, [Minimap(chart, state)]).astype(int)
    map_ = image[400 - GAP - 162 : 400 - GAP, 600 - GAP - 162 : 600 - GAP]
    scale = 150 / (2 * (60 + 2 + 0.5))  # the outer edge of a lane of 4 m, and half a metre
    for (x, y), colour in (
        ((60, 0), render.EGO),
        ((-60, 0), render.TRAFFIC[0]),
        ((0, 60), render.OBSTACLE),
        ((0, -60), render.CRASHED),
    ):
        row, column = round(81 + y * scale), round(81 + x * scale)
        spot = map_[row - 1 : row + 1, column - 1 : column + 1]
        assert any(close_to(pixel, colour, 45) for pixel in spot.reshape(-1, 3)), (x, y)
    assert close_to(map_[81, 81], render.PANEL[:3], 12)  # nothing in the ring
    # The frame is 75 m by 50 m around the ego: its left edge crosses the ring's inside.
    left, upper = 81 + (60 - 600 / SCALING / 2) * scale, 81 - 400 / SCALING / 2 * scale
    column = map_[round(upper) + 4 : 81 + 20, round(left) - 1 : round(left) + 2].max(-1).max(-1)
    assert (column > 150).all()


def test_a_long_straight_road_is_stretched_across():
    chart = Chart(SimpleNamespace(lanes=highway()))
    assert chart.size[0] == 256 and chart.size[1] >= 26
    assert chart.larger_than(np.array([100.0, 50.0]))
    assert not Chart(SimpleNamespace(lanes=[StraightLane((0.0, 0.0), (40.0, 0.0))])).larger_than(np.array([90.0, 50.0]))


def hud_strip(**controls):
    image = renderer(width=600).draw(scene(), 0, Hud(action="-", controls=controls)).astype(int)
    return image[-46:], image


def test_pedals_and_wheel_follow_the_controls():
    bottom, _ = hud_strip(throttle=0.5, steering=-1.0)
    row = bottom[31]
    green = np.flatnonzero(np.abs(row - render.EGO).max(-1) < 8)
    braking, _ = hud_strip(throttle=-0.5, steering=0.0)
    amber = np.flatnonzero(np.abs(braking[31] - render.NEAR).max(-1) < 8)
    right, left = green[green < 160], green[(green > 160) & (green < 310)]
    assert len(right) == pytest.approx(33, abs=2) and right.min() == pytest.approx(80, abs=2)  # half of half the bar
    assert len(left) == pytest.approx(66, abs=2) and left.max() == pytest.approx(14 + 158 + 66, abs=2)
    assert len(amber) == pytest.approx(33, abs=2) and amber.max() == pytest.approx(80, abs=2)

    def crown(steering):
        strip, _ = hud_strip(steering=steering)
        wheel = strip[:, 172:230]
        return np.argwhere(np.abs(wheel - render.EGO).max(-1) < 40).mean(0)

    assert crown(0.0)[0] < 12  # on top
    assert crown(0.6)[1] > crown(0.0)[1] + 8 and crown(-0.6)[1] < crown(0.0)[1] - 8


def test_a_note_stands_in_the_middle_below_the_writing():
    view = renderer(width=600)
    plain, noted = view.draw(scene(), 0, Hud(time=1.0)), view.draw(scene(), 0, Hud(time=1.0, note="crashed\nr again"))
    changed = np.argwhere((plain != noted).any(-1))
    assert changed[:, 0].min() >= 34
    assert (changed[:, 1].min() + changed[:, 1].max()) / 2 == pytest.approx(299.5, abs=1)


def test_a_grid_of_actions_is_named_not_squeezed():
    names = [f"({i}, {j})" for i in range(5) for j in range(5)]
    image = renderer(width=600).draw(scene(), 0, Hud(action=names[7], actions=names))
    assert (image[-28:].min(-1) > 150).any() and image.shape == (200, 600, 3)
