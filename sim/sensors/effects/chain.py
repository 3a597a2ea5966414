"""What happens to a picture between the scene and the file: motion blur, rain, dirt, exposure, noise, compression.

Each effect changes pictures in place, by the look of their world, and costs next to nothing where the look has none of
it. Labels and depth are left alone: they say what is there, not what can be seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.config import require_known
from sim.sensors import noise
from sim.sensors.effects.jpeg import UNIT, Block, compress, decompress, set_jpeg_steps
from sim.sensors.effects.lens import dirty_lens, draw_streaks
from sim.sensors.effects.motion_blur import blur_motion, keep_sharp
from sim.sensors.looks.look import CLEAR, Look
from sim.sensors.looks.look_sampler import LookSampler
from sim.sensors.noise import Stream, normal_quantiles

EFFECTS: dict[str, tuple[str, ...]] = {
    "blur": ("blur",),
    "streaks": ("streaks",),
    "lens": ("dirt", "occlusion"),
    "sensor": ("exposure", "contrast", "gamma", "noise"),
    "jpeg": ("jpeg",),
}
"""The effects in the order in which they happen, and the fields of a look that each reads."""
QUANTILES = wp.constant(wp.uint64(4096))
"""Noise is one of so many equally likely values: 12 bits, at most 3.7 standard deviations."""
READ_NOISE = wp.constant(wp.float32(0.3))  # share of the variance at middle grey that is there without light
MIDDLE_GREY = wp.constant(wp.float32(128.0))
# Pixels are whole numbers of fine steps of a level: faster than float32, and the same on every device.
LEVEL, SPREAD, NORMAL = (wp.constant(wp.int32(bits)) for bits in (16, 6, 10))  # SPREAD + NORMAL = LEVEL


@wp.kernel(enable_backward=False, module="unique")
def set_curves(
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    curves: wp.array2d(dtype=wp.int32),
    spreads: wp.array2d(dtype=wp.int32),
    first: int,
):
    """Write what becomes of each of the 256 values [2^-LEVEL], and how noisy it is then [2^-SPREAD], [N, 256] each.

    Exposure comes first, then contrast, then gamma. The noise's variance grows with the light: part of it counts
    photons, the rest is the amplifier's.
    """
    w = first + wp.tid()
    if not mask[w]:
        return
    exposure = looks[w].exposure
    contrast = looks[w].contrast
    gamma = looks[w].gamma
    amplitude = looks[w].noise
    half = wp.float32(0.5)
    photons = (wp.float32(1.0) - READ_NOISE) / MIDDLE_GREY
    for value in range(curves.shape[1]):
        x = wp.float32(value) / wp.float32(255.0) * exposure
        x = wp.clamp((x - half) * contrast + half, wp.float32(0.0), wp.float32(1.0))
        if gamma != wp.float32(1.0):
            x = wp.pow(x, gamma)
        x = x * wp.float32(255.0)
        curves[w, value] = int(x * wp.float32(1 << LEVEL)) + (1 << (LEVEL - 1))
        spreads[w, value] = int(amplitude * wp.sqrt(READ_NOISE + photons * x) * wp.float32(1 << SPREAD))


@wp.kernel(enable_backward=False, module="unique")
def expose(
    world: Any,
    mask: wp.array(dtype=wp.bool),
    looks: wp.array(dtype=Look),
    curves: wp.array2d(dtype=wp.int32),
    spreads: wp.array2d(dtype=wp.int32),
    normals: wp.array(dtype=wp.int32),
    rgb: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Apply the curve of each world, then noise, other in each frame; one thread a plane and row.

    `normals` are standard normal quantiles [2^-NORMAL].
    """
    w, row = wp.tid()
    w = first + w
    if not mask[w]:
        return
    line = rgb[w, row // rgb.shape[2], row % rgb.shape[2]]
    curve = curves[w]
    if looks[w].noise <= wp.float32(0.0):
        plain = looks[w].exposure == wp.float32(1.0) and looks[w].contrast == wp.float32(1.0)
        if not (plain and looks[w].gamma == wp.float32(1.0)):
            for j in range(line.shape[0]):
                line[j] = wp.uint8(curve[int(line[j])] >> LEVEL)
        return
    spread = spreads[w]
    name = noise.key(world.rows[w].episode, world.rows[w].steps, int(Stream.PIXEL_NOISE))
    words = (line.shape[0] + 3) // 4
    bits = wp.uint64(0)
    for j in range(line.shape[0]):
        if j % 4 == 0:
            bits = noise.bits(name, row * words + j // 4)
        value = int(line[j])
        value = (curve[value] + spread[value] * normals[int(bits % QUANTILES)]) >> LEVEL
        bits = bits >> wp.uint64(16)
        line[j] = wp.uint8(wp.clamp(value, 0, 255))


class Effects:
    """The effects on the pictures of N worlds with C cameras each.

    Args:
        sampler: whose looks say how strong each effect is.
        world: the Warp struct of the worlds.
        rgb: uint8 [N, C, 3, H, W], changed in place.
        views: where each camera is, `View` [N, C]; depth: float32 [N, C, H, W] [m]; instance: int16 [N, C, H, W], slot
            plus one. Motion blur needs the three, and does without where they are None: there is none then.
        agent: on whose vehicle the cameras are.
        frame_time: between two frames of a camera [s]; a look's `blur` is the share of it that the shutter is open.
        only: names of `EFFECTS` that are wanted; without, those that the sampler's domains can show.

    Raises:
        ValueError: an unknown effect.
    """

    def __init__(
        self,
        sampler: LookSampler,
        world: Any,
        rgb: torch.Tensor,
        views: Any = None,
        depth: torch.Tensor | None = None,
        instance: torch.Tensor | None = None,
        agent: int = 0,
        frame_time: float = 1 / 15,
        only: Sequence[str] | None = None,
    ) -> None:
        require_known([] if only is None else only, EFFECTS, "effect")
        self.names = [name for name in EFFECTS if (_can_show(sampler, name) if only is None else name in only)]
        self._world, self._looks, self._device = world, sampler.looks, rgb.device
        self._rgb = wp.from_torch(rgb.flatten(1, 2))
        self._worlds, self._cameras, _, self._height, self._width = rgb.shape
        self._motion = None
        if "blur" in self.names and views is not None:
            seen = [wp.from_torch(depth), wp.from_torch(instance)]
            sharp = torch.empty_like(rgb)
            self._words = [_as_words(rgb), _as_words(sharp)]
            self._motion = [views, *seen, wp.from_torch(sharp.flatten(3).flatten(1, 2)), agent, frame_time, self._rgb]

    def launches(self, mask: Any) -> list[tuple]:
        """Return the launches of a `Program` that spoil the pictures of the worlds in `mask`, fresh ones each time."""
        return [launch for name in self.names for launch in getattr(self, f"_{name}")(mask)]

    def _blur(self, mask: Any) -> list[tuple]:
        if self._motion is None:
            return []
        return [
            (keep_sharp, [mask, self._looks, *self._words], 3 * self._cameras),
            (blur_motion, [self._world, mask, self._looks, *self._motion], self._cameras * self._height),
        ]

    def _streaks(self, mask: Any) -> list[tuple]:
        return [(draw_streaks, [self._world, mask, self._looks, self._rgb], self._cameras)]

    def _lens(self, mask: Any) -> list[tuple]:
        return [(dirty_lens, [self._world, mask, self._looks, self._rgb], self._cameras * self._height)]

    def _sensor(self, mask: Any) -> list[tuple]:
        place = str(self._device)
        curves, spreads = (wp.zeros((self._worlds, 256), dtype=wp.int32, device=place) for _ in range(2))
        quantiles = normal_quantiles(int(QUANTILES))
        quantiles = np.rint(quantiles / quantiles.std() * 2 ** int(NORMAL))
        normals = wp.array(quantiles, dtype=wp.int32, device=place)
        inputs = [self._world, mask, self._looks, curves, spreads, normals, self._rgb]
        return [
            (set_curves, [mask, self._looks, curves, spreads]),
            (expose, inputs, 3 * self._cameras * self._height),
        ]

    def _jpeg(self, mask: Any) -> list[tuple]:
        steps = wp.zeros((self._worlds, 2), dtype=Block, device=str(self._device))
        units = -(-self._height // UNIT) * -(-self._width // UNIT)
        half = (self._worlds, 2 * self._cameras, -(-self._height // 2), -(-self._width // 2))
        colour = wp.zeros(half, dtype=wp.uint8, device=str(self._device))
        return [
            (set_jpeg_steps, [mask, self._looks, steps]),
            (compress, [mask, self._looks, steps, self._rgb, colour], self._cameras * units),
            (decompress, [mask, self._looks, colour, self._rgb], self._cameras * self._height),
        ]


def _as_words(rgb: torch.Tensor) -> wp.array:
    """Return the view [N, planes, words] of pictures [N, C, 3, H, W] in words of eight bytes, if they go into them."""
    planes = rgb.flatten(3).flatten(1, 2)
    return wp.from_torch(planes.view(torch.int64) if planes.shape[2] % 8 == 0 else planes)


def _can_show(sampler: LookSampler, effect: str) -> bool:
    """Has any of the sampler's domains an effect that a clear look has not."""
    spans = [(one.span(field), CLEAR[field]) for one in sampler.domains for field in EFFECTS[effect]]
    return any((span.low, span.high) != (value, value) for span, value in spans)
