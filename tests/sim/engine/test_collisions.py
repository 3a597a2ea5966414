"""highway-env's polygon test and `Road.step` are the oracles of contacts, pushes and crashes."""

from typing import Any

import numpy as np
import pytest
import torch
import warp as wp
from highway_env.road.road import Road, RoadNetwork
from highway_env.utils import are_polygons_intersecting
from highway_env.vehicle.kinematics import Vehicle
from highway_env.vehicle.objects import Landmark, Obstacle, RoadObject

from sim.engine.collisions import contact
from sim.engine.state import PRECISIONS
from tests.sim.engine.twins import advance, assert_same, model_twin, network_twin, world_twin

DT = 1 / 15  # s
NETWORK = RoadNetwork.straight_road_network(4, length=1000)


@wp.kernel(enable_backward=False, module="unique")
def probe(world: Any, dt: wp.array(dtype=Any), flags: wp.array2d(dtype=bool), push: wp.array2d(dtype=Any)):
    w = wp.tid()
    now, soon, x, y = contact(world, w, 0, 1, dt[0])
    flags[w, 0] = now
    flags[w, 1] = soon
    push[w, 0] = x
    push[w, 1] = y


def road_with(*things: RoadObject) -> Road:
    road = Road(NETWORK, vehicles=[v for v in things if isinstance(v, Vehicle)])
    road.objects = [v for v in things if not isinstance(v, Vehicle)]
    for thing in things:
        thing.road = road
    return road


def vehicle(x: float, y: float, heading: float = 0.0, speed: float = 0.0, cls: type = Vehicle) -> Any:
    return cls(Road(NETWORK), [x, y], heading, speed)


def random_pairs(count: int) -> list[Road]:
    """Pairs from apart to deep inside each other: any pose, parallel, one behind the other, fast, with obstacles."""
    rng = np.random.default_rng(6)
    roads = []
    for i in range(count):
        kind = i % 5
        first = vehicle(rng.uniform(0, 500), rng.uniform(0, 12), rng.uniform(-4, 4), rng.uniform(-5, 40))
        x, y = first.position + rng.uniform(-6, 6, 2)
        second = vehicle(x, y, rng.uniform(-4, 4), rng.uniform(-5, 40))
        if kind == 1:  # parallel, on the next lane or nearly so
            heading = rng.uniform(-0.2, 0.2)
            first.heading = second.heading = heading
            second.position = first.position + np.array([rng.uniform(-7, 7), rng.uniform(-3, 3)])
        elif kind == 2:  # closing fast along x
            first.heading, second.heading = 0.0, rng.choice([0.0, np.pi])
            first.speed, second.speed = rng.uniform(60, 200), rng.uniform(0, 60)
            second.position = first.position + np.array([rng.uniform(4, 18), rng.uniform(-2.2, 2.2)])
        elif kind == 3:
            second = Obstacle(Road(NETWORK), [x, y], rng.uniform(-4, 4))
        elif kind == 4:  # standing
            first.speed = second.speed = 0.0
        roads.append(road_with(first, second))
    return roads


def contacts(roads: list[Road], device: torch.device, precision: str) -> tuple[np.ndarray, np.ndarray]:
    world = world_twin(roads, network_twin(NETWORK), device, precision)
    flags = torch.empty(len(roads), 2, dtype=torch.bool, device=device)
    push = torch.empty(len(roads), 2, dtype=world.x.dtype, device=device)
    dt = torch.tensor([DT], dtype=world.x.dtype, device=device)
    inputs = [world.struct(), *(wp.from_torch(tensor) for tensor in (dt, flags, push))]
    wp.launch(probe, dim=len(roads), inputs=inputs, device=str(device))
    return flags.cpu().numpy(), push.cpu().numpy()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_contacts_of_random_pairs(precision: str, device: torch.device) -> None:
    roads = random_pairs(2000)
    flags, push = contacts(roads, device, precision)
    wanted, pushes = [], []
    for road in roads:
        a, b = [*road.vehicles, *road.objects]
        now, soon, translation = are_polygons_intersecting(a.polygon(), b.polygon(), a.velocity * DT, b.velocity * DT)
        wanted.append((now, soon))
        pushes.append(translation if soon else (np.nan, np.nan))
    wanted, pushes = np.array(wanted), np.array(pushes)
    agree = (flags == wanted).all(axis=1)
    assert agree.mean() == 1.0 if precision == "float64" else agree.mean() > 0.999
    for now, soon in ((False, False), (False, True), (True, True)):
        assert (wanted == (now, soon)).all(axis=1).sum() > 15
    both = wanted[:, 1] & flags[:, 1]
    off = np.abs(push - pushes)[both].max(axis=1)
    if precision == "float64":
        assert off.max() < 1e-9
    else:  # where two axes are almost equally near, single precision may take the other
        assert (off > 1e-3).mean() < 0.005


def test_touching_counts_as_intersecting(device: torch.device) -> None:
    """Rectangles 5 m by 2 m: bumpers meet at 5 m, sides at 2 m."""
    gaps = [(5.0, 0.0), (5.0 + 1e-6, 0.0), (5.0 - 1e-6, 0.0), (0.0, 2.0), (0.0, 2.0 + 1e-6), (5.0, 2.0), (5.0, 2.001)]
    roads = [road_with(vehicle(8, 4), vehicle(8 + dx, 4 + dy)) for dx, dy in gaps]
    flags, _ = contacts(roads, device, "float64")
    assert flags[:, 0].tolist() == [True, False, True, True, False, True, False]


def step_both(roads: list[Road], device: torch.device, frames: int, precision: str = "float64") -> None:
    """Step real roads and their twins frame by frame, comparing all fields after each."""
    ours = network_twin(NETWORK)
    world = world_twin(roads, ours, device, precision)
    table, model = ours.table(PRECISIONS[precision], device), model_twin(ours, device, DT, precision)
    for _ in range(frames):
        advance(world, table, model)
        for road in roads:
            road.act()
            road.step(DT)
        assert_same(world, roads, ours, tolerance=1e-9)


def pile_up(rng: np.random.Generator, turned: float) -> Road:
    """Many overlapping vehicles in random list order, some that do not check, and objects among them."""
    things: list[RoadObject] = []
    for _ in range(10):
        one = vehicle(rng.uniform(0, 40), rng.uniform(0, 12), rng.normal() * turned, rng.uniform(-5, 40))
        one.check_collisions = rng.random() < 0.7
        things.append(one)
    for cls in (Obstacle, Obstacle, Landmark, Landmark):
        things.append(vehicle(rng.uniform(0, 40), rng.uniform(0, 12), rng.normal() * turned, cls=cls))
    return road_with(*things)


# A push parts two vehicles by exactly their overlap, and whether the next frame finds them touching is then rounding.
# Along an axis both sides round alike; across it the comparison ends before the pushes take effect.
@pytest.mark.parametrize(("turned", "frames"), [(0.0, 6), (1.0, 1)], ids=["along x", "turned"])
def test_pile_ups(turned: float, frames: int, device: torch.device) -> None:
    rng = np.random.default_rng(7)
    roads = [pile_up(rng, turned) for _ in range(20)]
    step_both(roads, device, frames)
    assert 0.2 < np.mean([v.crashed for road in roads for v in road.vehicles]) <= 0.95
    assert any(v.impact is not None for road in roads for v in road.vehicles)
    assert 0.1 < np.mean([o.hit for road in roads for o in road.objects if isinstance(o, Landmark)]) < 0.95


def test_last_contact_gives_the_push(device: torch.device) -> None:
    """Of several contacts an object's counts, else the highest later slot's, else the highest earlier slot's."""

    def row(order: list[int], obstacle: bool) -> Road:
        places = [(100.0, 4.0, 20.0), (104.0, 4.5, 15.0), (96.5, 3.2, 25.0), (101.0, 5.5, 21.0)]
        things = [vehicle(x, y, 0.0, speed) for x, y, speed in (places[i] for i in order)]
        return road_with(*things, *([vehicle(103.0, 5.0, 0.0, cls=Obstacle)] if obstacle else []))

    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]]
    step_both([row(order, obstacle) for order in orders for obstacle in (False, True)], device, frames=3)


def test_a_predicted_contact_crashes_one_frame_later(device: torch.device) -> None:
    """A gap of 1 m closed at 30 m/s: no contact now, one within the frame; push and crash come with the next."""
    roads = [road_with(vehicle(100, 4, 0, 30), vehicle(106.0 + 30 * DT, 4, 0, 0))]
    ours = network_twin(NETWORK)
    world = world_twin(roads, ours, device)
    table, model = ours.table(PRECISIONS["float64"], device), model_twin(ours, device, DT)
    advance(world, table, model)
    assert world.crashed[0].tolist() == [False, False]
    assert (world.impact_rank[0] >= 0).all()
    # The stretched rectangle overlaps by 30/15 - 1 = 1 m, of which each takes half.
    assert world.impact_x[0].tolist() == pytest.approx([-0.5, 0.5], abs=1e-9)
    advance(world, table, model)
    assert world.crashed[0].tolist() == [True, True]
    assert (world.impact_rank[0] >= 0).tolist() == [True, True]  # they still close in
    assert world.x[0, 1].item() == pytest.approx(106.0 + 30 * DT + 0.5, abs=1e-9)


@pytest.mark.parametrize("checks", [(True, True), (True, False), (False, True), (False, False)])
def test_only_pairs_that_both_do_not_check_pass_through(checks: tuple[bool, bool], device: torch.device) -> None:
    pair = vehicle(100, 4), vehicle(103, 4)
    for one, check in zip(pair, checks, strict=True):
        one.check_collisions = check
    ours = network_twin(NETWORK)
    world = world_twin([road_with(*pair)], ours, device)
    advance(world, ours.table(PRECISIONS["float64"], device), model_twin(ours, device, DT))
    assert world.crashed[0].tolist() == [any(checks)] * 2


def test_objects_do_not_collide_with_each_other(device: torch.device) -> None:
    """highway-env tests vehicles against objects only: an obstacle on a parking goal does not count as reaching it."""
    things = [vehicle(50, 4), *(vehicle(100 + i, 4, cls=cls) for i, cls in enumerate((Obstacle, Landmark, Obstacle)))]
    step_both([road_with(*things)], device, frames=1)
