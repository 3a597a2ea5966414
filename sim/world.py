"""The state of a batch of worlds as named tensors."""

from dataclasses import dataclass
from typing import Any

import torch
import warp as wp

from sim.engine.random import WORDS
from sim.engine.state import PRECISIONS, REAL, WORLD_FIELDS, Kind, world_struct

__all__ = ["Kind", "World"]

_TORCH_TYPES = {wp.int32: torch.int32, wp.bool: torch.bool, wp.float64: torch.float64, wp.uint64: torch.int64}
_REALS = {"float32": torch.float32, "float64": torch.float64}
_GAINS = 5  # parameters of a linear driver


@dataclass(frozen=True)
class Sizes:
    """How large the axes of a world are: vehicles, controlled vehicles, route steps."""

    vehicles: int
    egos: int = 1
    route: int = 1


class World:
    """N worlds; each field of `engine.state.WORLD_FIELDS` is an attribute, its first axis the world.

    Quantities are in SI units and radians, positions in metres with x right and y down, never normalised. Kernels change
    the tensors in place.
    """

    def __init__(self, fields: dict[str, torch.Tensor], precision: str) -> None:
        self._fields = fields
        self.precision = precision
        self.__dict__.update(fields)

    @classmethod
    def allocate(cls, worlds: int, sizes: Sizes, device: torch.device, precision: str) -> "World":
        """Return empty worlds. On CUDA the world index is innermost in memory, so that a warp's reads coalesce."""
        lengths = {"N": worlds, "V": sizes.vehicles, "C": sizes.egos, "R": sizes.route, "G": _GAINS, "W": WORDS}
        fields = {}
        for name, (axes, kind, _) in WORLD_FIELDS.items():
            shape = [lengths[axis] for axis in axes]
            dtype = _REALS[precision] if kind is REAL else _TORCH_TYPES[kind]
            if device.type == "cuda":
                fields[name] = torch.zeros(shape[::-1], dtype=dtype, device=device).permute(*reversed(range(len(shape))))
            else:
                fields[name] = torch.zeros(shape, dtype=dtype, device=device)
        return cls(fields, precision)

    @property
    def num_worlds(self) -> int:
        """N."""
        return self._fields["count"].shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self._fields["count"].device

    @property
    def valid(self) -> torch.Tensor:
        """Bool `[N, V]`: slots in use."""
        return self._fields["kind"] != Kind.ABSENT

    def fields(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name, not copied."""
        return dict(self._fields)

    def struct(self) -> Any:
        """Return the Warp struct that views these tensors."""
        struct = world_struct(PRECISIONS[self.precision])()
        for name, (_, kind, _) in WORLD_FIELDS.items():
            dtype = PRECISIONS[self.precision] if kind is REAL else kind
            setattr(struct, name, wp.from_torch(self._fields[name], dtype=dtype))
        return struct

    def clone(self) -> "World":
        """Return an independent copy."""
        return World({name: tensor.clone() for name, tensor in self._fields.items()}, self.precision)

    def select(self, index: torch.Tensor | slice) -> "World":
        """Return a copy of the worlds picked by a mask `[N]`, indices or a slice."""
        return World({name: tensor[index].clone() for name, tensor in self._fields.items()}, self.precision)

    def copy_from(self, other: "World", mask: torch.Tensor | None = None) -> None:
        """Overwrite these worlds, or those where `mask` `[N]` is true, with the same rows of `other`.

        Raises:
            ValueError: the two differ in precision or sizes.
        """
        if other.precision != self.precision:
            raise ValueError(f"copy_from: precision {other.precision} into {self.precision}")
        for name, tensor in self._fields.items():
            source = other._fields[name]
            if source.shape != tensor.shape:
                raise ValueError(f"copy_from: {name} has shape {tuple(source.shape)}, not {tuple(tensor.shape)}")
            if mask is None:
                tensor.copy_(source)
            else:
                tensor[mask] = source[mask]
