"""highway-env's own lane objects are the oracle of the lane geometry."""

from typing import Any

import numpy as np
import pytest
import torch
import warp as wp
from highway_env.road import lane as real
from highway_env.road.road import RoadNetwork

from sim.engine import lanes as lane
from sim.engine.network import Network
from sim.engine.state import PRECISIONS
from tests.sim.engine.twins import lane_twin

POINTS = 400  # a lane
COLUMNS = ("s", "lateral", "x", "y", "heading", "width", "distance", "pose_distance")
FLAGS = ("on", "on_widened", "reachable")
MARGIN = 1.0  # m

CENTER_LINE = [(0.0, 0.0), (1.1, -0.7), (10.3, 2.0), (21.0, -1.5), (40.0, 9.0), (44.0, 22.0), (43.0, 40.5)]
LEFT = [(x - 1.0, y - 3.5 - 0.05 * x) for x, y in CENTER_LINE]
RIGHT = [(x + 2.0, y + 2.4 + 0.1 * y) for x, y in CENTER_LINE]


def real_lanes() -> dict[str, Any]:
    return {
        "straight": real.StraightLane([3.0, -2.0], [103.0, -2.0], speed_limit=None),
        "straight, oblique": real.StraightLane([5.0, 1.0], [-40.0, 33.0], width=3.2),
        "straight, backwards": real.StraightLane([80.0, 4.0], [-20.0, 4.0], forbidden=True),
        "sine": real.SineLane([-10.0, 6.0], [70.0, 6.0], 3.25, 2 * np.pi / 80, np.pi / 2),
        "sine, oblique": real.SineLane([0.0, 0.0], [30.0, -50.0], -5.0, 0.2, 0.3, width=5.0),
        "arc, clockwise": real.CircularLane([10.0, -5.0], 20.0, -0.7, 1.9),
        "arc, counter-clockwise": real.CircularLane([0.0, 3.0], 24.0, 2.5, 0.4, clockwise=False, width=6.0),
        "arc, nearly a circle": real.CircularLane([0.0, 0.0], 15.0, np.deg2rad(170), np.deg2rad(-165), clockwise=False),
        "polyline": real.PolyLaneFixedWidth(CENTER_LINE, width=3.5),
        "polyline with boundaries": real.PolyLane(CENTER_LINE, LEFT, RIGHT),
    }


def twin(name: str, one: Any) -> lane.Lane:
    if not name.startswith("polyline"):
        return lane_twin(one)
    if name == "polyline":
        return lane.PolyLane(CENTER_LINE, width=3.5)
    return lane.PolyLane(CENTER_LINE, LEFT, RIGHT)


@wp.kernel(enable_backward=False, module="unique")
def probe(
    lanes: Any,
    number: wp.array(dtype=int),
    at: wp.array2d(dtype=Any),
    out: wp.array2d(dtype=Any),
    flags: wp.array2d(dtype=bool),
):
    i = wp.tid()
    n = number[i]
    x = at[i, 0]
    y = at[i, 1]
    s, lateral = lane.local_coordinates(lanes, n, x, y)
    out[i, 0] = s
    out[i, 1] = lateral
    px, py = lane.position(lanes, n, at[i, 3], at[i, 4])
    out[i, 2] = px
    out[i, 3] = py
    out[i, 4] = lane.heading_at(lanes, n, at[i, 3])
    out[i, 5] = lane.width_at(lanes, n, at[i, 3])
    out[i, 6] = lane.distance(lanes, n, x, y)
    out[i, 7] = lane.distance_at(lanes, n, s, lateral, at[i, 2])
    flags[i, 0] = lane.on_lane(lanes, n, s, lateral, type(x)(0.0))
    flags[i, 1] = lane.on_lane(lanes, n, s, lateral, type(x)(MARGIN))
    flags[i, 2] = lane.is_reachable_from(lanes, n, x, y)


def expected(one: Any, at: np.ndarray) -> tuple[list[float], list[bool]]:
    point, heading, s, lateral = at[:2], at[2], at[3], at[4]
    x, y = one.position(s, lateral)
    values = [*one.local_coordinates(point), x, y, one.heading_at(s), one.width_at(s), one.distance(point)]
    values.append(one.distance_with_heading(point, heading))
    flags = [one.on_lane(point), one.on_lane(point, margin=MARGIN), one.is_reachable_from(point)]
    return values, flags


@pytest.fixture(scope="module")
def points() -> dict[str, np.ndarray]:
    """`[P, 5]` x, y, heading, s, lateral a lane: half near the lane and past its ends, half anywhere around."""
    rng = np.random.default_rng(0)
    made = {}
    for name, one in real_lanes().items():
        s = rng.uniform(-12, one.length + 12, POINTS)
        lateral = rng.uniform(-9, 9, POINTS)
        near = np.array([one.position(*pair) for pair in zip(s, lateral, strict=True)])
        far = rng.uniform(-80, 120, (POINTS, 2))
        xy = np.where(np.arange(POINTS)[:, None] % 2 == 0, near, far)
        made[name] = np.column_stack([xy, rng.uniform(-7, 7, POINTS), s, lateral])
    return made


def probed(points: dict[str, np.ndarray], device: torch.device, precision: str) -> dict[str, tuple]:
    lanes = [twin(name, one) for name, one in real_lanes().items()]
    network = Network({"a": {"b": lanes}})
    real_type = PRECISIONS[precision]
    dtype = getattr(torch, precision)
    at = torch.tensor(np.concatenate(list(points.values())), dtype=dtype, device=device)
    number = torch.arange(len(lanes), dtype=torch.int32, device=device).repeat_interleave(POINTS)
    out = torch.empty(len(at), len(COLUMNS), dtype=dtype, device=device)
    flags = torch.empty(len(at), len(FLAGS), dtype=torch.bool, device=device)
    inputs = [network.table(real_type, device), *(wp.from_torch(t) for t in (number, at, out, flags))]
    wp.launch(probe, dim=len(at), inputs=inputs, device=str(device))
    out, flags = out.cpu().numpy(), flags.cpu().numpy()
    return {name: (out[i * POINTS :][:POINTS], flags[i * POINTS :][:POINTS]) for i, name in enumerate(points)}


@pytest.fixture(scope="module")
def exact(points: dict, device: torch.device) -> dict[str, tuple]:
    return probed(points, device, "float64")


@pytest.fixture(scope="module")
def single(points: dict, device: torch.device) -> dict[str, tuple]:
    return probed(points, device, "float32")


@pytest.mark.parametrize("name", real_lanes())
def test_float64_is_highway_envs(points: dict, exact: dict, name: str) -> None:
    one = real_lanes()[name]
    values, flags = exact[name]
    for at, found, found_flags in zip(points[name], values, flags, strict=True):
        wanted, wanted_flags = expected(one, at)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9, err_msg=f"{COLUMNS} at {at}")
        assert found_flags.tolist() == [bool(flag) for flag in wanted_flags], f"{FLAGS} at {at}"


@pytest.mark.parametrize("name", real_lanes())
def test_float32_is_close(exact: dict, single: dict, name: str) -> None:
    # On a polyline or an arc a rounded point may fall on the other side of a pose's normal or of the branch cut.
    values, flags = exact[name]
    off = np.abs(single[name][0] - values).max(axis=1) > 1e-3
    assert off.mean() <= (0.02 if name.startswith("polyline") else 0.0)
    assert (single[name][1] != flags).any(axis=1).mean() <= 0.02


@pytest.mark.parametrize("name", real_lanes())
def test_points_reach_every_branch(exact: dict, name: str) -> None:
    """The comparison above means little unless each flag is seen both true and false."""
    values, flags = exact[name]
    constant = {
        "straight, backwards": {"reachable"},  # it is forbidden
    }
    for flag, seen in zip(FLAGS, flags.T, strict=True):
        assert (0 < seen.sum() < POINTS) != (flag in constant.get(name, ())), flag
    s = values[:, 0]
    assert (s < 0).any()
    nearly_a_circle = name == "arc, nearly a circle"  # coordinates end half a circle from its start, as in highway-env
    assert (s > real_lanes()[name].length).any() != nearly_a_circle


@pytest.mark.parametrize("name", real_lanes())
def test_host_curve_is_highway_envs(points: dict, name: str) -> None:
    one, ours = real_lanes()[name], twin(name, real_lanes()[name])
    s, lateral = points[name][:, 3], points[name][:, 4]
    assert ours.length == pytest.approx(one.length, abs=1e-12)
    wanted = np.array([one.position(*pair) for pair in zip(s, lateral, strict=True)])
    np.testing.assert_allclose(np.stack(ours.position(s, lateral), axis=1), wanted, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.heading_at(s), [one.heading_at(one_s) for one_s in s], rtol=0, atol=1e-9)


def test_widths_of_a_polyline_are_highway_envs() -> None:
    one = real_lanes()["polyline with boundaries"]
    ours = lane.PolyLane(CENTER_LINE, LEFT, RIGHT).width_samples()
    np.testing.assert_allclose(ours, one.width_samples, rtol=0, atol=1e-9)
    assert np.ptp(ours) > 1  # m, the boundaries do open


def test_a_straight_network_is_highway_envs() -> None:
    net = RoadNetwork.straight_road_network(4, length=500, speed_limit=30)
    ours = Network.straight(4, 500, 30)
    for one, made in zip(net.lanes_list(), ours.lanes, strict=True):
        assert (made.start, made.end) == (tuple(one.start), tuple(one.end))
        assert made.line_types == tuple(one.line_types)
        assert (made.width, made.speed_limit, made.forbidden) == (one.width, one.speed_limit, one.forbidden)
