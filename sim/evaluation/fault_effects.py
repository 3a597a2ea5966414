"""What faults do to observations and actions: frames that are lost, actions that come late or are held."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sim.evaluation.counted_random import CountedRandom
from sim.observations import Observation, mapped


class NotApplicable(ValueError):
    """A fault that means nothing for this driver or this observation."""


class Effect:
    """What a fault does to observations and actions; this one does nothing.

    `see` changes nothing in the effect itself: it may be called twice for one observation. `keep` then takes the step.
    """

    def reset(self, mask: Tensor) -> None:
        """Forgets the past of the worlds in `mask`, bool [N]."""

    def see(self, observation: Observation, step: Tensor) -> Observation:
        """Returns what the driver gets to see at the step [N] of each world."""
        return observation

    def keep(self, seen: Observation, step: Tensor) -> None:
        """Takes note of what was seen."""

    def carry_out(self, action: Tensor, step: Tensor) -> Tensor:
        """Returns the action [N, ...] that reaches the world when the driver asks for `action`."""
        return action


class DroppedFrames(Effect):
    """Some observations do not arrive, and the driver sees the last one that did; the first always arrives.

    Losses follow Gilbert's two-state chain: after a frame that arrived the next is lost with probability `first`,
    after a lost one with `next`. Source: E. N. Gilbert (1960), "Capacity of a burst-noise channel".
    """

    def __init__(self, share: float, burst: float | None, draws: CountedRandom):
        """`share` of the frames are lost; `burst`: mean length of a row of them in decisions, None: independent."""
        self.draws = draws
        self.next = share if burst is None else 1 - 1 / burst
        self.first = share if burst is None else share / ((1 - share) * burst)
        self.lost = torch.zeros(len(draws.keys), dtype=torch.bool, device=draws.keys.device)
        self.last: Observation | None = None

    def _loses(self, step: Tensor) -> Tensor:
        """Bool [N]: is this step's frame lost? An episode's first never is, which ends a burst of the one before."""
        chance = torch.where(self.lost, self.next, self.first)
        return (self.draws.uniform(step, 1)[:, 0] < chance) & (step > 0)

    def see(self, observation: Observation, step: Tensor) -> Observation:
        if self.last is None:
            return observation
        return chosen(self._loses(step), self.last, observation)

    def keep(self, seen: Observation, step: Tensor) -> None:
        self.lost = self._loses(step)
        self.last = mapped(Tensor.clone, seen)  # a driver may work in place on what it is given


class ActionLatency(Effect):
    """Actions wait in a queue; until the first one comes out, the world gets the action that asks for nothing."""

    def __init__(self, decisions: int, idle: Tensor):
        self.decisions, self.idle = decisions, idle
        self.queue: list[Tensor] = []

    def reset(self, mask: Tensor) -> None:
        self.queue = [_overwritten(action, mask, self.idle) for action in self.queue]

    def carry_out(self, action: Tensor, step: Tensor) -> Tensor:
        if not self.queue:
            idle = self.idle.to(action.device, action.dtype).expand_as(action)
            self.queue = [idle.clone() for _ in range(self.decisions)]
        self.queue = [*self.queue, action.clone()]
        return self.queue.pop(0)


class ActionHold(Effect):
    """Only every (1 + `decisions`)-th action counts, from the first on; it is held meanwhile."""

    def __init__(self, decisions: int):
        self.period = 1 + decisions
        self.held: Tensor | None = None

    def carry_out(self, action: Tensor, step: Tensor) -> Tensor:
        held = action if self.held is None else self.held
        self.held = chosen((step % self.period == 0).to(action.device), action, held).clone()
        return self.held.clone()


def chosen(mask: Tensor, first: Any, second: Any) -> Any:
    """Returns the worlds in `mask` (bool [N]) from the first observation and the others from the second."""
    if isinstance(second, dict):
        return {name: chosen(mask, first[name], part) for name, part in second.items()}
    if isinstance(second, tuple | list):
        return tuple(chosen(mask, a, b) for a, b in zip(first, second, strict=True))
    return torch.where(mask.reshape(-1, *[1] * (second.ndim - 1)), first, second)


def _overwritten(action: Tensor, mask: Tensor, idle: Tensor) -> Tensor:
    idle = idle.to(action.device, action.dtype).expand_as(action)
    return chosen(torch.as_tensor(mask, device=action.device), idle, action)
