"""What a search for failures may change, how far, and how likely each change is by itself.

A point of the space is a vector of D latent numbers. Under the nominal distribution these are independent standard
normals; each is carried to its parameter through the parameter's own quantile function. So every parameter may have
the distribution that the user states, while densities, likelihood ratios and samplers only ever see normals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from sim.config import complete, scenario

EDITS = ("shift", "speed", "target_speed", "lanes")
"""What is changed of a vehicle: along its lane [m], its speed [m/s], its target speed [m/s], lanes to the right."""
DEEPEST = 1e-12
"""Probability beyond which a quantile is that of the bound."""


@dataclass(frozen=True)
class Levels:
    """A parameter that takes one of a few values.

    Attributes:
        values: of the parameter, in an order along which a search may move.
        probabilities: of each under the nominal distribution; they add up to 1.
    """

    values: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or len(self.values) != len(self.probabilities):
            raise ValueError(f"{len(self.probabilities)} probabilities for {len(self.values)} values; give one each")
        if min(self.probabilities) <= 0 or not math.isclose(sum(self.probabilities), 1, abs_tol=1e-9):
            raise ValueError(f"the probabilities {self.probabilities} must be above 0 and add up to 1")

    def index(self, latent: np.ndarray) -> np.ndarray:
        """Returns which value each latent number stands for, int64 of the same shape."""
        edges = ndtri(np.cumsum(self.probabilities)[:-1])
        return np.searchsorted(edges, latent, side="right")


@dataclass(frozen=True)
class Offset:
    """A change that is normally distributed around 0 and cut off at both ends.

    Attributes:
        deviation: standard deviation before the cut; limit: the largest change either way; both in its unit.
    """

    deviation: float
    limit: float

    def __post_init__(self) -> None:
        if not (0 < self.deviation < math.inf and 0 < self.limit < math.inf):
            raise ValueError(f"an offset needs a deviation and a limit above 0, not {self.deviation}, {self.limit}")

    def value(self, latent: np.ndarray) -> np.ndarray:
        """Returns the change that each latent number stands for, same shape."""
        tail = ndtr(-self.limit / self.deviation)
        share = np.clip(tail + (1 - 2 * tail) * ndtr(latent), DEEPEST, 1 - DEEPEST)
        return np.clip(self.deviation * ndtri(share), -self.limit, self.limit)


LANES = Levels((-1, 0, 1), (0.05, 0.9, 0.05))
OFFSETS = {"shift": Offset(8.0, 40.0), "speed": Offset(2.0, 8.0), "target_speed": Offset(2.0, 8.0)}  # m, m/s
VEHICLES = 5
"""How many of the vehicles nearest to the ego are changed; highway-env shows a driver as many, itself included."""
# Searched when a config has them: factors of, or steps from, the config's own value, with their probabilities. The
# scenario as it is stays by far the likeliest: the failure probability is one of slight variations of it.
FACTORS = {
    "vehicles_density": Levels((0.75, 1, 1.25, 1.5), (0.08, 0.84, 0.05, 0.03)),
    "ego_spacing": Levels((0.75, 1, 1.5), (0.08, 0.84, 0.08)),
    "spawn_probability": Levels((0.5, 1, 1.5), (0.08, 0.84, 0.08)),
}
STEPS = {
    "lanes_count": Levels((-1, 0, 1), (0.04, 0.92, 0.04)),
    "initial_vehicle_count": Levels((-2, 0, 2), (0.08, 0.84, 0.08)),
    "other_vehicles": Levels((0, 1, 2), (0.85, 0.1, 0.05)),
}


@dataclass(frozen=True)
class Space:
    """The parameters of a search.

    Attributes:
        config: config keys and their values.
        vehicles: how many of the nearest vehicles are changed, K.
        offsets: how, by the names of `EDITS` but "lanes"; those left out stay as they are.
        lanes: lanes that a vehicle is moved to the right; None leaves them where they are.
    """

    config: dict[str, Levels]
    vehicles: int = VEHICLES
    offsets: dict[str, Offset] = None  # type: ignore[assignment]
    lanes: Levels | None = LANES

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", dict(OFFSETS) if self.offsets is None else self.offsets)
        unknown = set(self.offsets) - set(EDITS[:3])
        if unknown:
            raise ValueError(f"unknown offset {sorted(unknown)[0]!r}; allowed: {', '.join(EDITS[:3])}")
        if self.vehicles < 0:
            raise ValueError(f"vehicles is {self.vehicles}; it must be 0 or more")
        if self.size == 0:
            raise ValueError("nothing to search: the space has no config key, and changes no vehicle")

    @property
    def names(self) -> list[str]:
        """The D parameters, in order: the config's, then those of the nearest vehicle, and so on."""
        edits = [*self.offsets, *(["lanes"] if self.lanes else [])]
        return [*self.config, *(f"{edit} {k}" for k in range(self.vehicles) for edit in edits)]

    @property
    def size(self) -> int:
        """D."""
        return len(self.config) + self.vehicles * (len(self.offsets) + (self.lanes is not None))

    def configs(self, latent: np.ndarray) -> list[dict[str, Any]]:
        """Returns the config changes that each point [n, D] stands for."""
        columns = {
            key: [levels.values[i] for i in levels.index(latent[:, d])]
            for d, (key, levels) in enumerate(self.config.items())
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] or [
            {} for _ in latent
        ]

    def edits(self, latent: np.ndarray) -> np.ndarray:
        """Returns the changes of the K nearest vehicles that each point [n, D] stands for, [n, K, 4] as `EDITS`."""
        found = np.zeros((len(latent), self.vehicles, len(EDITS)))
        d = len(self.config)
        for k in range(self.vehicles):
            for name, offset in self.offsets.items():
                found[:, k, EDITS.index(name)] = offset.value(latent[:, d])
                d += 1
            if self.lanes is not None:
                found[:, k, EDITS.index("lanes")] = np.asarray(self.lanes.values)[self.lanes.index(latent[:, d])]
                d += 1
        return found

    def as_dict(self) -> dict[str, Any]:
        """Returns the space for JSON; `read` takes the same."""
        return {
            "config": {key: asdict(levels) for key, levels in self.config.items()},
            "vehicles": self.vehicles,
            "offsets": {name: asdict(offset) for name, offset in self.offsets.items()},
            "lanes": None if self.lanes is None else asdict(self.lanes),
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Space:
        """Returns the space that `as_dict` describes; ValueError with one line for anything else."""
        try:
            lanes = given.get("lanes")
            return cls(
                config={key: _levels(value) for key, value in given.get("config", {}).items()},
                vehicles=int(given.get("vehicles", VEHICLES)),
                offsets={name: Offset(**value) for name, value in given.get("offsets", {}).items()},
                lanes=None if lanes is None else _levels(lanes),
            )
        except (AttributeError, KeyError, TypeError) as error:
            form = '{"config": {KEY: {"values": [...], "probabilities": [...]}}, "vehicles": K, "offsets": {...}}'
            raise ValueError(f"not a search space ({error}); expected {form}") from error


def _levels(given: dict[str, Sequence[float]]) -> Levels:
    return Levels(tuple(given["values"]), tuple(given["probabilities"]))


def read_space(path: str | Path) -> Space:
    """Returns the space of a JSON file; FileNotFoundError or ValueError if there is none."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such search space: {path}")
    try:
        given = json.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return Space.from_dict(given)


def chosen_space(path: str | Path | None, id: str, config: dict[str, Any] | None) -> Space:
    """Returns the space of a JSON file, or the id's own where there is no path; errors as those of the two.

    A value that the scenario refuses is an error too.
    """
    if path is None:
        return default_space(id, config)
    space = read_space(path)
    for key, levels in space.config.items():
        for value in levels.values:
            complete(id, (config or {}) | {key: value})
    return space


def default_space(id: str, config: dict[str, Any] | None) -> Space:
    """Returns the space of an id: the known keys of its config, and the nearest vehicles where any drive.

    Values that the scenario refuses are left out. Raises ValueError where nothing is left to search.
    """
    full = complete(id, config)
    found: dict[str, Levels] = {}
    for table, carry in ((FACTORS, lambda own, by: own * by), (STEPS, lambda own, by: own + by)):
        for key, levels in table.items():
            if key in full and isinstance(full[key], (int, float)):
                allowed = _allowed(id, full, key, levels, carry)
                if len(allowed.values) > 1:
                    found[key] = allowed
    moves = scenario(id).traffic
    return Space(found, VEHICLES if moves else 0)


def _allowed(id: str, full: dict[str, Any], key: str, levels: Levels, carry: Any) -> Levels:
    """The values of a key that the scenario takes; their probabilities add up to 1 again."""
    kept: list[tuple[float, float]] = []
    for by, probability in zip(levels.values, levels.probabilities, strict=True):
        value = carry(full[key], by)
        value = int(value) if float(value).is_integer() and isinstance(full[key], int) else value
        try:
            complete(id, full | {key: value})
        except (TypeError, ValueError):
            continue
        if key != "spawn_probability" or value <= 1:
            kept.append((value, probability))
    total = sum(probability for _, probability in kept) if len(kept) < len(levels.values) else 1.0
    return Levels(tuple(v for v, _ in kept), tuple(p / total for _, p in kept))
