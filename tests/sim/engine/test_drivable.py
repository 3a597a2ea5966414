import math

import numpy as np
import pytest
import shapely
import torch

from planning.rule_based import IdmDriver
from sim.engine.drivable import KERB_RADIUS
from sim.engine.lane_facts import lane_facts
from sim.engine.lanes import CircularLane, StraightLane
from sim.engine.network import Network
from sim.engine.state import Kind
from sim.evaluation.harness import Chunk, Settings, drive_batch, make_envs
from sim.evaluation.metrics.collisions import measure


def off_road(network: Network, points: np.ndarray) -> np.ndarray:
    """How far points [P, 2] are off the road [m], by egos of no size, one a world."""
    x, y = torch.from_numpy(points.T.copy())[:, None, :, None]
    nothing, whole = torch.zeros_like(x), torch.zeros(x.shape, dtype=torch.int32)
    tape = {"x": x, "y": y, "heading": nothing, "length": nothing, "width": nothing}
    tape |= {"kind": whole + int(Kind.IDM), "lane": whole}
    ego, frames = torch.zeros(1, len(points), dtype=torch.int64), torch.ones(len(points), dtype=torch.int64)
    return lane_facts(network, tape, ego, frames).off_road[0].numpy()


def arm(angle: float, length: float = 60.0) -> StraightLane:
    """A lane from the origin, [rad] to the right of the x axis."""
    return StraightLane((0.0, 0.0), (length * math.cos(angle), length * math.sin(angle)))


def junction(angle: float) -> Network:
    """A road along x, and one that leaves it at an angle [rad]."""
    through = StraightLane((-60.0, 0.0), (60.0, 0.0))
    return Network({"a": {"b": [through]}, "c": {"d": [arm(angle)]}})


def strip(lane: StraightLane) -> shapely.Polygon:
    return shapely.LineString([lane.start, lane.end]).buffer(lane.width / 2, cap_style="flat")


def around(low: tuple[float, float], high: tuple[float, float], count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (count, 2))


@pytest.mark.parametrize("degrees", [55, 70, 90])
def test_a_corner_is_filled_up_to_the_kerb(degrees):
    # The corner of 180 - degrees is the wide one, to the left of the arm. Shapely closes the roads by the same disc;
    # quarter circles of 64 chords.
    network = junction(math.radians(degrees))
    lanes = network.lanes
    roads = shapely.union_all([strip(one) for one in lanes])
    closed = roads.buffer(KERB_RADIUS, quad_segs=64).buffer(-KERB_RADIUS, quad_segs=64)
    points = around((-14, 2.2), (4, 14), 4000)
    left = points @ [math.sin(math.radians(degrees)), -math.cos(math.radians(degrees))] < 0
    points = points[left & ~shapely.contains_xy(roads, points)]
    ours = off_road(network, points)
    theirs = shapely.distance(shapely.points(points), closed)
    sure = np.abs(shapely.distance(shapely.points(points), closed.exterior)) > 0.02
    assert ((ours <= 0) == (theirs == 0))[sure].all()
    # Before the kerb the distance is that from the arc; far along an edge it is that from the edge.
    assert 20 < (theirs == 0).sum() < len(points)
    np.testing.assert_allclose(ours[theirs > 0.02], theirs[theirs > 0.02], atol=0.02)


def test_a_narrow_wedge_is_none():
    network = junction(math.radians(40))
    gore = around((8, 2.2), (40, 12))
    roads = shapely.union_all([strip(one) for one in network.lanes])
    gore = gore[~shapely.contains_xy(roads, gore)]
    gore = gore[gore[:, 1] < np.tan(math.radians(20)) * gore[:, 0]]  # nearer to the road along x, between the two
    np.testing.assert_allclose(off_road(network, gore), gore[:, 1] - 2, atol=1e-9)


def test_neither_is_the_strip_between_two_carriageways():
    lanes = [StraightLane((0.0, y), (100.0, y)) for y in (0.0, 9.0)]
    network = Network({"a": {"b": [lanes[0]]}, "c": {"d": [lanes[1]]}})
    points = around((10, 2.1), (90, 6.9))
    np.testing.assert_allclose(off_road(network, points), np.minimum(points[:, 1] - 2, 7 - points[:, 1]), atol=1e-9)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nor_where_a_lane_has_ended(order):
    lanes = [StraightLane((-60.0, 0.0), (-10.0, 0.0)), StraightLane((0.0, 2.0), (0.0, 60.0))]
    network = Network({str(k): {"end": [lanes[k]]} for k in order})
    x, y = (points := around((-8, 2.1), (-2.1, 7))).T
    plain = np.minimum(np.maximum(y - 2, x + 10), -x - 2)
    np.testing.assert_allclose(off_road(network, points), plain, atol=1e-9)


def test_nor_the_outer_side_of_a_bend():
    # A straight road turns right (down) along a quarter circle around (0, 20), and goes straight on.
    bend = CircularLane((0.0, 20.0), 20.0, -math.pi / 2, 0.0)
    before, after = StraightLane((-50.0, 0.0), (0.0, 0.0)), StraightLane((20.0, 20.0), (20.0, 60.0))
    network = Network({"a": {"b": [before]}, "b": {"c": [bend]}, "c": {"d": [after]}})
    points = around((0.5, -6), (26, 19.5))
    x, y = points.T
    strips = [np.hypot(x, y - 20) - 22, np.maximum(-y - 2, x), np.maximum(x - 22, 20 - y)]
    outer = np.minimum.reduce(strips) > 0.1
    np.testing.assert_allclose(off_road(network, points[outer]), np.minimum.reduce(strips)[outer], atol=1e-6)


def test_who_turns_into_a_roundabout_stays_on_the_road():
    seeds = tuple(range(24))
    chunk = Chunk(0, "ring", "roundabout-v0", {}, seeds)
    episodes, _, _ = drive_batch(IdmDriver(), make_envs(chunk, Settings(), len(seeds)), seeds)
    found = measure(episodes)
    assert found["off_road"].valid.all()
    assert found["off_road"].value.sum() == 0
    assert 0 < found["off_road_depth"].value.max() < 0.3  # it does cut the corner, up to the kerb
