"""The road surface under a point: OpenCV fills the polygons of `sim.road_shapes` as the oracle; closed forms."""

from functools import cache

import cv2
import numpy as np
import pytest
import torch
import warp as wp

from sim.config import complete
from sim.engine.lanes import CircularLane, LineType, PolyLane, StraightLane
from sim.engine.network import Network
from sim.road_shapes import RoadShapes
from sim.scenarios import SCENARIOS
from sim.sensors.ground.tables import Ground, GroundTables, ground_at, ground_over

WALLED = np.array([[-35.0, -21.0], [35.0, 21.0]])  # m, the car park of parking-v0
PIXELS, SIDE = 600, 30.0  # of a picture, and what it shows [m]


@wp.kernel(enable_backward=False, module="unique")
def look(ground: Ground, at: wp.array(dtype=wp.vec2f), footprint: float, out: wp.array(dtype=wp.vec3f)):
    i = wp.tid()
    out[i] = ground_at(ground, at[i][0], at[i][1], footprint)


@wp.kernel(enable_backward=False, module="unique")
def look_slanted(
    ground: Ground,
    at: wp.array(dtype=wp.vec2f),
    xx: wp.float32,
    xy: wp.float32,
    yy: wp.float32,
    out: wp.array(dtype=wp.vec3f),
):
    i = wp.tid()
    out[i] = ground_over(ground, at[i][0], at[i][1], xx, xy, yy)


def shares(tables, points, *footprint):
    """Shoulder, asphalt and paint [n, 3] at points [n, 2] over a square, or over a slanted pixel (xx, xy, yy)."""
    place = tables.ground.cells.device
    at = wp.array(np.asarray(points, dtype=np.float32), dtype=wp.vec2f, device=place)
    out = wp.zeros(len(points), dtype=wp.vec3f, device=place)
    wp.launch(
        look if len(footprint) == 1 else look_slanted, len(points), [tables.ground, at, *footprint, out], device=place
    )
    return out.numpy()


def kinds(tables, points):
    """0 grass, 1 shoulder, 2 asphalt, 3 paint at points [n, 2]."""
    found = shares(tables, points, 0.0)
    return np.where(found.sum(axis=1) < 0.5, 0, 1 + found.argmax(axis=1))


@cache
def network(env_id):
    return SCENARIOS[env_id].network(complete(env_id, None))


@cache
def tables_of(env_id, device):
    return GroundTables(network(env_id), device)


def drawn(shapes, low, paved=None):
    """What a drawing of the road's polygons shows in a square from `low` [m], [PIXELS, PIXELS]."""
    picture = np.zeros((PIXELS, PIXELS), dtype=np.uint8)

    def fill(outline, value):
        pixels = np.round(((outline - low) / SIDE * PIXELS - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(picture, [pixels], value, shift=8)

    visible = list(shapes.visible(low + SIDE / 2, SIDE))
    if paved is not None:
        (left, top), (right, bottom) = paved
        fill(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), 2)
    else:
        for value, margin in ((1, 1.6), (2, 0.35)):
            for lane, start, end in visible:
                fill(shapes.ribbon(lane, start, end, margin), value)
    for lane, start, end in visible:
        for outline in shapes.markings(lane, start, end):
            fill(outline, 3)
    return picture


def assert_as_drawn(lanes, tables, middles, paved=None):
    """Compare with drawings of the surroundings of `middles` [m]; returns which kinds were seen."""
    rng = np.random.default_rng(0)
    wrong = seen = 0
    shapes = RoadShapes(lanes)
    found = set()
    for middle in middles:
        picture = drawn(shapes, middle - SIDE / 2, paved)
        row, column = rng.integers(PIXELS, size=(2, 20_000))
        points = middle - SIDE / 2 + (np.stack([column, row], axis=1) + 0.5) * SIDE / PIXELS
        around = np.ones((5, 5), dtype=np.uint8)  # 10 cm to each side
        edge = cv2.dilate(picture, around) != cv2.erode(picture, around)
        differs = kinds(tables, points) != picture[row, column]
        assert differs.mean() < 0.03
        wrong += int((differs & ~edge[row, column]).sum())
        seen += len(points)
        found |= set(np.unique(picture[row, column]))
    assert wrong < 5e-5 * seen
    return found


@pytest.mark.parametrize("env_id", SCENARIOS)
def test_the_ground_is_as_drawn(env_id, device):
    lanes = network(env_id).lanes
    rng = np.random.default_rng(1)
    middles = []
    for share in (0.0, 1.0, *rng.random(3)):  # both ends of a lane, and along others
        lane = lanes[rng.integers(len(lanes))]
        middles.append(np.array([float(one) for one in lane.position(share * lane.length, 0.0)]))
    parking = env_id.startswith("parking")
    found = assert_as_drawn(lanes, tables_of(env_id, device), middles, WALLED if parking else None)
    assert found >= ({2, 3} if parking else {0, 1, 2, 3})


def test_a_polyline_of_varying_width_is_as_drawn(device):
    bend = [(float(x), 12.0 * np.sin(x / 20.0)) for x in np.linspace(0.0, 70.0, 15)]
    left = [(x, y - 3.0) for x, y in bend]
    right = [(x, y + 2.0 + x / 20.0) for x, y in bend]
    lines = {"line_types": (LineType.CONTINUOUS, LineType.STRIPED)}
    lanes = [PolyLane(bend, left, right, **lines), PolyLane([(-40.0, 0.0), (0.0, 0.0)], **lines)]
    tables = GroundTables(Network({"a": {"b": [lanes[1]]}, "b": {"c": [lanes[0]]}}), device)
    middles = [np.array(place) for place in ((0.0, 0.0), (20.0, 8.0), (50.0, 5.0), (68.0, -2.0))]
    assert assert_as_drawn(lanes, tables, middles) == {0, 1, 2, 3}


def test_arcs_of_all_sizes_are_as_drawn(device):
    lines = {"line_types": (LineType.STRIPED, LineType.CONTINUOUS)}
    arcs = [
        CircularLane((0.0, 0.0), 10.0, 0.5, 5.5, **lines),
        CircularLane((0.0, 0.0), 22.0, 4.0, 4.0 - np.pi, clockwise=False, **lines),
        CircularLane((0.0, 0.0), 34.0, -1.0, -1.0 + 2 * np.pi, **lines),
    ]
    tables = GroundTables(Network({"a": {"b": arcs[:1]}, "c": {"d": arcs[1:2]}, "e": {"f": arcs[2:]}}), device)
    middles = [np.array(place) for place in ((0.0, 0.0), (15.0, 15.0), (-20.0, 20.0), (10.0, -30.0), (-25.0, -15.0))]
    assert assert_as_drawn(arcs, tables, middles) == {0, 1, 2, 3}


def test_a_car_park_without_walls_ends_at_its_bays(device):
    tables = GroundTables(network("parking-v0"), device, walled=False)
    bays = RoadShapes(network("parking-v0").lanes).car_park()
    points = [bays[0] + 0.3, bays[1] - 0.3, bays[0] - 0.1, bays[1] + 0.1, (-34.9, 0.0)]
    assert kinds(tables, points).tolist() == [2, 2, 0, 0, 0]


def test_a_large_pixel_is_the_mean_of_many_small_ones(device):
    """Straight roads exactly, up to float32; curves nearly, where the pixel is small beside the curve."""
    rng = np.random.default_rng(2)
    fine = (np.stack(np.meshgrid(*[np.arange(60)] * 2), axis=-1).reshape(-1, 2) + 0.5) / 60 - 0.5
    for env_id, side, tolerance in (
        ("highway-v0", 3.7, 3e-3),
        ("highway-v0", 15.0, 3e-3),
        ("two-way-v0", 2.3, 3e-3),
        ("racetrack-v0", 1.0, 0.12),
        ("roundabout-v0", 1.0, 0.12),
    ):
        tables, lanes = tables_of(env_id, device), network(env_id).lanes
        differences = []
        for _ in range(40):
            lane = lanes[rng.integers(len(lanes))]
            x, y = (float(one) for one in lane.position(rng.uniform(0.3, 0.7) * lane.length, rng.uniform(-5.0, 5.0)))
            whole = shares(tables, [(x, y)], side)[0]
            differences.append(whole - shares(tables, (x, y) + side * fine, side / 60).mean(axis=0))
        assert np.abs(differences).max() < tolerance
        assert np.abs(np.mean(differences, axis=0)).max() < 0.02


def test_a_wide_view_of_a_highway_is_its_layout(device):
    """16 m of lanes: asphalt 0.35 m and shoulder 1.6 m wider; two full lines, three of 3 m dashes every 13 m."""
    [share] = shares(tables_of("highway-v0", device), [(5000.0, 6.0)], 40.0)
    dashes = 3.0 * 3.0 / (10_000 / 769)
    paint = (2 + dashes) * 0.25 / 40
    assert share == pytest.approx([2 * 1.25 / 40, 16.7 / 40 - paint, paint], abs=4e-4)


def test_a_slanted_pixel_is_long_and_narrow(device):
    """Along the road the dashes are averaged, across it the line stays sharp; turned with the road nothing changes."""
    straight = StraightLane((0.0, 0.0), (130.0, 0.0), line_types=(LineType.NONE, LineType.STRIPED))
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = StraightLane((0.0, 0.0), tuple(turn @ (130.0, 0.0)), line_types=straight.line_types)
    axes = np.diag([26.0, 0.05])  # m, two spacings of dashes
    for lane, matrix in ((straight, np.eye(2)), (turned, turn)):
        tables = GroundTables(Network({"a": {"b": [lane]}}), device)
        sides = matrix @ axes
        covariance = sides @ sides.T
        footprint = (covariance[0, 0], covariance[0, 1], covariance[1, 1])
        points = [matrix @ place for place in ((65.0, 2.0), (70.0, 2.05), (65.0, 2.2), (65.0, 1.8))]
        found = shares(tables, points, *footprint)
        np.testing.assert_allclose(found[:, 2], [3 / 13, 3 / 13, 0, 0], atol=2e-3)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-3)


def test_shares_are_shares_everywhere(device):
    rng = np.random.default_rng(3)
    for env_id in ("highway-v0", "intersection-v0", "roundabout-v0", "parking-v0", "merge-v0"):
        points = rng.uniform(-300, 700, size=(20_000, 2))
        for footprint in (0.0, 0.3, 9.0, 500.0):
            found = shares(tables_of(env_id, device), points, footprint)
            assert found.min() >= 0
            assert found.sum(axis=1).max() <= 1 + 1e-5


def test_lanes_that_meet_show_no_seam(device):
    """Where a straight ends and a curve begins no pixel of any size lets the grass through."""
    for env_id in ("racetrack-v0", "racetrack-large-v0", "exit-v0"):
        lanes = network(env_id).lanes
        ends = np.array([[float(one) for one in lane.position(lane.length, 0.0)] for lane in lanes])
        starts = np.array([[float(one) for one in lane.position(0.0, 0.0)] for lane in lanes])
        met = ends[[np.linalg.norm(starts - end, axis=1).min() < 0.3 for end in ends]]
        assert len(met) > 3
        for footprint in (0.01, 0.5, 1.5):
            assert shares(tables_of(env_id, device), met, footprint)[:, 1:].sum(axis=1).min() > 0.999


def test_a_long_road_takes_little_memory():
    assert tables_of("highway-v0", torch.device("cpu")).nbytes < 1e6
    wide = StraightLane((0.0, 0.0), (30_000.0, 20_000.0))
    tables = GroundTables(Network({"a": {"b": [wide]}}), torch.device("cpu"))
    assert tables.nbytes < 2e6
    assert kinds(tables, [(15_000.0, 10_000.0), (15_000.0, 10_020.0)]).tolist() == [2, 0]
