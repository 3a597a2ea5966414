import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import shapely
import torch

from sim.evaluation.episodes import REALS
from sim.evaluation.metrics.encroachment import STRETCH, post_encroachment
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, circle, cruise, episodes, mirrored, rotated
from tests.sim.evaluation.metrics.random_scenes import (
    assert_alone_as_together,
    assert_same,
    polygons,
    random_episodes,
)

DOWN = math.pi / 2


def measure(made):
    """As the `measure` of a module."""
    return {"min_pet": post_encroachment(made)}


def pet(*cars, dt=0.1):
    return measure(episodes(list(cars), dt=dt))["min_pet"].value.item()


def crossing(ego_from=-20.0, other_from=-40.0, dt=0.1, heading=DOWN, **rest):
    steady = {"frames": round(8 / dt), "dt": dt}
    x, y = other_from * math.cos(heading), other_from * math.sin(heading)
    return [cruise(ego_from, speed=10, **steady), cruise(x, y, speed=10, heading=heading, **steady, **rest)]


@pytest.mark.parametrize("dt", [1 / 15, 0.1, 0.15, 0.2])
def test_pet_of_paths_that_cross(dt):
    # The ego's rear leaves the other's band (x = 1) after 23.5 m; the other's front enters the ego's after 36.5 m.
    assert pet(*crossing(dt=dt), dt=dt) == pytest.approx(1.3)
    # The other way round.
    assert pet(*crossing(-40, -20, dt=dt), dt=dt) == pytest.approx(1.3)
    # At 45 degrees each band is cut at 1 m / sin 45 + 1 m / tan 45 from the middle, the box's corner being 2.5 m ahead.
    reach = 2.5 + math.sqrt(2) + 1
    assert pet(*crossing(dt=dt, heading=math.pi / 4), dt=dt) == pytest.approx(2 - 2 * reach / 10, rel=0.02)


def test_pet_is_undefined_where_both_are_inside_or_do_not_cross():
    assert math.isnan(pet(*crossing(-20, -24)))
    assert math.isnan(pet(cruise(0), cruise(20)))
    assert math.isnan(pet(cruise(0), cruise(40, speed=20, heading=math.pi), cruise(40, 4)))
    short = [Car(**{**vars(car), **{n: part[:30] for n, part in vars(car).items() if np.ndim(part)}})
             for car in crossing()]  # fmt: skip
    assert math.isnan(pet(*short))  # the episode ends before the other comes


def test_pet_of_the_nearest_and_of_one_that_waits():
    ego, late = crossing()
    _, later = crossing(other_from=-50.0)
    found = measure(episodes([ego, later, late]))["min_pet"]
    assert float(found.value[0]) == pytest.approx(1.3)
    assert int(found.other[0]) == 2
    assert int(found.frame[0]) == 37  # the other's front is in the area after 3.65 s
    t = np.arange(80) * 0.1
    waits = Car(0.0 * t, np.where(t < 5, -6.0, -6.0 + 10 * (t - 5)), np.where(t < 5, 0.0, 10.0), DOWN)
    assert pet(ego, waits) == pytest.approx(5.25 - 2.35)
    stays = Car(0.0 * t, np.minimum(-20 + 10 * t, 0.0), np.where(t < 2, 10.0, 0.0), DOWN)
    assert math.isnan(pet(cruise(-60, speed=10, frames=80), stays))


def test_pet_follows_a_vehicle_through_other_slots():
    ego, late = crossing()
    made, plain = episodes([ego, cruise(0, 50, frames=80), late]), episodes([ego, cruise(0, 50, frames=80), late])
    for name in ("x", "y", "heading", "speed", "number"):
        getattr(made, name)[30:, 0, 1] = getattr(made, name)[30:, 0, 2]
    made.kind[30:, 0, 2], made.number[30:, 0, 2] = Kind.ABSENT, -1
    ours, theirs = (measure(one)["min_pet"] for one in (made, plain))
    assert torch.equal(ours.value, theirs.value)
    assert torch.equal(ours.other, theirs.other)


def test_paths_that_go_on_together_have_no_pet():
    # The other turns into the ego's road ahead of it and drives on there.
    turn = circle(10.0, 10.0, frames=80, center=(-10.0, 0.0))
    phase = np.minimum(10.0 * np.arange(80) * 0.1 / 10.0, math.pi / 2)
    rest = np.maximum(np.arange(80) * 0.1 - math.pi / 2, 0) * 10
    other = Car(10 - 10 * np.cos(phase) + rest, -10 + 10 * np.sin(phase), 10.0, math.pi / 2 - phase)
    assert math.isnan(pet(cruise(-30, speed=10, frames=80), other))
    assert math.isnan(pet(turn, turn))


@pytest.mark.parametrize("view", [mirrored, lambda made: rotated(made, 2.0)])
def test_pet_does_not_depend_on_the_view(view):
    made = episodes(crossing(), crossing(-40, -20), crossing(heading=0.8), crossing(-20, -24))
    assert_same(measure(made), measure(view(made)), rtol=1e-9, atol=1e-9)
    assert_alone_as_together(measure, made)


def polygon_pet(ego, other, dt):
    """PET by the polygons of all frames of two cars, which lie `dt` apart [s]; NaN if both are inside or none comes."""
    frames = len(ego.x)
    t = np.arange(frames) * dt
    cover = []
    for car in (ego, other):
        parts = (np.broadcast_to(part, frames) for part in (car.x, car.y, car.heading, car.length, car.width))
        cover.append(polygons(*parts))
    straight = np.ptp(ego.heading) == np.ptp(other.heading) == 0
    paths = [shapely.convex_hull(shapely.geometrycollections(part)) if straight else shapely.union_all(part)
             for part in cover]  # fmt: skip
    area = shapely.intersection(*paths)
    times = [t[shapely.intersects(part, area)] for part in cover]
    if shapely.is_empty(area) or not all(map(len, times)):
        return math.nan
    between = max(times[1][0] - times[0][-1], times[0][0] - times[1][-1])
    return between if between >= 0 else math.nan


def straight_cars(rng):
    """An ego and another on straight paths that cross at 40 degrees or more, of many sizes, speeds and places."""
    x, y, heading = rng.uniform([-80, -80, -3], [80, 80, 3])
    turned = rng.choice([-1, 1]) * math.radians(rng.uniform(40, 140))
    cars = []
    for angle in (heading, heading + turned):
        speed, before = rng.uniform(6, 25), rng.uniform(10, 60)
        size = {"length": rng.uniform(3, 9), "width": rng.uniform(1.5, 2.5)}
        start = (x - before * math.cos(angle), y - before * math.sin(angle))
        cars.append(partial(cruise, *start, speed, heading=angle, **size))
    return cars


def turning_cars(rng):
    """An ego that turns, and another that crosses its path straight on."""
    radius, speed = rng.uniform(10, 18), rng.uniform(5, 9)
    ego = partial(circle, radius, speed, length=rng.uniform(3, 6))
    phase, angle = rng.uniform(0.8, 2.0), rng.uniform(-0.8, 0.8)  # it crosses there, outwards or inwards
    angle += phase + rng.choice([0, math.pi])
    before, pace = rng.uniform(15, 45), rng.uniform(6, 12)
    x, y = (radius * part - before * way for part, way in zip(
        (math.cos(phase), math.sin(phase)), (math.cos(angle), math.sin(angle)), strict=True))  # fmt: skip
    return [ego, partial(cruise, x, y, pace, heading=angle)]


@pytest.mark.parametrize(
    ("make", "count", "seconds", "fine"), [(straight_cars, 24, 9.0, 0.01), (turning_cars, 14, 6.0, 0.02)]
)
def test_pet_is_that_of_polygons_in_small_steps(make, count, seconds, fine):
    rng = np.random.default_rng(3)
    scenes = [make(rng) for _ in range(count)]
    made = episodes(*([car(frames=round(seconds / 0.1) + 1, dt=0.1) for car in scene] for scene in scenes))
    theirs = [polygon_pet(*(car(frames=round(seconds / fine) + 1, dt=fine) for car in scene), fine) for scene in scenes]
    theirs = np.array(theirs)
    sure = ~(np.abs(theirs) < 0.1)  # a PET of nearly nothing may be missed in steps
    for kind in (torch.float32, torch.float64):
        recorded = {name: getattr(made, name).to(kind) for name in REALS}
        ours = measure(replace(made, **recorded))["min_pet"].value.numpy()
        np.testing.assert_allclose(ours[sure], theirs[sure], atol=3 * fine)
    assert count / 3 < np.isfinite(theirs).sum() < count


@pytest.mark.parametrize("frames", [STRETCH * 4 - 1, STRETCH * 4, STRETCH * 4 + 1])
def test_pet_wherever_on_the_ego_s_path(frames):
    # The ego drives from -35 m - back on: from frame to frame the crossing lies elsewhere in a stretch of its path.
    for back in range(34):
        ego = cruise(-3.5 - back, speed=10, frames=frames)
        other = cruise(0, -23.5 - back, speed=10, heading=DOWN, frames=frames)
        assert pet(ego, other) == pytest.approx(1.3), back
        later = cruise(-23.5 - back, speed=10, frames=frames)
        sooner = cruise(0, -3.5 - back, speed=10, heading=DOWN, frames=frames)
        assert pet(later, sooner) == pytest.approx(1.3), back


def test_a_sharp_turn_within_a_stretch_of_the_path():
    # The ego turns by 0.12 rad a frame. Another crosses where it was at frame 19, along the heading that the ego has at
    # the stretch's end, frame 31: seen from there they would be parallel.
    small = {"length": 2.0, "width": 1.0}
    place, heading = 6 * 1.9 / 5, 6 * 3.1 / 5 + math.pi / 2
    x, y = (5 * part - 36 * way for part, way in zip(
        (math.cos(place), math.sin(place)), (math.cos(heading), math.sin(heading)), strict=True))  # fmt: skip

    def scene(frames, dt):
        return [circle(5.0, 6.0, frames=frames, dt=dt, **small),
                cruise(x, y, 10.0, heading=heading, frames=frames, dt=dt, **small)]  # fmt: skip

    theirs = polygon_pet(*scene(401, 0.01), 0.01)
    assert theirs > 0.5
    assert pet(*scene(41, 0.1)) == pytest.approx(theirs, abs=0.06)


def test_who_comes_back_is_in_the_area_all_along():
    # The ego drives one and a half rounds. The other crosses the circle before it, at 1 s, and again on the far side at
    # 5 s, where the ego comes only later: it is in the area of the two paths while the ego enters that at 3 s.
    ego, other = circle(20.0, 10.0, frames=170), cruise(0, 30, speed=10, heading=-DOWN, frames=170)
    assert math.isnan(pet(ego, other))
    once = [Car(**{**vars(car), **{n: part[:45] for n, part in vars(car).items() if np.ndim(part)}})
            for car in (ego, other)]  # fmt: skip
    assert 1.0 < pet(*once) < 2.0


def test_random_traffic_has_the_pet_of_each_pair_alone():
    made = random_episodes(12)
    together = measure(made)["min_pet"]
    pairs = []
    for slot in range(1, made.x.shape[2]):
        kind = made.kind.clone()
        kind[:, :, [v for v in range(1, made.x.shape[2]) if v != slot]] = int(Kind.ABSENT)
        pairs.append(measure(replace(made, kind=kind))["min_pet"].value.nan_to_num(math.inf))
    least = torch.stack(pairs).amin(0)
    assert torch.equal(together.value.nan_to_num(math.inf), least)
