import itertools

import numpy as np
import pytest
import torch

from perception.detection.postprocess import Detections
from perception.drawing import TRAIL, Trails, beside, colour_of, with_detections, with_lanes, with_surfaces

GREY = 77
SIZES = [(320, 192), (1280, 720)]


def picture(width=320, height=192):
    return np.full((height, width, 3), GREY, np.uint8)


def things(*boxes, scores=None, labels=None):
    count = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores or [0.9] * count, dtype=torch.float32),
        torch.tensor(labels or [1] * count),
    )


def changed(drawn):
    return (drawn != GREY).any(-1)


def is_colour(drawn, colour):
    return (drawn == np.array(colour)).all(-1)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_box_is_outlined_on_the_pixels_it_covers(width, height):
    x0, y0, x1, y1 = width // 4, height // 3, width // 2, height // 2
    drawn = with_detections(picture(width, height), things((x0, y0, x1, y1)), ["car"])
    outline = is_colour(drawn, colour_of(1))
    middle = (y0 + y1) // 2
    columns = np.flatnonzero(outline[middle])
    assert (columns[0], columns[-1]) == (x0, x1 - 1)
    rows = np.flatnonzero(outline[:, (x0 + x1) // 2 + width // 10])
    assert rows[-1] == y1 - 1
    wide = 1 if height < 300 else 2
    assert not changed(drawn)[y0 + 2 * wide : y1 - 2 * wide, x0 + 2 * wide : x1 - 2 * wide].any()
    assert not changed(drawn)[y1 + 2 :].any()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_letters_can_be_read_at_any_size(width, height):
    x0, y0 = width // 4, height // 3
    drawn = with_detections(picture(width, height), things((x0, y0, x0 + 9, y0 + 9)), ["motorcycle"])
    rows = np.flatnonzero(is_colour(drawn, colour_of(1))[:y0].any(1))
    assert height / 50 < len(rows) < height / 10
    assert len(rows) >= 11
    label = drawn[rows[0] : y0, x0 : x0 + 200]
    assert np.ptp(label.astype(int).sum(-1)) > 300  # letters stand out from what they stand on


def test_a_label_stays_in_the_picture():
    for box in [(0, 0, 30, 30), (300, 0, 320, 20), (0, 180, 320, 192), (-50, -50, 400, 300), (319, 191, 320, 192)]:
        drawn = with_detections(picture(), things(box, labels=[3]), ["car", "van", "truck"])
        assert is_colour(drawn, colour_of(3)).sum() > 300


def test_names_of_things_in_one_place_do_not_hide_each_other():
    box = (100, 60, 180, 120)
    alone = [is_colour(with_detections(picture(), things(box, labels=[k]), "abc"), colour_of(k)).sum() for k in (1, 2)]
    drawn = with_detections(picture(), things(box, box, labels=[1, 2], scores=[0.9, 0.8]), "abc")
    outline = 2 * (80 + 60)  # the more certain one's hides the other's
    assert is_colour(drawn, colour_of(1)).sum() > alone[0] - 40
    assert is_colour(drawn, colour_of(2)).sum() > alone[1] - outline - 40


def test_a_picture_is_not_drawn_on_itself():
    given = picture()
    with_detections(given, things((10, 10, 50, 50)), ["car"])
    with_lanes(given, [[(0, 0), (100, 100)]])
    with_surfaces(given, np.ones((2, 2), np.uint8))
    assert not changed(given).any()


def test_without_things_nothing_is_drawn():
    assert not changed(with_detections(picture(), things(), ["car"])).any()


def test_colours_are_kept_and_told_apart():
    assert [colour_of(number) for number in (0, 1, 2)] == [(255, 0, 0), (0, 74, 255), (149, 255, 0)]
    colours = [colour_of(number) for number in range(60)]
    assert len(set(colours)) == 60
    for one, other in itertools.combinations(range(60), 2):
        if other - one <= 4:
            assert np.abs(np.subtract(colours[one], colours[other])).sum() > 100, (one, other)


def test_a_track_has_its_numbers_colour_whatever_its_class():
    for label in (1, 2):
        drawn = with_detections(picture(), things((100, 60, 180, 120), labels=[label]), "abc", [7])
        assert is_colour(drawn, colour_of(7)).any()
        assert not is_colour(drawn, colour_of(label)).any()


def test_a_trail_goes_where_the_track_touched_the_ground():
    trails = Trails()
    for step in range(6):
        trails.update([4, 9], [(10 + 20 * step, 20, 30 + 20 * step, 50), (200, 100, 240, 150)])
    assert trails.of(4) == [(20 + 20 * step, 50) for step in range(6)]
    assert trails.of(5) == []
    drawn = with_detections(picture(), things((110, 20, 130, 50)), ["car"], [4], trails)
    assert is_colour(drawn, colour_of(4))[50, 20:120].all()
    assert not changed(drawn)[145:, :].any()  # the other track was not seen now
    trails.restart()
    assert trails.of(4) == []


def test_a_trail_is_forgotten_when_its_track_is_gone():
    trails = Trails()
    for step in range(2 * TRAIL):
        trails.update([1], [(step, 0, step, 8)])
    assert trails.of(1) == [(step, 8) for step in range(TRAIL, 2 * TRAIL)]
    for _ in range(TRAIL - 1):
        trails.update([], [])
    assert len(trails.of(1)) == TRAIL
    trails.update([], [])
    assert trails.of(1) == []


def test_lanes_go_through_their_points():
    drawn = with_lanes(picture(), [[(20, 180), (np.nan, 100), (20, 40)], [(100, 180), (160, 120)], [], [(300, 90)]])
    assert changed(drawn)[40:181, 20].all()
    assert changed(drawn)[[178, 150, 122], [102, 130, 158]].all()
    assert changed(drawn)[90, 300]
    assert changed(drawn).sum() < 900
    assert not changed(with_lanes(picture(), [])).any()


def test_surfaces_are_scaled_to_the_picture_and_tinted():
    given = picture(6, 4)
    drawn = with_surfaces(given, np.array([[0, 1, 2]]), {1: (255, 255, 255), 2: (0, 0, 100)}, opacity=0.5)
    assert (drawn[:, :2] == GREY).all()
    assert (drawn[:, 2:4] == 166).all()
    assert (drawn[:, 4:] == [38, 38, 88]).all()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pictures_stand_beside_each_other_under_their_titles(width, height):
    drawn = beside([("ours", picture(width, height)), ("theirs", picture(width // 2, height))])
    bar = drawn.shape[0] - height
    assert height / 50 < bar < height / 8
    assert (drawn[bar:, :width] == GREY).all()
    assert (drawn[bar:, -width // 2 :] == GREY).all()
    assert (drawn[bar:, width] == 255).all()
    assert (drawn[:bar, :width] < 100).any() and (drawn[:bar, width + 2 :] < 100).any()


@pytest.mark.parametrize("classes", [np.zeros((2, 2)), np.zeros(4, np.uint8), np.zeros((0, 2), np.uint8)])
def test_what_is_no_map_of_classes(classes):
    with pytest.raises(ValueError, match="classes of pixels must be whole numbers"):
        with_surfaces(picture(), classes)


@pytest.mark.parametrize("given", [np.zeros((4, 4)), np.zeros((3, 4, 8), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture(given):
    for draw in (
        lambda: with_detections(given, things(), []),
        lambda: with_lanes(given, []),
        lambda: with_surfaces(given, np.zeros((2, 2), np.uint8)),
    ):
        with pytest.raises(ValueError, match=r"a picture must be uint8 \[H, W, 3\], not "):
            draw()
