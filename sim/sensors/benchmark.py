"""Frames/s of the sensors beside other renderers: interleaved in one run, on the same cores.

A *frame* is one picture (or scan) of one vehicle in traffic of 20 others on a highway of four lanes; nothing moves
while the clock runs, so that only the sensor is timed. Every rival gets the same wall time a repeat and as many
processes as there are cores; repeats go round all of them, starting with a different one each time, and ratios are
taken within a repeat. Ours are called as a user calls them: `CameraRig.render` and `VectorEnv.observe`.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import torch

import sim
from sim.benchmark import pinned
from sim.config import require_known
from sim.engine.vehicles import LENGTH, WIDTH
from sim.provenance import usable_cores
from sim.sensors.camera.cameras import Camera
from sim.sensors.camera.rig import CameraRig
from sim.sensors.looks.domains import DOMAINS
from sim.vector import usable_device

RivalName = Literal[
    "camera",
    "pybullet",
    "birdseye",
    "highway-env rgb",
    "grayscale",
    "highway-env grayscale",
    "lidar",
    "highway-env lidar",
]
COMPARED: dict[str, str] = {
    "pybullet": "camera",
    "highway-env rgb": "birdseye",
    "highway-env grayscale": "grayscale",
    "highway-env lidar": "lidar",
}
"""Rivals, and which of ours does their work."""
TRAFFIC = {"vehicles_count": 20}
STEPS = 6
"""Policy steps that ours drive before the pictures are taken."""
GRAYSCALE = {
    "type": "GrayscaleObservation",
    "observation_shape": (128, 64),
    "stack_size": 4,
    "weights": [0.2989, 0.5870, 0.1140],
    "scaling": 1.75,
}
"""highway-env's own example of image observations."""
OBSERVATIONS = {
    "birdseye": {"type": "BirdsEye"},
    "grayscale": GRAYSCALE,
    "lidar": {"type": "LidarObservation", "cells": 16},
}
ABOUT = {
    "camera": "RGB, depth, classes, instances and labels, 128 x 96",
    "pybullet": "TinyRenderer without shadows: RGB, depth and segmentation of a plane and 21 boxes, 128 x 96",
    "birdseye": "RGB, 84 x 84",
    "highway-env rgb": "its viewer's rgb_array, 600 x 150",
    "grayscale": "GrayscaleObservation, 128 x 64, 4 stacked",
    "highway-env grayscale": "GrayscaleObservation, 128 x 64, 4 stacked",
    "lidar": "LidarObservation, 16 cells",
    "highway-env lidar": "LidarObservation, 16 cells",
}
CAMERA_SIZE = (128, 96)
SIZES = ((64, 48), (128, 96), (256, 192), (512, 384))
"""Pictures whose cost a pixel is measured."""
NOT_INSTALLED = "not installed (extra `peers`: pip install -e .[peers])"
PACKAGES = ("pybullet", "highway_env")


@dataclass(frozen=True)
class Config:
    """What to time, and for how long."""

    rivals: tuple[RivalName, ...] = get_args(RivalName)
    """Who is timed."""
    num_envs: int = 256
    """Worlds of ours; fewer where the pictures are larger than 128 x 96."""
    device: str = "cpu"
    """Torch device of ours."""
    domain: str = "clear"
    """What the camera's pictures look like."""
    repeats: int = 5
    """Rounds over all of them."""
    seconds: float = 2.0
    """Wall time a rival and repeat."""
    cores: int = field(default_factory=lambda: len(usable_cores()))
    """Cores everybody is pinned to."""
    sizes: bool = True
    """Also measure the camera's cost a pixel as pictures grow."""

    def __post_init__(self) -> None:
        require_known([self.domain], DOMAINS, "domain")
        usable_device(self.device)
        if min(self.repeats, self.cores, self.num_envs) < 1 or self.seconds <= 0:
            raise ValueError("--repeats, --cores and --num-envs must be at least 1, --seconds above 0")


@dataclass
class Timing:
    """Frames/s of one sensor or rival, a figure a repeat."""

    name: str
    about: str
    pixels: int = 0
    """Of a frame, where its cost a pixel is asked for."""
    frames_per_second: list[float] = field(default_factory=list)
    missing: str | None = None  # why there are no figures

    @property
    def median(self) -> float:
        return statistics.median(self.frames_per_second)

    def ratios_to(self, other: "Timing") -> list[float]:
        """How many times `self` is faster than `other`, a figure a repeat."""
        return [a / b for a, b in zip(self.frames_per_second, other.frames_per_second, strict=True)]

    def nanoseconds_a_pixel(self, cores: int) -> float:
        """Time of one core that a pixel takes [ns], by the median."""
        return 1e9 * cores / (self.median * self.pixels)


class Ours:
    """A sensor of ours: many worlds a call."""

    def __init__(self, name: str, config: Config, size: tuple[int, int] = CAMERA_SIZE):
        share = CAMERA_SIZE[0] * CAMERA_SIZE[1] / (size[0] * size[1])
        self.num_envs = max(8, round(config.num_envs * min(1.0, share)))
        options: dict[str, Any] = TRAFFIC | ({"observation": OBSERVATIONS[name]} if name in OBSERVATIONS else {})
        envs = sim.make_vec(
            "highway-v0", num_envs=self.num_envs, device=config.device, config=options, threads=config.cores
        )
        envs.reset(seed=0)
        for _ in range(STEPS):
            envs.step(torch.ones(self.num_envs, dtype=torch.int64, device=envs.device))
        self._device, self._look = envs.device, envs.observe
        if name == "camera":
            camera = Camera(width=size[0], height=size[1])
            rig = CameraRig(envs.network, envs.world, [camera], domain=config.domain, threads=config.cores)
            self._look = rig.render
        self._look()

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def measure(self, seconds: float) -> float:
        """Frames/s over `seconds` of wall time."""
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            self._look()
            calls += 1
            self._synchronize()
        return calls * self.num_envs / (time.perf_counter() - start)

    def close(self) -> None:
        """Nothing to free."""


class Processes:
    """A rival that shows one scene a call, in `processes` processes that never wait for one another."""

    def __init__(self, name: str, processes: int):
        context = multiprocessing.get_context("spawn")  # a fork would copy thread pools in an unknown state
        self.pipes, self.workers = [], []
        for index in range(processes):
            pipe, child = context.Pipe()
            worker = context.Process(target=_serve, args=(child, name, index), daemon=True)
            worker.start()
            child.close()  # so that a worker that fails ends the wait for it
            self.pipes.append(pipe)
            self.workers.append(worker)
        answers = [pipe.recv() for pipe in self.pipes]
        if answers[0] is not None:
            self.close()
            raise ModuleNotFoundError(f"no module named {answers[0]!r}", name=answers[0])

    def measure(self, seconds: float) -> float:
        """Frames/s of all processes together."""
        for pipe in self.pipes:
            pipe.send(seconds)
        return sum(pipe.recv() for pipe in self.pipes)

    def close(self) -> None:
        """End the processes."""
        for pipe, worker in zip(self.pipes, self.workers, strict=True):
            if worker.is_alive():
                pipe.send(None)
            worker.join()


def _serve(pipe: Any, name: str, seed: int) -> None:
    """Take pictures for the seconds asked for through `pipe`, until None comes."""
    torch.set_num_threads(1)
    os.dup2(2, 1)  # pybullet greets on stdout, where the table goes
    try:
        look = SCENES[name](seed)
    except ModuleNotFoundError as error:
        pipe.send(error.name)
        return
    look()
    pipe.send(None)
    while (seconds := pipe.recv()) is not None:
        frames, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            look()
            frames += 1
        pipe.send(frames / (time.perf_counter() - start))


def highway_env_scene(name: str, seed: int) -> Callable[[], Any]:
    """Return what takes a picture of the real highway-env: its observation type, or its viewer."""
    import highway_env  # noqa: F401  (registers the ids)

    kind = name.removeprefix("highway-env ")
    options = TRAFFIC | {"offscreen_rendering": True}
    if kind in OBSERVATIONS:
        options |= {"observation": OBSERVATIONS[kind]}
    env = gymnasium.make("highway-v0", render_mode="rgb_array", config=options).unwrapped
    env.reset(seed=seed)
    for _ in range(STEPS):
        env.step(1)
    return env.observation_type.observe if kind in OBSERVATIONS else env.render


def pybullet_scene(seed: int) -> Callable[[], Any]:
    """Return what takes a picture with pybullet's TinyRenderer, of a scene like ours: flat boxes instead of cars."""
    import pybullet

    pybullet.connect(pybullet.DIRECT)
    rng = np.random.default_rng(seed)

    def place(half: tuple[float, float, float], colour: Any, at: tuple[float, float, float]) -> None:
        shape = pybullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=half, rgbaColor=colour)
        pybullet.createMultiBody(baseVisualShapeIndex=shape, basePosition=at)

    place((500.0, 500.0, 0.05), (0.4, 0.4, 0.4, 1.0), (0.0, 0.0, -0.05))
    for number in range(TRAFFIC["vehicles_count"] + 1):
        colour = (*rng.uniform(0.2, 1.0, 3), 1.0)
        place((LENGTH / 2, WIDTH / 2, 0.75), colour, (8.0 * number - 20.0, 4.0 * rng.integers(-1, 3), 0.75))
    width, height = CAMERA_SIZE
    upright = 2 * np.degrees(np.arctan(np.tan(np.radians(Camera().fov) / 2) * height / width))
    view = pybullet.computeViewMatrix((1.0, 0.0, 1.5), (2.0, 0.0, 1.5), (0.0, 0.0, 1.0))
    projection = pybullet.computeProjectionMatrixFOV(upright, width / height, 0.1, 500.0)
    renderer = pybullet.ER_TINY_RENDERER

    def picture() -> Any:
        return pybullet.getCameraImage(width, height, view, projection, shadow=0, renderer=renderer)

    if len(np.unique(picture()[4])) < 4:  # sky, ground and some of the boxes, which hide each other
        raise RuntimeError("pybullet shows an empty scene: this would time nothing")
    return picture


SCENES: dict[str, Callable[[int], Callable[[], Any]]] = {
    "pybullet": pybullet_scene,
    "highway-env rgb": lambda seed: highway_env_scene("highway-env rgb", seed),
    "highway-env grayscale": lambda seed: highway_env_scene("highway-env grayscale", seed),
    "highway-env lidar": lambda seed: highway_env_scene("highway-env lidar", seed),
}


def _interleaved(ready: list[tuple[Timing, Any]], config: Config, progress: Callable[[str], None]) -> None:
    for repeat in range(config.repeats):
        shift = repeat % max(1, len(ready))
        for timing, rival in ready[shift:] + ready[:shift]:
            timing.frames_per_second.append(rival.measure(config.seconds))
            progress(f"{timing.name}: {timing.frames_per_second[-1]:,.0f} frames/s")
    for _, rival in ready:
        rival.close()


def measure(config: Config, progress: Callable[[str], None] = lambda what: None) -> list[Timing]:
    """Times everybody; `progress` is called with a line after each piece of work.

    Raises:
        ValueError: an unknown rival, or more cores than there are.
    """
    unknown = [name for name in config.rivals if name not in ABOUT]
    if unknown:
        raise ValueError(f"unknown rival {unknown[0]!r}; choose from {', '.join(ABOUT)}")
    timings, ready = [], []
    with pinned(config.cores):
        for name in config.rivals:
            timing = Timing(name, ABOUT[name])
            timings.append(timing)
            try:
                ready.append((timing, Processes(name, config.cores) if name in SCENES else Ours(name, config)))
            except ModuleNotFoundError as error:
                if error.name not in PACKAGES:
                    raise
                timing.missing = NOT_INSTALLED
            progress(f"{name} is ready")
        _interleaved(ready, config, progress)
    return timings


def measure_sizes(config: Config, progress: Callable[[str], None] = lambda what: None) -> list[Timing]:
    """Times the camera with larger and larger pictures, interleaved in the same way."""
    with pinned(config.cores):
        timings = [Timing(f"{width} x {height}", "camera", width * height) for width, height in SIZES]
        ready = [(timing, Ours("camera", config, size)) for timing, size in zip(timings, SIZES, strict=True)]
        _interleaved(ready, config, progress)
    return timings


def as_json(machine: dict[str, Any], config: Config, timings: list[Timing], sizes: list[Timing]) -> dict[str, Any]:
    """All figures, every repeat of them, and the provenance of the `machine`, taken at the start."""
    rows = []
    if "pybullet" in [timing.name for timing in timings if timing.frames_per_second]:
        machine = machine | {"versions": machine["versions"] | {"pybullet": metadata.version("pybullet")}}
    for timing in timings:
        row = asdict(timing)
        if timing.frames_per_second:
            row["median"] = timing.median
        ours = _ours_for(timing, timings)
        if ours:
            row["ours_is_faster"] = ours.ratios_to(timing)
        rows.append(row)
    pixels = [asdict(one) | {"nanoseconds_a_pixel": one.nanoseconds_a_pixel(config.cores)} for one in sizes]
    return {"machine": machine, "config": asdict(config), "results": rows, "sizes": pixels}


def _ours_for(timing: Timing, timings: list[Timing]) -> Timing | None:
    """Return the measured sensor of ours that does a measured rival's work."""
    names = {one.name: one for one in timings if one.frames_per_second}
    return names.get(COMPARED.get(timing.name, "")) if timing.name in names else None


def as_markdown(config: Config, timings: list[Timing], sizes: list[Timing]) -> str:
    """A row for each of ours and each rival, medians and ranges; then the camera's cost a pixel."""
    lines = ["| what | frames/s | range | ours is faster |", "|---|--:|--:|--:|"]
    for timing in timings:
        if timing.missing:
            lines.append(f"| {timing.name}: {timing.missing} | - | - | - |")
            continue
        speeds = timing.frames_per_second
        ours = _ours_for(timing, timings)
        ratio = f"{statistics.median(ours.ratios_to(timing)):,.1f}x" if ours else ""
        spread = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
        lines.append(f"| {timing.name}: {timing.about} | {timing.median:,.0f} | {spread} | {ratio} |")
    if sizes:
        lines += ["", "| camera | frames/s | ns of one core a pixel |", "|---|--:|--:|"]
        for one in sizes:
            lines.append(f"| {one.name} | {one.median:,.0f} | {one.nanoseconds_a_pixel(config.cores):.0f} |")
    return "\n".join(lines)
