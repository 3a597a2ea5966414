"""Faults of cameras, rasters and lidars: what is shown late, frozen, black, covered, askew or lost.

Pictures are the uint8 leaves of an observation, `[N, stack * channels, rows, columns]` with the newest last, in our own
simulator and in highway-env. `sim.evaluation.faults` lists these faults with all others and puts drivers inside them;
`sim.sensors.frame_faults` puts a stream of frames inside them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from sim.evaluation.counted_random import CountedRandom
from sim.evaluation.fault_effects import (
    BURST_STEPS,
    MOST_IN_BURSTS,
    Effect,
    Fault,
    Losses,
    NotApplicable,
    RepeatedFrames,
    chosen,
)
from sim.evaluation.object_faults import MemberEffect, members_of
from sim.observations import LidarObservation, Observation, ObservationType, mapped

FREEZE_PERIOD = 10
"""A stuck sensor freezes once in so many decisions."""
COVER_STEPS = 10
"""What covers a picture stays for so many decisions, then is somewhere else."""
COVER_ASPECT = 2.0
"""A cover is at most so many times as long as wide, or as wide as long, in shares of the picture."""
DRIFT_STEPS = 30
"""A drifting camera has turned by its severity after so many decisions, and stays there."""
DRIFT_METRES = 0.01
"""How far a drifting camera moves for each degree that it turns [m]."""

SENSOR_FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "frame_latency", "decisions", (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
            "pictures and scans arrive so much later; until then the episode's first is shown", whole=True,
        ),
        Fault(
            "stuck_frame", "decisions", (0.0, 1.0, 2.0, 4.0, 6.0, 8.0),
            f"pictures and scans freeze for so long, once in every {FREEZE_PERIOD} decisions",
            float(FREEZE_PERIOD), whole=True,
        ),
        Fault(
            "blackout", "share of frames", (0.0, 0.05, 0.1, 0.2, 0.4, 0.6),
            f"black pictures in bursts of {BURST_STEPS:g} decisions on average", MOST_IN_BURSTS,
        ),
        Fault(
            "occlusion", "share of the picture", (0.0, 0.05, 0.1, 0.2, 0.4, 0.8),
            f"a black rectangle covers so much of every picture, elsewhere every {COVER_STEPS} decisions", 1.0,
        ),
        Fault(
            "calibration_drift", "degrees", (0.0, 0.5, 1.0, 2.0, 4.0, 8.0),
            f"a camera's mounting turns by so much within {DRIFT_STEPS} decisions", 45.0,
        ),
        Fault("lost_beams", "share of beams", (0.0, 0.05, 0.1, 0.2, 0.4, 0.8), "a lidar's beams that see nothing", 1.0),
        Fault("range_noise", "m", (0.0, 0.05, 0.1, 0.25, 0.5, 1.0), "Gaussian noise on the ranges of a lidar"),
    )
}  # fmt: skip
"""The faults of sensors by name; what each draws depends on its place, so new ones come last."""


class FrameLatency(Effect):
    """Observations arrive late; until one can have arrived, the episode's first is shown."""

    def __init__(self, decisions: int):
        self.decisions = decisions
        self.past: list[Observation] = []  # the newest last
        self.arrived: Observation | None = None

    def see(self, observation: Observation, step: Tensor) -> Observation:
        self.arrived = observation  # what `keep` puts into the queue: it is told only what was seen
        age, seen = step.clamp(max=self.decisions), observation
        for back, old in enumerate(reversed(self.past), 1):
            seen = chosen(age == back, old, seen)
        return seen

    def keep(self, seen: Observation, step: Tensor) -> None:
        if self.decisions:
            self.past = [*self.past, mapped(Tensor.clone, self.arrived)][-self.decisions :]


class StuckFrame(RepeatedFrames):
    """Once in every `FREEZE_PERIOD` decisions what is seen freezes, for `decisions` decisions."""

    def __init__(self, decisions: int, draws: CountedRandom):
        super().__init__()
        self.decisions, self.draws = decisions, draws

    def loses(self, step: Tensor) -> Tensor:
        lost = torch.zeros_like(step, dtype=torch.bool)
        period = torch.div(step, FREEZE_PERIOD, rounding_mode="floor")
        for back in (0, 1):  # a freeze of the period before may last into this one
            begun = (period - back).clamp(min=0)
            place = (self.draws.uniform(begun, 1)[:, 0] * FREEZE_PERIOD).long()
            age = step - (begun * FREEZE_PERIOD + place + 1)  # the first frame of an episode always arrives
            lost |= (age >= 0) & (age < self.decisions) & (period >= back)
        return lost


class PictureEffect(Effect):
    """Something that blackens parts of pictures; other parts of an observation pass unchanged.

    `stacks` says of each leaf of an observation how many pictures are stacked in it, 0 where it is none.
    """

    def __init__(self, stacks: Any, draws: CountedRandom):
        self.stacks, self.draws = stacks, draws

    @abstractmethod
    def hidden(self, step: Tensor, back: int, member: int, rows: int, columns: int) -> Tensor:
        """Bool [N, rows or 1, columns or 1]: what was black of the picture `back` decisions before `step`."""

    def see(self, observation: Observation, step: Tensor) -> Observation:
        return self._seen(self.stacks, observation, step, count())

    def _seen(self, stacks: Any, observation: Any, step: Tensor, numbers: Iterator[int]) -> Any:
        if isinstance(observation, dict):
            return {name: self._seen(stacks[name], part, step, numbers) for name, part in observation.items()}
        if isinstance(observation, tuple | list):
            pairs = zip(stacks, observation, strict=True)
            return tuple(self._seen(stack, part, step, numbers) for stack, part in pairs)
        member = next(numbers)
        if not stacks:
            return observation
        n, rows, columns = len(observation), *observation.shape[-2:]
        pictures = observation.reshape(n, stacks, -1, rows, columns)
        hidden = [self.hidden(step, back, member, rows, columns) for back in reversed(range(stacks))]
        covered = torch.stack(torch.broadcast_tensors(*hidden), dim=1)[:, :, None]
        black = torch.zeros((), dtype=observation.dtype, device=observation.device)
        return torch.where(covered, black, pictures).reshape(observation.shape)


class Blackout(PictureEffect):
    """Whole pictures are black, in bursts; a black one stays so while it moves through a stack."""

    def __init__(self, share: float, stacks: Any, draws: CountedRandom):
        super().__init__(stacks, draws)
        self.losses = Losses(share, BURST_STEPS, share, draws)
        self.past: list[Tensor] = []  # which pictures were black, the newest last

    def hidden(self, step: Tensor, back: int, member: int, rows: int, columns: int) -> Tensor:
        if back == 0:
            black = self.losses.now(step)
        elif back <= len(self.past):
            black = self.past[-back] & (step >= back)
        else:
            black = torch.zeros_like(step, dtype=torch.bool)
        return black[:, None, None]

    def keep(self, seen: Observation, step: Tensor) -> None:
        self.losses.keep(step)
        deepest = max(stack_leaves(self.stacks))
        self.past = [*self.past, self.losses.lost][-deepest:]


class Occlusion(PictureEffect):
    """A rectangle of pictures is covered; its middle is drawn, and a greater share covers a smaller one's pixels."""

    def __init__(self, share: float, stacks: Any, draws: CountedRandom):
        super().__init__(stacks, draws)
        self.share = share

    def hidden(self, step: Tensor, back: int, member: int, rows: int, columns: int) -> Tensor:
        at = torch.div((step - back).clamp(min=0), COVER_STEPS, rounding_mode="floor")
        aspect, left, top = self.draws.uniform(at, 3, member).unbind(1)
        aspect = COVER_ASPECT ** (2 * aspect - 1)
        width = (self.share * aspect).sqrt().clamp(self.share, 1.0)
        height = (self.share / width.clamp(min=1e-9)).clamp(max=1.0)
        across = _span(left, width, columns)
        return _span(top, height, rows)[:, :, None] & across[:, None, :]


def _span(place: Tensor, share: Tensor, pixels: int) -> Tensor:
    """Bool [N, pixels]: those within a stretch of a share [N] of them, `place` (0 to 1) of the way to the far end."""
    begin = (place * (1 - share) * pixels).round()
    end = ((place * (1 - share) + share) * pixels).round()
    number = torch.arange(pixels, device=place.device)
    return (number >= begin[:, None]) & (number < end[:, None])


class CalibrationDrift(Effect):
    """The mountings of cameras turn at a steady rate around an axis that is drawn, and move a little.

    Written into `CameraRig.drift`, from where the next rendering has it.
    """

    def __init__(self, degrees: float, rigs: Sequence[Any], draws: CountedRandom):
        self.degrees, self.rigs, self.draws = degrees, list(rigs), draws
        self.reset(torch.ones(len(draws.keys), dtype=torch.bool, device=draws.keys.device))

    def reset(self, mask: Tensor) -> None:
        for rig in self.rigs:
            rig.drift[mask] = 0.0

    def keep(self, seen: Observation, step: Tensor) -> None:
        for member, rig in enumerate(self.rigs):
            rig.drift.copy_(self.drift(step + 1, member))

    def drift(self, step: Tensor, member: int = 0) -> Tensor:
        """Float64 [N, 6]: x, y, z [m] and yaw, pitch, roll [rad] at the step [N] of each world."""
        drawn = self.draws.normal(torch.zeros_like(step), 6, member)
        unit = torch.cat([part / part.norm(dim=1, keepdim=True) for part in (drawn[:, :3], drawn[:, 3:])], dim=1)
        degrees = self.degrees * (step / DRIFT_STEPS).clamp(max=1.0)
        units = torch.tensor([DRIFT_METRES] * 3 + [math.pi / 180] * 3, dtype=torch.float64, device=step.device)
        return unit * units * degrees[:, None]


class LostBeams(MemberEffect):
    """Beams that see nothing, each by itself and anew at every decision."""

    name = "lost_beams"
    fits_what = "it has no beams"

    def fits(self, kind: ObservationType) -> bool:
        return isinstance(kind, LidarObservation)

    def altered(self, kind: LidarObservation, observation: Tensor, step: Tensor, member: int) -> Tensor:
        lost = self.draws.uniform(step, kind.cells, member) < self.severity
        empty = torch.tensor(kind.empty, dtype=observation.dtype, device=observation.device)
        return torch.where(lost[:, :, None], empty, observation)


class RangeNoise(MemberEffect):
    """Gaussian noise on the range of every beam that meets something, within what the sensor can report."""

    name = "range_noise"
    fits_what = "it has no beams with ranges"

    def fits(self, kind: ObservationType) -> bool:
        return isinstance(kind, LidarObservation) and "range" in kind.channels

    def altered(self, kind: LidarObservation, observation: Tensor, step: Tensor, member: int) -> Tensor:
        column = kind.channels.index("range")
        clean, most = observation[:, :, column], kind.empty[column]
        noise = self.draws.normal(step, kind.cells, member) * (self.severity * most / kind.maximum_range)
        noisy = (clean + noise.to(clean.dtype)).clamp(0.0, most)
        changed = observation.clone()
        changed[:, :, column] = torch.where(clean < most, noisy, clean)
        return changed


def sensor_effect(name: str, severity: float, envs: Any, draws: CountedRandom) -> Effect:
    """Returns the effect of one of `SENSOR_FAULTS` in an environment; NotApplicable if it has none."""
    if name in ("lost_beams", "range_noise", "calibration_drift") and not hasattr(envs, "observation_type"):
        raise NotApplicable(f"{name} needs our own simulator, whose sensors can be reached")
    if name == "calibration_drift":
        rigs = list(rigs_of(envs.observation_type))
        if not rigs:
            raise NotApplicable(f"{name} moves cameras, and {envs.id} observes with none")
        return CalibrationDrift(severity, rigs, draws)
    if name in ("lost_beams", "range_noise"):
        return {"lost_beams": LostBeams, "range_noise": RangeNoise}[name](severity, envs, draws)
    stacks = stacks_of(envs.single_observation_space, envs.config["observation"])
    if not any(stack_leaves(stacks)):
        scans = any(isinstance(kind, LidarObservation) for kind in members_of(getattr(envs, "observation_type", None)))
        if not scans or name in ("blackout", "occlusion"):
            raise NotApplicable(f"{name} disturbs what sensors show, and {envs.id} observes with no camera")
    return frame_effect(name, severity, stacks, draws)


def frame_effect(name: str, severity: float, stacks: Any, draws: CountedRandom) -> Effect:
    """Returns the effect of a fault of whole frames; `stacks` as in `PictureEffect`."""
    made: Mapping[str, Callable[[], Effect]] = {
        "frame_latency": lambda: FrameLatency(int(severity)),
        "stuck_frame": lambda: StuckFrame(int(severity), draws),
        "blackout": lambda: Blackout(severity, stacks, draws),
        "occlusion": lambda: Occlusion(severity, stacks, draws),
    }
    return made[name]()


def rigs_of(kind: ObservationType) -> Iterator[Any]:
    """The camera rigs behind an observation."""
    return (member.rig for member in members_of(kind) if hasattr(member, "rig"))


def stacks_of(space: spaces.Space, options: Mapping[str, Any]) -> Any:
    """Returns how many pictures are stacked in each leaf of an observation, in its structure; 0 where it is none.

    Args:
        space: of one world's observation.
        options: `config["observation"]`, in which types of pictures call it stack or, as in highway-env, stack_size.
    """
    if isinstance(space, spaces.Dict):
        return {name: stacks_of(part, options) for name, part in space.items()}
    if isinstance(space, spaces.Tuple):
        parts = options.get("observation_configs") or [options.get("observation_config", options)] * len(space)
        return tuple(stacks_of(part, one) for part, one in zip(space, parts, strict=True))
    picture = isinstance(space, spaces.Box) and space.dtype.kind == "u" and len(space.shape) == 3
    return int(options.get("stack_size", options.get("stack", 1))) if picture else 0


def stack_leaves(stacks: Any) -> list[int]:
    """Returns the numbers in what `stacks_of` returns."""
    if isinstance(stacks, int):
        return [stacks]
    parts = stacks.values() if isinstance(stacks, dict) else stacks
    return [one for part in parts for one in stack_leaves(part)]
