"""The AttributesObservation of lane keeping: the ego's lateral state, its derivative and what they should be.

Source: highway_env/envs/common/observation.py `AttributesObservation`, envs/lane_keeping_env.py, 1.12.1.
"""

from enum import IntEnum
from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.state import Kind
from sim.engine.vehicles import bicycle_derivative
from sim.observations.base import Binding, ObservationType, Setting
from sim.scenarios.lane_keeping import LaneKeeping

SIZE = 4  # y [m], heading [rad], lateral speed [m/s], yaw rate [rad/s], or their derivatives


class Attribute(IntEnum):
    """What can be observed; the names in lower case are those of highway-env's LaneKeepingEnv."""

    STATE = 0
    DERIVATIVE = 1
    REFERENCE_STATE = 2


@wp.func
def _attribute(lanes: Any, world: Any, w: int, v: int, attribute: int):
    """One attribute of a dynamical bicycle, without noise."""
    y = world.cars[w, v].y
    heading = world.cars[w, v].heading
    lateral_speed = world.cars[w, v].lateral_speed
    yaw_rate = world.cars[w, v].yaw_rate
    if attribute == Attribute.DERIVATIVE:
        _dx, dy, turn, _acceleration, side, twist = bicycle_derivative(
            heading,
            world.cars[w, v].speed,
            lateral_speed,
            yaw_rate,
            world.cars[w, v].steering,
            world.cars[w, v].acceleration,
        )
        return dy, turn, side, twist
    if attribute == Attribute.REFERENCE_STATE:
        on = world.rows[w].tracked_lane
        s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, y)
        return y - lateral, lane.heading_at(lanes, on, s), type(y)(0.0), type(y)(0.0)
    return y, heading, lateral_speed, yaw_rate


@wp.kernel(enable_backward=False, module="unique")
def observe_attributes(
    lanes: Any,
    world: Any,
    mask: wp.array(dtype=wp.bool),
    attributes: wp.array(dtype=wp.int32),
    noise: wp.array(dtype=wp.float64),
    out: wp.array3d(dtype=wp.float64),
    first: int,
):
    """Write the attributes of the first ego of each world in `mask` into `out` `[N, A, 4]`, with uniform noise."""
    w = first + wp.tid()
    if not mask[w]:
        return
    for column in range(attributes.shape[0]):
        a, b, c, d = _attribute(lanes, world, w, world.ego[w, 0], attributes[column])
        out[w, column, 0] = wp.float64(a)
        out[w, column, 1] = wp.float64(b)
        out[w, column, 2] = wp.float64(c)
        out[w, column, 3] = wp.float64(d)
        if attributes[column] != Attribute.REFERENCE_STATE:
            for k in range(out.shape[2]):
                out[w, column, k] = out[w, column, k] + random.uniform(world.rng, w, -noise[column], noise[column])


class AttributesObservation(ObservationType):
    """A dict of float64 `[4, 1]`, as noisy as the config's `state_noise` and `derivative_noise`."""

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, {"type", "attributes"}, "observation key")
        if not isinstance(setting.scenario, LaneKeeping):
            raise ValueError("AttributesObservation shows attributes of lane-keeping-v0, and of no other environment")
        if setting.action_type.kind != Kind.BICYCLE:
            raise ValueError("AttributesObservation shows a dynamical vehicle; the action needs 'dynamical': True")
        names = options.get("attributes")
        if not isinstance(names, (list, tuple)) or not names:
            raise ValueError(f"observation attributes is {names!r}; it must be a list of names")
        require_known(names, [attribute.name.lower() for attribute in Attribute], "observation attribute")
        self.names = list(names)
        noise = {name: setting.config.get(f"{name}_noise", 0.0) for name in self.names}
        self.noise = [float(noise[name]) for name in self.names]
        self.space = spaces.Dict(
            {name: spaces.Box(-np.inf, np.inf, shape=(SIZE, 1), dtype=np.float64) for name in self.names}
        )

    def bind(self, binding: Binding) -> dict[str, torch.Tensor]:
        """Allocate and return the attributes `[N, 4, 1]`; one listed twice is drawn twice, and the last is shown."""
        place = str(binding.device)
        out = torch.zeros(binding.num_worlds, len(self.names), SIZE, dtype=torch.float64, device=binding.device)
        codes = wp.array([int(Attribute[name.upper()]) for name in self.names], dtype=wp.int32, device=place)
        noise = wp.array(self.noise, dtype=wp.float64, device=place)
        self._before = [binding.lanes, binding.world]
        self._after = [codes, noise, wp.from_torch(out)]
        return {name: out[:, column, :, None] for column, name in enumerate(self.names)}

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the launch, at a reset after those of the space."""
        asked = self.space_launches(mask) * 2 if reset else []
        return [*asked, (observe_attributes, [*self._before, mask, *self._after])]

    def space_launches(self, mask: Any) -> list[tuple[Any, list[Any]]]:
        """Return the same launch: highway-env's `space()` observes to learn the shapes, and so draws."""
        return self.launches(mask)
