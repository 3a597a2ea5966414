"""The state of a batch of worlds as named tensors."""

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
import warp as wp

from sim.engine.random import WORDS
from sim.engine.state import ARRAYS, PRECISIONS, REAL, Kind, field_views, row_struct, world_struct

__all__ = ["Kind", "Sizes", "World"]

_TORCH_TYPES = {wp.int32: torch.int32, wp.uint64: torch.int64}


@dataclass(frozen=True)
class Sizes:
    """How large the axes of a world are."""

    vehicles: int
    """Slots for vehicles and objects."""
    lanes: int = 1
    """Of the road; a scenario leaves it to `VectorEnv`."""
    egos: int = 1
    """Controlled vehicles."""
    route: int = 1
    """Longest route, in edges."""
    predictions: int = 1
    """Numbers of a predicted trajectory; only regulated junctions need them."""


class World:
    """N worlds; the fields of `engine.state` (`CAR` [N, V], `ROW` [N], `ARRAYS`) are attributes, first axis the world.

    Quantities are in SI units and radians, positions in metres with x right and y down, never normalised. Kernels
    change the tensors in place.
    """

    def __init__(self, buffers: dict[str, torch.Tensor], precision: str) -> None:
        self.buffers = buffers
        self.precision = precision
        real = PRECISIONS[precision]
        self._views = field_views(buffers["cars"], row_struct("CAR", real))
        self._views |= field_views(buffers["rows"], row_struct("ROW", real))
        self._views |= {name: buffers[name] for name in ARRAYS}
        self.__dict__.update(self._views)

    @classmethod
    def allocate(cls, worlds: int, sizes: Sizes, device: torch.device, precision: str) -> "World":
        """Return empty worlds.

        On CUDA the world index is the outer neighbour of the fields, so that a warp reads rows that lie side by side.
        """
        lengths = {"N": worlds, "V": sizes.vehicles, "L": sizes.lanes, "C": sizes.egos, "R": sizes.route, "W": WORDS}
        lengths["P"] = sizes.predictions
        real = PRECISIONS[precision]
        types = _TORCH_TYPES | {REAL: getattr(torch, precision)}
        car, row = (ctypes.sizeof(row_struct(name, real).ctype) for name in ("CAR", "ROW"))

        def zeros(*shape: int, dtype: torch.dtype, fields: int) -> torch.Tensor:
            if device.type != "cuda":
                return torch.zeros(*shape, dtype=dtype, device=device)
            turned = (*reversed(shape[: len(shape) - fields]), *shape[len(shape) - fields :])
            axes = [*reversed(range(len(shape) - fields)), *range(len(shape) - fields, len(shape))]
            return torch.zeros(*turned, dtype=dtype, device=device).permute(*axes)

        buffers = {
            "cars": zeros(worlds, sizes.vehicles, car, dtype=torch.uint8, fields=1),
            "rows": zeros(worlds, row, dtype=torch.uint8, fields=1),
        }
        for name, (axes, kind) in ARRAYS.items():
            buffers[name] = zeros(*(lengths[axis] for axis in axes), dtype=types[kind], fields=0)
        return cls(buffers, precision)

    @property
    def num_worlds(self) -> int:
        """N."""
        return self.buffers["rows"].shape[0]

    @property
    def bytes_per_world(self) -> int:
        """Memory of one world's state."""
        return sum(buffer.nbytes for buffer in self.buffers.values()) // self.num_worlds

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.buffers["rows"].device

    @property
    def valid(self) -> torch.Tensor:
        """Bool `[N, V]`: slots in use."""
        return self._views["kind"] != Kind.ABSENT

    def fields(self) -> dict[str, torch.Tensor]:
        """Return all fields by name, views of the state."""
        return dict(self._views)

    def struct(self) -> Any:
        """Return the Warp struct that views these tensors."""
        real = PRECISIONS[self.precision]
        struct = world_struct(real)()
        for name, row in (("cars", "CAR"), ("rows", "ROW")):
            buffer = self.buffers[name]
            view = wp.array(
                ptr=buffer.data_ptr(),
                dtype=row_struct(row, real),
                shape=tuple(buffer.shape[:-1]),
                strides=tuple(buffer.stride()[:-1]),
                device=str(self.device),
            )
            setattr(struct, name, view)
        for name, (_, kind) in ARRAYS.items():
            setattr(struct, name, wp.from_torch(self.buffers[name], dtype=real if kind is REAL else kind))
        return struct

    def clone(self) -> "World":
        """Return an independent copy."""
        return World({name: buffer.clone() for name, buffer in self.buffers.items()}, self.precision)

    def select(self, index: torch.Tensor | slice) -> "World":
        """Return a copy of the worlds picked by a mask `[N]`, indices or a slice."""
        return World({name: buffer[index].clone() for name, buffer in self.buffers.items()}, self.precision)

    def copy_from(self, other: "World", mask: torch.Tensor | None = None) -> None:
        """Overwrite these worlds, or those where `mask` `[N]` is true, with the same rows of `other`.

        Raises:
            ValueError: the two differ in precision or sizes.
        """
        if other.precision != self.precision:
            raise ValueError(f"copy_from: precision {other.precision} into {self.precision}")
        for name, buffer in self.buffers.items():
            source = other.buffers[name]
            if source.shape != buffer.shape:
                raise ValueError(f"copy_from: {name} has shape {tuple(source.shape)}, not {tuple(buffer.shape)}")
        for name, buffer in self.buffers.items():
            if mask is None:
                buffer.copy_(other.buffers[name])
            else:
                buffer[mask] = other.buffers[name][mask]
