"""Faults of what a driver sees of its surroundings: noise, objects that are missed, objects that are not there.

They read how an observation is laid out and scaled from its type, so that metres are metres whatever the config says.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor

from sim.engine.lanes import DEFAULT_WIDTH
from sim.engine.vehicles import LENGTH
from sim.evaluation.counted_random import CountedRandom
from sim.evaluation.fault_effects import Effect, NotApplicable
from sim.observations import (
    Kinematics,
    KinematicsGoal,
    LidarObservation,
    Observation,
    ObservationType,
    OccupancyGrid,
    TimeToCollision,
    TupleObservation,
)
from sim.observations.kinematics import BEHIND, Feature

FALSE_AHEAD = 100.0  # m, how far ahead of the ego a false vehicle stands at most
FALSE_GAP = 2 * LENGTH  # m, between the centres of the ego and of a false vehicle on its lane, at least
FALSE_LANES = 1  # to either side
FALSE_SPEED = 5.0  # m/s, by which a false vehicle is slower or faster than the ego, at most


class MemberEffect(Effect):
    """An effect on each member of an observation that it fits; the others pass unchanged.

    Raises NotApplicable where it fits none.
    """

    name: str
    fits_what: str

    def __init__(self, severity: float, envs: Any, draws: CountedRandom):
        self.severity, self.world, self.draws = severity, envs.world, draws
        self.kind: ObservationType = envs.observation_type
        kinds = list(members_of(self.kind))
        if not any(self.fits(kind) for kind in kinds):
            found = ", ".join(sorted({type(kind).__name__ for kind in kinds}))
            raise NotApplicable(f"{self.name} means nothing for what {envs.id} shows ({found}): {self.fits_what}")

    @abstractmethod
    def fits(self, kind: ObservationType) -> bool:
        """Does this effect make sense for such an observation?"""

    @abstractmethod
    def altered(self, kind: Any, observation: Any, step: Tensor, member: int) -> Any:
        """Returns a changed copy of one member's observation; `member` is its number, for draws of its own."""

    def see(self, observation: Observation, step: Tensor) -> Observation:
        return self._seen(self.kind, observation, step, count())

    def _seen(self, kind: ObservationType, observation: Any, step: Tensor, numbers: Iterator[int]) -> Any:
        if isinstance(kind, TupleObservation):
            pairs = zip(kind.members, observation, strict=True)
            return tuple(self._seen(member, part, step, numbers) for member, part in pairs)
        member = next(numbers)
        return self.altered(kind, observation, step, member) if self.fits(kind) else observation


class SensorNoise(MemberEffect):
    """Gaussian noise on all normalised features, the ego's own too; not on presence, classes and empty rows."""

    name = "observation_noise"
    fits_what = "its numbers are not normalised"

    def fits(self, kind: ObservationType) -> bool:
        if isinstance(kind, Kinematics):
            return bool(kind.flags["normalize"]) and set(kind.features) != {"presence"}
        if isinstance(kind, LidarObservation):
            return kind.normalize
        if isinstance(kind, OccupancyGrid):
            return kind.space.dtype.kind == "f"
        return isinstance(kind, TimeToCollision | KinematicsGoal)

    def altered(self, kind: Any, observation: Any, step: Tensor, member: int) -> Any:
        if isinstance(kind, KinematicsGoal):
            # The goal is known; both parts that tell of the ego come from one measurement.
            noise = self._noise(observation["observation"], step, member)
            return observation | {part: observation[part] + noise for part in ("observation", "achieved_goal")}
        noise = self._noise(observation, step, member)
        if isinstance(kind, Kinematics):
            noise = noise * _occupied(kind, observation)[:, :, None]
            for column, feature in enumerate(kind.features):
                if feature == "presence":
                    noise[:, :, column] = 0
            return _clipped(kind, observation + noise)
        if isinstance(kind, LidarObservation) and "class" in kind.channels:
            noise[:, :, kind.channels.index("class")] = 0
        noisy = observation + noise
        return noisy.clamp(-1, 1) if isinstance(kind, OccupancyGrid) and kind.clip else noisy

    def _noise(self, like: Tensor, step: Tensor, member: int) -> Tensor:
        noise = self.draws.normal(step, like[0].numel(), member) * self.severity
        return noise.reshape(like.shape).to(like.dtype)


class UnitNoise(MemberEffect):
    """Gaussian noise in SI units on two columns, of the objects seen; of the ego where it sees only itself."""

    fits_what = "it holds no such column of other vehicles or of a goal-driven ego"

    def __init__(self, name: str, columns: tuple[str, str], severity: float, envs: Any, draws: CountedRandom):
        self.name, self.columns = name, columns
        super().__init__(severity, envs, draws)

    def fits(self, kind: ObservationType) -> bool:
        if isinstance(kind, KinematicsGoal):
            return any(Feature[name.upper()] in kind.features for name in self.columns)
        return _shows_others(kind) and any(name in kind.features for name in self.columns)

    def altered(self, kind: Any, observation: Any, step: Tensor, member: int) -> Any:
        if isinstance(kind, KinematicsGoal):
            noise = self._noise(step, 1, member)[:, 0]
            changed = {part: observation[part].clone() for part in ("observation", "achieved_goal")}
            for table in changed.values():
                for i, name in enumerate(self.columns):
                    for column, feature in enumerate(kind.features):
                        if feature == Feature[name.upper()]:
                            table[:, column] += noise[:, i] / kind.scales[column]
            return observation | changed
        noise = self._noise(step, kind.rows, member) * _occupied(kind, observation)[:, :, None]
        noise[:, 0] = 0
        table = observation.clone()
        for i, name in enumerate(self.columns):
            if name in kind.features:
                low, high = _bounds(kind, name, self.world)
                table[:, :, kind.features.index(name)] += (noise[:, :, i] * (2 / (high - low))).to(table.dtype)
        return _clipped(kind, table)

    def _noise(self, step: Tensor, rows: int, member: int) -> Tensor:
        noise = self.draws.normal(step, rows * len(self.columns), member) * self.severity
        return noise.reshape(len(step), rows, len(self.columns))


class MissedObjects(MemberEffect):
    """Rows of other vehicles are blanked as if nothing were there, each by itself and anew at every decision."""

    name = "missed_objects"
    fits_what = "it has no rows of other vehicles"

    def fits(self, kind: ObservationType) -> bool:
        return _shows_others(kind)

    def altered(self, kind: Kinematics, observation: Tensor, step: Tensor, member: int) -> Tensor:
        missed = self.draws.uniform(step, kind.rows, member) < self.severity
        missed[:, 0] = False
        return torch.where(missed[:, :, None], torch.zeros_like(observation), observation)


class FalseObjects(MemberEffect):
    """Vehicles that are not there, in empty rows and in the last one, anew at every decision.

    A full table has no empty row; there a false vehicle pushes the last one out. It stands on the ego's lane or beside
    it, ahead or level with it, and drives the ego's way with up to `FALSE_SPEED` more or less.
    """

    name = "false_objects"
    fits_what = "it has no rows of other vehicles"

    def fits(self, kind: ObservationType) -> bool:
        return _shows_others(kind)

    def altered(self, kind: Kinematics, observation: Tensor, step: Tensor, member: int) -> Tensor:
        draws = self.draws.uniform(step, kind.rows * 4, member).reshape(len(step), kind.rows, 4)
        free = ~_occupied(kind, observation)
        free[:, -1] = True
        appears = (draws[:, :, 0] < self.severity) & free
        appears[:, 0] = False
        values = self._vehicles(kind, observation, draws)
        columns = []
        for name in kind.features:
            value = values.get(name, torch.zeros_like(draws[:, :, 0]))
            if _is_scaled(kind, name):
                low, high = _bounds(kind, name, self.world)
                value = -1 + (value - low) * (2 / (high - low))
            columns.append(value)
        vehicles = _clipped(kind, torch.stack(columns, dim=2).to(observation.dtype))
        return torch.where(appears[:, :, None], vehicles, observation)

    def _vehicles(self, kind: Kinematics, table: Tensor, draws: Tensor) -> dict[str, Tensor]:
        """The features in SI units, [N, rows], that vehicles would have in each row."""
        cosine, sine = self._direction(kind, table)
        lanes = (draws[:, :, 2] * (2 * FALSE_LANES + 1)).floor() - FALSE_LANES
        nearest = torch.where(lanes == 0, FALSE_GAP, BEHIND)
        ahead, side = nearest + draws[:, :, 1] * (FALSE_AHEAD - nearest), lanes * DEFAULT_WIDTH
        faster = (2 * draws[:, :, 3] - 1) * FALSE_SPEED
        relative = {
            "x": ahead * cosine - side * sine,
            "y": ahead * sine + side * cosine,
            "vx": faster * cosine,
            "vy": faster * sine,
        }
        if kind.flags["absolute"]:
            relative = {name: value + self._ego(kind, table, name, 0.0) for name, value in relative.items()}
        heading = self._ego(kind, table, "heading", 0.0)
        ones = torch.ones_like(ahead)
        return relative | {"presence": ones, "heading": heading * ones, "cos_h": cosine * ones, "sin_h": sine * ones}

    def _direction(self, kind: Kinematics, table: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of where the ego goes, [N, 1]: along x where the observation does not tell."""
        names = ("cos_h", "sin_h") if "cos_h" in kind.features else ("vx", "vy")
        cosine, sine = self._ego(kind, table, names[0], 1.0), self._ego(kind, table, names[1], 0.0)
        norm = (cosine * cosine + sine * sine).sqrt()
        still = norm < 0.1  # m/s, or the cosine and sine of nothing
        norm = torch.where(still, 1.0, norm)
        return torch.where(still, 1.0, cosine / norm), torch.where(still, 0.0, sine / norm)

    def _ego(self, kind: Kinematics, table: Tensor, name: str, default: float) -> Tensor:
        """A feature of the ego in SI units, float64 [N, 1]."""
        if name not in kind.features:
            return torch.full_like(table[:, :1, 0], default, dtype=torch.float64)
        value = table[:, :1, kind.features.index(name)].double()
        if not _is_scaled(kind, name):
            return value
        low, high = _bounds(kind, name, self.world)
        return low + (value + 1) * (high - low) / 2


def members_of(kind: ObservationType | None) -> Iterator[ObservationType]:
    """The observations in an observation: of several agents, or several of one."""
    if isinstance(kind, TupleObservation):
        for member in kind.members:
            yield from members_of(member)
    elif kind is not None:
        yield kind


def _shows_others(kind: ObservationType) -> bool:
    return isinstance(kind, Kinematics) and kind.rows > 1


def _occupied(kind: Kinematics, table: Tensor) -> Tensor:
    """Bool [N, rows]: is there something in the row?"""
    if "presence" in kind.features:
        return table[:, :, kind.features.index("presence")] > 0.5
    return (table != 0).any(dim=2)


def _is_scaled(kind: Kinematics, name: str) -> bool:
    return kind.scaling()[0][kind.features.index(name)] != 0


def _bounds(kind: Kinematics, name: str, world: Any) -> tuple[Any, Any]:
    """What -1 and 1 in a column stand for [SI units], floats or float64 [N, 1]; -1 and 1 themselves if not scaled."""
    scaled, low, high = (values[kind.features.index(name)] for values in kind.scaling())
    if scaled == 2:
        high = DEFAULT_WIDTH * world.lanes_seen[:, kind.agent, None].double()
        return -high, high
    return (low, high) if scaled else (-1.0, 1.0)


def _clipped(kind: Kinematics, table: Tensor) -> Tensor:
    """The scaled columns within [-1, 1], if the observation is clipped; a NaN stays."""
    if kind.flags["clip"]:
        for column, name in enumerate(kind.features):
            if _is_scaled(kind, name):
                table[:, :, column] = table[:, :, column].clamp(-1, 1)
    return table
