"""Action types: the spaces of highway-env, and what an action tells the ego.

Source: highway_env/envs/common/action.py, 1.12.1.
"""

import itertools
import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from sim.config import require_known
from sim.engine.drivers import MetaAction
from sim.engine.state import Kind
from sim.engine.vehicles import MAX_SPEED, MIN_SPEED
from sim.scenarios.base import number_pair

ACCELERATION_RANGE = (-5.0, 5.0)  # m/s2
STEERING_RANGE = (-math.pi / 4, math.pi / 4)  # rad
TARGET_SPEEDS = (20.0, 25.0, 30.0)  # m/s, MDPVehicle.DEFAULT_TARGET_SPEEDS

_CONTINUOUS_KEYS = {"acceleration_range", "steering_range", "longitudinal", "lateral", "dynamical", "clip"}
# highway-env swallows these where they have no effect
_IGNORED_KEYS = {"type", "target_speeds", "speed_range", "actions_per_axis"}


class DiscreteMetaAction:
    """Lane changes and target speeds for an MDP vehicle."""

    kind = Kind.MDP
    agents = 1
    neutral = 1.0  # IDLE, the action that a reset is judged by
    speed_range = (MIN_SPEED, MAX_SPEED)

    def __init__(self, config: dict[str, Any]) -> None:
        require_known(config, _CONTINUOUS_KEYS | _IGNORED_KEYS, "action key")
        longitudinal, lateral = config.get("longitudinal", True), config.get("lateral", True)
        if not (longitudinal or lateral):
            raise ValueError("DiscreteMetaAction needs longitudinal or lateral actions, or both")
        if longitudinal and lateral:
            self.actions = tuple(MetaAction)
        elif longitudinal:
            self.actions = (MetaAction.SLOWER, MetaAction.IDLE, MetaAction.FASTER)
        else:
            self.actions = (MetaAction.LANE_LEFT, MetaAction.IDLE, MetaAction.LANE_RIGHT)
        speeds = config.get("target_speeds")
        try:
            self.target_speeds = np.asarray(TARGET_SPEEDS if speeds is None else speeds, dtype=float)
        except (TypeError, ValueError):
            self.target_speeds = np.zeros(0)
        if self.target_speeds.ndim != 1 or len(self.target_speeds) < 2 or not (np.diff(self.target_speeds) > 0).all():
            raise ValueError(f"target_speeds is {speeds!r}; it must be at least two rising speeds [m/s]")
        self.space = spaces.Discrete(len(self.actions))
        self.names = tuple(action.name for action in self.actions)
        self._codes = torch.tensor([int(action) for action in self.actions], dtype=torch.int32)

    def encode(self, actions: torch.Tensor, meta: torch.Tensor, command: torch.Tensor) -> None:
        """Write actions `[N]` as meta-actions into the first agent's column of `meta` `[N, C]`."""
        if self._codes.device != meta.device:
            self._codes = self._codes.to(meta.device)
        if meta.shape[1] == 1:
            torch.index_select(self._codes, 0, actions, out=meta[:, 0])
        else:
            meta[:, 0] = self._codes[actions]


class ContinuousAction:
    """Acceleration and steering in [-1, 1], mapped to their ranges."""

    agents = 1
    neutral = 0.0
    target_speeds = np.asarray(TARGET_SPEEDS)
    names: tuple[str, ...] = ()

    def __init__(self, config: dict[str, Any]) -> None:
        require_known(config, _CONTINUOUS_KEYS | _IGNORED_KEYS, "action key")
        self.longitudinal, self.lateral = config.get("longitudinal", True), config.get("lateral", True)
        if not (self.longitudinal or self.lateral):
            raise ValueError(f"{config['type']} needs longitudinal or lateral control, or both")
        self.clip = config.get("clip", True)
        self.kind = Kind.BICYCLE if config.get("dynamical", False) else Kind.VEHICLE
        self.ranges = (
            number_pair(config.get("acceleration_range") or ACCELERATION_RANGE, "action acceleration_range"),
            number_pair(config.get("steering_range") or STEERING_RANGE, "action steering_range"),
        )
        # DiscreteAction has no such option, and highway-env swallows it there
        speed_range = config.get("speed_range") if config["type"] == "ContinuousAction" else None
        self.speed_range = number_pair(speed_range or (MIN_SPEED, MAX_SPEED), "action speed_range")
        self.size = 2 if self.longitudinal and self.lateral else 1
        self.space: spaces.Space = spaces.Box(-1.0, 1.0, shape=(self.size,), dtype=np.float32)

    def encode(self, actions: torch.Tensor, meta: torch.Tensor, command: torch.Tensor) -> None:
        """Write actions `[N, 1 or 2]` as acceleration [m/s2] and steering [rad] into the first agent's `command`.

        `command` is `[N, C, 2]`. The map is computed in the actions' own precision, as NumPy does it in highway-env.
        """
        if self.clip:
            actions = actions.clamp(-1, 1)
        axes = [axis for axis, used in enumerate((self.longitudinal, self.lateral)) if used]
        for column, axis in enumerate(axes):
            low, high = self.ranges[axis]
            # half the width first is exact, and few small operations keep a single world fast
            command[:, 0, axis].copy_((actions[:, column] + 1).mul_((high - low) / 2).add_(low))


class DiscreteAction(ContinuousAction):
    """A grid over the continuous actions, acceleration outermost."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        per_axis = config.get("actions_per_axis", 3)
        if type(per_axis) is not int or per_axis < 2:
            raise ValueError(f"actions_per_axis is {per_axis!r}; it must be an integer of at least 2")
        box = self.space
        axes = np.linspace(box.low, box.high, per_axis).T
        self._grid = torch.from_numpy(np.array(list(itertools.product(*axes)), dtype=np.float32))
        self.space = spaces.Discrete(len(self._grid))
        self.names = tuple(str(tuple(round(float(a), 3) for a in row)) for row in self._grid)

    def encode(self, actions: torch.Tensor, meta: torch.Tensor, command: torch.Tensor) -> None:
        """Write actions `[N]` as acceleration [m/s2] and steering [rad] into the first agent's `command`."""
        super().encode(self._grid.to(command.device)[actions], meta, command)


class MultiAgentAction:
    """The same kind of action for each controlled vehicle."""

    def __init__(self, config: dict[str, Any], egos: int) -> None:
        require_known(config, ["type", "action_config"], "action key")
        self.inner = action_type(config.get("action_config"), egos)
        if isinstance(self.inner, MultiAgentAction):
            raise ValueError("a MultiAgentAction can't hold another one")
        self.agents = egos
        self.kind, self.neutral = self.inner.kind, self.inner.neutral
        self.speed_range, self.target_speeds = self.inner.speed_range, self.inner.target_speeds
        self.names = self.inner.names
        self.space = spaces.Tuple([self.inner.space] * egos)

    def encode(self, actions: torch.Tensor, meta: torch.Tensor, command: torch.Tensor) -> None:
        """Write actions `[N, C, ...]` into `meta` `[N, C]` or `command` `[N, C, 2]`."""
        for agent in range(self.agents):
            self.inner.encode(actions[:, agent], meta[:, agent:], command[:, agent:])


ACTION_TYPES = {
    "DiscreteMetaAction": DiscreteMetaAction,
    "ContinuousAction": ContinuousAction,
    "DiscreteAction": DiscreteAction,
}
ActionType = DiscreteMetaAction | ContinuousAction | DiscreteAction | MultiAgentAction


def action_type(config: dict[str, Any], egos: int) -> ActionType:
    """Return the action type that `config["action"]` describes, for a scene of `egos` controlled vehicles.

    Raises:
        TypeError, ValueError: unknown type or key, or a value out of range.
    """
    if not isinstance(config, dict):
        raise TypeError(f"an action config is {config!r}; it must be a dict")
    require_known([config.get("type", "(missing)")], [*ACTION_TYPES, "MultiAgentAction"], "action type")
    if config["type"] == "MultiAgentAction":
        return MultiAgentAction(config, egos)
    return ACTION_TYPES[config["type"]](config)


def checked(actions: Any, space: spaces.Space, num_envs: int, device: torch.device) -> torch.Tensor:
    """Return the actions of all worlds as a tensor on `device`: int64 `[N]`, or floats `[N, size]`.

    For a Tuple space, `[N, C, ...]`: given so, or as one array `[N, ...]` an agent.

    Raises:
        TypeError: not an array of numbers, or floats for a discrete space.
        ValueError: wrong shape, wrong device, an action outside the space, NaN.
    """
    if isinstance(space, spaces.Tuple):
        return _checked_of_agents(actions, space, num_envs, device)
    finite = None
    if isinstance(actions, torch.Tensor):
        if actions.device != device:
            raise ValueError(f"actions are on {actions.device}, the environment is on {device}")
    else:
        if isinstance(actions, np.ndarray) and actions.dtype.kind == "f":
            finite = bool(np.isfinite(actions).all())  # a third of what torch takes for a single world
        try:
            # a copy, because torch takes neither read-only arrays nor negative strides
            actions = torch.as_tensor(np.array(actions, order="C"), device=device)
        except (TypeError, ValueError) as error:
            raise TypeError(f"actions must be an array of numbers [{num_envs}, ...], not {actions!r:.80}") from error
    shape = (num_envs, *space.shape)
    if tuple(actions.shape) != shape:
        raise ValueError(f"actions have shape {tuple(actions.shape)}; expected {shape}, one action a world")
    if actions.is_complex():
        raise TypeError(f"actions are {actions.dtype}; allowed: integers or floats")
    if isinstance(space, spaces.Discrete):
        if actions.is_floating_point() or actions.dtype == torch.bool:
            raise TypeError(f"actions are {actions.dtype}; a discrete space takes integers 0 to {space.n - 1}")
        actions = actions.long()
        for extreme in (int(actions.min()), int(actions.max())):
            if not 0 <= extreme < space.n:
                raise ValueError(f"action {extreme} is outside the space; allowed: 0 to {int(space.n) - 1}")
        return actions
    if not actions.is_floating_point():
        actions = actions.to(torch.float32)
    if finite is False or (finite is None and not bool(actions.isfinite().all())):
        raise ValueError("actions hold NaN or infinity; allowed: finite numbers, clipped to [-1, 1]")
    return actions


def _checked_of_agents(actions: Any, space: spaces.Tuple, num_envs: int, device: torch.device) -> torch.Tensor:
    """Return the actions of several agents a world as one tensor `[N, C, ...]`."""
    agents = len(space.spaces)
    if not isinstance(actions, (list, tuple)):
        shape = tuple(np.shape(actions)) if not isinstance(actions, torch.Tensor) else tuple(actions.shape)
        if shape[:2] != (num_envs, agents):
            raise ValueError(f"actions have shape {shape}; expected ({num_envs}, {agents}, ...) or one array an agent")
        actions = [actions[:, agent] for agent in range(agents)]
    if len(actions) != agents:
        raise ValueError(f"{len(actions)} arrays of actions for {agents} agents; give one array [{num_envs}, ...] each")
    parts = zip(actions, space.spaces, strict=True)
    return torch.stack([checked(part, one, num_envs, device) for part, one in parts], dim=1)
