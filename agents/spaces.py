"""What a network must know of an environment: the shapes of its spaces, and where lanes stand in its observation."""

from dataclasses import dataclass
from typing import Any

import gymnasium

# The columns of highway-env's Kinematics observation when its config names none.
KINEMATICS_FEATURES = ("presence", "x", "y", "vx", "vy")

LANE_WIDTH = 4.0  # m, of all lanes of highway-env's straight roads


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
    """Shape of one observation."""
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


def spaces_of(envs: gymnasium.vector.VectorEnv) -> Spaces:
    """Returns the spaces of one world of `envs`; ValueError if no learner here can use them."""
    observation, action = envs.single_observation_space, envs.single_action_space
    if not isinstance(observation, gymnasium.spaces.Box):
        raise ValueError(f"observation space must be a Box, got {observation}")
    shape = tuple(int(size) for size in observation.shape)
    config = (getattr(envs, "config", None) or {}) if len(shape) == 2 else {}
    presence, lane = _presence_column(config), _lane_columns(config)
    if isinstance(action, gymnasium.spaces.Discrete) and action.start == 0:
        return Spaces(shape, presence, int(action.n), continuous=False, lane=lane)
    if isinstance(action, gymnasium.spaces.Box) and len(action.shape) == 1 and action.is_bounded():
        low, high = tuple(map(float, action.low)), tuple(map(float, action.high))
        return Spaces(shape, presence, len(low), continuous=True, low=low, high=high, lane=lane)
    raise ValueError(f"action space must be Discrete from 0 or a bounded one-dimensional Box, got {action}")


def stored_spaces(stored: dict[str, Any]) -> Spaces:
    """Returns the spaces that `dataclasses.asdict` has turned into plain values."""
    lane = stored.get("lane")
    return Spaces(**stored | {"lane": LaneColumns(**lane) if lane else None})


def _presence_column(env_config: dict[str, Any]) -> int | None:
    observation = env_config.get("observation", {})
    if observation.get("type") != "Kinematics":
        return None
    features = list(observation.get("features") or KINEMATICS_FEATURES)
    return features.index("presence") if "presence" in features else None


def _lane_columns(env_config: dict[str, Any]) -> LaneColumns | None:
    observation = env_config.get("observation", {})
    features = list(observation.get("features") or KINEMATICS_FEATURES)
    if observation.get("type") != "Kinematics" or not {"x", "y"} <= set(features):
        return None
    pitch = LANE_WIDTH
    if observation.get("normalize", True):
        ranges = observation.get("features_range")
        if ranges and "y" in ranges:
            pitch = 2 * LANE_WIDTH / (ranges["y"][1] - ranges["y"][0])
        elif not ranges:
            if "lanes_count" not in env_config:
                return None
            pitch = 1 / env_config["lanes_count"]  # y is divided by LANE_WIDTH * lanes
    return LaneColumns(features.index("x"), features.index("y"), pitch, bool(observation.get("absolute", False)))
