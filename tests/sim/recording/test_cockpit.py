"""Driving in a window that nobody sees: keys are posted at set times of a clock that does not wait."""

import itertools

import numpy as np
import pygame
import pytest

from sim.keyboard import live_config
from sim.recording import make_envs, replay
from sim.recording.cockpit import Cockpit
from sim.render import NoDisplayError
from tests.sim.test_keyboard import event

SHORT = {"vehicles_count": 4, "lanes_count": 3, "duration": 3, "screen_width": 400, "screen_height": 60}


class Clock:
    """Time that only passes in `sleep`; presses keys when it is time."""

    def __init__(self, keys):
        self.time, self.keys = 0.0, sorted(keys.items())

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        assert self.time < 600, "nobody closed the window"
        while self.keys and self.keys[0][0] <= self.time:
            for one in self.keys.pop(0)[1]:
                pygame.event.post(one)


def press(*keys):
    return [event(key) for key in keys]


@pytest.fixture
def windowless(monkeypatch):
    """SDL's dummy driver; highway-env's own renderer draws nothing there."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr("sim.recording.cockpit.PICTURES", 10.0)
    yield
    pygame.display.quit()


@pytest.fixture(scope="module")
def envs():
    return make_envs("highway-fast-v0", live_config("highway-fast-v0", SHORT), "float64")


def drive(envs, keys, **options):
    clock = Clock(keys)
    cockpit = Cockpit(envs, now=clock.now, sleep=clock.sleep, **options)
    return cockpit, cockpit.run()


def test_a_drive_is_a_trace_that_plays_back_exactly(envs, windowless, tmp_path):
    cockpit, trace = drive(envs, {0.3: press(pygame.K_RIGHT), 1.0: press(pygame.K_UP), 9.0: press(pygame.K_q)}, seed=3)
    assert trace is cockpit.trace
    assert trace.case.driver == "keyboard" and trace.case.seed == 3
    names = ["LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER"]
    asked = [(step, names[action]) for step, action in enumerate(trace.actions) if names[action] != "IDLE"]
    assert [name for _, name in asked] == ["FASTER", "LANE_LEFT"]
    assert asked[0][0] in (1, 2) and asked[1][0] in (5, 6)  # of five decisions a second
    trace.save(tmp_path / "mine.npz")
    frames = list(replay(trace, envs))
    assert frames[-1].hud.total == pytest.approx(trace.rewards.sum())
    assert not pygame.display.get_init()  # the window is closed


def test_time_passes_as_fast_as_asked(envs, windowless):
    for speed in (1.0, 2.0):
        clock = Clock({30.0: press(pygame.K_q)})
        cockpit = Cockpit(envs, 3, speed=speed, now=clock.now, sleep=clock.sleep)
        begun = []
        original = cockpit._draw

        def noted(frame, moment, note="", begun=begun, clock=clock, original=original):
            begun.append((clock.now(), frame.time))
            original(frame, moment, note)

        cockpit._draw = noted
        cockpit.run()
        ends = next(now for now, time in begun if time >= 2.0)
        assert ends == pytest.approx(2.0 / speed, abs=0.25)


def test_space_holds_the_world(envs, windowless):
    keys = {0.5: press(pygame.K_SPACE), 20.0: press(pygame.K_SPACE), 20.5: press(pygame.K_q)}
    _, trace = drive(envs, keys)
    assert len(trace.actions) == pytest.approx(4, abs=1)  # one second of driving in 20.5


def test_an_episode_can_be_driven_again_and_the_next_one(envs, windowless):
    keys = {1.0: press(pygame.K_r), 2.0: press(pygame.K_n), 3.0: press(pygame.K_q)}
    cockpit, trace = drive(envs, keys, seed=7)
    assert trace.case.seed == 8 and cockpit.seed == 8
    assert len(trace.actions) == pytest.approx(4, abs=1)
    _, again = drive(envs, {1.0: press(pygame.K_r), 2.0: press(pygame.K_q)}, seed=7)
    assert again.case.seed == 7
    list(replay(again, envs))


def test_after_the_end_the_window_waits(envs, windowless):
    keys = {30.0: press(pygame.K_n), 31.0: [pygame.event.Event(pygame.QUIT)]}
    _, trace = drive(envs, keys, seed=3)
    assert trace.case.seed == 4
    assert len(trace.actions) == pytest.approx(4, abs=1)


def test_nothing_is_recorded_of_a_window_that_is_closed_at_once(envs, windowless):
    _, trace = drive(envs, {0.01: press(pygame.K_ESCAPE)})
    assert trace is None


def pictures(envs, keys, **options):
    """What the window showed, by the time of the clock."""
    clock, shown = Clock(keys), []
    cockpit = Cockpit(envs, now=clock.now, sleep=clock.sleep, **options)
    show = cockpit._renderer.show

    def noted(*args, **kwargs):
        result = show(*args, **kwargs)
        if result:
            shown.append((clock.now(), pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)))
        return result

    cockpit._renderer.show = noted
    cockpit.run()
    return shown


def test_number_keys_switch_overlays(envs, windowless):
    """On a world that stands still; each message is gone after three seconds."""
    hold, end = {0.7: press(pygame.K_SPACE)}, {20.0: press(pygame.K_q)}
    digits = [getattr(pygame, f"K_{key}") for key in range(1, 10)]
    plain = pictures(envs, hold | end, seed=2)[-1][1]
    on = {2.0 + 0.1 * n: press(key) for n, key in enumerate(digits)}
    drawn = pictures(envs, hold | on | end, seed=2)
    off = {8.0 + 0.1 * n: press(key) for n, key in enumerate(digits)}
    again = pictures(envs, hold | on | off | end, seed=2)[-1][1]
    table, map_ = (slice(44, 200), slice(8, 204)), (slice(-70, -40), slice(-264, -8))
    assert len(np.unique(plain[table].reshape(-1, 3), axis=0)) == 1  # grass alone
    assert len(np.unique(drawn[-1][1][table].reshape(-1, 3), axis=0)) > 10
    assert not np.array_equal(plain[map_], drawn[-1][1][map_])
    assert np.array_equal(again, plain)
    middle = (slice(40, 110), slice(220, 580))  # where messages stand
    assert not np.array_equal(drawn[-2][1][middle], drawn[-1][1][middle])


def test_every_frame_is_shown_on_a_slow_machine_too(envs, windowless):
    """Each picture takes half a second: only those between the frames are left out."""
    clock = Clock({60.0: press(pygame.K_q)})
    cockpit = Cockpit(envs, 3, now=clock.now, sleep=clock.sleep)
    times, draw = [], cockpit._draw

    def slow(frame, moment, note=""):
        clock.time += 0.5
        times.append(frame.index)
        draw(frame, moment, note)

    cockpit._draw = slow
    cockpit.run()
    indices = [index for index, _ in itertools.groupby(times)]
    assert indices == list(range(indices[-1] + 1)) and len(indices) > 5
    assert len(times) < 60 / 0.5 + 5


def test_bad_input_and_no_display(envs, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="--speed must be positive, got 0"):
        Cockpit(envs, speed=0)
    with pytest.raises(ValueError, match="unknown overlay 'colour'"):
        Cockpit(envs, overlays=["colour"])
    with pytest.raises(ValueError, match="'camera' shows the pictures that a driver sees; Kinematics has none"):
        Cockpit(envs, overlays=["camera"])
    with pytest.raises(NoDisplayError, match="no display"):
        Cockpit(envs).run()
