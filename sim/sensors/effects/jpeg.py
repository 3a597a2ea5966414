"""What JPEG compression leaves of a picture: colour subsampling and quantised cosine transforms, nothing is stored.

Source: ITU-T T.81 (1992), annex K for the tables; JFIF 1.02 for the colours; libjpeg's jcparam.c for what quality does.
As libjpeg does by default, colour has half the resolution and is smoothed when it is enlarged again.
"""

import math

import numpy as np
import warp as wp

from sim.sensors.looks.look import Look

LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)  # fmt: skip
"""Steps of the coefficients at quality 50, rows from low to high vertical frequency."""
UNIT = 16
"""Sides of the squares that are compressed on their own [px]: four blocks of brightness, one of each colour."""
MIDDLE = wp.constant(wp.float32(128.0))

Block = wp.types.matrix(shape=(8, 8), dtype=wp.float32)


def _cosines() -> np.ndarray:
    """Return the orthonormal cosine transform of 8 numbers, [frequency, place]."""
    k, n = np.mgrid[:8, :8]
    return np.where(k == 0, math.sqrt(0.125), 0.5) * np.cos((2 * n + 1) * k * math.pi / 16)


_COSINES = wp.constant(Block(*_cosines().ravel().tolist()))
_PLACES = wp.constant(Block(*_cosines().T.ravel().tolist()))
_BRIGHT = wp.constant(Block(*map(float, LUMINANCE)))
_COLOUR = wp.constant(Block(*map(float, CHROMINANCE)))


@wp.func
def _rounded(x: wp.float32) -> wp.float32:
    """Return the nearest whole number; faster than floor for |x| below 4096."""
    return wp.float32(int(x + wp.float32(4096.5)) - 4096)


@wp.func
def _steps(table: Block, quality: wp.float32) -> Block:
    """Return the steps of a table at a quality of 1 to 100."""
    q = wp.clamp(_rounded(quality), wp.float32(1.0), wp.float32(100.0))
    scale = wp.float32(200.0) - wp.float32(2.0) * q
    if q < wp.float32(50.0):
        scale = wp.floor(wp.float32(5000.0) / q)
    out = Block()
    for i in range(8):
        for j in range(8):
            step = wp.floor((table[i, j] * scale + wp.float32(50.0)) / wp.float32(100.0))
            out[i, j] = wp.clamp(step, wp.float32(1.0), wp.float32(255.0))
    return out


@wp.func
def _quantised(block: Block, steps: Block) -> Block:
    """Return what is left of a block of numbers around 0."""
    waves = _COSINES * block * _PLACES
    for i in range(8):
        for j in range(8):
            waves[i, j] = _rounded(waves[i, j] / steps[i, j]) * steps[i, j]
    return _PLACES * waves * _COSINES


@wp.func
def _byte(x: wp.float32) -> wp.uint8:
    return wp.uint8(wp.clamp(x, wp.float32(0.0), wp.float32(255.0)) + wp.float32(0.5))


@wp.func
def _compress_brightness(rgb: wp.array4d(dtype=wp.uint8), w: int, plane: int, top: int, left: int, steps: Block):
    """Put the compressed brightness of a block in the place of its red."""
    bright = Block()
    side = int(8)  # not a constant to Warp, which would write out every turn of the loops
    for i in range(side):
        y = wp.min(top + i, rgb.shape[2] - 1)  # past its edges a picture goes on with its last pixels
        for j in range(side):
            x = wp.min(left + j, rgb.shape[3] - 1)
            r = wp.float32(rgb[w, plane, y, x])
            g = wp.float32(rgb[w, plane + 1, y, x])
            b = wp.float32(rgb[w, plane + 2, y, x])
            light = wp.float32(0.299) * r + wp.float32(0.587) * g + wp.float32(0.114) * b
            bright[i, j] = _rounded(light) - MIDDLE
    bright = _quantised(bright, steps)
    for i in range(wp.min(side, rgb.shape[2] - top)):
        for j in range(wp.min(side, rgb.shape[3] - left)):
            rgb[w, plane, top + i, left + j] = _byte(bright[i, j] + MIDDLE)


@wp.kernel(enable_backward=False, module="unique")
def set_jpeg_steps(
    mask: wp.array(dtype=wp.bool), looks: wp.array(dtype=Look), steps: wp.array2d(dtype=Block), first: int
):
    """Write the steps of brightness and colour of each world, [N, 2]."""
    w = first + wp.tid()
    if not mask[w]:
        return
    if looks[w].jpeg <= wp.float32(0.0):
        return
    steps[w, 0] = _steps(_BRIGHT, looks[w].jpeg)
    steps[w, 1] = _steps(_COLOUR, looks[w].jpeg)


@wp.kernel(enable_backward=False, module="unique")
def compress(
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    steps: wp.array2d(dtype=Block),
    rgb: wp.array4d(dtype=wp.uint8),
    colour: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Compress pictures; one thread a camera and unit.

    Brightness takes the place of red; the colour differences, half the size, go to `colour` [N, C * 2, H / 2, W / 2].
    """
    w, unit = wp.tid()
    w = first + w
    if not mask[w]:
        return
    if looks[w].jpeg <= wp.float32(0.0):
        return
    across = (rgb.shape[3] + UNIT - 1) // UNIT
    down = (rgb.shape[2] + UNIT - 1) // UNIT
    camera = unit // (across * down)
    plane = camera * 3
    top = unit // across % down * UNIT
    left = unit % across * UNIT
    blue = Block()
    red = Block()
    side = int(UNIT)
    for i in range(side):
        # Below its end colour goes on with its last row, a mean of two.
        y = wp.min(2 * wp.min(top // 2 + i // 2, colour.shape[2] - 1) + i % 2, rgb.shape[2] - 1)
        for j in range(side):
            x = wp.min(left + j, rgb.shape[3] - 1)
            r = wp.float32(rgb[w, plane, y, x])
            g = wp.float32(rgb[w, plane + 1, y, x])
            b = wp.float32(rgb[w, plane + 2, y, x])
            u = wp.float32(-0.168735892) * r - wp.float32(0.331264108) * g + wp.float32(0.5) * b
            v = wp.float32(0.5) * r - wp.float32(0.418687589) * g - wp.float32(0.081312411) * b
            blue[i // 2, j // 2] = blue[i // 2, j // 2] + _rounded(u)
            red[i // 2, j // 2] = red[i // 2, j // 2] + _rounded(v)
    half = side // 2
    for i in range(half):
        for j in range(half):
            bias = wp.float32(1 + j % 2)  # halves go down and up by turns
            blue[i, j] = wp.floor((blue[i, j] + bias) * wp.float32(0.25))
            red[i, j] = wp.floor((red[i, j] + bias) * wp.float32(0.25))
    blue = _quantised(blue, steps[w, 1])
    red = _quantised(red, steps[w, 1])
    for i in range(wp.min(half, colour.shape[2] - top // 2)):
        for j in range(wp.min(half, colour.shape[3] - left // 2)):
            colour[w, 2 * camera, top // 2 + i, left // 2 + j] = _byte(blue[i, j] + MIDDLE)
            colour[w, 2 * camera + 1, top // 2 + i, left // 2 + j] = _byte(red[i, j] + MIDDLE)
    for quarter in range(half // 2):
        _compress_brightness(rgb, w, plane, top + quarter // 2 * 8, left + quarter % 2 * 8, steps[w, 0])


@wp.func
def _enlarged(colour: wp.array4d(dtype=wp.uint8), w: int, plane: int, near: int, far: int, j: int) -> wp.float32:
    """Return the colour difference of column j of a row that lies beside row `near`, on the side of `far`."""
    at = j // 2
    beside = wp.clamp(at + 2 * (j % 2) - 1, 0, colour.shape[3] - 1)
    own = 3 * int(colour[w, plane, near, at]) + int(colour[w, plane, far, at])
    other = 3 * int(colour[w, plane, near, beside]) + int(colour[w, plane, far, beside])
    return wp.float32((3 * own + other + 8 - j % 2) // 16) - MIDDLE


@wp.kernel(enable_backward=False, module="unique")
def decompress(
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    colour: wp.array4d(dtype=wp.uint8),
    rgb: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Turn what `compress` left into pictures again; one thread a camera and row."""
    w, row = wp.tid()
    w = first + w
    if not mask[w]:
        return
    if looks[w].jpeg <= wp.float32(0.0):
        return
    camera = row // rgb.shape[2]
    plane = camera * 3
    i = row % rgb.shape[2]
    near = i // 2
    far = wp.clamp(near + 2 * (i % 2) - 1, 0, colour.shape[2] - 1)
    for j in range(rgb.shape[3]):
        light = wp.float32(rgb[w, plane, i, j])
        u = _enlarged(colour, w, 2 * camera, near, far, j)
        v = _enlarged(colour, w, 2 * camera + 1, near, far, j)
        rgb[w, plane, i, j] = _byte(light + wp.float32(1.402) * v)
        rgb[w, plane + 1, i, j] = _byte(light - wp.float32(0.344136286) * u - wp.float32(0.714136286) * v)
        rgb[w, plane + 2, i, j] = _byte(light + wp.float32(1.772) * u)
