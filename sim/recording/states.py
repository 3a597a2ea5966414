"""Full states of an episode at simulation frames: they tell which vehicle and field a replay got wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sim.world import Kind

FIELDS = (
    "kind", "x", "y", "heading", "speed", "acceleration", "target_speed", "timer", "lane", "target_lane", "crashed",
    "length", "width", "number",
)  # fmt: skip
"""What is recorded of each vehicle; lane and target lane are flat numbers."""


@dataclass(frozen=True)
class Difference:
    """The first field of a frame in which two states differ.

    Attributes:
        slot, number: of the vehicle (`number` is its name while slots move up; -1 if unknown).
        field: its name; recorded, replayed: its values.
    """

    slot: int
    number: int
    field: str
    recorded: float
    replayed: float

    def __str__(self) -> str:
        name = f"vehicle {self.number} (slot {self.slot})" if self.number >= 0 else f"the vehicle in slot {self.slot}"
        return f"{self.field} of {name} is {self.replayed:.9g}, recorded {self.recorded:.9g}"


@dataclass(frozen=True)
class States:
    """The states of one episode.

    Attributes:
        fields: F names of fields of `World`, among them "kind".
        values: float32 [F, T, V] at T frames, the first right after the reset; slots of kind ABSENT mean nothing.
    """

    fields: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        values, names = self.values, self.fields
        if values.dtype != np.float32 or values.ndim != 3 or len(values) != len(names) or "kind" not in names:
            found = f"{values.dtype} {values.shape} for {', '.join(names)}"
            raise ValueError(f"states are float32 [F, T, V], one F a field and one of them the kind, not {found}")

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> States:
        """Returns the states of `columns`, tensors or arrays [T, V] by name."""
        arrays = [torch.as_tensor(column).cpu().to(torch.float32).numpy() for column in columns.values()]
        return cls(tuple(columns), np.stack(arrays))

    @classmethod
    def of_episode(cls, episodes: Any, index: int) -> States:
        """Returns the states of one episode of `sim.evaluation.episodes.Episodes`."""
        frames = int(episodes.frames[index])
        names = [name for name in FIELDS if hasattr(episodes, name)]
        return cls.of({name: getattr(episodes, name)[:frames, index] for name in names})

    def __len__(self) -> int:
        return self.values.shape[1]

    def at(self, frame: int) -> dict[str, np.ndarray]:
        """Returns the fields [V] of one frame by name."""
        return dict(zip(self.fields, self.values[:, frame], strict=True))

    def difference(self, frame: int, world: Any) -> Difference | None:
        """Returns the first field in which world 0 of `world` differs from a recorded frame; None if none does.

        The order is that of `fields`, then of the slots. float64 is compared as float32.
        """
        recorded, replayed = self.at(frame), state_of(world, self.fields)
        used = (recorded["kind"] != Kind.ABSENT) | (replayed["kind"] != Kind.ABSENT)
        for name in replayed:
            ours, theirs = recorded[name], replayed[name]
            differs = used & (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
            if differs.any():
                slot = int(differs.argmax())
                number = int(recorded.get("number", np.full(len(used), -1))[slot])
                return Difference(slot, number, name, float(ours[slot]), float(theirs[slot]))
        return None


class Tape:
    """Collects the states of world 0 of a batch."""

    def __init__(self) -> None:
        self._frames: list[dict[str, np.ndarray]] = []

    def add(self, world: Any) -> None:
        """Copies the state as it is now."""
        self._frames.append(state_of(world, FIELDS))

    def states(self) -> States:
        """Returns what was collected; slots that a later frame has and an earlier one has not are empty there."""
        slots = max(len(frame["kind"]) for frame in self._frames)
        names = self._frames[0]
        padded = {
            name: np.stack([np.pad(frame[name], (0, slots - len(frame[name]))) for frame in self._frames])
            for name in names
        }
        return States.of(padded)


def state_of(world: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns copies of fields [V] of world 0 as float32, those of `names` that it has."""
    known = [name for name in names if hasattr(world, name)]
    return {name: getattr(world, name)[0].to("cpu", torch.float32, copy=True).numpy() for name in known}
