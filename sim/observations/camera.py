"""What cameras on the ego show; highway-env has no twin."""

from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.observations.base import Binding, ObservationType, Setting
from sim.sensors.camera.cameras import FIELDS, Camera, camera_from, preset
from sim.sensors.camera.rig import CameraPass, checked_cameras, require_room
from sim.sensors.looks.domains import domains_named
from sim.sensors.stack import FrameStack, blacken

CHANNELS = {"rgb": 3, "depth": 1, "semantic": 1}  # numbers a pixel
DEPTH_STEP = 0.5  # m, of a pixel of "depth": 255 is 127.5 m or farther, or the sky
KEYS = ["type", "cameras", "domain", "channels", "stack", *(name for name in FIELDS if name != "name")]


@wp.kernel(enable_backward=False, module="unique")
def show_depth(
    mask: wp.array(dtype=wp.bool),
    depth: wp.array4d(dtype=wp.float32),
    picture: wp.array4d(dtype=wp.uint8),
    first: int,
):
    """Write depth `[N, C, H, W]` [m] into a picture in steps of DEPTH_STEP; one thread a row."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    c = k / depth.shape[2]
    i = k - c * depth.shape[2]
    for j in range(depth.shape[3]):
        steps = wp.min(depth[w, c, i, j] * wp.float32(1.0 / DEPTH_STEP), wp.float32(255.0))
        picture[w, c, i, j] = wp.uint8(wp.int32(steps + wp.float32(0.5)))


def cameras_of(options: dict[str, Any]) -> list[Camera]:
    """Return the cameras that an observation's options describe: one by its fields, or `cameras`.

    Raises:
        TypeError, ValueError: a preset, field or size that cannot be.
    """
    fields = {name: options[name] for name in FIELDS if name in options}
    chosen = options.get("cameras")
    if chosen is None:
        return [camera_from(fields)]
    if isinstance(chosen, str):
        return preset(chosen, **fields)
    if not isinstance(chosen, (list, tuple)) or not chosen:
        raise TypeError(f"observation cameras is {chosen!r}; it must be a preset's name or a list of dicts")
    return checked_cameras([camera_from(fields | one if isinstance(one, dict) else one) for one in chosen])


class CameraObservation(ObservationType):
    """Pictures of cameras on the vehicle, uint8 `[stack * cameras * channels, height, width]`, the newest last.

    Options: those of `Camera` but for the name; `cameras`, a preset's name or a list of such dicts, for which the
    former are defaults; `domain`, what the pictures look like; `channels`, "rgb" (3 a camera), "depth" (1, in steps of
    half a metre, 255 far away) or "semantic" (1, `Semantic`); `stack`, how many pictures are kept (a reset blackens
    them).
    """

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, KEYS, "observation key")
        self.cameras = cameras_of(options)
        self.channels = options.get("channels", "rgb")
        if not isinstance(self.channels, str):
            raise TypeError(f"observation channels is {self.channels!r}; it must be one of {', '.join(CHANNELS)}")
        require_known([self.channels], CHANNELS, "observation channels")
        self.stack = options.get("stack", 1)
        if type(self.stack) is not int or self.stack < 1:
            raise ValueError(f"observation stack is {self.stack!r}; it must be an integer of at least 1")
        self.domain = options.get("domain", "clear")
        domains_named(self.domain)
        self.agent = agent
        one = self.cameras[0]
        require_room((1, 1), self.cameras, torch.device("cpu"))  # the space takes as much as a picture
        self.shape = (len(self.cameras) * CHANNELS[self.channels], one.height, one.width)
        self.space = spaces.Box(0, 255, shape=(self.stack * self.shape[0], *self.shape[1:]), dtype=np.uint8)

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the pictures `[N, stack * cameras * channels, height, width]`."""
        size = (binding.num_worlds, binding.world.cars.shape[1])
        require_room(size, self.cameras, binding.device)
        self._stack = FrameStack(self.shape, self.stack, binding.num_worlds, binding.device)
        newest = self._stack.newest
        into = {} if self.channels == "depth" else {self.channels: newest}
        if self.channels == "rgb":
            into = {"rgb": newest.unflatten(1, (len(self.cameras), 3))}
        self.rig = CameraPass(
            binding.setting.network,
            binding.world,
            size,
            binding.device,
            self.cameras,
            self.domain,
            self.agent,
            objects=False,
            walled=bool(binding.setting.config.get("add_walls", True)),
            spoiled=self.channels == "rgb",
            into=into,
        )
        self._picture = wp.from_torch(newest)
        return self._stack.tensor

    def begin_launches(self, mask: Any) -> list[tuple]:
        """Return the launches that blacken the stack and put the cameras back to where they are mounted."""
        return [*self._stack.begin_launches(mask), (blacken, [mask, 1, wp.from_torch(self.rig.drift)], 1)]

    def launches(self, mask: Any, reset: bool = False) -> list[tuple]:
        """Return the launches that make room in the stack and render."""
        made = [*(self.begin_launches(mask) if reset else []), *self._stack.launches(mask), *self.rig.launches(mask)]
        if self.channels == "depth":
            depth = wp.from_torch(self.rig.frames.depth)
            made.append((show_depth, [mask, depth, self._picture], self.shape[0] * self.shape[1]))
        return made
