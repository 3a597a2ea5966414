"""Where everyone was and means to be, in scenes made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from planning.search import SearchDriver
from sim import render
from sim.evaluation.driver import IdleDriver
from sim.overlays import overlay_of
from sim.overlays.trail import Trail
from sim.recording import Session, camera, make_envs, replay
from sim.recording.replay import Frame, Moment
from sim.render import Hud
from sim.world import Kind
from tests.sim.render.test_renderer import car, close_to, pixel, renderer, world

DT = 1 / 15  # s


def frames(path, other=None, numbers=(0, 1), start=0):
    """Frames of an ego that goes through `path` [n, 2] and a second vehicle, either moving a step each frame."""
    for index, place in enumerate(path):
        beside = (place[0] + 10, 8.0) if other is None else other[index]
        state = world(car(*place, kind=Kind.MDP), car(*beside))
        state.number = torch.tensor([list(numbers)])
        yield Frame(
            SimpleNamespace(world=state, config={"policy_frequency": 1}), (start + index) * DT, Hud(), start + index
        )


def straight(steps, speed=15.0, x=500.0):
    return [(x + speed * DT * step, 4.0) for step in range(steps)]


def trail_after(all_frames):
    trail = Trail()
    for frame in all_frames:
        trail.note(frame)
    return trail, frame


def test_the_trail_lies_where_the_cars_were():
    trail, last = trail_after(frames(straight(31)))  # 2 s at 15 m/s
    image = renderer().draw(last.world, 0, None, trail(last, last.world))
    plain = renderer().draw(last.world)
    for back in (6.0, 12.0, 20.0, 29.0):
        green, asphalt = pixel(image, -back, 0), pixel(plain, -back, 0)
        assert close_to(asphalt, render.ASPHALT) and green[1] - asphalt[1] > 15
        assert pixel(image, 10 - back, 4)[0] - pixel(plain, 10 - back, 4)[0] > 15
    assert np.array_equal(pixel(image, -33.0, 0), pixel(plain, -33.0, 0))  # it was never there
    assert np.array_equal(pixel(image, -20.0, 1.2), pixel(plain, -20.0, 1.2))  # nor beside
    faint, bright = (pixel(image, 10 - back, 4)[0] for back in (28.0, 5.0))
    assert bright - faint > 20
    assert np.array_equal(pixel(image, 3.0, 0), pixel(plain, 3.0, 0))


def test_trails_end_when_they_are_old():
    trail, last = trail_after(frames(straight(15 * 10)))  # 10 s: the ego's has 8 s, the other's 2 s
    marks = trail(last, last.world)
    ego, other = (
        np.concatenate([mark.points for mark in marks if mark.colour == colour and not mark.closed])
        for colour in (render.EGO, render.TRAIL)
    )
    assert np.ptp(ego[:, 0]) == pytest.approx(8 * 15, abs=0.01)
    assert np.ptp(other[:, 0]) == pytest.approx(2 * 15, abs=0.01)
    seconds = sorted(float(last.world.x[0, 0] - mark.points[:, 0].mean()) for mark in marks if mark.closed)
    assert seconds == pytest.approx([15.0 * second for second in range(1, 9)], abs=0.05)  # a dot each second


def test_a_slot_that_was_given_away_has_no_trail_of_another():
    def both():
        yield from frames(straight(20), numbers=(0, 1))
        yield from frames(straight(10, x=520.0), numbers=(0, 7), start=20)

    trail, last = trail_after(both())
    others = [mark.points for mark in trail(last, last.world) if mark.colour == render.TRAIL]
    assert min(points[:, 0].min() for points in others) == pytest.approx(530.0)


def test_a_new_episode_begins_without_a_trail_and_nobody_who_stands_has_one():
    trail, _ = trail_after(frames(straight(20)))
    (first,) = frames(straight(1))
    trail.note(first)
    assert trail(first, first.world) == []
    still = [(500.0, 4.0)] * 10
    trail, last = trail_after(frames(still, other=[(510.0, 8.0)] * 10))
    assert trail(last, last.world) == []


def test_between_two_frames_the_trail_ends_at_the_moment_that_is_drawn():
    trail, last = trail_after(frames(straight(20)))
    x = last.world.x.clone()
    x[0, 0] -= 0.5 * 15 * DT
    moment = Moment(last.world, {"x": x, "lag": DT / 2})
    lines = [mark for mark in trail(last, moment) if mark.colour == render.EGO and not mark.closed]
    assert max(mark.points[:, 0].max() for mark in lines) == pytest.approx(float(x[0, 0]))
    (dot,) = [mark for mark in trail(last, moment) if mark.closed]
    assert float(x[0, 0]) - dot.points[:, 0].mean() == pytest.approx(15.0)  # a second before the moment


def plan_frame(plan, age=0.0):
    (frame,) = frames(straight(1))
    return Frame(frame.envs, 0.0, Hud(), 0, age=age, plan=None if plan is None else np.array(plan))


def test_a_plan_is_a_line_through_its_places():
    frame = plan_frame([[510.0, 4.0], [520.0, 8.0], [np.nan, np.nan]])
    overlay = overlay_of(["plan"], frame.envs, SimpleNamespace(plan=lambda: None))
    line, *dots = overlay(frame, frame.world)
    np.testing.assert_allclose(line.points, [[500, 4], [510, 4], [520, 8]])
    np.testing.assert_allclose([dot.points.mean(0) for dot in dots], [[510, 4], [520, 8]])
    image = renderer().draw(frame.world, 0, None, [line, *dots])
    assert close_to(pixel(image, 20, 4), render.PLAN)
    half = pixel(image, 15, 2)
    assert half[2] > 180  # on the way from one to the next
    later = overlay(plan_frame([[510.0, 4.0], [520.0, 8.0]], age=1.0), frame.world)
    np.testing.assert_allclose(later[0].points, [[500, 4], [520, 8]])  # one policy step on, the first place lies behind
    assert overlay(plan_frame(None), frame.world) == []
    assert overlay(plan_frame([[np.nan, np.nan]]), frame.world) == []


@pytest.mark.parametrize("driver", [None, IdleDriver()])
def test_a_driver_without_a_plan_is_told(driver):
    with pytest.raises(ValueError, match="the overlay 'plan' needs a driver that tells its plan, as search does; "):
        overlay_of(["plan"], SimpleNamespace(), driver)


def test_a_replay_shows_the_plans_that_the_driver_had():
    envs = make_envs("highway-fast-v0", {"vehicles_count": 6, "duration": 4}, "float64")
    name = "search:depth=3,beam=8,tail=1"
    session = Session(SearchDriver(depth=3, beam=8, tail=1), envs, 2, name)
    driven = [frame.plan for frame in session.frames()]
    driver = SearchDriver(depth=3, beam=8, tail=1)
    overlay, view = overlay_of(["plan"], envs, driver), camera(envs)
    shown, pictures = [], 0
    for frame in replay(session.trace(), envs, driver, plans=True):
        shown.append(frame.plan)
        plain = view.draw(frame.world, 0, frame.hud)
        pictures += (view.draw(frame.world, 0, frame.hud, overlay(frame, frame.world)) != plain).any()
    assert pictures > 10
    for one, other in zip(driven, shown, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)
    other = SearchDriver(depth=1, beam=1, tail=0)
    edited = session.trace()
    edited.actions[0] = (edited.actions[0] + 1) % 5
    with pytest.raises(ValueError, match=r"the driver leaves the trace at step 0: it decides .*, recorded"):
        list(replay(edited, envs, other, plans=True))
