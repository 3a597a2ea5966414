"""Episodes at simulation frames, as tensors: what every metric is computed from, and how they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import torch
import warp as wp
from torch import Tensor

from sim.engine.lane_facts import LaneFacts, lane_facts
from sim.engine.launch import Program
from sim.engine.network import Network
from sim.engine.state import PRECISIONS, Kind
from sim.engine.state_hash import StateHash
from sim.evaluation.driver import stepped
from sim.provenance import usable_cores

REALS = ("x", "y", "heading", "speed", "acceleration", "length", "width")
WHOLES = ("kind", "lane", "target_lane", "number")
FIRST_FRAMES = 128  # for which a recorder has room at first


@dataclass(frozen=True)
class Episodes:
    """N episodes of one id and config; frame 0 is the scene right after the reset.

    Attributes:
        id, config, network: what was driven in. seeds: of each episode.
        dt: of a frame [s]. frames_per_step: frames between two decisions.
        x, y: [m], y down; heading [rad]; speed [m/s], negative in reverse; acceleration: as commanded [m/s2];
            length, width [m]; each float [T, N, V], by slot.
        kind: `Kind`; lane, target_lane: flat numbers; number: which thing of its episode it is, as slots move up when
            vehicles leave a junction, -1 where the slot is empty; each int32 [T, N, V].
        crashed: bool [T, N, V].
        ego: slot of the first ego, int64 [T, N].
        frames: how many frames each episode has, int64 [N]; what stands in later rows never counts.
        actions: [S, N, ...], rewards: float64 [S, N], summed over the agents; of S policy steps.
        latency: seconds that the driver took for the decisions of the whole batch, divided by N, float64 [S].
        terminated, success: bool [N]; reports_success: whether the id has a goal to succeed in.
    """

    id: str
    config: dict[str, Any]
    network: Network
    seeds: list[int]
    dt: float
    frames_per_step: int
    x: Tensor
    y: Tensor
    heading: Tensor
    speed: Tensor
    acceleration: Tensor
    length: Tensor
    width: Tensor
    kind: Tensor
    lane: Tensor
    target_lane: Tensor
    number: Tensor
    crashed: Tensor
    ego: Tensor
    frames: Tensor
    actions: Tensor
    rewards: Tensor
    latency: Tensor
    terminated: Tensor
    success: Tensor
    reports_success: bool

    @cached_property
    def facts(self) -> LaneFacts:
        """Where the ego is on its road."""
        tape = {name: getattr(self, name) for name in ("x", "y", "heading", "length", "width", "kind", "lane")}
        return lane_facts(self.network, tape, self.ego, self.frames)

    @cached_property
    def recorded(self) -> Tensor:
        """Bool [T, N]: is the frame part of the episode."""
        return torch.arange(len(self.x), device=self.x.device)[:, None] < self.frames

    @cached_property
    def contact(self) -> Tensor:
        """The first frame at which the ego is crashed, int64 [N]; -1 for never."""
        hit = self.of_ego("crashed") & self.recorded
        first = hit.to(torch.uint8).argmax(0)
        return torch.where(hit.any(0), first, -1)

    @cached_property
    def last(self) -> Tensor:
        """The last frame that a metric of motion may use, int64 [N]: the one before the contact, else the last one."""
        return torch.where(self.contact < 0, self.frames, self.contact) - 1

    @cached_property
    def counts(self) -> Tensor:
        """Bool [T, N]: may a metric of motion use this frame."""
        return torch.arange(len(self.x), device=self.x.device)[:, None] <= self.last

    @cached_property
    def present(self) -> Tensor:
        """Bool [T, N, V]: is there a vehicle or an obstacle, other than the ego."""
        slots = torch.arange(self.kind.shape[2], device=self.kind.device)
        return (self.kind != Kind.ABSENT) & (self.kind != Kind.LANDMARK) & (slots != self.ego[:, :, None])

    def of_ego(self, name: str) -> Tensor:
        """Return a field of the ego, [T, N]; gathered once, not to be written to."""
        if name not in self._of_ego:
            self._of_ego[name] = getattr(self, name).gather(2, self.ego[:, :, None])[:, :, 0]
        return self._of_ego[name]

    @cached_property
    def _of_ego(self) -> dict[str, Tensor]:
        """What `of_ego` has gathered."""
        return {}

    def select(self, worlds: Tensor) -> Episodes:
        """Return the episodes picked by indices [M]."""
        picked = {name: getattr(self, name)[:, worlds] for name in (*REALS, *WHOLES, "crashed", "ego")}
        picked |= {name: getattr(self, name)[:, worlds] for name in ("actions", "rewards")}
        picked |= {name: getattr(self, name)[worlds] for name in ("frames", "terminated", "success")}
        return replace(self, seeds=[self.seeds[i] for i in worlds.tolist()], **picked)


@cache
def _tape_struct(real: type) -> Any:
    annotations: dict[str, Any] = {name: wp.array3d(dtype=real) for name in REALS}
    annotations |= {name: wp.array3d(dtype=wp.int32) for name in WHOLES}
    annotations |= {"crashed": wp.array3d(dtype=wp.bool), "ego": wp.array2d(dtype=wp.int32)}
    return wp.struct(type(f"Frames_{real.__name__}", (), {"__annotations__": annotations, "__module__": __name__}))


@wp.kernel(enable_backward=False, module="unique")
def copy_frame(world: Any, tape: Any, clock: wp.array(dtype=wp.int32), first: int):
    """Copy a world's state to the frame that the clock shows."""
    n = first + wp.tid()
    t = clock[0]
    tape.ego[t, n] = world.ego[n, 0]
    for v in range(world.cars.shape[1]):
        kind = world.cars[n, v].kind
        tape.kind[t, n, v] = kind
        tape.x[t, n, v] = world.cars[n, v].x
        tape.y[t, n, v] = world.cars[n, v].y
        tape.heading[t, n, v] = world.cars[n, v].heading
        tape.speed[t, n, v] = world.cars[n, v].speed
        tape.acceleration[t, n, v] = world.cars[n, v].acceleration
        tape.length[t, n, v] = world.cars[n, v].length
        tape.width[t, n, v] = world.cars[n, v].width
        tape.lane[t, n, v] = world.cars[n, v].lane
        tape.target_lane[t, n, v] = world.cars[n, v].target_lane
        tape.number[t, n, v] = wp.where(kind == Kind.ABSENT, -1, world.cars[n, v].number)
        tape.crashed[t, n, v] = world.cars[n, v].crashed


class Recorder:
    """Copies the frames of a batch that is being driven.

    Args:
        envs: a `VectorEnv`.
    """

    def __init__(self, envs: Any):
        self.envs = envs
        self.time = 0
        self._hash = StateHash(envs.world, len(usable_cores()))
        self._clock = torch.zeros(1, dtype=torch.int32, device=envs.device)
        self._tape: dict[str, Tensor] = {}
        self._make_room(FIRST_FRAMES)

    def _make_room(self, frames: int) -> None:
        """Move to tensors of `frames` frames."""
        world, device = self.envs.world, self.envs.device
        real = world.x.dtype
        types = dict.fromkeys(REALS, real) | dict.fromkeys(WHOLES, torch.int32) | {"crashed": torch.bool}
        shape = (frames, *world.x.shape)
        older, self._tape = self._tape, {n: torch.zeros(shape, dtype=kind, device=device) for n, kind in types.items()}
        self._tape["ego"] = torch.zeros(shape[:2], dtype=torch.int32, device=device)
        for name, tensor in older.items():
            self._tape[name][: len(tensor)] = tensor
        tape = _tape_struct(PRECISIONS[world.precision])()
        for name, tensor in self._tape.items():
            setattr(tape, name, wp.from_torch(tensor))
        inputs = [world.struct(), tape, wp.from_torch(self._clock)]
        self._program = Program([(copy_frame, inputs)], self.envs.num_envs, device, len(usable_cores()))

    def begin(self) -> None:
        """Start anew, after a reset."""
        n, device = self.envs.num_envs, self.envs.device
        self.time = 0
        self.actions: list[Tensor] = []
        self.rewards: list[Tensor] = []
        self.latency: list[float] = []
        self.frames = torch.ones(n, dtype=torch.int64, device=device)
        self.terminated = torch.zeros(n, dtype=torch.bool, device=device)
        self.truncated = torch.zeros(n, dtype=torch.bool, device=device)
        self._copy()
        self.hashes = [self._hash()]

    def step(self, actions: Any, *watching: Callable[[], None]) -> tuple:
        """Advance the worlds by one policy step, copying every frame; returns what the environment's `step` does.

        Those `watching` are called after each frame too; see `sim.evaluation.driver.stepped`.
        """
        self.actions.append(torch.as_tensor(actions).clone())
        return stepped(self.envs, actions, self._copy, *watching)

    def judge(self, earned: Tensor, alive: Tensor, terminated: Tensor, truncated: Tensor, seconds: float) -> None:
        """Note how the step went: rewards [N] of the worlds that were `alive` before it, and which ended how."""
        self.rewards.append(torch.where(alive, earned.double(), 0.0))
        self.latency.append(seconds / len(alive))
        self.frames += alive * self.envs.frames_per_step
        self.terminated |= alive & terminated
        self.truncated |= alive & truncated
        self.hashes.append(self._hash())

    def _copy(self) -> None:
        """Copy the state as it is now."""
        if self.time == len(self._tape["x"]):
            self._make_room(2 * self.time)
        self._clock.fill_(self.time)
        self._program()
        self.time += 1

    def finish(self, seeds: list[int], success: Tensor | None = None) -> Episodes:
        """Return what was recorded of the episodes of these seeds; `success` [N] where the id tells it."""
        tape = {name: tensor[: self.time] for name, tensor in self._tape.items()}
        config = self.envs.config
        return Episodes(
            id=self.envs.id,
            config=dict(config),
            network=self.envs.network,
            dt=1 / config["simulation_frequency"],
            frames_per_step=self.envs.frames_per_step,
            seeds=list(seeds),
            frames=self.frames,
            actions=torch.stack(self.actions),
            rewards=torch.stack(self.rewards),
            latency=torch.tensor(self.latency, dtype=torch.float64),
            terminated=self.terminated,
            success=torch.zeros_like(self.terminated) if success is None else success,
            reports_success=success is not None,
            **(tape | {"ego": tape["ego"].long()}),
        )
