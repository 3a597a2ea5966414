"""What faults do to observations and actions: frames that are lost, actions that come late or are held."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sim.evaluation.counted_random import CountedRandom
from sim.observations import Observation, mapped

BURST_STEPS = 5.0
"""Mean length of a burst of lost frames, in decisions."""
MOST_IN_BURSTS = BURST_STEPS / (BURST_STEPS + 1)
"""Share of frames above which a burst would have to begin more than once between two others."""


class NotApplicable(ValueError):
    """A fault that means nothing for this driver or this observation."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: as in reports and on command lines.
        unit: of the severity.
        severities: what a sweep tries, mildest first; 0 is the clean run.
        about: one line.
        most: the largest severity that has a meaning.
        whole: only whole numbers are severities.
    """

    name: str
    unit: str
    severities: tuple[float, ...]
    about: str
    most: float = math.inf
    whole: bool = False

    def check(self, severity: float) -> float:
        """Returns the severity as a float; ValueError if it has no meaning here."""
        number = isinstance(severity, int | float) and not isinstance(severity, bool)
        if not number or not 0 <= severity <= self.most or not math.isfinite(severity):
            most = "" if math.isinf(self.most) else f" to {self.most:g}"
            raise ValueError(f"severity {severity!r} of {self.name}: allowed are numbers from 0{most} [{self.unit}]")
        if self.whole and severity != int(severity):
            raise ValueError(f"severity {severity!r} of {self.name}: allowed are whole numbers [{self.unit}]")
        return float(severity)


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


class Losses:
    """Which frames are lost, step by step, in bursts or each by itself.

    Losses follow Gilbert's two-state chain: after a frame that arrived the next is lost with probability `first`,
    after a lost one with `next`. Source: E. N. Gilbert (1960), "Capacity of a burst-noise channel".

    Args:
        share: of the frames that is lost.
        burst: mean length of a row of them in decisions; None: independent.
        start: the probability that an episode's first frame is lost.
        draws: numbers of the episodes.
    """

    def __init__(self, share: float, burst: float | None, start: float, draws: CountedRandom):
        self.draws, self.start = draws, start
        self.next = share if burst is None else 1 - 1 / burst
        self.first = share if burst is None else share / ((1 - share) * burst)
        self.lost = torch.zeros(len(draws.keys), dtype=torch.bool, device=draws.keys.device)

    def now(self, step: Tensor, member: int = 0) -> Tensor:
        """Bool [N]: is this step's frame lost? A new episode knows nothing of the one before."""
        chance = torch.where(self.lost, self.next, self.first)
        chance = torch.where(step > 0, chance, self.start)
        return self.draws.uniform(step, 1, member)[:, 0] < chance

    def keep(self, step: Tensor, member: int = 0) -> None:
        """Takes the step."""
        self.lost = self.now(step, member)


class RepeatedFrames(Effect):
    """In place of some observations the driver sees the one before again."""

    def __init__(self) -> None:
        self.last: Observation | None = None

    @abstractmethod
    def loses(self, step: Tensor) -> Tensor:
        """Bool [N]: is this step's observation lost? An episode's first never is."""

    def see(self, observation: Observation, step: Tensor) -> Observation:
        if self.last is None:
            return observation
        return chosen(self.loses(step), self.last, observation)

    def keep(self, seen: Observation, step: Tensor) -> None:
        self.last = mapped(Tensor.clone, seen)  # a driver may work in place on what it is given


class DroppedFrames(RepeatedFrames):
    """Some observations do not arrive, and the driver sees the last one that did; the first always arrives."""

    def __init__(self, share: float, burst: float | None, draws: CountedRandom):
        """`share` of the frames are lost; `burst`: mean length of a row of them in decisions, None: independent."""
        super().__init__()
        self.losses = Losses(share, burst, 0.0, draws)

    def loses(self, step: Tensor) -> Tensor:
        return self.losses.now(step)

    def keep(self, seen: Observation, step: Tensor) -> None:
        self.losses.keep(step)
        super().keep(seen, step)


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
