"""Driving with the arrow keys, as highway-env's manual control does.

Source: highway_env/envs/common/graphics.py `EventHandler`, 1.12.1. There a key acts in the middle of a policy step;
here it acts at the next decision, so that a drive is an episode like any other and can be recorded: `live_config` lets
every frame be a decision where that changes nothing else.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pygame
import torch
from torch import Tensor

from sim.actions import ContinuousAction, DiscreteAction, DiscreteMetaAction, MultiAgentAction
from sim.config import complete, scenario
from sim.evaluation.driver import Sees, idle_action

META_KEYS = {
    pygame.K_RIGHT: "FASTER",
    pygame.K_LEFT: "SLOWER",
    pygame.K_DOWN: "LANE_RIGHT",
    pygame.K_UP: "LANE_LEFT",
}
PUSH = 0.7
"""How far a held key steers, accelerates or brakes, of 1."""


class MetaKeys:
    """Each press of a key is one meta-action.

    Presses are carried out one a decision, in their order; those of more than a second ago are forgotten.
    """

    def __init__(self, kind: DiscreteMetaAction, per_second: float):
        self._names = list(kind.names)
        self._pressed: deque[int] = deque(maxlen=max(1, round(per_second)))

    def reset(self) -> None:
        """Forgets what was pressed."""
        self._pressed.clear()

    def hear(self, event: pygame.event.Event) -> None:
        """Takes note of a key."""
        name = META_KEYS.get(event.key) if event.type == pygame.KEYDOWN else None
        if name in self._names:
            self._pressed.append(self._names.index(name))

    def decide(self) -> np.ndarray:
        """Returns the action [] to take."""
        return np.asarray(self._pressed.popleft() if self._pressed else self._names.index("IDLE"))


class Pedals:
    """Up and down accelerate and brake, right and left steer, for as long as the key is held."""

    def __init__(self, kind: ContinuousAction):
        self._kind = kind
        self.action = np.zeros(kind.size)

    def reset(self) -> None:
        """Lets go of everything."""
        self.action = np.zeros(self._kind.size)

    def hear(self, event: pygame.event.Event) -> None:
        """Takes note of a key; letting go of either key of an axis ends it, as in highway-env."""
        if event.type not in (pygame.KEYDOWN, pygame.KEYUP):
            return
        push = PUSH if event.type == pygame.KEYDOWN else 0.0
        if event.key in (pygame.K_RIGHT, pygame.K_LEFT) and self._kind.lateral:
            self.action[-1] = push if event.key == pygame.K_RIGHT else -push
        if event.key in (pygame.K_UP, pygame.K_DOWN) and self._kind.longitudinal:
            self.action[0] = push if event.key == pygame.K_UP else -push

    def decide(self) -> np.ndarray:
        """Returns the action [1 or 2] to take."""
        return self.action.copy() + 0.0  # no -0.0


class GridKeys(Pedals):
    """The same where the controls are a grid: the nearest of its points. highway-env hears no keys there."""

    def __init__(self, kind: DiscreteAction):
        super().__init__(kind)
        self._grid = np.array([ast.literal_eval(name) for name in kind.names])  # (acceleration, steering) of each

    def decide(self) -> np.ndarray:
        """Returns the action [] to take."""
        return np.asarray(np.abs(self._grid - self.action).sum(axis=1).argmin())


class Keyboard:
    """A driver whose mind is somebody at the keyboard; of several agents it drives the first, and the others idle."""

    sees: Sees = "scene"

    def __init__(self, device: str | torch.device = "cpu"):
        self.device = torch.device(device)

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Learns which actions there are."""
        kind = envs.action_type
        self._several = isinstance(kind, MultiAgentAction)
        kind = kind.inner if self._several else kind
        if isinstance(kind, DiscreteMetaAction):
            self.keys = MetaKeys(kind, envs.config["policy_frequency"])
        else:
            self.keys = GridKeys(kind) if isinstance(kind, DiscreteAction) else Pedals(kind)
        self._idle = idle_action(envs.single_action_space, envs.config)

    def reset(self, mask: Tensor) -> None:
        """Forgets the keys of the episode before."""
        self.keys.reset()

    def hear(self, event: pygame.event.Event) -> None:
        """Takes note of an event of the window."""
        self.keys.hear(event)

    def act(self, observation: Any) -> Tensor:
        """Returns the action [1, ...] that the keys ask for."""
        action = self.keys.decide()
        if self._several:
            everyone = np.array(self._idle, dtype=np.result_type(self._idle, action))
            everyone[0] = action
            action = everyone
        return torch.as_tensor(action, device=self.device)[None]


def live_config(env_id: str, config: dict[str, Any] | None, rate: float | None = None) -> dict[str, Any]:
    """Returns the config in which keys are heard `rate` times a simulated second.

    Without a rate every frame is a decision, as quick as highway-env's manual control; but not where the id's traffic
    or its end depends on how often decisions are made (intersections, a limit of steps): there the id's own rate stays.

    Raises:
        ValueError: a rate that is not a whole part of the frames.
    """
    whole = complete(env_id, config)
    frames, family = whole["simulation_frequency"], scenario(env_id)
    if rate is None:
        counted = family.after_kernel is not None or family.max_episode_steps is not None
        rate = whole["policy_frequency"] if counted else frames
    elif not 0 < rate <= frames or frames % rate:
        divisors = [str(number) for number in range(1, int(frames) + 1) if frames % number == 0]
        raise ValueError(
            f"{env_id} has {frames:g} frames a second: keys can be heard {', '.join(divisors)} times a second"
        )
    return dict(config or {}) | {"policy_frequency": rate}
