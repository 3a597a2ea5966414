"""Elementary functions at the cost that traffic can bear.

The float64 overloads are the C library's, rounded wherever highway-env rounds: on a CPU without AVX-512, where NumPy
calls the C library too, whole episodes are equal to the last bit. The float32 overloads are short series in the range
that ordinary driving stays in, exact to 2e-6 there (powers to 4e-6 of their value), and the C library's outside it.
With the library alone a frame takes a third longer.
"""

import math

import warp as wp

PI = math.pi
TWO_PI = 2 * math.pi
POWER_RANGE = wp.constant(wp.float32(0.15))  # of (a - b) / (a + b): a / b from 0.74 to 1.35
ANGLE_RANGE = wp.constant(wp.float32(0.5))  # rad


@wp.func
def ratio_power(a: wp.float64, b: wp.float64, exponent: wp.float64):
    """(a / b) ** exponent for a >= 0, b > 0."""
    return wp.pow(a / b, exponent)


@wp.func
def ratio_power(a: wp.float32, b: wp.float32, exponent: wp.float32):  # noqa: F811 - Warp picks the overload by type
    """(a / b) ** exponent for a >= 0, b > 0, exponent up to 4.5 in the fast range.

    log(a / b) = 2 artanh(z) with z = (a - b) / (a + b); exp by the Taylor series of an eighth, squared three times.
    """
    z = (a - b) / (a + b)
    if wp.abs(z) > POWER_RANGE:
        return wp.pow(a / b, exponent)
    q = z * z
    u = wp.float32(0.25) * exponent * z  # an eighth of exponent * log(a / b), but for the series
    u = u * (wp.float32(1.0) + q * (wp.float32(0.33333333) + q * wp.float32(0.2)))
    v = u * u
    taylor = wp.float32(0.5) + u * wp.float32(0.16666667) + v * (wp.float32(0.041666667) + u * wp.float32(0.0083333333))
    taylor = (wp.float32(1.0) + u) + v * taylor  # two halves that do not wait for each other
    taylor = taylor * taylor
    taylor = taylor * taylor
    return taylor * taylor


@wp.func
def arcsine(x: wp.float64):
    """Inverse sine of x in [-1, 1]."""
    return wp.asin(x)


@wp.func
def arcsine(x: wp.float32):  # noqa: F811
    """Inverse sine of x in [-1, 1]."""
    if wp.abs(x) > ANGLE_RANGE:
        return wp.asin(x)
    q = x * x
    series = wp.float32(0.022372159) + q * (wp.float32(0.017352764) + q * wp.float32(0.024))
    series = wp.float32(0.075) + q * (wp.float32(0.044642857) + q * (wp.float32(0.030381944) + q * series))
    return x + x * q * (wp.float32(0.16666667) + q * series)


@wp.func
def cosine_and_sine(angle: wp.float64):
    """Cosine and sine of an angle [rad]."""
    return wp.cos(angle), wp.sin(angle)


@wp.func
def cosine_and_sine(angle: wp.float32):  # noqa: F811
    """Cosine and sine of an angle [rad], which is brought to within an eighth of a turn first (Cephes, `sinf`)."""
    quarters = wp.rint(angle * wp.float32(0.63661977))
    x = angle - quarters * wp.float32(1.5703125)  # half pi in two parts, of which the first multiplies exactly
    x = x - quarters * wp.float32(4.8382679e-4)
    q = x * x
    sine = wp.float32(-1.6666655e-1) + q * (wp.float32(8.3321609e-3) - q * wp.float32(1.9515296e-4))
    sine = x + x * q * sine
    cosine = wp.float32(4.1666646e-2) + q * (wp.float32(-1.3887316e-3) + q * wp.float32(2.4433157e-5))
    cosine = wp.float32(1.0) + q * (q * cosine - wp.float32(0.5))
    turn = int(quarters) & 3
    if (turn & 1) != 0:
        swapped = cosine
        cosine = -sine
        sine = swapped
    if (turn & 2) != 0:
        cosine = -cosine
        sine = -sine
    return cosine, sine


@wp.func
def arctangent2(y: wp.float64, x: wp.float64):
    """Angle of the vector (x, y) [rad], in [-pi, pi]."""
    return wp.atan2(y, x)


@wp.func
def arctangent2(y: wp.float32, x: wp.float32):  # noqa: F811
    """Angle of the vector (x, y) [rad], in [-pi, pi]; its tangent is brought below tan(pi / 8) first (Cephes)."""
    along = wp.abs(x)
    across = wp.abs(y)
    least = wp.min(along, across)
    most = wp.max(along, across)
    if most == wp.float32(0.0):
        return wp.float32(0.0)
    z = least / most
    angle = wp.float32(0.0)
    if z > wp.float32(0.41421356):
        z = (z - wp.float32(1.0)) / (z + wp.float32(1.0))
        angle = wp.float32(0.78539816)
    q = z * z
    series = wp.float32(-1.3877686e-1) + q * wp.float32(8.0537445e-2)
    series = wp.float32(-3.3332949e-1) + q * (wp.float32(1.9977711e-1) + q * series)
    angle = angle + z + z * q * series
    if across > along:
        angle = wp.float32(1.57079633) - angle
    if x < wp.float32(0.0):
        angle = wp.float32(3.14159265) - angle
    if y < wp.float32(0.0):
        angle = -angle
    return angle


@wp.func_native("return fma(a, b, c);")
def fused(a: wp.float64, b: wp.float64, c: wp.float64) -> wp.float64:
    """Return a * b + c, rounded once."""
    ...


@wp.func
def dot(ax: wp.float64, ay: wp.float64, bx: wp.float64, by: wp.float64):
    """Dot product of two vectors, rounded as in NumPy, whose BLAS fuses the last product with the sum."""
    return fused(ay, by, ax * bx)


@wp.func
def dot(ax: wp.float32, ay: wp.float32, bx: wp.float32, by: wp.float32):  # noqa: F811
    """Dot product of two vectors."""
    return ax * bx + ay * by


@wp.func
def wrap_to_pi(angle: wp.float64):
    """Map an angle [rad] into [-pi, pi), rounded as in highway-env: adding pi takes the last bits of small angles."""
    full = wp.float64(TWO_PI)
    shifted = angle + wp.float64(PI)
    if shifted < wp.float64(0.0) or shifted >= full:
        shifted = shifted - full * wp.floor(shifted / full)
    return shifted - wp.float64(PI)


@wp.func
def wrap_to_pi(angle: wp.float32):  # noqa: F811 - Warp picks the overload by type
    """Map an angle [rad] into [-pi, pi)."""
    if wp.abs(angle) < wp.float32(PI):
        return angle
    full = wp.float32(TWO_PI)
    shifted = angle + wp.float32(PI)
    return shifted - full * wp.floor(shifted / full) - wp.float32(PI)


@wp.func
def angle_from(angle: wp.float64, start: wp.float64):
    """Angle [rad] from `start`, rounded as in highway-env, which adds the start and takes it away again."""
    return start + wrap_to_pi(angle - start) - start


@wp.func
def angle_from(angle: wp.float32, start: wp.float32):  # noqa: F811
    """Angle [rad] from `start`."""
    return wrap_to_pi(angle - start)
