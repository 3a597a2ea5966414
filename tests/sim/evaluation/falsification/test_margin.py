import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sim.evaluation.falsification.margin import EXCUSED_MARGIN, FEATURES, GAP_SCALE, SIDES, TTC_SCALE, MarginTracker
from sim.world import Kind

RATE = 10.0  # Hz
LENGTH, WIDTH = 5.0, 2.0  # m


def scene(*cars, crashed=(), kinds=None, numbers=None, ego=0):
    """A world of cars (x, y, heading, speed)."""
    x, y, heading, speed = torch.from_numpy(np.array(cars, dtype=np.float64).T.copy())[:, None]
    count = len(cars)
    whole = torch.int32
    return SimpleNamespace(
        x=x, y=y, cos_heading=heading.cos(), sin_heading=heading.sin(), speed=speed,
        length=torch.full_like(x, LENGTH), width=torch.full_like(x, WIDTH),
        kind=torch.tensor([kinds or [int(Kind.MDP)] + [int(Kind.IDM)] * (count - 1)], dtype=whole),
        lane=torch.zeros(1, count, dtype=whole), target_lane=torch.zeros(1, count, dtype=whole),
        number=torch.tensor([numbers or list(range(count))], dtype=whole),
        crashed=torch.tensor([[v in crashed for v in range(count)]]), ego=torch.tensor([[ego]], dtype=whole),
    )  # fmt: skip


def watched(scenes, duration=10.0):
    """What a tracker says of the scenes, one after the other."""
    envs = SimpleNamespace(
        num_envs=1, device=torch.device("cpu"), config={"simulation_frequency": RATE}, world=scenes[0]
    )
    tracker = MarginTracker(envs, duration)
    for one in scenes[1:]:
        envs.world = one
        tracker.update(torch.ones(1, dtype=torch.bool))
    return tracker.finish()


def feature(contacts, name):
    return contacts.features[0, FEATURES.index(name)].item()


def test_the_margin_of_an_approach_is_the_time_left():
    # 60 m apart, 10 m/s faster, after 4 s: 15 m from bumper to bumper, 1.5 s.
    scenes = [scene((25 * t, 0, 0, 25), (60 + 15 * t, 0, 0, 15)) for t in np.arange(41) / RATE]
    contacts = watched(scenes)
    assert contacts.margin.item() == pytest.approx(1.5 / TTC_SCALE)
    assert not contacts.failed.item() and math.isinf(contacts.time.item())


def test_vehicles_on_other_lanes_or_driving_away_are_no_danger():
    beside = scene((0, 0, 0, 30), (0, 4, 0, 20), (20, -4, 0, 10))
    away = scene((0, 0, 0, 20), (8, 0, 0, 40), (-8, 0, 0, 10))
    assert watched([beside]).margin.item() == watched([away]).margin.item() == 1.0


@pytest.mark.parametrize("kind, expected", [(Kind.OBSTACLE, 0.25), (Kind.LANDMARK, 1.0), (Kind.ABSENT, 1.0)])
def test_obstacles_count_and_landmarks_do_not(kind, expected):
    near = scene((0, 0, 0, 0), (LENGTH + 0.5, 0, 0, 0), kinds=[int(Kind.MDP), int(kind)])
    assert watched([near]).margin.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "place, gap",
    [((0, 4.5, math.pi / 2), 1.0), ((0, 3.0, 0), 1.0), ((4.5, 0, math.pi / 2), 1.0), ((5.9, 3.1, 0), 1.1)],
)
def test_gaps_are_between_the_sides_of_the_boxes(place, gap):
    still = scene((0, 0, 0, 0), (*place, 0))
    assert watched([still]).margin.item() == pytest.approx(gap / GAP_SCALE)


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.5, -1.9])
@pytest.mark.parametrize("mirrored", [False, True])
def test_margins_do_not_depend_on_where_the_world_is(angle, mirrored):
    random = np.random.default_rng(1)
    telling = 0
    for _ in range(20):
        x, y, heading, speed = random.uniform(-1, 1, (4, 6)) * [[25], [6], [1], [30]]
        plain = watched([scene(*np.stack([x, y, heading, speed], 1))]).margin.item()
        if mirrored:
            y, heading = -y, -heading
        c, s = math.cos(angle), math.sin(angle)
        turned = np.stack([x * c - y * s + 50, x * s + y * c, heading + angle, speed], 1)
        assert watched([scene(*turned)]).margin.item() == pytest.approx(plain, rel=1e-9)
        telling += 0 < plain < 1
    assert telling > 2


def test_an_earlier_contact_has_a_lower_margin():
    before = scene((0, 0, 0, 20), (6, 0, 0, 0))
    hit = scene((1, 0, 0, 20), (6, 0, 0, 0), crashed=(0, 1))
    early, late = watched([before, hit]), watched([before] * 50 + [hit])
    assert early.failed.item() and late.failed.item()
    assert early.margin.item() == pytest.approx(0.1 / 10 - 1) and late.margin.item() == pytest.approx(5.0 / 10 - 1)
    assert early.time.item() == pytest.approx(0.1) and late.time.item() == pytest.approx(5.0)


@pytest.mark.parametrize(
    "side, other",
    [
        ("front", (5.5, 0.5, 0.0, 10.0)),
        ("rear", (-5.5, -0.5, 0.0, 30.0)),
        ("right", (1.0, 2.2, -0.2, 20.0)),
        ("left", (1.0, -2.2, 0.2, 20.0)),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 1.2])
def test_where_the_ego_is_touched(side, other, angle):
    def turned(x, y, heading, speed):
        c, s = math.cos(angle), math.sin(angle)
        return x * c - y * s, x * s + y * c, heading + angle, speed

    cars = [turned(0, 0, 0, 20), turned(*other), turned(40, 0, 0, 20)]
    contacts = watched([scene(*cars), scene(*cars, crashed=(0, 1))])
    assert SIDES[int(feature(contacts, "side"))] == side
    assert feature(contacts, "number") == 1
    velocity = np.array([20 - other[3] * math.cos(other[2]), other[3] * math.sin(other[2])])
    assert feature(contacts, "closing_speed") == pytest.approx(np.hypot(*velocity))


def test_the_one_that_crashed_was_hit_even_if_another_is_nearer():
    cars = [(0, 0, 0, 20), (2.0, 2.4, 0, 20), (5.8, 0, 0, 5)]
    contacts = watched([scene(*cars), scene(*cars, crashed=(0, 2))])
    assert feature(contacts, "number") == 2 and feature(contacts, "other_speed") == 5


@pytest.mark.parametrize("speed, failed", [(0.0, False), (0.04, False), (1.0, True)])
def test_an_ego_that_is_hit_while_it_stands_is_excused(speed, failed):
    before = scene((0, 0, 0, speed), (-6, 0, 0, 20))
    contacts = watched([before, scene((0, 0, 0, 5), (-5, 0, 0, 15), crashed=(0, 1))])
    assert contacts.failed.item() == failed and contacts.excused.item() != failed
    assert (contacts.margin.item() < 0) == failed and (failed or contacts.margin.item() == EXCUSED_MARGIN)


def test_a_contact_is_described_from_the_frame_before_though_slots_moved_up():
    before = scene((50, 0, 0, 9), (-6, 0, 0, 20), (0, 0, 0, 12), kinds=[1, 1, 5], numbers=[4, 7, 9], ego=2)
    after = scene((-5, 0, 0, 18), (0, 0, 0, 14), kinds=[1, 5], numbers=[7, 9], crashed=(0, 1), ego=1)
    contacts = watched([before, after])
    assert feature(contacts, "number") == 7 and SIDES[int(feature(contacts, "side"))] == "rear"
    assert feature(contacts, "speed") == 12 and feature(contacts, "other_speed") == 20


def test_only_the_first_contact_counts():
    free = scene((0, 0, 0, 20), (6, 0, 0, 5), (-6, 0, 0, 30))
    contacts = watched([free, scene((0, 0, 0, 20), (6, 0, 0, 5), (-6, 0, 0, 30), crashed=(0, 1)), free,
                        scene((0, 0, 0, 20), (6, 0, 0, 5), (-6, 0, 0, 30), crashed=(0, 2))])  # fmt: skip
    assert contacts.time.item() == pytest.approx(0.1) and feature(contacts, "number") == 1
