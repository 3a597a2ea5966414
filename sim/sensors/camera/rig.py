"""Cameras on a vehicle of every world: pictures, depth, classes, instances and labels in one pass.

Where a camera really is: the look's jitter (`camera_x` ... `camera_roll`) and the rig's `drift` are added to the
camera's own x, y, z, yaw, pitch and roll, and the look's `focal` multiplies its focal length. `CameraRig.poses` tells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine.launch import Program
from sim.engine.network import Network
from sim.provenance import usable_cores
from sim.sensors.camera.bodies import catalogue
from sim.sensors.camera.cameras import Camera, preset
from sim.sensors.camera.frames import LABELS, PICTURES, Frames, Objects
from sim.sensors.camera.projection import DRIFT, finish_labels, project
from sim.sensors.camera.rendering import Images, render
from sim.sensors.camera.texture import grain
from sim.sensors.camera.views import Mounting, Thing, View, tables_of
from sim.sensors.effects.chain import Effects
from sim.sensors.ground.tables import GroundTables
from sim.sensors.looks.look_sampler import LookSampler
from sim.sensors.memory import require_memory
from sim.world import World

PIXEL_BYTES = sum(math.prod(shape) * dtype.itemsize for shape, dtype in PICTURES.values())
LABEL_BYTES = sum(math.prod(shape) * dtype.itemsize for shape, dtype in LABELS.values())


@dataclass
class Poses:
    """Where the cameras were at the last rendering, jitter and drift included."""

    place: torch.Tensor
    """float64 `[N, C, 3]`: x, y and height in the world [m]."""
    axes: torch.Tensor
    """float32 `[N, C, 3, 3]`: the camera's x, y and z axis as rows, in the world's frame (x, y, height)."""
    focal: torch.Tensor
    """float32 `[N, C]` [px]."""


class CameraPass:
    """The launches that render the same cameras on vehicle `agent` of each of N worlds, and what they render into.

    Args:
        network: the road of the worlds.
        struct: the Warp struct of the worlds.
        size: how many worlds and slots there are.
        device: where they are.
        cameras: at least one, all of the same width and height.
        domain: what the pictures look like: a domain's or mixture's name, a `Domain`, a list, or a `LookSampler`.
        agent: which of the controlled vehicles carries them.
        objects: are labels of objects made? Without, `frames.objects` stays zero.
        walled: does the asphalt of a car park reach as far as parking-v0's walls?
        spoiled: do the domain's effects of sensor and lens fall on `frames.rgb`?
        into: tensors to render into instead of new ones, by their names in `Frames`.

    Attributes:
        frames: the pictures `[N, C, ...]`, overwritten by each rendering.
        drift: float32 `[N, 6]`, x, y, z [m] and yaw, pitch, roll [rad] by which the mounting is off; zero.
        looks: the sampler, whose `tensor` holds the looks of the episodes.
        cameras, names: the cameras, and what they are called.

    Raises:
        TypeError, ValueError: no camera, cameras of different sizes, or an unknown domain.
        MemoryError: the pictures need more memory than there is; the message says how much.
    """

    def __init__(
        self,
        network: Network,
        struct: Any,
        size: tuple[int, int],
        device: torch.device,
        cameras: Sequence[Camera],
        domain: Any = "clear",
        agent: int = 0,
        objects: bool = True,
        walled: bool = True,
        spoiled: bool = True,
        into: dict[str, torch.Tensor] | None = None,
    ) -> None:
        self.cameras = checked_cameras(cameras)
        self.names = [camera.name for camera in self.cameras]
        self.agent, self.labelled, self._spoiled = agent, objects, spoiled
        self._size, self._device = size, device
        require_room(size, self.cameras, device)
        self.looks = domain if isinstance(domain, LookSampler) else LookSampler(domain, struct, size[0], device)
        self.drift = torch.zeros(size[0], len(DRIFT), device=device)
        self.frames = allocated(size, self.cameras, device, into or {})
        self._bind(GroundTables(network, device, walled), struct)

    def _bind(self, ground: GroundTables, struct: Any) -> None:
        """Keep what the kernels read besides the mask."""
        (n, slots), c, place = self._size, len(self.cameras), str(self._device)
        one, frames, looks = self.cameras[0], self.frames, self.looks.looks
        mountings = wp.array(mounting_rows(self.cameras), dtype=Mounting, device=place)
        tables = tables_of(frames.objects)
        images = Images()
        images.rgb = wp.from_torch(frames.rgb.flatten(1, 2))  # Warp's arrays have at most four axes
        for name in ("depth", "semantic", "instance"):
            setattr(images, name, wp.from_torch(getattr(frames, name)))
        self.views = wp.zeros((n, c), dtype=View, device=place)
        things = wp.zeros((n, c, slots), dtype=Thing, device=place)
        before = [mountings, looks, wp.from_torch(self.drift), catalogue(place), one.width, one.height]
        self._project = (struct, [self.agent, *before, self.views, things, tables])
        surface = [ground.ground, grain(place), int(self.labelled)]
        self._render = [self.views, things, looks, *surface, images, tables]
        self._finish = [tables]
        self._ground = ground
        seen, only = (frames.depth, frames.instance), None if self._spoiled else []
        self.effects = Effects(self.looks, struct, frames.rgb, self.views, *seen, agent=self.agent, only=only)

    def launches(self, mask: Any) -> list[tuple]:
        """Return the launches of a `Program` that render the worlds in `mask` (Warp bool `[N]`) into `frames`."""
        c, h = len(self.cameras), self.cameras[0].height
        struct, rest = self._project
        drawn = [(project, [struct, mask, *rest], c), (render, [mask, *self._render], c * h)]
        labels = [(finish_labels, [mask, *self._finish], c)] if self.labelled else []
        return [*self.looks.launches(mask), *drawn, *labels, *self.effects.launches(mask)]


class CameraRig(CameraPass):
    """Cameras on vehicle `agent` of each of N worlds: `render` shows the worlds as they stand.

    Args:
        network: the road of the worlds.
        world: the worlds; they are read at each rendering.
        cameras: at least one, all of the same width and height, or a preset's name.
        domain, agent, objects, walled: as for `CameraPass`, whose attributes it has, and whose errors it raises.
        threads: of the rendering on the CPU; all usable cores by default.
    """

    def __init__(
        self,
        network: Network,
        world: World,
        cameras: Sequence[Camera] | str = "front",
        domain: Any = "clear",
        agent: int = 0,
        threads: int | None = None,
        objects: bool = True,
        walled: bool = True,
    ) -> None:
        cameras = preset(cameras) if isinstance(cameras, str) else cameras
        self.world = world
        size = (world.num_worlds, world.buffers["cars"].shape[1])
        super().__init__(network, world.struct(), size, world.device, cameras, domain, agent, objects, walled)
        self._mask = torch.ones(world.num_worlds, dtype=torch.bool, device=world.device)
        made = self.launches(wp.from_torch(self._mask))
        # A picture takes a hundred times as long as a step: even two worlds are worth two threads.
        self._program = Program(made, world.num_worlds, world.device, threads or len(usable_cores()), fewest=1)

    def render(self, mask: torch.Tensor | None = None) -> Frames:
        """Render all worlds, or those where `mask` `[N]` is true; returns `frames`, which the next call overwrites."""
        if mask is None:
            self._mask.fill_(True)
        else:
            self._mask.copy_(mask)
        self._program()
        return self.frames

    def poses(self) -> Poses:
        """Return where the cameras were at the last rendering."""
        rows, device = self.views.numpy(), self.world.device
        ego = self.world.ego[:, self.agent].long()[:, None]
        middle = torch.stack([self.world.x.gather(1, ego), self.world.y.gather(1, ego)], dim=-1).double()
        place = torch.from_numpy(rows["place"].astype(np.float64)).to(device)
        place[..., :2] += middle
        axes = np.stack([rows["right"], rows["down"], rows["ahead"]], axis=-2)
        return Poses(place, torch.from_numpy(axes).to(device), torch.from_numpy(rows["focal"].copy()).to(device))


def require_room(size: tuple[int, int], cameras: Sequence[Camera], device: torch.device) -> None:
    """Raise MemoryError if the pictures and labels of `size` worlds and slots do not fit on a device."""
    one = cameras[0]
    rows = size[1] * (wp.types.type_size_in_bytes(Thing) + LABEL_BYTES)
    needed = size[0] * len(cameras) * (one.width * one.height * PIXEL_BYTES + rows)
    require_memory(needed, device, f"{len(cameras)} pictures of {one.width} x {one.height} for {size[0]} worlds")


def allocated(
    size: tuple[int, int], cameras: Sequence[Camera], device: torch.device, given: dict[str, torch.Tensor]
) -> Frames:
    """Return frames of zeros for `size` worlds and slots, with the `given` tensors in their places."""
    (n, v), h, w = size, cameras[0].height, cameras[0].width

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.zeros(n, len(cameras), *shape, dtype=dtype, device=device)

    labels = {name: zeros(v, *shape, dtype=dtype) for name, (shape, dtype) in LABELS.items()}
    made = {name: given.get(name) for name in PICTURES}
    for name, (shape, dtype) in PICTURES.items():
        if made[name] is None:
            made[name] = zeros(*shape, h, w, dtype=dtype)
    return Frames(**made, objects=Objects(**labels))


def checked_cameras(cameras: Sequence[Camera]) -> list[Camera]:
    """Return the cameras as a list.

    Raises:
        TypeError, ValueError: none, something else, or pictures of different sizes.
    """
    cameras = list(cameras)
    if not cameras or not all(isinstance(one, Camera) for one in cameras):
        raise TypeError(f"cameras is {cameras!r}; it must be a list of at least one Camera")
    sizes = {(one.width, one.height) for one in cameras}
    if len(sizes) > 1:
        raise ValueError(
            f"cameras have pictures of {sorted(sizes)}; all of one rig must have the same width and height"
        )
    return cameras


def mounting_rows(cameras: Sequence[Camera]) -> np.ndarray:
    """Return the rows of the device table of cameras."""
    rows = np.zeros(len(cameras), dtype=Mounting.numpy_dtype())
    for row, camera in zip(rows, cameras, strict=True):
        row["focal"] = camera.focal
        row["x"], row["y"], row["z"] = camera.x, camera.y, camera.z
        row["yaw"], row["pitch"], row["roll"] = np.radians([camera.yaw, camera.pitch, camera.roll])
    return rows
