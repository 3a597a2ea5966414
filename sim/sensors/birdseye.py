"""The scene from above as a picture for a network: colours, or a channel for each class of things.

First the ground pixel by pixel, then each vehicle and object over it in the pixels of its own box, the ego last. All
edges are averaged over the pixel, so that what moves by a tenth of a pixel changes the picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import warp as wp

from sim.config import require_known
from sim.engine.network import Network
from sim.scenarios.base import is_number, number_pair
from sim.sensors.ground.tables import GroundTables
from sim.sensors.memory import require_memory
from sim.sensors.raster import Body, Channel, Frame, Sizes, Tone, draw_classes, draw_colours, place

Align = Literal["ego", "road", "world"]
MOST_PIXELS = 4096
"""Of a side."""
CUDA_COLUMNS = 4
"""Pixels of a row that one thread draws on CUDA; on the CPU a thread draws the whole picture."""


CLASSES = tuple(channel.name.lower() for channel in Channel if channel <= Channel.GOALS)


COLOURS: dict[Tone, tuple[int, int, int]] = {
    Tone.GRASS: (74, 104, 66),
    Tone.SHOULDER: (128, 126, 118),
    Tone.ROAD: (64, 66, 70),
    Tone.PAINT: (240, 240, 236),
    Tone.EGO: (48, 214, 92),
    Tone.TRAFFIC: (70, 146, 240),
    Tone.PARKED: (168, 172, 178),
    Tone.CRASHED: (228, 52, 46),
    Tone.FRONT: (255, 240, 150),
    Tone.OBSTACLE: (240, 150, 40),
    Tone.GOAL: (200, 70, 220),
    Tone.OTHER_GOAL: (110, 62, 118),
}


@dataclass(frozen=True)
class View:
    """What a bird's-eye picture shows.

    Attributes:
        width, height: of the picture [px].
        scaling: [px/m].
        centering: where in the picture the ego stands, as shares of width and height.
        align: what points to the right: the ego's heading, its lane's ("road"), or the x axis ("world").
        channels: "rgb"; "classes", which are the first six of `Channel`; or a list of names of `Channel`.

    Raises:
        TypeError, ValueError: a value out of range, or an unknown name.
    """

    width: int = 84
    height: int = 84
    scaling: float = 1.25
    centering: tuple[float, float] = (0.3, 0.5)
    align: Align = "ego"
    channels: str | Sequence[str] = "rgb"

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if type(side) is not int or not 8 <= side <= MOST_PIXELS:
                raise ValueError(f"bird's-eye {name} is {side!r}; it must be an integer from 8 to {MOST_PIXELS} px")
        if not is_number(self.scaling) or not 0 < self.scaling < math.inf:
            raise ValueError(f"bird's-eye scaling is {self.scaling!r}; it must be above 0 px/m and finite")
        pair = number_pair(self.centering, "bird's-eye centering")
        if not all(0 <= share <= 1 for share in pair):
            raise ValueError(f"bird's-eye centering is {self.centering!r}; it must be two shares from 0 to 1")
        require_known([self.align], get_args(Align), "bird's-eye align")
        if isinstance(self.channels, str):
            require_known([self.channels], ["rgb", "classes"], "bird's-eye channels")
        elif not isinstance(self.channels, (list, tuple)) or not self.channels:
            raise TypeError(f"bird's-eye channels is {self.channels!r}; it must be 'rgb', 'classes' or a list of names")
        else:
            require_known(self.channels, [channel.name.lower() for channel in Channel], "bird's-eye channel")
            if len(set(self.channels)) < len(self.channels):
                raise ValueError(f"bird's-eye channels is {self.channels!r}; it names a channel twice")

    @property
    def names(self) -> tuple[str, ...]:
        """What the channels show."""
        if self.channels == "rgb":
            return ("red", "green", "blue")
        return CLASSES if isinstance(self.channels, str) else tuple(self.channels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns."""
        return len(self.names), self.height, self.width


class BirdsEye:
    """Bird's-eye pictures of N worlds.

    Args:
        view: what they show.
        network: the road.
        lanes, world: its table and the worlds (Warp structs of one precision).
        shape: N and V.
        device: of the pictures.
        agent: which of the controlled vehicles is the ego.
        out: where to draw, uint8 `[N, channels, height, width]`, if not into a tensor of its own.
        walled: does a car park reach as far as parking-v0's walls.

    Raises:
        MemoryError: the pictures need more memory than there is; the message says how much.

    Attributes:
        pictures: uint8 `[N, channels, height, width]`, overwritten each time the launches run.
    """

    def __init__(
        self,
        view: View,
        network: Network,
        lanes: Any,
        world: Any,
        shape: tuple[int, int],
        device: torch.device,
        agent: int = 0,
        out: torch.Tensor | None = None,
        walled: bool = True,
    ) -> None:
        self.view = view
        target = str(device)
        if out is None:
            require_room(view, shape[0], device)
        self.pictures = torch.zeros(shape[0], *view.shape, dtype=torch.uint8, device=device) if out is None else out
        ground = GroundTables(network, device, walled).ground
        self._frames = wp.zeros(shape[0], dtype=Frame, device=target)
        self._bodies = wp.zeros((shape[0], shape[1] + 1), dtype=Body, device=target)
        sizes = Sizes()
        sizes.width, sizes.height, sizes.scaling = view.width, view.height, float(view.scaling)
        sizes.ego_x, sizes.ego_y = (share * side for share, side in zip(view.centering, view.shape[:0:-1], strict=True))
        sizes.align = get_args(Align).index(view.align)
        sizes.rows, sizes.columns = view.height, view.width
        if device.type == "cuda":
            sizes.rows, sizes.columns = 1, CUDA_COLUMNS
        self._threads = -(-view.height // sizes.rows) * -(-view.width // sizes.columns)
        self._place = [lanes, world, sizes, agent]
        names = view.names
        if view.channels == "rgb":
            table = np.array([COLOURS[tone] for tone in Tone], dtype=np.float32)
            self._kernel, meaning = draw_colours, wp.array(table, dtype=wp.vec3f, device=target)
        else:
            places = [names.index(channel.name.lower()) if channel.name.lower() in names else -1 for channel in Channel]
            self._kernel, meaning = draw_classes, wp.array(places, dtype=wp.int32, device=target)
        self._draw = [ground, sizes, meaning, self._frames, self._bodies]

    def launches(self, mask: Any) -> list[tuple]:
        """Return the launches that draw the worlds of `mask` (a Warp array of bool `[N]`)."""
        placing = (place, [*self._place, mask, self._frames, self._bodies])
        return [placing, (self._kernel, [*self._draw, mask, wp.from_torch(self.pictures)], self._threads)]


def require_room(view: View, pictures: int, device: torch.device) -> None:
    """Raise MemoryError if so many pictures of a view do not fit on a device."""
    what = f"{pictures} bird's-eye pictures of {view.width} x {view.height} with {len(view.names)} channels"
    require_memory(pictures * math.prod(view.shape), device, what)
