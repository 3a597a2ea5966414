"""From a steering command to the slip at the centre of gravity, and from slip to the direction of travel.

`slip` is the slip angle [rad] in float64, and its sine in float32. The float64 overloads follow highway-env operation
by operation: at a crawl in a bend its lane tracking is unstable, and a difference in the last bit grows to centimetres
within a second. The float32 overloads give the same curve with less trigonometry.
Source: highway_env/vehicle/controller.py `steering_control`, kinematics.py `Vehicle.step`, 1.12.1.
"""

import math

import warp as wp

from sim.engine.elementary import cosine_and_sine

MAX_STEERING_ANGLE = math.pi / 3  # rad
# Sine of the slip angle at the largest steering angle: tan(slip) = tan(steering) / 2.
MAX_SLIP = math.sin(math.atan(math.tan(MAX_STEERING_ANGLE) / 2))


@wp.func
def slip_of_steering(steering: wp.float64):
    """Return the slip of a steering angle [rad]."""
    return wp.atan(wp.float64(0.5) * wp.tan(steering))


@wp.func
def slip_of_steering(steering: wp.float32):  # noqa: F811 - Warp picks the overload by type
    """Return the slip of a steering angle [rad]."""
    cosine, sine = cosine_and_sine(steering)
    half = wp.float32(0.5) * sine / cosine
    return half / wp.sqrt(wp.float32(1.0) + half * half)


@wp.func
def slip_towards(sine: wp.float64):
    """Return the slip with this sine, as far as the largest steering angle allows it."""
    one = wp.float64(1.0)
    limit = wp.float64(MAX_STEERING_ANGLE)
    steering = wp.atan(wp.float64(2.0) * wp.tan(wp.asin(wp.clamp(sine, -one, one))))
    return slip_of_steering(wp.clamp(steering, -limit, limit))


@wp.func
def slip_towards(sine: wp.float32):  # noqa: F811
    """Return the slip with this sine, as far as the largest steering angle allows it."""
    limit = wp.float32(MAX_SLIP)
    return wp.clamp(sine, -limit, limit)


@wp.func
def course(heading: wp.float64, cos_heading: wp.float64, sin_heading: wp.float64, slip: wp.float64):
    """Cosine and sine of the direction of travel, and sine of the slip angle.

    Adding the angles also rounds a tiny slip away, so that vehicles level across a road stay level to the last bit.
    """
    angle = heading + slip
    return wp.cos(angle), wp.sin(angle), wp.sin(slip)


@wp.func
def course(heading: wp.float32, cos_heading: wp.float32, sin_heading: wp.float32, slip: wp.float32):  # noqa: F811
    """Cosine and sine of the direction of travel, and sine of the slip angle."""
    cos_slip = wp.sqrt(wp.float32(1.0) - slip * slip)
    return cos_heading * cos_slip - sin_heading * slip, sin_heading * cos_slip + cos_heading * slip, slip
