"""Steps/s of Slipstream beside highway-env and EnvPool: interleaved in one run, on the same cores.

A *step* is one policy step of one world: all the simulation frames between two decisions (15 in highway-v0, 5
in highway-fast-v0), the observation, and the reset of worlds that ended. Every rival gets the same cores,
uniformly random actions drawn before its clock starts, and the same wall time a repeat. Repeats go round all
rivals, starting with a different one each time, so that a busy machine slows them alike; ratios are taken
within a repeat.

Counted in EnvPool's favour: it spends one call an episode on the reset, and that call counts as a step.
highway-env is made and called as its users do it, wrappers included; only its start is not timed.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import gymnasium
import numpy as np
import torch

import sim
from sim.config import require_known
from sim.provenance import usable_cores
from sim.scenarios import SCENARIOS
from sim.vector import usable_device

RivalName = Literal["ours", "envpool", "highway-env", "highway-env per core", "ours, one world"]
# Drawn before the clock starts and used in turn.
ACTION_BATCHES = 64
# Ours -> EnvPool's. Its multi-agent ids have two agents, like ours.
ENVPOOL_IDS = {
    name: name
    for name in (
        "highway-v0", "highway-fast-v0", "merge-v0", "exit-v0", "intersection-v0", "intersection-v1",
        "intersection-multi-agent-v0", "intersection-multi-agent-v1", "roundabout-v0", "lane-keeping-v0",
        "racetrack-v0", "racetrack-large-v0", "racetrack-oval-v0", "parking-v0", "parking-ActionRepeat-v0",
        "parking-parked-v0", "u-turn-v0",
    )
} | {"two-way-v0": "TwoWay-v0"}  # fmt: skip
# (num_envs, batch_size) tried for EnvPool; the best one is used. Equal sizes are its synchronous mode.
ENVPOOL_SIZES = ((16, 16), (64, 64), (256, 256), (1024, 1024), (64, 32), (512, 256))
TRIAL_SECONDS = 0.5
ONE_WORLD = "ours, one world"
NO_SUCH_ID = "has no such id"
NOT_INSTALLED = "not installed (extra `peers`: pip install -e .[peers])"


@dataclass(frozen=True)
class Config:
    """What to time, and for how long."""

    envs: tuple[str, ...] = ("highway-v0", "highway-fast-v0")
    """Environment ids."""
    num_envs: tuple[int, ...] = (1024, 2048, 8192)
    """Numbers of worlds tried for ours; the best is used."""
    device: str = "cpu"
    """Torch device of ours."""
    rivals: tuple[RivalName, ...] = ("ours", "envpool", "highway-env", "highway-env per core")
    """Who is timed; ratios are to the first."""
    repeats: int = 5
    """Rounds over all rivals."""
    seconds: float = 3.0
    """Wall time a rival and repeat."""
    cores: int = field(default_factory=lambda: len(usable_cores()))
    """Cores everybody is pinned to; EnvPool's threads."""
    seed: int = 0
    """Seed of the worlds and of the actions."""

    def __post_init__(self) -> None:
        require_known(self.envs, SCENARIOS, "environment id")
        usable_device(self.device)
        if min(self.repeats, self.cores, *self.num_envs) < 1 or self.seconds <= 0:
            raise ValueError("--repeats, --cores and --num-envs must be at least 1, --seconds above 0")


@dataclass
class Timing:
    """Steps/s of one rival in one environment, a figure a repeat."""

    rival: str
    setting: str = ""
    steps_per_second: list[float] = field(default_factory=list)
    first_call: float | None = None  # [s] construction, reset and one step: kernels are compiled or loaded here
    bytes_per_world: int | None = None  # of our state
    missing: str | None = None  # why there are no figures

    @property
    def median(self) -> float:
        return statistics.median(self.steps_per_second)

    def ratios_to(self, other: "Timing") -> list[float]:
        """How many times `self` is faster than `other`, a figure a repeat."""
        return [a / b for a, b in zip(self.steps_per_second, other.steps_per_second, strict=True)]


class Rival(Protocol):
    """A simulator that is ready to be timed."""

    setting: str
    first_call: float | None
    bytes_per_world: int | None

    def measure(self, seconds: float) -> float:
        """Steps/s over `seconds` of wall time."""

    def close(self) -> None:
        """Frees processes and memory."""


class Ours:
    """`sim.make_vec` in float32 with same-step autoreset."""

    def __init__(self, env_id: str, num_envs: int, device: str, seed: int):
        start = time.perf_counter()
        self.envs = sim.make_vec(env_id, num_envs=num_envs, device=device, precision="float32")
        self.envs.reset(seed=seed)
        generator = torch.Generator().manual_seed(seed)
        space = self.envs.single_action_space
        if isinstance(space, gymnasium.spaces.Tuple):  # the same for each agent
            lead, space = (ACTION_BATCHES, num_envs, len(space.spaces)), space.spaces[0]
        else:
            lead = (ACTION_BATCHES, num_envs)
        if isinstance(space, gymnasium.spaces.Discrete):
            self.actions = torch.randint(space.n, lead, generator=generator).to(device)
        else:
            self.actions = (torch.rand(*lead, *space.shape, generator=generator) * 2 - 1).to(device)
        self.envs.step(self.actions[0])
        self._synchronize()
        self.first_call = time.perf_counter() - start
        self.num_envs, self.setting = num_envs, f"{num_envs} worlds, {device}"
        self.bytes_per_world = self.envs.world.bytes_per_world

    def _synchronize(self) -> None:
        if self.envs.device.type == "cuda":
            torch.cuda.synchronize(self.envs.device)

    def measure(self, seconds: float) -> float:
        self._synchronize()
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.envs.step(self.actions[calls % ACTION_BATCHES])
            calls += 1
            if calls % 8 == 0:  # launches queue up on a GPU: the clock must not run ahead of the work
                self._synchronize()
        self._synchronize()
        return calls * self.num_envs / (time.perf_counter() - start)

    def close(self) -> None:
        self.envs.close()


class EnvPool:
    """EnvPool's C++ port of the same environments, one thread a core."""

    first_call = bytes_per_world = None

    def __init__(self, env_id: str, num_envs: int, batch_size: int, threads: int, seed: int):
        import envpool

        sizes = {"num_envs": num_envs, "batch_size": batch_size, "num_threads": threads}
        self.pool = envpool.make_gymnasium(ENVPOOL_IDS[env_id], seed=seed, **sizes)
        self.agents = 2 if "multi-agent" in env_id else 1
        space = self.pool.action_space
        lead = (ACTION_BATCHES, batch_size * self.agents)
        rng = np.random.default_rng(seed)
        if isinstance(space, gymnasium.spaces.Discrete):
            self.actions = rng.integers(space.n, size=lead, dtype=np.int32)
        else:
            self.actions = rng.uniform(-1, 1, size=(*lead, *space.shape)).astype(np.float32)
        self.num_envs, self.batch_size = num_envs, batch_size
        mode = "" if num_envs == batch_size else f", {batch_size} a batch"
        self.setting = f"{num_envs} worlds{mode}, {threads} threads"
        self.pool.async_reset()
        self.waiting = self._receive_all()  # ids of the worlds whose next action is due, a batch each

    def _receive_all(self) -> list[np.ndarray]:
        batches = self.num_envs // self.batch_size
        return [np.array(self.pool.recv()[-1]["env_id"]) for _ in range(batches)]

    def _send(self, batch: int, ids: np.ndarray) -> None:
        actions = self.actions[batch % ACTION_BATCHES]
        if self.agents == 1:
            self.pool.send(actions, ids)
        else:
            players = np.repeat(ids, self.agents)
            self.pool.send({"players.action": actions, "env_id": ids, "players.env_id": players})

    def measure(self, seconds: float) -> float:
        calls, start = 0, time.perf_counter()
        for ids in self.waiting:
            self._send(0, ids)
        while time.perf_counter() - start < seconds:
            ids = self.pool.recv()[-1]["env_id"]
            self._send(calls, ids)
            calls += 1
        self.waiting = self._receive_all()  # nothing runs on into the next rival's turn
        calls += len(self.waiting)
        return calls * self.batch_size / (time.perf_counter() - start)

    def close(self) -> None:
        self.pool.close()


class HighwayEnv:
    """The real highway-env in `processes` processes, which never wait for one another."""

    bytes_per_world = None

    def __init__(self, env_id: str, processes: int, seed: int):
        self.setting = "1 process" if processes == 1 else f"{processes} processes"
        context = multiprocessing.get_context("spawn")  # a fork would copy thread pools in an unknown state
        self.pipes, self.workers = [], []
        for index in range(processes):
            pipe, child = context.Pipe()
            worker = context.Process(target=_step_highway_env, args=(child, env_id, seed + index), daemon=True)
            worker.start()
            child.close()  # so that a worker that fails ends the wait for it
            self.pipes.append(pipe)
            self.workers.append(worker)
        for pipe in self.pipes:
            self.first_call = pipe.recv()

    def measure(self, seconds: float) -> float:
        for pipe in self.pipes:
            pipe.send(seconds)
        return sum(pipe.recv() for pipe in self.pipes)

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for worker in self.workers:
            worker.join()


def _step_highway_env(pipe: Any, env_id: str, seed: int) -> None:
    """Steps one real environment for the seconds asked for through `pipe`, until None comes."""
    import highway_env  # noqa: F401  (registers the ids)

    stepper = OneWorld(lambda: gymnasium.make(env_id), seed)
    pipe.send(stepper.first_call)
    while (seconds := pipe.recv()) is not None:
        pipe.send(stepper.measure(seconds))
    stepper.close()


class OneWorld:
    """A Gymnasium environment of one world, stepped as in its users' scripts: the real highway-env's, or `sim.make`."""

    bytes_per_world = None
    setting = "1 world, float64"

    def __init__(self, make: Callable[[], gymnasium.Env], seed: int):
        start = time.perf_counter()
        self.env = make()
        self.env.reset(seed=seed)
        self.env.action_space.seed(seed)
        self.actions = [self.env.action_space.sample() for _ in range(ACTION_BATCHES)]
        self.env.step(self.actions[0])
        self.first_call = time.perf_counter() - start

    def measure(self, seconds: float) -> float:
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            _, _, terminated, truncated, _ = self.env.step(self.actions[steps % ACTION_BATCHES])
            steps += 1
            if np.any(terminated) or truncated:
                self.env.reset()
        return steps / (time.perf_counter() - start)

    def close(self) -> None:
        self.env.close()


def _fastest(makers: list[Any], progress: Any) -> Rival:
    """The rival that is fastest in a short trial, rebuilt alone; the others are closed."""
    if len(makers) == 1:
        return makers[0]()
    speeds, first_call = [], None
    for make in makers:
        rival = make()
        first_call = first_call or rival.first_call
        rival.measure(TRIAL_SECONDS / 4)
        speeds.append(rival.measure(TRIAL_SECONDS))
        progress(f"tried {rival.setting}")
        rival.close()
    best = makers[int(np.argmax(speeds))]()
    best.first_call = first_call  # the first construction is the one that compiles
    return best


def _makers(rival: str, env_id: str, config: Config) -> list[Any]:
    """One constructor for each setting of `rival` that is worth trying."""
    if rival == "ours":
        return [lambda n=n: Ours(env_id, n, config.device, config.seed) for n in config.num_envs]
    if rival == ONE_WORLD:
        return [lambda: OneWorld(lambda: sim.make(env_id), config.seed)]
    if rival == "envpool":
        if env_id not in ENVPOOL_IDS:
            return []
        return [lambda s=s: EnvPool(env_id, *s, config.cores, config.seed) for s in ENVPOOL_SIZES]
    if rival == "highway-env":
        return [lambda: HighwayEnv(env_id, 1, config.seed)]
    if rival == "highway-env per core":
        return [lambda: HighwayEnv(env_id, config.cores, config.seed)]
    raise ValueError(f"unknown rival {rival!r}; choose from {', '.join(get_args(RivalName))}")


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Keeps this process and what it starts on its first `cores` cores (Linux), torch threads too."""
    before, threads = usable_cores(), torch.get_num_threads()
    if not 1 <= cores <= len(before):
        raise ValueError(f"cores is {cores}; this process may use 1 to {len(before)}")
    pin = getattr(os, "sched_setaffinity", lambda process, chosen: None)
    pin(0, set(sorted(before)[:cores]))
    torch.set_num_threads(cores)
    try:
        yield
    finally:
        pin(0, before)
        torch.set_num_threads(threads)


def measure(env_id: str, config: Config, progress: Any = lambda what: None) -> list[Timing]:
    """Times every rival in one environment; `progress` is called with a line after each piece of work."""
    timings, ready = [], []
    with pinned(config.cores):
        for name in config.rivals:
            timing = Timing(name)
            timings.append(timing)
            makers = _makers(name, env_id, config)
            if not makers:
                timing.missing = NO_SUCH_ID
                continue
            try:
                rival = _fastest(makers, progress)
            except ModuleNotFoundError as error:
                if error.name not in ("envpool", "highway_env"):
                    raise
                timing.missing = NOT_INSTALLED
                continue
            timing.setting, timing.first_call = rival.setting, rival.first_call
            timing.bytes_per_world = rival.bytes_per_world
            ready.append((timing, rival))
        for repeat in range(config.repeats):
            shift = repeat % max(1, len(ready))
            for timing, rival in ready[shift:] + ready[:shift]:
                timing.steps_per_second.append(rival.measure(config.seconds))
                progress(f"{env_id} {timing.rival}: {timing.steps_per_second[-1]:,.0f} steps/s")
        for _, rival in ready:
            rival.close()
    return timings
