"""Draws the look of each world's episode from its domain, on the device."""

import math
from typing import Any

import torch
import warp as wp

from sim.sensors import noise
from sim.sensors.looks.domains import KNOBS, PLAIN, SCENE, domains_named
from sim.sensors.looks.look import FIELD, clear_looks, look_array
from sim.sensors.noise import Stream

# All is computed in float64: the devices differ in the last digits there, and none of them is left in float32.
real = wp.float64
RADIANS = wp.constant(real(0.017453292519943295))
# Linear light and colours of the sky (see look.py) at noon, at sunset, under clouds, full of dust, at night.
NOON_TOP, NOON_HORIZON = wp.constant(wp.vec3d(0.13, 0.29, 0.66)), wp.constant(wp.vec3d(0.62, 0.74, 0.87))
SUNSET_TOP, SUNSET_HORIZON = wp.constant(wp.vec3d(0.17, 0.24, 0.43)), wp.constant(wp.vec3d(0.95, 0.56, 0.31))
CLOUDY_TOP, CLOUDY_HORIZON = wp.constant(wp.vec3d(0.42, 0.46, 0.52)), wp.constant(wp.vec3d(0.57, 0.60, 0.64))
DUSTY_TOP, DUSTY_HORIZON = wp.constant(wp.vec3d(0.55, 0.37, 0.18)), wp.constant(wp.vec3d(0.62, 0.42, 0.20))
NIGHT_TOP, NIGHT_HORIZON = wp.constant(wp.vec3d(0.002, 0.0025, 0.005)), wp.constant(wp.vec3d(0.007, 0.006, 0.008))
DUSTY_LIGHT = wp.constant(wp.vec3d(1.08, 0.86, 0.58))
TWILIGHT = wp.constant(wp.vec3d(0.82, 0.92, 1.18))  # light of the sky alone after sunset
SUN, AMBIENT, CLOUDY_AMBIENT, NIGHT_AMBIENT = (wp.constant(real(x)) for x in (1.05, 0.42, 0.80, 0.008))
# What the air takes from sunlight by colour, more from blue. How much air: one over the sine of the sun's height, less
# near the horizon as the earth is round. Relative to the clear day, for which the camera's white is set.
EXTINCTION = wp.constant(wp.vec3d(0.04, 0.09, 0.17))
ROUNDNESS = wp.constant(real(0.06))
CLEAR_AIR = wp.constant(real(1 / (math.sin(math.radians(SCENE["sun_height"])) + 0.06)))
# Albedos.
GREEN, STRAW, SNOW = (
    wp.constant(wp.vec3d(*rgb)) for rgb in ((0.14, 0.25, 0.085), (0.36, 0.30, 0.14), (0.80, 0.82, 0.86))
)
GRAVEL, YELLOW = wp.constant(wp.vec3d(1.04, 1.0, 0.86)), wp.constant(wp.vec3d(1.0, 0.72, 0.12))
SHOULDER_SNOW, ROAD_SNOW = wp.constant(real(0.9)), wp.constant(real(0.35))

_NUMBER = {name: number for number, name in enumerate(KNOBS)}
FIRST_PLAIN = wp.constant(len(SCENE))


class Knob:
    """Numbers of the knobs of the scene, and columns of the fields behind which they stand."""

    HEIGHT, AZIMUTH, CLOUDS, GLOOM, DUST, ASPHALT, WARMTH, DRYNESS, SNOW, SHOULDER, PAINT, YELLOW = (
        wp.constant(_NUMBER[name]) for name in SCENE
    )


class Column:
    """Columns of a tensor of looks; of a colour, of its red."""

    SUN_X, SUN, AMBIENT = (wp.constant(FIELD[name]) for name in ("sun_x", "sun", "ambient"))
    LIGHT, TOP, HORIZON, ASPHALT, GRASS, SHOULDER, PAINT = (
        wp.constant(FIELD[f"{name}_r"]) for name in ("light", "top", "horizon", "asphalt", "grass", "shoulder", "paint")
    )


@wp.func
def _drawn(spans: wp.array3d(dtype=wp.float32), domain: int, name: wp.uint64, knob: int) -> wp.float64:
    """Return what a knob is in an episode; two numbers each, in the order of KNOBS, whatever the domain."""
    if noise.uniform(name, 2 * knob) >= spans[domain, knob, 2]:
        return real(spans[domain, knob, 3])
    low = real(spans[domain, knob, 0])
    return low + (real(spans[domain, knob, 1]) - low) * real(noise.uniform(name, 2 * knob + 1))


@wp.func
def _rise(x: wp.float64, low: wp.float64, high: wp.float64) -> wp.float64:
    """Go smoothly from 0 at low to 1 at high."""
    t = wp.clamp((x - low) / (high - low), real(0.0), real(1.0))
    return t * t * (real(3.0) - real(2.0) * t)


@wp.func
def _mix(a: wp.vec3d, b: wp.vec3d, share: wp.float64) -> wp.vec3d:
    return a * (real(1.0) - share) + b * share


@wp.func
def _write(looks: wp.array2d(dtype=wp.float32), w: int, column: int, colour: wp.vec3d):
    for i in range(3):
        looks[w, column + i] = wp.float32(colour[i])


@wp.func
def _light(spans: wp.array3d(dtype=wp.float32), d: int, name: wp.uint64, looks: wp.array2d(dtype=wp.float32), w: int):
    """Write sun, ambient light and sky, all of which follow from the sun's height, clouds and dust."""
    height = _drawn(spans, d, name, Knob.HEIGHT) * RADIANS
    azimuth = _drawn(spans, d, name, Knob.AZIMUTH) * RADIANS
    clouds = _drawn(spans, d, name, Knob.CLOUDS)
    dust = _drawn(spans, d, name, Knob.DUST)
    one = real(1.0)
    up = wp.sin(height)
    flat = wp.cos(height)
    _write(looks, w, Column.SUN_X, wp.vec3d(flat * wp.cos(azimuth), flat * wp.sin(azimuth), up))
    day = _rise(up, real(-0.22), real(0.15)) * (one - _drawn(spans, d, name, Knob.GLOOM))
    low = one - _rise(up, real(0.0), real(0.35))
    air = one / (wp.max(up, real(0.0)) + ROUNDNESS) - CLEAR_AIR
    left = wp.vec3d(wp.exp(-EXTINCTION[0] * air), wp.exp(-EXTINCTION[1] * air), wp.exp(-EXTINCTION[2] * air))
    sun = SUN * left[1] * _rise(up, real(-0.01), real(0.05)) * (one - clouds) * (one - real(0.8) * dust)
    cloudy = AMBIENT + (CLOUDY_AMBIENT - AMBIENT) * wp.max(clouds, real(0.6) * dust)
    ambient = NIGHT_AMBIENT + (cloudy - NIGHT_AMBIENT) * day
    looks[w, Column.SUN] = wp.float32(sun)
    looks[w, Column.AMBIENT] = wp.float32(ambient)
    direct = sun * wp.max(up, real(0.4))  # on what stands upright, too
    white = wp.vec3d(one, one, one)
    light = _mix(white, left / left[1], direct / (direct + ambient))
    twilight = real(4.0) * day * (one - day) * (one - _rise(up, real(-0.05), real(0.05)))
    light = wp.cw_mul(light, _mix(white, TWILIGHT, twilight))
    _write(looks, w, Column.LIGHT, wp.cw_mul(light, _mix(white, DUSTY_LIGHT, dust)))
    top = _mix(_mix(_mix(NOON_TOP, SUNSET_TOP, low), CLOUDY_TOP, clouds), DUSTY_TOP, dust)
    horizon = _mix(_mix(_mix(NOON_HORIZON, SUNSET_HORIZON, low), CLOUDY_HORIZON, clouds), DUSTY_HORIZON, dust)
    _write(looks, w, Column.TOP, _mix(NIGHT_TOP, top, day))
    _write(looks, w, Column.HORIZON, _mix(NIGHT_HORIZON, horizon, day))


@wp.func
def _ground(spans: wp.array3d(dtype=wp.float32), d: int, name: wp.uint64, looks: wp.array2d(dtype=wp.float32), w: int):
    """Write the colours of the ground."""
    one = real(1.0)
    snow = _drawn(spans, d, name, Knob.SNOW)
    warm = real(0.2) * _drawn(spans, d, name, Knob.WARMTH)
    asphalt = wp.vec3d(one + warm, one, one - warm) * _drawn(spans, d, name, Knob.ASPHALT)
    _write(looks, w, Column.ASPHALT, _mix(asphalt, SNOW, ROAD_SNOW * snow))
    _write(looks, w, Column.GRASS, _mix(_mix(GREEN, STRAW, _drawn(spans, d, name, Knob.DRYNESS)), SNOW, snow))
    shoulder = GRAVEL * _drawn(spans, d, name, Knob.SHOULDER)
    _write(looks, w, Column.SHOULDER, _mix(shoulder, SNOW, SHOULDER_SNOW * snow))
    tint = _mix(wp.vec3d(one, one, real(0.96)), YELLOW, _drawn(spans, d, name, Knob.YELLOW))
    _write(looks, w, Column.PAINT, tint * _drawn(spans, d, name, Knob.PAINT))


@wp.kernel(enable_backward=False, module="unique")
def sample_looks(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    spans: wp.array3d(dtype=wp.float32),
    limits: wp.array(dtype=wp.float32),
    columns: wp.array(dtype=wp.int32),
    choice: wp.array(dtype=wp.int32),
    looks: wp.array2d(dtype=wp.float32),
    first: int,
):
    """Write the look of each world's episode into `looks` [N, F], and the number of its domain into `choice` [N].

    `spans` [D, K, 4] has low, high, chance and what it is otherwise of each domain's knobs; `limits` [D] the share of
    the episodes that fall to a domain or one before it; `columns` the column of the field of each plain knob.
    """
    w = first + wp.tid()
    if not mask[w]:
        return
    episode = world.rows[w].episode
    share = noise.uniform(noise.key(episode, 0, int(Stream.DOMAIN)), 0)
    d = int(0)
    while share >= limits[d] and d < limits.shape[0] - 1:
        d = d + 1
    choice[w] = d
    name = noise.key(episode, 0, int(Stream.LOOK))
    for k in range(columns.shape[0]):
        looks[w, columns[k]] = wp.float32(_drawn(spans, d, name, FIRST_PLAIN + k))
    _light(spans, d, name, looks, w)
    _ground(spans, d, name, looks, w)


class LookSampler:
    """The looks of N worlds, a function of each one's episode and the domain alone.

    Args:
        domain: a domain's or mixture's name, a `Domain`, or a list of those; each episode draws one of them.
        world: the Warp struct of the worlds.
        worlds: N.
        device: where they are.
        weights: how likely each domain is, any positive numbers; equally without.

    Attributes:
        domains: the domains, in the order in which `choice` counts them.
        choice: int32 [N], the number of each episode's domain, once launched.
        tensor: float32 [N, F], the looks; columns as in `look.FIELD`. looks: the same for kernels, `Look` [N].

    Raises:
        TypeError, ValueError: see `domains_named`; weights of another number, or not positive.
    """

    def __init__(
        self,
        domain: Any,
        world: Any,
        worlds: int,
        device: str | torch.device = "cpu",
        weights: list[float] | None = None,
    ) -> None:
        self.domains = domains_named(domain)
        weights = [1.0] * len(self.domains) if weights is None else list(weights)
        if len(weights) != len(self.domains) or not all(weight > 0 for weight in weights):
            raise ValueError(f"weights is {weights}; it must be {len(self.domains)} positive numbers, one a domain")
        place = str(device)
        rows = [[(*one.span(knob), value) for knob, value in KNOBS.items()] for one in self.domains]
        limits = torch.cumsum(torch.tensor(weights, dtype=torch.float64), 0) / sum(weights)
        self.tensor = clear_looks(worlds, device)
        self.looks = look_array(self.tensor)
        self.choice = torch.zeros(worlds, dtype=torch.int32, device=device)
        self._before = [world]
        self._after = [
            wp.array(rows, dtype=wp.float32, device=place),
            wp.array(limits.numpy(), dtype=wp.float32, device=place),
            wp.array([FIELD[name] for name in PLAIN], dtype=wp.int32, device=place),
            wp.from_torch(self.choice),
            wp.from_torch(self.tensor),
        ]

    def launches(self, mask: Any) -> list[tuple]:
        """Return the launch of a `Program` that draws the looks of the worlds in `mask`; again gives the same."""
        return [(sample_looks, [*self._before, mask, *self._after])]
