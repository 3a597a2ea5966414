"""How the ride feels: accelerations, jerk and yaw of the ego, and how often it is steered back and forth.

Derivatives are Savitzky-Golay filters of order 2 over 0.8 s (accelerations, yaw) and 1.5 s (jerk), windows in seconds,
inside the frames before the first contact. The acceleration along the road is the derivative of the speed, the one
across it speed times yaw rate; jerk is the derivative of these. An episode shorter than a window has no such figure.

The figures at 5 Hz (highway-fast-v0, exit-v0) rest on five frames for accelerations and nine for jerk: their jerk is a
rough one, to be compared only with figures at the same rate.

Source of the bounds: nuPlan (nuplan-devkit, ego_is_comfortable), whose filters have about these windows at 10 Hz.
"""

from __future__ import annotations

import math

import torch
import warp as wp
from torch import Tensor

from sim.engine.launch import Program
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.signals import derivative, length, percentile, seconds, share, total, unwrapped, worst
from sim.provenance import usable_cores

ACCELERATION_WINDOW = 0.8  # s
JERK_WINDOW = 1.5  # s
SHARE = 0.95  # of the percentiles

# nuPlan's bounds
LEAST_LON_ACCELERATION = -4.05  # m/s2
MOST_LON_ACCELERATION = 2.40  # m/s2
MOST_LAT_ACCELERATION = 4.89  # m/s2
MOST_YAW_RATE = 0.95  # rad/s
MOST_YAW_ACCELERATION = 1.93  # rad/s2
MOST_LON_JERK = 4.13  # m/s3
MOST_JERK = 8.37  # m/s3, of the vector

# A reversal is counted at the steering wheel, as in the literature (SAE J2944; Markkula and Engstroem 2006).
REVERSAL = math.radians(2.0)  # rad, least swing
STEERING_RATIO = 16.0  # steering wheel over road wheel, of a usual passenger car
CRAWL = 1.0  # m/s, below it the motion does not tell the steering angle

SIGNALS = {
    "lon_acceleration": ("m/s2", "acceleration along the ego's heading", ""),
    "lat_acceleration": ("m/s2", "acceleration across the ego's heading", ""),
    "lon_jerk": ("m/s3", "jerk along the ego's heading", "; rough at 5 Hz"),
    "lat_jerk": ("m/s3", "jerk across the ego's heading", "; rough at 5 Hz"),
    "yaw_rate": ("rad/s", "yaw rate", ""),
    "yaw_acceleration": ("rad/s2", "yaw acceleration", ""),
}

SPECS: dict[str, Spec] = {}
for _name, (_unit, _what, _note) in SIGNALS.items():
    SPECS[f"rms_{_name}"] = Spec(_unit, "lower", False, f"root mean square of the {_what}{_note}")
    SPECS[f"p95_{_name}"] = Spec(_unit, "lower", False, f"95th percentile of the absolute {_what}{_note}")
SPECS |= {
    "uncomfortable_share": Spec(
        "", "lower", False, "share of time outside nuPlan's bounds of acceleration, jerk and yaw; rough at 5 Hz"
    ),
    "comfortable": Spec(
        "", "higher", True, "was the ride inside nuPlan's bounds of acceleration, jerk and yaw all along; rough at 5 Hz"
    ),
    "steering_reversals": Spec(
        "1/min",
        "lower",
        False,
        "turns of the steering wheel (16:1), each more than 2 deg back from the last, a minute",
    ),
}


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return the comfort measures of N episodes."""
    motion = signals(episodes)
    measures: dict[str, Measure] = {}
    for name, signal in motion.items():
        held = ~signal.isnan()
        size = signal.abs()
        count = held.sum(0)
        top, frame = worst(size, held)
        mean_square = total(size * size, held) / count.clamp(min=1)
        measures[f"rms_{name}"] = Measure.of(mean_square.sqrt(), count > 0, frame)
        measures[f"p95_{name}"] = Measure.of(percentile(size, held, SHARE), count > 0, frame)
    # The jerk has the longest window: where it is known, all is.
    held = ~motion["lon_jerk"].isnan()
    count = held.sum(0)
    load = _load(motion)
    top, frame = worst(load, held)
    measures["uncomfortable_share"] = Measure.of(share(load > 1, held), count > 0, frame)
    measures["comfortable"] = Measure.of(top <= 1, count > 0, frame)
    minutes = seconds(episodes.last, episodes.dt) / 60
    reversals, frame = _reversals(episodes)
    enough = minutes > 0
    measures["steering_reversals"] = Measure.of(reversals / torch.where(enough, minutes, 1.0), enough, frame)
    return measures


def signals(episodes: Episodes) -> dict[str, Tensor]:
    """Return the signals of `SIGNALS` by name, float64 [T, N], signed; NaN where they are not known."""
    last, dt = episodes.last, episodes.dt
    speed = episodes.of_ego("speed").to(torch.float64)
    lon = derivative(speed, last, dt, ACCELERATION_WINDOW)
    yaw_rate = derivative(unwrapped(episodes.of_ego("heading")), last, dt, ACCELERATION_WINDOW)
    lat = speed * yaw_rate
    return {
        "lon_acceleration": lon,
        "lat_acceleration": lat,
        "lon_jerk": derivative(lon, last, dt, JERK_WINDOW),
        "lat_jerk": derivative(lat, last, dt, JERK_WINDOW),
        "yaw_rate": yaw_rate,
        "yaw_acceleration": derivative(yaw_rate, last, dt, ACCELERATION_WINDOW),
    }


def _load(motion: dict[str, Tensor]) -> Tensor:
    """How much of the bound that is nearest to break is used, [T, N]; above 1 it is broken."""
    lon = motion["lon_acceleration"]
    load = torch.maximum(lon / MOST_LON_ACCELERATION, lon / LEAST_LON_ACCELERATION)
    jerk = length(motion["lon_jerk"], motion["lat_jerk"])
    for signal, most in (
        (motion["lat_acceleration"].abs(), MOST_LAT_ACCELERATION),
        (motion["yaw_rate"].abs(), MOST_YAW_RATE),
        (motion["yaw_acceleration"].abs(), MOST_YAW_ACCELERATION),
        (motion["lon_jerk"].abs(), MOST_LON_JERK),
        (jerk, MOST_JERK),
    ):
        load = torch.maximum(load, signal / most)
    return load


def steering(episodes: Episodes) -> Tensor:
    """Return the ego's angle at the steering wheel [rad] from frame to frame, float64 [T - 1, N].

    From the motion, by the kinematic bicycle: yaw rate = 2 v sin(slip) / length, tan(slip) = tan(angle) / 2. NaN where
    the ego is too slow to tell.

    Source: highway_env/vehicle/kinematics.py, `Vehicle.step`.
    """
    speed = episodes.of_ego("speed")[:-1].to(torch.float64)
    heading = unwrapped(episodes.of_ego("heading"))
    turned = (heading[1:] - heading[:-1]) / episodes.dt
    moving = speed.abs() >= CRAWL
    half = episodes.of_ego("length")[:-1].to(torch.float64) / 2
    sine = (turned * half / torch.where(moving, speed, 1.0)).clamp(-1, 1)
    angle = torch.atan(2 * torch.tan(torch.asin(sine)))
    return torch.where(moving, angle * STEERING_RATIO, torch.nan)


@wp.kernel(enable_backward=False, module="unique")
def count_reversals(
    angle: wp.array2d(dtype=wp.float64), last: wp.array(dtype=wp.int32), swing: wp.float64,
    count: wp.array(dtype=wp.int32), frame: wp.array(dtype=wp.int32), first: int,
):  # fmt: skip
    """Count the swings back of a signal [T - 1, N], whose row t leads to frame t + 1; NaN says nothing."""
    n = first + wp.tid()
    some = bool(False)
    high = wp.float64(0.0)  # since the last swing to the left
    low = wp.float64(0.0)
    side = int(0)  # of the last swing: 1, -1, or none yet
    for t in range(last[n]):
        now = angle[t, n]
        if now == now:
            if not some:
                high = now
                low = now
                some = True
            high = wp.max(high, now)
            low = wp.min(low, now)
            turned = int(0)
            if high - now > swing and side >= 0:
                turned = -1
            elif now - low > swing and side <= 0:
                turned = 1
            if turned != 0:
                if side != 0:
                    count[n] = count[n] + 1
                    if frame[n] < 0:
                        frame[n] = t + 1
                side = turned
                high = now
                low = now


def _reversals(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """How often the steering turns back by more than `REVERSAL` [N], and the first frame of that.

    After a swing to one side, the next one counts once it is more than `REVERSAL` away from the farthest point.
    """
    angle = steering(episodes)
    n, device = angle.shape[1], angle.device
    count, frame = (torch.full((n,), value, dtype=torch.int32, device=device) for value in (0, -1))
    last = episodes.last.clamp(min=0).to(torch.int32)
    inputs = [wp.from_torch(angle), wp.from_torch(last), wp.float64(REVERSAL), wp.from_torch(count)]
    Program([(count_reversals, [*inputs, wp.from_torch(frame)])], n, device, len(usable_cores()))()
    return count, frame
