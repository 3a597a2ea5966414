"""Faults of sensors and of the computer between a driver and the world: noise, loss, delay, what is not there.

A `FaultyDriver` is a driver inside a fault, and a driver itself. What a fault draws is a function of (its seed, the
episode's seed, the step) alone, and a greater severity uses the same numbers: all severities of a fault meet the same
episode under the same luck, so that their differences can be paired (common random numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sim.evaluation.counted_random import CountedRandom
from sim.evaluation.driver import DriverSpec, Sees, idle_action, prepare
from sim.evaluation.fault_effects import (
    BURST_STEPS,
    MOST_IN_BURSTS,
    ActionHold,
    ActionLatency,
    DroppedFrames,
    Effect,
    Fault,
    NotApplicable,
)
from sim.evaluation.object_faults import FalseObjects, MissedObjects, SensorNoise, UnitNoise
from sim.sensors.faults import SENSOR_FAULTS, sensor_effect

_SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
_STEPS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

_DRIVING: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "observation_noise", "normalised units", (0.0, 0.01, 0.02, 0.05, 0.1, 0.2),
            "Gaussian noise of this standard deviation on every normalised feature",
        ),
        Fault("dropped_frames", "share of frames", _SHARES, "lost frames, each by itself; the last is repeated", 1.0),
        Fault(
            "dropped_bursts", "share of frames", (0.0, 0.05, 0.1, 0.2, 0.4, 0.6),
            f"lost frames in bursts of {BURST_STEPS:g} decisions on average; the last is repeated",
            MOST_IN_BURSTS,
        ),
        Fault("missed_objects", "probability", _SHARES, "each seen object is missed, anew at every decision", 1.0),
        Fault(
            "false_objects", "probability", _SHARES,
            "a vehicle that is not there, in each empty row and, pushing the farthest one out, in the last", 1.0,
        ),
        Fault("position_noise", "m", (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), "Gaussian noise on the positions x and y"),
        Fault("speed_noise", "m/s", (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), "Gaussian noise on the speeds along x and y"),
        Fault("action_latency", "decisions", _STEPS, "each action is carried out so much later", whole=True),
        Fault("action_hold", "decisions", _STEPS, "each action is held for so many decisions more", whole=True),
    )
}  # fmt: skip
FAULTS = _DRIVING | SENSOR_FAULTS
"""The faults by name. Positions and speeds are of the objects seen; of the ego where it sees nothing but itself."""

ACTION_FAULTS = frozenset({"action_latency", "action_hold"})
# What a fault draws depends on its place here: new faults come last.
STREAMS = {name: number for number, name in enumerate([*sorted(_DRIVING), *SENSOR_FAULTS])}


def fault_named(name: str) -> Fault:
    """Returns a fault; ValueError if there is none of that name."""
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; there are {', '.join(FAULTS)}")
    return FAULTS[name]


def faulty(spec: DriverSpec, fault: str, severity: float, seed: int = 0) -> DriverSpec:
    """Returns the spec of a driver inside a fault; faults add up when this is applied again.

    Args:
        spec: of the driver.
        fault: a name of `FAULTS`.
        severity: in the fault's unit; with 0 the driver behaves bit for bit as by itself.
        seed: of the fault's draws, a non-negative integer.

    Raises ValueError for an unknown fault, and for a severity or seed out of range.
    """
    severity = fault_named(fault).check(severity)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"the seed of a fault is {seed!r}; it must be a non-negative integer")
    return DriverSpec(f"{spec.name} with {fault} {severity:g}", FaultyDriver, (spec, fault, severity, seed))


class FaultyDriver:
    """A driver inside a fault; made by `faulty`, whose arguments these are.

    A driver that is asked every decision stays so: what an action hold leaves out is thrown away.
    """

    def __init__(
        self, spec: DriverSpec, fault: str, severity: float, seed: int = 0, device: str | torch.device = "cpu"
    ):
        self.fault, self.seed = fault_named(fault), seed
        self.severity = self.fault.check(severity)
        self.driver = spec.build(device)
        self.sees: Sees = self.driver.sees
        if hasattr(self.driver, "scores"):
            self.scores = self._scores
        if hasattr(self.driver, "sense"):
            self.sense = self.driver.sense

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Hands the environment on to the driver; NotApplicable if the fault means nothing there."""
        prepare(self.driver, envs, seeds)
        draws = CountedRandom(self.seed, STREAMS[self.fault.name], seeds, envs.device)
        self.steps = torch.zeros(len(seeds), dtype=torch.int64, device=envs.device)
        self.effect = _effect(self.fault.name, self.severity, self.sees, envs, draws)

    def reset(self, mask: Tensor) -> None:
        self.steps[mask] = 0
        self.effect.reset(mask)
        self.driver.reset(mask)

    def act(self, observation: Any) -> Tensor:
        if self.severity == 0:
            return self.driver.act(observation)
        seen = self.effect.see(observation, self.steps)
        self.effect.keep(seen, self.steps)
        action = self.effect.carry_out(self.driver.act(seen), self.steps)
        self.steps = self.steps + 1
        return action

    def _scores(self, observation: Any) -> tuple[str, Tensor]:
        """The driver's figures for what it sees of the observation; asked before `act`."""
        return self.driver.scores(observation if self.severity == 0 else self.effect.see(observation, self.steps))


def _effect(name: str, severity: float, sees: Sees, envs: Any, draws: CountedRandom) -> Effect:
    """Returns the effect of a fault in an environment; NotApplicable if it has none."""
    if name == "action_hold":
        return ActionHold(int(severity))
    if name == "action_latency":
        return ActionLatency(int(severity), torch.as_tensor(idle_action(envs.single_action_space, envs.config)))
    if sees != "features":
        itself = {"world": "the world itself", "scene": "the scene itself"}.get(sees, "through sensors of its own")
        raise NotApplicable(
            f"{name} disturbs observations, and this driver sees {itself}; {', '.join(sorted(ACTION_FAULTS))} "
            "apply to it"
        )
    if name.startswith("dropped"):
        return DroppedFrames(severity, BURST_STEPS if name == "dropped_bursts" else None, draws)
    if name in SENSOR_FAULTS:
        return sensor_effect(name, severity, envs, draws)
    if not hasattr(envs, "observation_type"):
        raise NotApplicable(f"{name} needs our own simulator, which says how its observations are scaled")
    if name == "observation_noise":
        return SensorNoise(severity, envs, draws)
    if name == "missed_objects":
        return MissedObjects(severity, envs, draws)
    if name == "false_objects":
        return FalseObjects(severity, envs, draws)
    columns = ("x", "y") if name == "position_noise" else ("vx", "vy")
    return UnitNoise(name, columns, severity, envs, draws)
