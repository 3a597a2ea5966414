"""Observations as one tensor, and what a network must know of an environment."""

import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import torch
from torch import Tensor

from sim.engine.lanes import StraightLane

# The columns of highway-env's Kinematics observation when its config names none.
KINEMATICS_FEATURES = ("presence", "x", "y", "vx", "vy")

LANE_WIDTH = 4.0  # m, of all lanes of highway-env's straight roads

LEAST_SIDE = 16  # pixels along each side of what counts as a picture


def is_picture(dtype: Any, shape: tuple[int, ...]) -> bool:
    """Are these bytes [F, X, Y] a picture, which is kept as it is, and not a small grid of features?"""
    return str(dtype).rpartition(".")[2] == "uint8" and len(shape) == 3 and min(shape[1:]) >= LEAST_SIDE


def flat(observation: Any, device: str | torch.device | None = None) -> Tensor:
    """Returns an observation as the one tensor that a network reads, float32 but for pictures, which stay bytes.

    A tensor or an array [N, *S] keeps its shape. The parts of a dict, sorted by name, or of a tuple are joined: [N, D].
    A goal environment's `achieved_goal` is left out: `observation` says the same.
    """
    if not isinstance(observation, dict | tuple):
        kept = is_picture(observation.dtype, tuple(observation.shape[1:]))
        return torch.as_tensor(observation, dtype=torch.uint8 if kept else torch.float32, device=device)
    return torch.cat([flat(part, device).flatten(1).float() for part in _parts(observation)], dim=1)


def _parts(nested: Any) -> list[Any]:
    """The parts of a dict or tuple, of its space as well, in the order in which a network reads them."""
    inner = getattr(nested, "spaces", nested)
    if not isinstance(inner, dict):
        return list(inner)
    return [inner[name] for name in sorted(inner) if name != "achieved_goal" or "observation" not in inner]


def _flat_shape(space: gymnasium.Space) -> tuple[int, ...]:
    """The shape of one world's `flat` observation; ValueError if it is made of something else than numbers."""
    if isinstance(space, gymnasium.spaces.Box):
        return tuple(int(size) for size in space.shape)
    if not isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        raise ValueError(f"observation space must be a Box, or a Dict or Tuple of them, got {space}")
    return (sum(math.prod(_flat_shape(part)) for part in _parts(space)),)


@dataclass(frozen=True)
class LaneColumns:
    """How to read the lane of a vehicle off a Kinematics observation."""

    x: int
    """Column of the longitudinal position."""
    y: int
    """Column of the lateral position."""
    pitch: float
    """Distance of two lanes in units of column y."""
    absolute: bool
    """Whether y counts from the road rather than from the ego."""


@dataclass(frozen=True)
class Spaces:
    """What a network must know of an environment, as plain numbers that go into `config.json`."""

    observation: tuple[int, ...]
    """Shape of one `flat` observation."""
    presence: int | None
    """Column of [K, F] observations that is 0 where a row holds no vehicle; None without such a column."""
    actions: int
    """Number of discrete actions, or dimension of the continuous one."""
    continuous: bool
    """Whether actions are vectors in `low` .. `high` rather than indices."""
    low: tuple[float, ...] = ()
    """Lower bound of each continuous action component."""
    high: tuple[float, ...] = ()
    """Upper bound of each continuous action component."""
    lane: LaneColumns | None = None
    """Where lanes can be read from; None if they can't."""
    picture: bool = False
    """Whether observations are bytes [F, X, Y], F of them a pixel."""

    @property
    def dtype(self) -> torch.dtype:
        """Of one `flat` observation."""
        return torch.uint8 if self.picture else torch.float32


def spaces_of(envs: gymnasium.vector.VectorEnv) -> Spaces:
    """Returns the spaces of one world of `envs`; ValueError if no learner here can use them."""
    observation, action = envs.single_observation_space, envs.single_action_space
    if isinstance(action, gymnasium.spaces.Tuple):
        name, agents = getattr(envs, "id", "this environment"), len(action.spaces)
        raise ValueError(f"{name} takes the actions of {agents} agents at once: learners here train one agent only")
    shape = _flat_shape(observation)
    config = getattr(envs, "config", None) or {}
    rows = isinstance(observation, gymnasium.spaces.Box) and len(shape) == 2
    presence = _presence_column(config.get("observation", {})) if rows else None
    lane = _lane_columns(config.get("observation", {}), getattr(envs, "network", None)) if rows else None
    picture = isinstance(observation, gymnasium.spaces.Box) and is_picture(observation.dtype, shape)
    if isinstance(action, gymnasium.spaces.Discrete) and action.start == 0:
        return Spaces(shape, presence, int(action.n), continuous=False, lane=lane, picture=picture)
    if isinstance(action, gymnasium.spaces.Box) and len(action.shape) == 1 and action.is_bounded():
        low, high = tuple(map(float, action.low)), tuple(map(float, action.high))
        return Spaces(shape, presence, len(low), True, low, high, lane, picture)
    raise ValueError(f"action space must be Discrete from 0 or a bounded one-dimensional Box, got {action}")


def stored_spaces(stored: dict[str, Any]) -> Spaces:
    """Returns the spaces that `dataclasses.asdict` has turned into plain values."""
    lane = stored.get("lane")
    return Spaces(**stored | {"lane": LaneColumns(**lane) if lane else None})


def _features(observation: dict[str, Any]) -> list[str]:
    """The columns of a Kinematics observation, or of exit-v0's, in which one number of the ego means something else."""
    if observation.get("type") not in ("Kinematics", "ExitObservation"):
        return []
    return list(observation.get("features") or KINEMATICS_FEATURES)


def _presence_column(observation: dict[str, Any]) -> int | None:
    features = _features(observation)
    return features.index("presence") if "presence" in features else None


def _lane_columns(observation: dict[str, Any], network: Any) -> LaneColumns | None:
    """Where to read lanes from on a road that runs along x from its start to its end; None anywhere else."""
    features = _features(observation)
    if network is None or not {"x", "y"} <= set(features) or not all(_is_along_x(lane) for lane in network.lanes):
        return None
    pitch = LANE_WIDTH
    if observation.get("normalize", True):
        ranges = observation.get("features_range")
        if not ranges:
            start, end, _ = network.lane_index(0)
            pitch = 1 / len(network.graph[start][end])  # y is divided by LANE_WIDTH * lanes beside each other
        elif "y" in ranges:
            pitch = 2 * LANE_WIDTH / (ranges["y"][1] - ranges["y"][0])
    return LaneColumns(features.index("x"), features.index("y"), pitch, bool(observation.get("absolute", False)))


def _is_along_x(lane: Any) -> bool:
    return isinstance(lane, StraightLane) and lane.direction[1] == 0.0
