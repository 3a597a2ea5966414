"""NumPy's `Generator(PCG64)` inside kernels, bit for bit, one stream a world.

The stream of world `i` is row `i` of `rng`, uint64 `[N, 5]`: state high, state low, increment high, increment low,
and the half word that `next_uint32` keeps (bit 32: is there one, low 32 bits: its value).
Source: numpy/random/src/pcg64, distributions.c (`next_double`, `random_bounded_uint64`, `random_standard_normal`).
"""

from collections.abc import Sequence

import numpy as np
import warp as wp

from sim.engine.ziggurat import NORMAL_INVERSE_R, NORMAL_R

WORDS = 5  # uint64 words of one stream
_MASK64 = (1 << 64) - 1

HALF_FLAG = wp.constant(wp.uint64(1 << 32))
HALF_MASK = wp.constant(wp.uint64(0xFFFFFFFF))
MULTIPLIER_HIGH = wp.constant(wp.uint64(0x2360ED051FC65DA4))  # PCG's default 128-bit multiplier
MULTIPLIER_LOW = wp.constant(wp.uint64(0x4385DF649FCCF645))
DOUBLE_UNIT = wp.constant(wp.float64(1.0 / 9007199254740992.0))  # 2**-53


def seeded_streams(seeds: Sequence[int]) -> np.ndarray:
    """Return the streams `[N, 5]` (uint64 bits in int64) that `numpy.random.default_rng` starts with for each seed."""
    rows = np.zeros((len(seeds), WORDS), dtype=np.uint64)
    for row, seed in zip(rows, seeds, strict=True):
        state = np.random.PCG64(np.random.SeedSequence(int(seed))).state["state"]
        row[:4] = (state["state"] >> 64, state["state"] & _MASK64, state["inc"] >> 64, state["inc"] & _MASK64)
    return rows.view(np.int64)  # torch lacks uint64; Warp reads the same bits as uint64


@wp.func
def _multiply_high(a: wp.uint64, b: wp.uint64):
    """High 64 bits of the 128-bit product."""
    shift = wp.uint64(32)
    a_low = a & HALF_MASK
    a_high = a >> shift
    b_low = b & HALF_MASK
    b_high = b >> shift
    low = a_low * b_low
    middle = a_high * b_low + (low >> shift)
    carry = a_low * b_high + (middle & HALF_MASK)
    return a_high * b_high + (middle >> shift) + (carry >> shift)


@wp.func
def next_uint64(rng: wp.array2d(dtype=wp.uint64), i: int):
    """Advance stream `i` and return 64 random bits (PCG XSL-RR 128/64)."""
    high = rng[i, 0]
    low = rng[i, 1]
    product = low * MULTIPLIER_LOW
    new_low = product + rng[i, 3]
    carry = wp.uint64(0)
    if new_low < product:
        carry = wp.uint64(1)
    new_high = _multiply_high(low, MULTIPLIER_LOW) + low * MULTIPLIER_HIGH + high * MULTIPLIER_LOW + rng[i, 2] + carry
    rng[i, 0] = new_high
    rng[i, 1] = new_low
    word = new_high ^ new_low
    turn = new_high >> wp.uint64(58)
    return (word >> turn) | (word << ((wp.uint64(64) - turn) & wp.uint64(63)))


@wp.func
def next_uint32(rng: wp.array2d(dtype=wp.uint64), i: int):
    """Return 32 random bits; NumPy hands out the low half of a word first and keeps the high half."""
    kept = rng[i, 4]
    if (kept & HALF_FLAG) != wp.uint64(0):
        rng[i, 4] = wp.uint64(0)
        return kept & HALF_MASK
    word = next_uint64(rng, i)
    rng[i, 4] = HALF_FLAG | (word >> wp.uint64(32))
    return word & HALF_MASK


@wp.func
def random(rng: wp.array2d(dtype=wp.uint64), i: int):
    """Uniform float64 in [0, 1)."""
    return wp.float64(next_uint64(rng, i) >> wp.uint64(11)) * DOUBLE_UNIT


@wp.func
def uniform(rng: wp.array2d(dtype=wp.uint64), i: int, low: wp.float64, high: wp.float64):
    """`Generator.uniform(low, high)`."""
    return low + (high - low) * random(rng, i)


@wp.func
def integers(rng: wp.array2d(dtype=wp.uint64), i: int, low: int, high: int):
    """`Generator.integers(low, high)` for ranges below 2**32 (Lemire's method); a range of one draws nothing.

    `Generator.choice(n)` is `integers(0, n)`.
    """
    span = wp.uint64(high - low)
    if span <= wp.uint64(1):
        return low
    product = next_uint32(rng, i) * span
    left = product & HALF_MASK
    if left < span:
        threshold = (wp.uint64(0x100000000) - span) % span
        while left < threshold:
            product = next_uint32(rng, i) * span
            left = product & HALF_MASK
    return low + wp.int32(product >> wp.uint64(32))


@wp.func
def interval(rng: wp.array2d(dtype=wp.uint64), i: int, highest: int):
    """A random integer in [0, highest] by masking and rejection (NumPy's `random_interval`)."""
    if highest == 0:
        return int(0)
    mask = wp.uint64(highest)
    shift = int(1)
    while shift < 32:
        mask = mask | (mask >> wp.uint64(shift))
        shift = shift * 2
    value = next_uint32(rng, i) & mask
    while value > wp.uint64(highest):
        value = next_uint32(rng, i) & mask
    return wp.int32(value)


@wp.func
def choose_two(rng: wp.array2d(dtype=wp.uint64), i: int, n: int):
    """`Generator.choice(range(n), size=2, replace=False)`: Floyd's sampling for a small pool, then a shuffle of it."""
    first = integers(rng, i, 0, n - 1)
    second = integers(rng, i, 0, n)
    if second == first:
        second = n - 1
    if integers(rng, i, 0, 2) == 0:
        return second, first
    return first, second


@wp.func
def standard_normal(rng: wp.array2d(dtype=wp.uint64), i: int, layers: wp.array2d(dtype=wp.float64)):
    """`Generator.normal()`; `layers` is `ziggurat_table()`, float64 `[256, 3]`."""
    while True:
        word = next_uint64(rng, i)
        layer = wp.int32(word & wp.uint64(0xFF))
        word = word >> wp.uint64(8)
        mantissa = (word >> wp.uint64(1)) & wp.uint64(0x000FFFFFFFFFFFFF)
        x = wp.float64(mantissa) * layers[layer, 0]
        if (word & wp.uint64(1)) != wp.uint64(0):
            x = -x
        if wp.float64(mantissa) < layers[layer, 1]:
            return x
        if layer == 0:
            while True:
                tail = -wp.float64(NORMAL_INVERSE_R) * _log1p(-random(rng, i))
                y = -_log1p(-random(rng, i))
                if y + y > tail * tail:
                    if ((mantissa >> wp.uint64(8)) & wp.uint64(1)) != wp.uint64(0):
                        return -(wp.float64(NORMAL_R) + tail)
                    return wp.float64(NORMAL_R) + tail
        else:
            step = layers[layer - 1, 2] - layers[layer, 2]
            if step * random(rng, i) + layers[layer, 2] < wp.exp(-wp.float64(0.5) * x * x):
                return x
    return wp.float64(0.0)


@wp.func
def _log1p(x: wp.float64):
    """log(1 + x) for x in (-1, 0]; Warp has no log1p, this is Kahan's correction of log."""
    u = wp.float64(1.0) + x
    if u == wp.float64(1.0):
        return x
    return wp.log(u) * x / (u - wp.float64(1.0))
