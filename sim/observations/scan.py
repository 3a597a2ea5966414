"""A lidar as an observation: our own, fixed to the vehicle, or highway-env's to the letter.

The sensor itself is `sim.sensors.lidar`.
"""

from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine.vehicles import MAX_SPEED
from sim.observations.base import Binding, Setting
from sim.observations.lidar import LidarObservation
from sim.sensors.classes import Semantic
from sim.sensors.lidar import LidarSensor, check_lidar

MODES = ("sensor", "highway-env")
CHANNELS = ("range", "intensity", "class", "speed")
FASTEST = 2.0 * MAX_SPEED  # m/s, what a normalised speed of 1 stands for
_SENSOR = {"beams": 64, "range": 60.0, "fov": 360.0, "yaw": 0.0, "noise": 0.0, "drop_out": 0.0}
_KEYS = [*_SENSOR, "type", "mode", "channels", "normalize"]
_HIGHWAY_ENV = {"beams": "cells", "range": "maximum_range", "normalize": "normalize"}


@wp.kernel(enable_backward=False, module="unique")
def arrange(
    mask: wp.array(dtype=wp.bool),
    ranges: wp.array2d(dtype=wp.float32),
    intensity: wp.array2d(dtype=wp.float32),
    classes: wp.array2d(dtype=wp.uint8),
    speed: wp.array2d(dtype=wp.float32),
    channels: wp.array(dtype=wp.int32),
    scales: wp.array(dtype=wp.float32),
    clip: int,
    threads: int,
    out: wp.array3d(dtype=wp.float32),
    first: int,
):
    """Write the chosen channels of a scan, each times its scale, into `out` `[N, beams, channels]`."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    beam = k
    while beam < out.shape[1]:
        for column in range(out.shape[2]):
            channel = channels[column]
            value = ranges[w, beam]
            if channel == 1:
                value = intensity[w, beam]
            if channel == 2:
                value = wp.float32(classes[w, beam])
            if channel == 3:
                value = speed[w, beam]
            value = value * scales[column]
            if clip != 0:
                value = wp.clamp(value, wp.float32(-1.0), wp.float32(1.0))
            out[w, beam, column] = value
        beam = beam + threads


class Lidar(LidarObservation):
    """A range scan, float32 `[beams, channels]`.

    `mode` "sensor" (the default) is a `LidarSensor`, its beams fixed to the vehicle; options are its own, `channels`
    (of "range", "intensity", "class", "speed"; default: range alone) and `normalize` (default True: by the range, the
    highest class and `FASTEST`, in [-1, 1]). `mode` "highway-env" is exactly LidarObservation, with `beams`, `range`
    and `normalize` for its cells, maximum_range and normalize.
    """

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, _KEYS, "observation key")
        self.mode = options.get("mode", "sensor")
        require_known([self.mode], MODES, "observation mode")
        if self.mode == "highway-env":
            own = sorted(set(options) - {"type", "mode", *_HIGHWAY_ENV})
            if own:
                raise ValueError(f"observation {own[0]} has no meaning in the mode 'highway-env'; leave it out")
            names = {ours: theirs for ours, theirs in _HIGHWAY_ENV.items() if ours in options}
            super().__init__({theirs: options[ours] for ours, theirs in names.items()}, setting, agent)
            return
        self.options = {name: options.get(name, default) for name, default in _SENSOR.items()}
        check_lidar(**self.options, what="observation")
        self._columns(options.get("channels", ("range",)))
        self.cells, self.maximum_range = self.options["beams"], self.options["range"]
        self.normalize = bool(options.get("normalize", True))
        self.agent = agent
        most = {"range": self.maximum_range, "intensity": 1.0, "class": float(max(Semantic)), "speed": np.inf}
        least = {"speed": -np.inf}
        if self.normalize:
            most, least = dict.fromkeys(CHANNELS, 1.0), {"speed": -1.0}
        high = np.array([most[name] for name in self.channels], dtype=np.float32)
        low = np.array([least.get(name, 0.0) for name in self.channels], dtype=np.float32)
        shape = (self.cells, len(self.channels))
        self.space = spaces.Box(np.broadcast_to(low, shape), np.broadcast_to(high, shape), dtype=np.float32)
        self.empty = tuple(float(high[i]) if name == "range" else 0.0 for i, name in enumerate(self.channels))

    def _columns(self, channels: Any) -> None:
        """Set `channels`."""
        if not isinstance(channels, (list, tuple)) or not channels:
            raise TypeError(f"observation channels is {channels!r}; it must be a list of {', '.join(CHANNELS)}")
        require_known(channels, CHANNELS, "observation channel")
        if len(set(channels)) < len(channels):
            raise ValueError(f"observation channels is {channels!r}; each may come once")
        self.channels = tuple(channels)

    def bind(self, binding: Binding) -> torch.Tensor:
        """Allocate and return the table `[N, beams, channels]`."""
        if self.mode == "highway-env":
            return super().bind(binding)
        self.sensor = LidarSensor(binding, agent=self.agent, **self.options)
        seen, place = self.sensor.latest, str(binding.device)
        out = torch.zeros(binding.num_worlds, *self.space.shape, dtype=torch.float32, device=binding.device)
        parts = [wp.from_torch(one) for one in (seen.ranges, seen.intensity, seen.classes, seen.speed)]
        units = {"range": self.maximum_range, "intensity": 1.0, "class": max(Semantic), "speed": FASTEST}
        scales = [1 / units[name] if self.normalize else 1.0 for name in self.channels]
        columns = wp.array([CHANNELS.index(name) for name in self.channels], dtype=wp.int32, device=place)
        self._threads = self.cells if binding.device.type == "cuda" else 1
        options = [columns, wp.array(scales, dtype=wp.float32, device=place), int(self.normalize), self._threads]
        self._inputs = [*parts, *options, wp.from_torch(out)]
        return out

    def launches(self, mask: Any, reset: bool = False) -> list[tuple]:
        """Return the launches: the scan, and its channels side by side."""
        if self.mode == "highway-env":
            return super().launches(mask, reset)
        return [*self.sensor.launches(mask), (arrange, [mask, *self._inputs], self._threads)]
