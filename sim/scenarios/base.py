"""What a scenario file must provide, and the config checks they share."""

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
import warp as wp

from sim.engine.network import Network
from sim.engine.state import Kind
from sim.world import Sizes

TRAFFIC_KINDS = {
    "highway_env.vehicle.behavior.IDMVehicle": Kind.IDM,
    "highway_env.vehicle.behavior.LinearVehicle": Kind.LINEAR,
    "highway_env.vehicle.behavior.AggressiveVehicle": Kind.AGGRESSIVE,
    "highway_env.vehicle.behavior.DefensiveVehicle": Kind.DEFENSIVE,
}

# Kernel parameters: which worlds it is about, and what the user gave
Mask = wp.array(dtype=wp.bool)  # [N]
Action = wp.array2d(dtype=wp.float64)  # [N, A], all agents side by side; at a reset IDLE or zero


@wp.struct
class Verdict:
    """What a judge says of each world."""

    terms: wp.array2d(dtype=wp.float64)  # [N, T] unweighted terms of the reward
    reward: wp.array(dtype=wp.float64)  # [N]
    terminated: wp.array(dtype=wp.bool)  # [N]
    truncated: wp.array(dtype=wp.bool)  # [N]
    agent_reward: wp.array2d(dtype=wp.float64)  # [N, C]
    agent_terminated: wp.array2d(dtype=wp.bool)  # [N, C]
    success: wp.array2d(dtype=wp.bool)  # [N, C]


class Scenario(ABC):
    """A family of environments: a road, a spawn, a reward and an end. The engine's step knows none of them.

    Kernels (one thread a world, `first` is the first world of the slice):
        spawn_kernel(lanes, world, model, rules, mask, first)
        judge_kernel(lanes, world, model, rules, mask, action, verdict, first)
        after_kernel(lanes, world, model, rules, mask, first)
    `mask` is a `Mask`, `action` an `Action`, `verdict` a `Verdict`, of which a judge writes what its family has.
    """

    rewards: ClassVar[tuple[str, ...]] = ()  # names of the reward's terms, as in highway-env's info["rewards"]
    optional_keys: ClassVar[frozenset[str]] = frozenset()  # config keys that have no default
    reports: ClassVar[tuple[str, ...]] = ()  # what info holds besides: is_success, agents_rewards, agents_terminated
    success_of_all: bool = False  # where several agents observe, is is_success told of each
    driver: ClassVar[dict[str, float]] = {}  # traffic constants that differ from IDM's (see `sim.vector`)
    traffic: bool = True  # do any vehicles but the egos drive
    regulated: bool = False  # does the junction's right of way stop vehicles
    observes_first: bool = False  # does a step observe after the action and before the motion, and time stand still
    per_agent: bool = False  # does the id return a reward and an end for each agent
    max_episode_steps: int | None = None  # Gymnasium's TimeLimit of the id
    parameters: ClassVar[Any]  # the @wp.struct of what the kernels need of the config, see `rules`
    spawn_kernel: ClassVar[Any]
    judge_kernel: ClassVar[Any]
    after_kernel: ClassVar[Any] = None  # runs after a step's observation
    connected: bool = False  # is it the variant (mostly -v1) whose neighbours also count on the lanes before and after

    def __init__(self, connected: bool = False) -> None:
        self.connected = connected

    @abstractmethod
    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from; here, for a fraction where `rules` wants none."""
        for name, field in self.parameters.vars.items():
            value = config.get(name)
            if field.type is wp.int32 and isinstance(value, Real) and not float(value).is_integer():
                raise ValueError(f"config[{name!r}] is {value!r}; it must be an integer")

    @abstractmethod
    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""

    @abstractmethod
    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the struct of parameters that the kernels get.

        A field that is called like a config key has its value, if that is a number; `ego_kind` and `traffic_kind` are
        the drivers of the ego and of the others. A family that has further fields fills them in.
        """
        rules = self.parameters()
        for name, field in self.parameters.vars.items():
            value = config.get(name)
            if name == "ego_kind":
                rules.ego_kind = int(ego_kind)
            elif name == "traffic_kind":
                rules.traffic_kind = int(traffic_kind(config))
            elif isinstance(value, (Real, np.bool_)) and field.type in (wp.float64, wp.int32):
                setattr(rules, name, float(value) if field.type is wp.float64 else int(value))
        return rules


def traffic_kind(config: dict[str, Any]) -> Kind:
    """Return the driver of the other vehicles that the config names."""
    path = config["other_vehicles_type"]
    if not isinstance(path, str) or path not in TRAFFIC_KINDS:
        raise ValueError(f"config['other_vehicles_type'] is {path!r}; allowed: {', '.join(TRAFFIC_KINDS)}")
    return TRAFFIC_KINDS[path]


def at_least(config: dict[str, Any], key: str, least: int) -> None:
    """Raise ValueError unless an integer key has a value of at least `least`."""
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"config[{key!r}] is {value!r}; it must be an integer of at least {least}")


def is_number(value: Any) -> bool:
    """Is this a real number (infinity included), and not a bool or NaN?"""
    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def number_pair(value: Any, what: str, different: bool = False) -> tuple[float, float]:
    """Return `[low, high]` as a tuple.

    Raises:
        ValueError: not two numbers, or the same number twice where they must be different.
    """
    fits = isinstance(value, (list, tuple, np.ndarray)) and len(value) == 2 and all(map(is_number, value))
    if not fits or (different and value[0] == value[1]):
        raise ValueError(f"{what} is {value!r}; it must be two {'different ' * different}numbers [low, high]")
    return tuple(value)
