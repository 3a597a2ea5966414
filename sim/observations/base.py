"""What an observation type must provide, and what it may know."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import torch

from sim.actions import ActionType
from sim.engine.network import Network
from sim.scenarios.base import Scenario

# One tensor [N, ...], or several by name (a Dict space) or by number (a Tuple space).
Observation = torch.Tensor | dict[str, Any] | tuple[Any, ...]


@dataclass(frozen=True)
class Setting:
    """The environment that is being built, as far as the host knows it."""

    config: dict[str, Any]
    scenario: Scenario
    network: Network
    action_type: ActionType
    egos: int


@dataclass(frozen=True)
class Binding:
    """The worlds to observe: Warp structs and how many there are."""

    setting: Setting
    lanes: Any
    world: Any
    model: Any
    num_worlds: int
    device: torch.device
    real: type


class ObservationType(ABC):
    """An observation of the ego `agent`; highway-env's class of the same name.

    Args:
        options: `config["observation"]`.
        setting: the environment it is for.
        agent: which of the controlled vehicles observes.

    Raises:
        TypeError, ValueError: an unknown option, a value out of range, or a type that does not fit the environment.
    """

    space: gymnasium.Space

    @abstractmethod
    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None: ...

    @abstractmethod
    def bind(self, binding: Binding) -> Observation:
        """Allocate and return the tensors `[N, *shape]` that the kernels will write."""

    @abstractmethod
    def launches(self, mask: Any, reset: bool = False) -> list[tuple]:
        """Return the launches of a `Program`, without the first world, that observe the worlds of `mask`, once bound.

        `reset` says that an episode begins, where highway-env may draw more random numbers than in a step.
        """

    def begin_launches(self, mask: Any) -> list[tuple]:
        """Return the launches that make the observation forget the last episode; `launches` has them at a reset."""
        return []

    def space_launches(self, mask: Any) -> list[tuple[Any, list[Any]]]:
        """Return the launches that draw what highway-env's `space()` draws; a reset asks for the space twice first."""
        return []


def mapped(function: Callable[[torch.Tensor], Any], observation: Observation) -> Any:
    """Return an observation of the same structure with the function applied to each tensor."""
    if isinstance(observation, dict):
        return {name: mapped(function, part) for name, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(mapped(function, part) for part in observation)
    return function(observation)


def leaves(observation: Observation, name: str = "observation") -> dict[str, torch.Tensor]:
    """Return the tensors of an observation by a name such as `observation.0.achieved_goal`."""
    if isinstance(observation, torch.Tensor):
        return {name: observation}
    parts = observation.items() if isinstance(observation, dict) else enumerate(observation)
    return {leaf: tensor for key, part in parts for leaf, tensor in leaves(part, f"{name}.{key}").items()}
