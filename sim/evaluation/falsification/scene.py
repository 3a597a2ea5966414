"""Scenes that differ from the seeded ones: other vehicles moved, sped up or taken away before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine.elementary import cosine_and_sine
from sim.engine.launch import Program
from sim.engine.neighbours import sort_along_axis
from sim.engine.network import closest_lane
from sim.engine.spawn import remove
from sim.engine.state import PRECISIONS, Kind, model_struct
from sim.engine.vehicles import MAX_SPEED
from sim.evaluation.falsification.space import EDITS
from sim.provenance import usable_cores

CLEARANCE = 2.0  # m, that an edited vehicle leaves bumper to bumper to those on its lane
SIDE_CLEARANCE = 0.5  # m, between two sides, below which vehicles count as on one lane
BRAKING = 5.0  # m/s2, with which the one behind must be able to avoid the one ahead; IDM's comfortable deceleration
REACH = 100.0  # m, beyond which vehicles are not looked at: lane coordinates mean nothing on a far arc


@dataclass(frozen=True)
class Edit:
    """A change of one vehicle of the seeded scene.

    Attributes:
        slot: of the vehicle, right after the reset.
        shift: along its lane [m]. speed, target_speed: added [m/s]. lanes: how many to the right.
    """

    slot: int
    shift: float = 0.0
    speed: float = 0.0
    target_speed: float = 0.0
    lanes: int = 0


@wp.func
def _is_clear(
    lanes: Any, world: Any, gone: wp.array2d(dtype=wp.bool), w: int, v: int, on: int, s: Any, x: Any, y: Any, speed: Any
):
    """May a vehicle stand at `s` on a lane with a speed: does nobody overlap, and can whoever is behind brake."""
    half = type(s)(0.5)
    for other in range(world.rows[w].count):
        kind = world.cars[w, other].kind
        far = wp.abs(world.cars[w, other].x - x) + wp.abs(world.cars[w, other].y - y)
        if other != v and not gone[w, other] and kind != Kind.LANDMARK and far < type(s)(REACH):
            so, lateral = lane.local_coordinates(lanes, on, world.cars[w, other].x, world.cars[w, other].y)
            beside = wp.abs(lateral) - (world.cars[w, v].width + world.cars[w, other].width) * half
            if beside < type(s)(SIDE_CLEARANCE):
                gap = wp.abs(so - s) - (world.cars[w, v].length + world.cars[w, other].length) * half
                closing = speed - world.cars[w, other].speed
                if so < s:
                    closing = -closing
                closing = wp.max(closing, type(s)(0.0))
                if gap < type(s)(CLEARANCE) + closing * closing / type(s)(2.0 * BRAKING):
                    return False
    return True


@wp.func
def _edit(
    lanes: Any,
    world: Any,
    gone: wp.array2d(dtype=wp.bool),
    w: int,
    v: int,
    shift: wp.float64,
    faster: wp.float64,
    aim: wp.float64,
    right: int,
):
    """Change a vehicle and return whether it could be: on the road, and clear of the others but those `gone`."""
    zero = type(world.cars[w, v].x)(0.0)
    fastest = type(zero)(MAX_SPEED)
    on = world.cars[w, v].lane
    edge = lanes.lanes[on].edge
    index = lanes.lanes[on].index + right
    if index < 0 or index >= lanes.edges[edge].count:
        return False
    s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)
    heading = world.cars[w, v].heading - lane.heading_at(lanes, on, s)
    on = lanes.edges[edge].first + index
    s = s + type(zero)(shift)
    if s < zero or s > lanes.lanes[on].length:
        return False
    speed = wp.clamp(world.cars[w, v].speed + type(zero)(faster), zero, fastest)
    x, y = lane.position(lanes, on, s, lateral)
    if not _is_clear(lanes, world, gone, w, v, on, s, x, y, speed):
        return False
    heading = heading + lane.heading_at(lanes, on, s)
    cosine, sine = cosine_and_sine(heading)
    if shift != wp.float64(0.0) or right != 0:
        world.cars[w, v].x = x
        world.cars[w, v].y = y
        world.cars[w, v].heading = heading
        world.cars[w, v].cos_heading = cosine
        world.cars[w, v].sin_heading = sine
        closest, _s, _lateral = closest_lane(lanes, x, y, heading, on)
        world.cars[w, v].lane = closest
    world.cars[w, v].speed = speed
    world.cars[w, v].target_speed = wp.clamp(world.cars[w, v].target_speed + type(zero)(aim), zero, fastest)
    if right != 0:
        world.cars[w, v].target_lane = on
        if world.cars[w, v].route_head < world.cars[w, v].route_size:
            head = world.cars[w, v].route_head
            if world.route_edge[w, v, head] == edge and world.route_lane[w, v, head] >= 0:
                world.route_lane[w, v, head] = index
    return True


# Runs once an episode: compiled without optimisation, in a fraction of the time.
@wp.kernel(enable_backward=False, module="unique", module_options={"optimization_level": 0})
def edit_worlds(
    lanes: Any,
    world: Any,
    model: Any,
    edits: wp.array3d(dtype=wp.float64),
    slots: wp.array2d(dtype=wp.int32),
    removed: wp.array2d(dtype=wp.bool),
    applied: wp.array2d(dtype=wp.bool),
    first: int,
):
    """Change vehicles one after the other, note which could be, and take away those that are to go."""
    w = first + wp.tid()
    for k in range(slots.shape[1]):
        applied[w, k] = False
        v = slots[w, k]
        if v < 0:
            continue
        if not removed[w, v]:
            right = int(edits[w, k, 3])
            applied[w, k] = _edit(lanes, world, removed, w, v, edits[w, k, 0], edits[w, k, 1], edits[w, k, 2], right)
    v = world.rows[w].count - 1
    while v >= 0:
        if removed[w, v]:
            remove(world, w, v)
        v = v - 1
    sort_along_axis(world, model, w)


class SceneEditor:
    """Changes the scenes of an environment's worlds, right after a reset.

    Args:
        envs: a `VectorEnv`.
    """

    def __init__(self, envs: Any) -> None:
        self.envs = envs
        real = PRECISIONS[envs.precision]
        sweep = not envs.config["neighbour_vehicles_connected_lanes"]
        self._model = model_struct(real)()
        self._model.axis_x, self._model.axis_y = envs.network.axis()
        self._lanes = envs.network.table(real, envs.device, sweep=sweep)
        self._programs: dict[int, tuple] = {}

    def traffic(self) -> torch.Tensor:
        """Returns which slots hold a vehicle that may be changed or taken away, bool [N, V]: all but the egos."""
        world = self.envs.world
        kind = world.kind
        found = (kind != int(Kind.ABSENT)) & (kind < int(Kind.OBSTACLE))
        return found.scatter(1, world.ego.long(), torch.zeros_like(world.ego, dtype=torch.bool))

    def nearest(self, count: int) -> torch.Tensor:
        """Returns the slots of the `count` vehicles nearest to the first ego, int32 [N, count]; -1 where none is left.

        Vehicles that nobody drives (parked ones) count too: they can be moved as well.
        """
        world = self.envs.world
        ego = world.ego[:, :1].long()
        dx, dy = world.x - world.x.gather(1, ego), world.y - world.y.gather(1, ego)
        distance = torch.where(self.traffic(), torch.hypot(dx, dy), torch.inf)
        room = min(count, distance.shape[1])
        distance, slots = torch.sort(distance, dim=1, stable=True)
        slots = torch.where(distance[:, :room] < torch.inf, slots[:, :room], -1).int()
        return torch.nn.functional.pad(slots, (0, count - room), value=-1)

    def apply(self, edits: np.ndarray, slots: torch.Tensor, removed: torch.Tensor | None = None) -> torch.Tensor:
        """Changes the worlds in place; call `VectorEnv.observe` afterwards.

        A vehicle is changed unless that would take it off its road or its lane's end, or so close to another that the
        one behind could not brake in time; then it stays as it was. Vehicles are changed one after the other, in the
        order of the axis K; those to be taken away count as gone. So whatever could be changed still can be when more
        vehicles are taken away. Slots are counted before any is.

        Args:
            edits: [N, K, 4], as `EDITS`.
            slots: integers [N, K], the vehicles to change; -1 for none, and what is no vehicle of the traffic counts
                as that.
            removed: bool [N, V], the vehicles to take away.

        Returns which edits were made, bool [N, K]. Raises ValueError for a removed slot that holds no vehicle of the
        traffic.
        """
        envs, k = self.envs, slots.shape[1]
        if k not in self._programs:
            shape = (envs.num_envs, k)
            buffers = (
                torch.zeros(*shape, len(EDITS), dtype=torch.float64, device=envs.device),
                torch.zeros(*shape, dtype=torch.int32, device=envs.device),
                torch.zeros(envs.num_envs, envs.world.x.shape[1], dtype=torch.bool, device=envs.device),
                torch.zeros(*shape, dtype=torch.bool, device=envs.device),
            )
            inputs = [self._lanes, envs.world.struct(), self._model, *map(wp.from_torch, buffers)]
            program = Program([(edit_worlds, inputs)], envs.num_envs, envs.device, len(usable_cores()))
            self._programs[k] = (buffers, program)
        (changes, chosen, gone, applied), program = self._programs[k]
        slots = slots.to(envs.device).long()
        traffic = self.traffic()
        theirs = traffic.gather(1, slots.clamp(min=0)) & (slots >= 0)
        changes.copy_(torch.as_tensor(edits))
        chosen.copy_(torch.where(theirs, slots, -1))
        gone.zero_() if removed is None else gone.copy_(removed)
        if bool((gone & ~traffic).any()):
            world, slot = (gone & ~traffic).nonzero()[0].tolist()
            raise ValueError(f"slot {slot} of world {world} holds no vehicle of the traffic: it cannot be taken away")
        program()
        return applied.clone()


class EditedEnvs:
    """An environment whose resets lead to edited scenes; all else is the environment's own.

    So whatever drives, records or replays a `VectorEnv` (`sim.recording`, a renderer) does so with an edited scene.

    Args:
        envs: a `VectorEnv` of N worlds.
        edits: of each world.
        removed: the slots to take away in each world, as counted right after the seeded reset.
    """

    def __init__(self, envs: Any, edits: Sequence[Sequence[Edit]], removed: Sequence[Sequence[int]]) -> None:
        self._envs, self._editor = envs, SceneEditor(envs)
        self._edits, self._slots = edit_arrays(edits)
        self._removed = removal_mask(removed, envs.world.x.shape[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._envs, name)

    def reset(self, **arguments: Any) -> tuple[Any, dict]:
        """Resets the environment, edits its scenes and returns the observation of these, and the reset's info."""
        _, info = self._envs.reset(**arguments)
        self._editor.apply(self._edits, self._slots, self._removed)
        return self._envs.observe(), info


def edit_arrays(edits: Sequence[Sequence[Edit]]) -> tuple[np.ndarray, torch.Tensor]:
    """Returns the edits of N worlds as `SceneEditor.apply` takes them: [N, K, 4] and the slots, int32 [N, K]."""
    most = max((len(world) for world in edits), default=0)
    values = np.zeros((len(edits), most, len(EDITS)))
    slots = torch.full((len(edits), most), -1, dtype=torch.int32)
    for w, world in enumerate(edits):
        for k, edit in enumerate(world):
            values[w, k] = edit.shift, edit.speed, edit.target_speed, edit.lanes
            slots[w, k] = edit.slot
    return values, slots


def removal_mask(removed: Sequence[Sequence[int]], slots: int) -> torch.Tensor:
    """Returns bool [N, slots]: which are to be taken away."""
    mask = torch.zeros(len(removed), slots, dtype=torch.bool)
    for w, gone in enumerate(removed):
        mask[w, list(gone)] = True
    return mask
