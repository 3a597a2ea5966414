"""Elementary functions at the cost that traffic can bear.

The float64 overloads are the C library's. The float32 overloads are short series in the range that ordinary driving
stays in, exact to 2e-6 there (powers to 4e-6 of their value), and the C library's outside it. With the library alone a
frame takes a third longer.
"""

import warp as wp

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
    """Cosine and sine of an angle [rad]."""
    if wp.abs(angle) > ANGLE_RANGE:
        return wp.cos(angle), wp.sin(angle)
    q = angle * angle
    cosine = wp.float32(0.041666667) + q * (wp.float32(-0.0013888889) + q * wp.float32(0.000024801587))
    cosine = wp.float32(1.0) + q * (wp.float32(-0.5) + q * cosine)
    sine = wp.float32(0.0083333333) + q * (wp.float32(-0.00019841270) + q * wp.float32(0.0000027557319))
    sine = wp.float32(1.0) + q * (wp.float32(-0.16666667) + q * sine)
    return cosine, angle * sine
