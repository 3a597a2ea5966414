import math

import numpy as np
import pytest
import torch

from sim.evaluation.metrics import comfort
from tests.sim.evaluation.metrics.hand_made import (
    Car,
    circle,
    cruise,
    episodes,
    mirrored,
    moved,
    reordered,
    rotated,
    shuffled,
)

RATES = (0.2, 0.1, 1 / 15)  # s, of a frame


def value(made, name: str, world: int = 0) -> float:
    measure = comfort.measure(made)[name]
    assert bool(measure.valid[world])
    return float(measure.value[world])


def ramp(jerk: float, first: float, frames: int, dt: float, speed: float = 25.0) -> Car:
    """A car whose acceleration rises from `first` at a constant rate."""
    t = np.arange(frames) * dt
    x = speed * t + first * t**2 / 2 + jerk * t**3 / 6
    return Car(x, 0.0, speed + first * t + jerk * t**2 / 2, acceleration=first + jerk * t)


def weaving(
    amplitude: float, frequency: float, seconds: float, dt: float = 1 / 15, speed: float = 20.0, length: float = 5.0
) -> Car:
    """A kinematic bicycle whose steering wheel (16:1) swings by `amplitude` [rad] at `frequency` [Hz]."""
    frames = round(seconds / dt) + 1
    road_wheel = amplitude / 16 * np.sin(2 * np.pi * frequency * np.arange(frames) * dt)
    slip = np.arctan(np.tan(road_wheel) / 2)
    heading = np.concatenate([[0.0], np.cumsum(speed * np.sin(slip[:-1]) / (length / 2) * dt)])
    x = np.concatenate([[0.0], np.cumsum(speed * np.cos(heading + slip)[:-1] * dt)])
    y = np.concatenate([[0.0], np.cumsum(speed * np.sin(heading + slip)[:-1] * dt)])
    return Car(x, y, speed, heading, length=length)


@pytest.mark.parametrize("dt", RATES)
def test_a_circle_at_constant_speed(dt):
    made = episodes([circle(50.0, 12.0, frames=60, dt=dt)], dt=dt)
    for kind in ("rms", "p95"):
        assert value(made, f"{kind}_lat_acceleration") == pytest.approx(12**2 / 50)
        assert value(made, f"{kind}_yaw_rate") == pytest.approx(12 / 50)
        for still in ("lon_acceleration", "lon_jerk", "lat_jerk", "yaw_acceleration"):
            assert value(made, f"{kind}_{still}") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dt", RATES)
def test_a_ramp_of_acceleration_has_that_jerk(dt):
    frames = round(4 / dt) + 1
    made = episodes([ramp(0.9, 0.0, frames, dt)], dt=dt)
    length = (frames - 1) * dt
    for kind in ("rms", "p95"):
        assert value(made, f"{kind}_lon_jerk") == pytest.approx(0.9)
    assert value(made, "p95_lon_acceleration") == pytest.approx(0.95 * 0.9 * length)
    assert value(made, "rms_lat_jerk") == pytest.approx(0, abs=1e-9)
    measure = comfort.measure(made)["p95_lon_acceleration"]
    assert measure.frame.tolist() == [frames - 1]  # the hardest


def test_braking_counts_as_much_as_speeding_up():
    made = episodes([cruise(0, speed=25, acceleration=-3)], [cruise(0, speed=10, acceleration=3)])
    for name in ("rms_lon_acceleration", "p95_lon_acceleration"):
        assert [value(made, name, n) for n in (0, 1)] == pytest.approx([3, 3])


@pytest.mark.parametrize(
    ("car", "dt", "fits"),
    [
        (cruise(0, speed=30, acceleration=-4.0), 0.1, True),
        (cruise(0, speed=30, acceleration=-4.1), 0.1, False),
        (cruise(0, speed=5, acceleration=2.35), 0.1, True),
        (cruise(0, speed=5, acceleration=2.45), 0.1, False),
        (circle(25.0, 11.0), 0.1, True),  # 4.84 m/s2 across
        (circle(25.0, 11.1), 0.1, False),  # 4.93 m/s2
        (circle(2.0, 1.88), 0.1, True),  # 0.94 rad/s
        (circle(2.0, 1.92), 0.1, False),  # 0.96 rad/s
        (ramp(4.1, -3.9, 23, 1 / 15), 1 / 15, True),
        (ramp(4.2, -3.9, 23, 1 / 15), 1 / 15, False),
    ],
)
def test_the_bounds_are_nuplans(car, dt, fits):
    made = episodes([car], dt=dt)
    assert value(made, "comfortable") == fits
    assert (value(made, "uncomfortable_share") == 0) == fits


@pytest.mark.parametrize(
    ("felt", "fits"),
    [
        ({"yaw_acceleration": -1.92}, True),
        ({"yaw_acceleration": -1.94}, False),
        ({"lon_jerk": 4.1, "lat_jerk": -7.2}, True),  # 8.29 m/s3
        ({"lon_jerk": 4.1, "lat_jerk": -7.4}, False),  # 8.46 m/s3
        ({"lat_jerk": 8.3}, True),  # has no bound of its own
    ],
)
def test_yaw_acceleration_and_the_jerk_vector_have_bounds_too(monkeypatch, felt, fits):
    still = dict.fromkeys(comfort.SIGNALS, 0.0) | felt
    motion = {name: torch.full((50, 1), number, dtype=torch.float64) for name, number in still.items()}
    monkeypatch.setattr(comfort, "signals", lambda _: motion)
    assert value(episodes([cruise(0)]), "comfortable") == fits


def test_the_share_outside_the_bounds_is_a_share_of_time():
    t = np.arange(401) * 0.1  # 10 s of hard braking in 40 s, of which the filters blur the edges
    speed = 60 - 5 * np.clip(t - 10, 0, 10)
    share = value(episodes([Car(np.cumsum(speed) * 0.1, 0.0, speed)]), "uncomfortable_share")
    assert share == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("frequency", [0.25, 0.5])
def test_sine_steering_reverses_twice_a_period(frequency):
    made = episodes([weaving(0.3, frequency, 20)], dt=1 / 15)
    assert value(made, "steering_reversals") == pytest.approx(2 * frequency * 60, abs=3.1)  # one more or less in 20 s


def test_swings_below_two_degrees_do_not_count():
    for degrees, counts in ((0.95, False), (1.05, True)):  # to either side, so twice that from peak to peak
        made = episodes([weaving(math.radians(degrees), 0.5, 10)], dt=1 / 15)
        assert (value(made, "steering_reversals") > 0) == counts


def test_steering_that_never_turns_back_has_no_reversal():
    made = episodes([cruise(0, speed=20)], [circle(60.0, 10.0)])
    assert [value(made, "steering_reversals", n) for n in (0, 1)] == [0, 0]


def test_what_follows_a_contact_is_not_felt():
    made = episodes([circle(50.0, 12.0, frames=60)])
    t = np.arange(60)
    wild = Car(
        made.x[:, 0, 0].numpy(),
        made.y[:, 0, 0].numpy(),
        np.where(t < 40, 12.0, 3.0),
        np.where(t < 40, made.heading[:, 0, 0].numpy(), 0.0),
    ).crashing(40)
    crashed, calm = comfort.measure(episodes([wild])), comfort.measure(made)
    for name in ("rms_lat_acceleration", "p95_lon_acceleration", "rms_lon_jerk", "comfortable", "steering_reversals"):
        torch.testing.assert_close(crashed[name].value, calm[name].value, atol=1e-9, rtol=0)


def test_a_drive_shorter_than_a_filter_is_invalid():
    made = episodes([circle(50.0, 12.0, frames=60).crashing(12)])  # 12 frames: enough for accelerations, not for jerk
    found = comfort.measure(made)
    for contact, known in ((8, [False, False]), (9, [True, False]), (16, [True, False]), (17, [True, True])):
        short = comfort.measure(episodes([circle(50.0, 12.0, frames=60).crashing(contact)]))
        assert [bool(short[name].valid) for name in ("rms_yaw_rate", "rms_lon_jerk")] == known
    assert bool(found["rms_lat_acceleration"].valid)
    for name in ("rms_lon_jerk", "comfortable", "uncomfortable_share"):
        assert not bool(found[name].valid)
        assert bool(found[name].value.isnan())
    at_once = comfort.measure(episodes([circle(50.0, 12.0).crashing(0)]))
    assert not any(bool(measure.valid) for measure in at_once.values())


def scenes():
    return episodes(
        [weaving(0.5, 0.4, 8), cruise(30, frames=121)],
        [ramp(0.5, -1.0, 100, 1 / 15), cruise(30, frames=100)],
        [circle(40.0, 9.0, frames=90), cruise(60, frames=90)],
        dt=1 / 15,
    )


@pytest.mark.parametrize(
    "change", [lambda e: rotated(e, 1.1), lambda e: moved(e, 300, -70), mirrored, shuffled], ids=["r", "t", "m", "s"]
)
def test_the_place_in_the_world_does_not_matter(change):
    before, after = comfort.measure(scenes()), comfort.measure(change(scenes()))
    for name, measure in before.items():
        torch.testing.assert_close(after[name].value, measure.value, atol=1e-9, rtol=1e-9)
        assert after[name].valid.tolist() == measure.valid.tolist()


def test_the_batch_does_not_matter():
    whole = comfort.measure(scenes())
    for order in ([2, 0, 1], [1], [0, 2]):
        part = comfort.measure(reordered(scenes(), order))
        for name, measure in whole.items():
            assert part[name].value.tolist() == measure.value[order].tolist()
            assert part[name].frame.tolist() == measure.frame[order].tolist()


def test_finer_frames_change_little():
    def wave(dt: float):
        t = np.arange(round(12 / dt) + 1) * dt
        speed = 20 + 2 * np.sin(0.8 * t)
        return episodes([Car(20 * t, 0.0, speed, 0.05 * np.sin(0.7 * t))], dt=dt)

    coarse, fine = comfort.measure(wave(0.1)), comfort.measure(wave(0.025))
    for name, measure in fine.items():
        if name != "comfortable":
            assert float(coarse[name].value) == pytest.approx(float(measure.value), rel=0.04), name
