"""Facts about the ego's lane, on roads where they can be read off, and beside the lanes' own geometry."""

import math

import pytest
import torch

from sim.engine.lane_facts import lane_facts
from sim.engine.lanes import CircularLane, StraightLane
from sim.engine.network import Network
from sim.world import Kind

ROAD = Network({"a": {"b": [StraightLane((0, 4 * i), (1000, 4 * i), speed_limit=20 + i) for i in range(3)]}})


def tape(*cars, frames=1):
    """A tape of one episode: cars as (x, y, heading, lane, kind), the ego first."""
    columns = torch.tensor([[*car] for car in cars], dtype=torch.float64).T
    x, y, heading, lane, kind = (column.expand(frames, 1, -1).contiguous() for column in columns)
    whole = {"kind": kind.to(torch.int32), "lane": lane.to(torch.int32)}
    return {"x": x, "y": y, "heading": heading, "length": torch.full_like(x, 5), "width": torch.full_like(x, 2)} | whole


def facts_of(network, *cars):
    return lane_facts(network, tape(*cars), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, dtype=torch.int64))


def test_an_ego_on_a_straight_road():
    facts = facts_of(ROAD, (100.0, 4.5, 0.1, 1, Kind.MDP))
    assert (facts.s.item(), facts.lateral.item()) == (100.0, 0.5)
    assert (facts.lane_heading.item(), facts.lane_width.item(), facts.speed_limit.item()) == (0.0, 4.0, 21.0)
    assert (facts.lane_index.item(), facts.lane_count.item()) == (1, 3)
    assert (facts.leader.item(), facts.follower.item()) == (-1, -1)
    assert facts.gap.item() == facts.follower_gap.item() == math.inf
    assert facts.off_road.item() <= 0


def test_no_speed_limit_is_not_a_number():
    free = Network({"a": {"b": [StraightLane((0, 0), (100, 0), speed_limit=None)]}})
    assert math.isnan(facts_of(free, (10.0, 0.0, 0.0, 0, Kind.MDP)).speed_limit.item())


def test_the_nearest_on_the_lane_are_leader_and_follower():
    others = [
        (160.0, 4.0, 0.0, 1, Kind.IDM),  # ahead
        (130.0, 4.0, 0.0, 1, Kind.IDM),  # nearer: the leader
        (110.0, 8.0, 0.0, 2, Kind.IDM),  # beside
        (105.0, 4.0, 0.0, 1, Kind.LANDMARK),  # nothing to hit
        (108.0, 4.0, math.pi, 1, Kind.IDM),  # comes the other way
        (80.0, 4.0, 0.0, 1, Kind.IDM),  # behind: the follower
        (20.0, 4.0, 0.0, 1, Kind.IDM),
        (107.0, 4.0, 0.0, 1, Kind.ABSENT),
    ]
    facts = facts_of(ROAD, (100.0, 4.0, 0.0, 1, Kind.MDP), *others)
    assert (facts.leader.item(), facts.gap.item()) == (2, 25.0)
    assert (facts.follower.item(), facts.follower_gap.item()) == (6, 15.0)


def test_an_obstacle_leads_whatever_its_heading():
    facts = facts_of(ROAD, (100.0, 4.0, 0.0, 1, Kind.MDP), (130.0, 4.0, math.pi, 1, Kind.OBSTACLE))
    assert facts.leader.item() == 1


@pytest.mark.parametrize(("y", "depth"), [(4.0, -1.0), (8.0, -1.0), (9.0, 0.0), (10.0, 1.0), (-3.0, 2.0)])
def test_off_road_is_the_worst_corner_beyond_all_lanes(y, depth):
    # the road reaches from y = -2 to y = 10, the car 1 m to each side
    lane = min(range(3), key=lambda i: abs(4 * i - y))
    assert facts_of(ROAD, (100.0, y, 0.0, lane, Kind.MDP)).off_road.item() == pytest.approx(depth, abs=1e-9)


def test_a_car_across_two_lanes_is_on_the_road():
    assert facts_of(ROAD, (100.0, 2.0, 0.3, 0, Kind.MDP)).off_road.item() <= 0


@pytest.mark.parametrize("clockwise", [True, False])
def test_an_ego_on_an_arc(clockwise):
    arc = CircularLane((3.0, -2.0), 30.0, 0.2, 2.9 if clockwise else -2.5, clockwise, width=4.0)
    x, y = (float(value) for value in arc.position(17.0, 0.7))
    heading = float(arc.heading_at(17.0))
    facts = facts_of(Network({"a": {"b": [arc]}}), (x, y, heading, 0, Kind.MDP))
    assert facts.s.item() == pytest.approx(17.0) and facts.lateral.item() == pytest.approx(0.7)
    assert math.cos(facts.lane_heading.item() - heading) == pytest.approx(1.0)


def test_the_result_does_not_depend_on_the_batch_or_the_precision():
    one = tape((100.0, 4.25, 0.0, 1, Kind.MDP), (131.5, 4.0, 0.0, 1, Kind.IDM))
    many = {name: tensor.expand(2, 700, -1).contiguous() for name, tensor in one.items()}
    for real in (torch.float32, torch.float64):
        cast = {n: t.to(real) if t.is_floating_point() else t for n, t in many.items()}
        facts = lane_facts(ROAD, cast, torch.zeros(2, 700, dtype=torch.int64), torch.full((700,), 2))
        assert (facts.gap == 26.5).all() and (facts.lateral == 0.25).all() and (facts.leader == 1).all()
