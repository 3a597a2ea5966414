"""The scene from above as an observation; highway-env has no twin."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from sim.config import require_known
from sim.observations.base import Binding, ObservationType, Setting
from sim.sensors.birdseye import BirdsEye, View, require_room
from sim.sensors.stack import FrameStack

KEYS = ("type", "width", "height", "scaling", "centering", "align", "channels", "stack")


class BirdsEyeObservation(ObservationType):
    """Pictures from above, uint8 `[stack * channels, height, width]`, the newest last; see `sim.sensors.birdseye`.

    Options: those of `View`, and `stack`, how many pictures are kept (a reset blackens them).
    """

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, KEYS, "observation key")
        self.view = View(**{key: value for key, value in options.items() if key not in ("type", "stack")})
        self.stack = options.get("stack", 1)
        if type(self.stack) is not int or self.stack < 1:
            raise ValueError(f"observation stack is {self.stack!r}; it must be an integer of at least 1")
        self.agent = agent
        channels, *size = self.view.shape
        self.space = spaces.Box(0, 255, shape=(self.stack * channels, *size), dtype=np.uint8)

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the pictures `[N, stack * channels, height, width]`."""
        require_room(self.view, binding.num_worlds * self.stack, binding.device)
        self._stack = FrameStack(self.view.shape, self.stack, binding.num_worlds, binding.device)
        self._raster = BirdsEye(
            self.view,
            binding.setting.network,
            binding.lanes,
            binding.world,
            (binding.num_worlds, binding.world.cars.shape[1]),
            binding.device,
            self.agent,
            self._stack.newest,
            bool(binding.setting.config.get("add_walls", True)),
        )
        return self._stack.tensor

    def begin_launches(self, mask: Any) -> list[tuple]:
        """Return the launch that blackens the stack."""
        return self._stack.begin_launches(mask)

    def launches(self, mask: Any, reset: bool = False) -> list[tuple]:
        """Return the launches that make room in the stack and draw."""
        begin = self.begin_launches(mask) if reset else []
        return [*begin, *self._stack.launches(mask), *self._raster.launches(mask)]
