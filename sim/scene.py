"""What a driver may know of its world: itself, the things it tracks, and the lanes near by.

Perfect perception (`scene_from_world`) and the sensors' pipeline (`perception.scene`) give the same type, so that the
difference in score is the cost of perception. `SceneFeatures` turns a scene into the observation that a policy was
trained on. What a vehicle knows of itself (its own motion, its place on the map, its route and goal) is taken as known.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
import warp as wp
from torch import Tensor

from sim.engine import lanes as lane
from sim.engine.elementary import cosine_and_sine
from sim.engine.launch import Program
from sim.engine.neighbours import sort_along_axis
from sim.engine.network import closest_lane
from sim.engine.state import Kind
from sim.observations import MultiAgentObservation, Observation, observation_type
from sim.observations.camera import CameraObservation
from sim.observations.grayscale import GrayscaleObservation
from sim.provenance import usable_cores
from sim.world import Sizes, World

LANES_BESIDE = 2
"""Lanes to either side of the ego's own that a scene describes."""
LANE_POINTS = 16
"""Points of each lane's centre line."""
POINT_SPACING = 5.0
"""Distance from one point to the next, the first beside the ego [m]."""
SIGHT = 200.0
"""How far highway-env's observations see [m]."""


@dataclass(frozen=True)
class Bodies:
    """Things on the road, tensors of one shape.

    Attributes:
        x, y: middle [m]; vx, vy: velocity [m/s]; heading [rad]: in the frame of the world, x right and y down.
        length, width: [m].
    """

    x: Tensor
    y: Tensor
    vx: Tensor
    vy: Tensor
    heading: Tensor
    length: Tensor
    width: Tensor


@dataclass(frozen=True)
class LanesNear:
    """The ego's lane and those beside it, L from left to right, the ego's in the middle.

    Attributes:
        exists: bool [N, L].
        number: int32 [N, L], the flat number in the network, -1 where there is none.
        width: [N, L], beside the ego [m].
        points: [N, L, P, 2], the centre line from beside the ego onwards, straight on after the lane's end [m].
    """

    exists: Tensor
    number: Tensor
    width: Tensor
    points: Tensor


@dataclass(frozen=True)
class Scene:
    """What the first driver of each of N worlds knows, K things at most.

    Attributes:
        ego: itself, each [N].
        tracked: the other things, each [N, K], nearest first; rows that are not `valid` hold zeros.
        valid: bool [N, K].
        still: bool [N, K], obstacles and other things that do not drive.
        number: int64 [N, K], names a thing from one moment to the next.
        age: int64 [N, K], how many looks at the world ago it was found; 0 where nobody counts.
        covariance: [N, K, 4, 4], how sure x, y, vx and vy are [m2, m2/s, m2/s2]; zero where they are known exactly.
        lanes: the lanes near by.
    """

    ego: Bodies
    tracked: Bodies
    valid: Tensor
    still: Tensor
    number: Tensor
    age: Tensor
    covariance: Tensor
    lanes: LanesNear


def scene_from_world(envs: Any, objects: int = 32, reach: float = SIGHT) -> Scene:
    """Return what perfect sensors would tell the first driver of each world of a `VectorEnv`.

    Args:
        envs: the environment, after a reset.
        objects: K, how many things are tracked at most; the nearest ones.
        reach: how far away they may be [m].
    """
    if objects < 1 or not reach > 0:
        raise ValueError(f"a scene needs objects >= 1 and reach > 0 m, got {objects} and {reach}")
    world, own = envs.world, own_body(envs)
    ego = world.ego[:, :1].long()
    seen = world.valid & (world.kind != int(Kind.LANDMARK))
    seen = seen.scatter(1, ego, torch.zeros_like(ego, dtype=torch.bool))
    distance = torch.hypot(world.x - own.x[:, None], world.y - own.y[:, None])
    distance = torch.where(seen & (distance < reach), distance, torch.inf)
    distance, slots = torch.sort(distance, dim=1, stable=True)
    room = min(objects, slots.shape[1])
    slots, valid = slots[:, :room], distance[:, :room] < torch.inf

    def of_tracked(values: Tensor) -> Tensor:
        picked = torch.where(valid, values.gather(1, slots), torch.zeros((), dtype=values.dtype, device=values.device))
        return torch.nn.functional.pad(picked, (0, objects - room))

    tracked = Bodies(**{field.name: of_tracked(_field(world, field.name)) for field in fields(Bodies)})
    return Scene(
        ego=own,
        tracked=tracked,
        valid=of_tracked(torch.ones_like(world.kind)).bool(),
        still=of_tracked((world.kind >= int(Kind.PARKED)).int()).bool(),
        number=of_tracked(world.number).long(),
        age=torch.zeros_like(tracked.x, dtype=torch.int64),
        covariance=tracked.x.new_zeros(*tracked.x.shape, 4, 4),
        lanes=lanes_near(envs),
    )


def own_body(envs: Any) -> Bodies:
    """Return the first driver of each world of a `VectorEnv` as it stands, each [N]."""
    ego = envs.world.ego[:, :1].long()
    return Bodies(**{part.name: _field(envs.world, part.name).gather(1, ego)[:, 0] for part in fields(Bodies)})


def _field(world: World, name: str) -> Tensor:
    """One field of `Bodies` for every slot [N, V]."""
    if name in ("vx", "vy"):
        return world.speed * (world.cos_heading if name == "vx" else world.sin_heading)
    return getattr(world, name)


@wp.kernel(enable_backward=False, module="unique")
def sample_lanes(
    lanes: Any,
    world: Any,
    number: wp.array2d(dtype=wp.int32),
    width: wp.array2d(dtype=Any),
    points: wp.array4d(dtype=Any),
    first: int,
):
    """Write the lanes near the first ego of each world; see `LanesNear`."""
    w = first + wp.tid()
    ego = world.ego[w, 0]
    own = world.cars[w, ego].lane
    edge = lanes.lanes[own].edge
    s, _lateral = lane.local_coordinates(lanes, own, world.cars[w, ego].x, world.cars[w, ego].y)
    for k in range(number.shape[1]):
        index = lanes.lanes[own].index + k - number.shape[1] // 2
        number[w, k] = -1
        if index < 0 or index >= lanes.edges[edge].count:
            continue
        on = lanes.edges[edge].first + index
        number[w, k] = on
        at, _beside = lane.local_coordinates(lanes, on, world.cars[w, ego].x, world.cars[w, ego].y)
        width[w, k] = lane.width_at(lanes, on, at)
        for p in range(points.shape[2]):
            along = at + type(s)(p) * type(s)(POINT_SPACING)
            end = wp.min(along, lanes.lanes[on].length)
            x, y = lane.position(lanes, on, end, type(s)(0.0))
            cosine, sine = cosine_and_sine(lane.heading_at(lanes, on, end))
            points[w, k, p, 0] = x + (along - end) * cosine
            points[w, k, p, 1] = y + (along - end) * sine


class _LanesNear:
    """The launch of `sample_lanes` on a `VectorEnv`, recorded once, and what it writes into."""

    def __init__(self, envs: Any) -> None:
        n, count, real = envs.num_envs, 2 * LANES_BESIDE + 1, {"dtype": envs.world.x.dtype, "device": envs.device}
        self.number = torch.full((n, count), -1, dtype=torch.int32, device=envs.device)
        self.width = torch.zeros(n, count, **real)
        self.points = torch.zeros(n, count, LANE_POINTS, 2, **real)
        buffers = [wp.from_torch(tensor) for tensor in (self.number, self.width, self.points)]
        launch = (sample_lanes, [envs.binding.lanes, envs.binding.world, *buffers])
        self._program = Program([launch], n, envs.device, len(usable_cores()))

    def __call__(self) -> LanesNear:
        self._program()
        number = self.number.clone()
        exists = number >= 0
        width = torch.where(exists, self.width, 0.0)
        return LanesNear(exists, number, width, torch.where(exists[..., None, None], self.points, 0.0))


_recorded: WeakKeyDictionary[Any, _LanesNear] = WeakKeyDictionary()


def lanes_near(envs: Any) -> LanesNear:
    """Return the lanes near the first ego of each world of a `VectorEnv`."""
    if envs not in _recorded:
        _recorded[envs] = _LanesNear(envs)
    return _recorded[envs]()


@wp.func
def place_body(lanes: Any, world: Any, bodies: wp.array3d(dtype=Any), w: int, k: int, v: int):
    """Put thing `k` of a scene into slot `v` as a vehicle on the lane nearest to it; all else is as the ego's."""
    x = bodies[w, k, 0]
    y = bodies[w, k, 1]
    heading = bodies[w, k, 4]
    cosine, sine = cosine_and_sine(heading)
    on, _s, _lateral = closest_lane(lanes, x, y, heading, world.cars[w, 0].lane)
    world.cars[w, v] = world.cars[w, 0]
    world.cars[w, v].x = x
    world.cars[w, v].y = y
    world.cars[w, v].heading = heading
    world.cars[w, v].cos_heading = cosine
    world.cars[w, v].sin_heading = sine
    world.cars[w, v].speed = bodies[w, k, 2] * cosine + bodies[w, k, 3] * sine
    world.cars[w, v].length = bodies[w, k, 5]
    world.cars[w, v].width = bodies[w, k, 6]
    world.cars[w, v].lane = on
    world.cars[w, v].target_lane = on
    world.cars[w, v].route_size = 0
    world.cars[w, v].crashed = False
    world.cars[w, v].kind = Kind.IDM


@wp.kernel(enable_backward=False, module="unique")
def place_scene(
    lanes: Any,
    truth: Any,
    world: Any,
    model: Any,
    bodies: wp.array3d(dtype=Any),
    valid: wp.array2d(dtype=wp.bool),
    still: wp.array2d(dtype=wp.bool),
    number: wp.array2d(dtype=wp.int32),
    first: int,
):
    """Build the worlds that scenes describe: the ego and its goal as they are, the things as they are perceived.

    `bodies` `[N, K, 7]` has the columns of `Bodies`. Vehicles come first, then what stands still, as everywhere.
    """
    w = first + wp.tid()
    world.rows[w] = truth.rows[w]
    world.cars[w, 0] = truth.cars[w, truth.ego[w, 0]]
    for step in range(world.route_edge.shape[2]):
        world.route_edge[w, 0, step] = truth.route_edge[w, truth.ego[w, 0], step]
        world.route_lane[w, 0, step] = truth.route_lane[w, truth.ego[w, 0], step]
    world.ego[w, 0] = 0
    world.lanes_seen[w, 0] = truth.lanes_seen[w, 0]
    world.goal[w, 0] = -1
    count = int(1)
    objects = int(0)
    for turn in range(2):
        for k in range(valid.shape[1]):
            if valid[w, k] and still[w, k] == (turn == 1):
                place_body(lanes, world, bodies, w, k, count)
                world.cars[w, count].number = number[w, k]
                if turn == 1:
                    world.cars[w, count].kind = Kind.OBSTACLE
                    objects = objects + 1
                count = count + 1
    if truth.goal[w, 0] >= 0:
        world.cars[w, count] = truth.cars[w, truth.goal[w, 0]]
        world.goal[w, 0] = count
        count = count + 1
        objects = objects + 1
    for v in range(world.cars.shape[1]):
        world.order[w, v] = v
        world.cars[w, v].rank = v
        if v >= count:
            world.cars[w, v].kind = 0
    world.rows[w].count = count
    world.rows[w].objects = objects
    sort_along_axis(world, model, w)


class SceneFeatures:
    """What an environment would observe if its worlds were as scenes say.

    The scene is put into worlds of its own, and the environment's observation type observes those: so a policy meets
    the very features it was trained on, whatever the type, and with perfect perception the same numbers.

    Args:
        envs: a `VectorEnv` of one agent.
        objects: K of the scenes to come.

    Raises:
        ValueError: several agents observe, or what they observe are pictures: a scene has neither looks nor a past.
    """

    def __init__(self, envs: Any, objects: int = 32) -> None:
        if isinstance(envs.observation_type, MultiAgentObservation):
            raise ValueError(f"a scene is of one driver, but several observe in {envs.id}")
        if isinstance(envs.observation_type, CameraObservation | GrayscaleObservation):
            kind = type(envs.observation_type).__name__
            raise ValueError(f"a scene can't be shown as a {kind}: it has neither looks nor a past")
        binding = envs.binding
        route, egos = envs.world.route_edge.shape[2], envs.world.ego.shape[1]
        sizes = Sizes(vehicles=objects + 2, lanes=1, egos=egos, route=route)
        self.world = World.allocate(envs.num_envs, sizes, envs.device, envs.precision)
        dtype, shape = envs.world.x.dtype, (envs.num_envs, objects)
        self._bodies = torch.zeros(*shape, len(fields(Bodies)), dtype=dtype, device=envs.device)
        self._valid, self._still = (torch.zeros(shape, dtype=torch.bool, device=envs.device) for _ in range(2))
        self._number = torch.zeros(shape, dtype=torch.int32, device=envs.device)
        self._finite = torch.ones((), dtype=torch.bool, pin_memory=envs.device.type == "cuda")
        shadow = self.world.struct()
        kind = observation_type(envs.config["observation"], binding.setting)
        self._observation = kind.bind(replace(binding, world=shadow))
        everywhere = wp.from_torch(torch.ones(envs.num_envs, dtype=torch.bool, device=envs.device))
        buffers = [wp.from_torch(one) for one in (self._bodies, self._valid, self._still, self._number)]
        place = (place_scene, [binding.lanes, binding.world, shadow, binding.model, *buffers])
        launches = [place, *kind.launches(everywhere)]
        self._program = Program(launches, envs.num_envs, envs.device, len(usable_cores()))

    def __call__(self, scene: Scene) -> Observation:
        """Return the observation `[N, ...]` of scenes; the tensors are overwritten by the next call.

        Raises:
            ValueError: the scenes track another number of things, or a number in them is not finite; on CUDA, which is
                not waited for, that may be said of an earlier call.
        """
        if scene.valid.shape != self._valid.shape:
            raise ValueError(f"a scene of {tuple(scene.valid.shape)} things; expected {tuple(self._valid.shape)}")
        columns = torch.stack([getattr(scene.tracked, field.name) for field in fields(Bodies)], dim=-1)
        finite = torch.where(scene.valid[..., None], columns, 0.0).isfinite().all()
        self._finite.copy_(finite, non_blocking=True)
        if not self._finite:
            raise ValueError("a tracked thing has a place, speed or size that is not finite")
        # In the order of their numbers, as in the world itself: where two are equally near, the first one counts.
        order = torch.where(scene.valid, scene.number, torch.iinfo(torch.int64).max).argsort(dim=1, stable=True)
        self._bodies.copy_(columns.take_along_dim(order[..., None], 1))
        for buffer, values in ((self._valid, scene.valid), (self._still, scene.still), (self._number, scene.number)):
            buffer.copy_(values.gather(1, order))
        self._program()
        return self._observation
