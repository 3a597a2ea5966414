import numpy as np
import pytest

from sim.engine.lanes import CircularLane, LineType, PolyLane, SineLane, StraightLane
from sim.road_shapes import STRIPE_LENGTH, STRIPE_SPACING, RoadShapes

STRIPED = (LineType.NONE, LineType.STRIPED)


def test_a_long_lane_is_sampled_at_two_points_and_a_curve_finely():
    arc = CircularLane((0.0, 0.0), 20.0, 0.0, 6.0)
    wave = SineLane((0.0, 0.0), (100.0, 0.0), 3.0, 2 * np.pi * 32 / 100, 0.0)  # zero at all of 33 even samples
    shapes = RoadShapes([StraightLane((0.0, 0.0), (10_000.0, 0.0)), arc, wave])
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


def test_the_surfaces_of_lanes_overlap_where_they_meet():
    shapes = RoadShapes([StraightLane((0.0, 0.0), (30.0, 40.0))])
    outline = shapes.ribbon(0, 0.0, 50.0, 1.0)
    along, aside = outline @ (0.6, 0.8), outline @ (-0.8, 0.6)
    assert -0.2 < along.min() < -0.05 and 50.05 < along.max() < 50.2
    np.testing.assert_allclose(np.abs(aside), 3.0, atol=1e-9)


def middles(shapes, lane):
    return np.array([dash.mean(axis=0) for dash in shapes.markings(lane, 0.0, shapes.tables[lane][-1, 0])])


def test_dashes_go_on_in_step_from_lane_to_lane_and_agree_with_those_of_the_way_back():
    there = StraightLane((0.0, 0.0), (52.0, 0.0), line_types=STRIPED)
    further = StraightLane((52.0, 0.0), (91.0, 0.0), line_types=STRIPED)
    back = StraightLane((91.0, 4.0), (52.0, 4.0), line_types=STRIPED)
    shapes = RoadShapes([there, further, back])
    gaps = np.diff(np.concatenate([middles(shapes, 0), middles(shapes, 1)])[:, 0])
    np.testing.assert_allclose(gaps, STRIPE_SPACING)
    # The two ways share the line between them.
    np.testing.assert_allclose(middles(shapes, 2)[::-1], middles(shapes, 1), atol=1e-9)
    odd = RoadShapes([StraightLane((0.0, 0.0), (17.0, 0.0), line_types=STRIPED)])
    [dash] = odd.markings(0, 0.0, 17.0)
    assert np.ptp(dash[:, 0]) == pytest.approx(STRIPE_LENGTH)
    assert dash[:, 0].mean() == pytest.approx(8.5)


def test_a_dash_at_the_edge_of_sight_is_whole():
    shapes = RoadShapes([StraightLane((0.0, 0.0), (130.0, 0.0), line_types=STRIPED)])
    dashes = list(shapes.markings(0, 19.0, 45.0))  # through the second dash, in the gap after the third
    assert [np.round(dash[:, 0].mean(), 6) for dash in dashes] == [19.5, 32.5, 45.5]


def test_a_polyline_with_boundaries_is_as_wide_as_they_are_apart():
    points = [(float(x), 0.0) for x in range(0, 41, 10)]
    left = [(x, -4.0) for x, _ in points]
    right = [(x, 2.0 + x / 10) for x, _ in points]
    shapes = RoadShapes([PolyLane(points, left, right)])
    outline = shapes.ribbon(0, 2.0, 38.0)
    for s, half in ((5.0, 2.5), (15.0, 3.5), (35.0, 4.0)):  # of both sides, what the nearer boundary leaves
        near = outline[np.abs(outline[:, 0] - s) < 0.6]
        np.testing.assert_allclose(np.abs(near[:, 1]), half, atol=0.1)


def test_bays_make_a_car_park_and_a_road_does_not():
    bays = [StraightLane((x, 10.0), (x, 18.0)) for x in (-8.0, 0.0, 8.0)]
    np.testing.assert_allclose(RoadShapes(bays).car_park(), [[-10, 9.9], [10, 18.1]], atol=0.01)
    assert RoadShapes([*bays, StraightLane((0.0, 0.0), (40.0, 0.0))]).car_park() is None
