"""Random numbers for sensors: looked up, not drawn, each a function of its episode, frame, stream and index alone.

So an episode meets the same dirt, rain and noise in any batch, at any place in it and in any order, and no sensor ever
moves the world's own random stream. `sim.evaluation.counted_random` has the same numbers on the host.
"""

from enum import IntEnum
from functools import cache
from statistics import NormalDist

import numpy as np
import warp as wp

# splitmix64. Source: G. L. Steele, D. Lea, C. H. Flood (2014), "Fast splittable pseudorandom number generators",
# with the constants of S. Vigna's public-domain splitmix64.c.
GOLDEN = 0x9E3779B97F4A7C15
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31

_GOLDEN = wp.constant(wp.uint64(GOLDEN))
_FACTOR_0, _FACTOR_1 = (wp.constant(wp.uint64(factor)) for _, factor in ROUNDS)
_SHIFT_0, _SHIFT_1 = (wp.constant(wp.uint64(shift)) for shift, _ in ROUNDS)
_SHIFT_2 = wp.constant(wp.uint64(LAST_SHIFT))


class Stream(IntEnum):
    """What a number is for: different streams of one episode have nothing to do with each other."""

    LOOK = 1
    BODY = 2
    TEXTURE = 3
    PIXEL_NOISE = 4
    STREAKS = 5
    DIRT = 6
    OCCLUSION = 7
    LIDAR = 8
    FAULT = 9
    DOMAIN = 10


@cache
def normal_quantiles(count: int) -> np.ndarray:
    """Return the middles of equally likely slices of the normal distribution, float64 [count], count even.

    SciPy's ndtri is no dependency of ours.
    """
    inverse = NormalDist().inv_cdf
    upper = [inverse((2 * i + 1) / (2 * count)) for i in range(count // 2, count)]
    return np.array([-value for value in reversed(upper)] + upper)


@wp.func
def mixed(state: wp.uint64) -> wp.uint64:
    """Return splitmix64's output for a state."""
    x = (state ^ (state >> _SHIFT_0)) * _FACTOR_0
    x = (x ^ (x >> _SHIFT_1)) * _FACTOR_1
    return x ^ (x >> _SHIFT_2)


@wp.func
def key(episode: wp.uint64, steps: wp.int32, stream: wp.int32) -> wp.uint64:
    """Return what names the numbers of one stream in one frame; `steps` is 0 where they last the whole episode."""
    return mixed(mixed(episode + _GOLDEN * wp.uint64(stream + 1)) + _GOLDEN * wp.uint64(steps + 1))


@wp.func
def bits(name: wp.uint64, index: wp.int32) -> wp.uint64:
    """Return the 64 random bits number `index` of a key."""
    return mixed(name + _GOLDEN * wp.uint64(index + 1))


@wp.func
def uniform(name: wp.uint64, index: wp.int32) -> wp.float32:
    """Return number `index` of a key, evenly spread over [0, 1): one of 2^24 values."""
    return wp.float32(bits(name, index) >> wp.uint64(40)) * wp.float32(5.9604644775390625e-08)  # 2^-24


@wp.func
def normal_of(p: wp.float32) -> wp.float32:
    """Return the standard normal quantile of (1 + p) / 2 for p in (-1, 1), to 2e-6 of its value.

    Source: M. Giles (2010), "Approximating the erfinv function", single precision, times the root of 2.
    """
    w = -wp.log((wp.float32(1.0) - p) * (wp.float32(1.0) + p))
    r = wp.float32(0.0)
    if w < wp.float32(5.0):
        w = w - wp.float32(2.5)
        r = wp.float32(2.81022636e-08)
        r = wp.float32(3.43273939e-07) + r * w
        r = wp.float32(-3.5233877e-06) + r * w
        r = wp.float32(-4.39150654e-06) + r * w
        r = wp.float32(0.00021858087) + r * w
        r = wp.float32(-0.00125372503) + r * w
        r = wp.float32(-0.00417768164) + r * w
        r = wp.float32(0.246640727) + r * w
        r = wp.float32(1.50140941) + r * w
    else:
        w = wp.sqrt(w) - wp.float32(3.0)
        r = wp.float32(-0.000200214257)
        r = wp.float32(0.000100950558) + r * w
        r = wp.float32(0.00134934322) + r * w
        r = wp.float32(-0.00367342844) + r * w
        r = wp.float32(0.00573950773) + r * w
        r = wp.float32(-0.0076224613) + r * w
        r = wp.float32(0.00943887047) + r * w
        r = wp.float32(1.00167406) + r * w
        r = wp.float32(2.83297682) + r * w
    return r * p * wp.float32(1.41421356)


@wp.func
def normal(name: wp.uint64, index: wp.int32) -> wp.float32:
    """Return standard normal number `index` of a key: one of 2^23 equally likely quantiles, at most 5.3 away from 0."""
    # Odd multiples of 2^-23, so that neither 1 nor -1 is met and both signs are alike.
    odd = wp.int32(bits(name, index) >> wp.uint64(41)) * 2 + 1
    return normal_of(wp.float32(odd - 8388608) * wp.float32(1.1920928955078125e-07))
