"""Labelled pictures straight from the simulator, batch after batch, without touching the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perception.data.driving import Moment, Pool, Source, random_or_idle
from perception.data.lanes import LaneLine, LaneLines
from perception.data.splits import domains_of, scenario_seed
from perception.data.targets import Target, targets_of
from sim.evaluation.driver import Driver
from sim.provenance import usable_cores
from sim.sensors.camera.cameras import Camera

DEFAULT_SOURCES = (
    Source("highway-v0", {"vehicles_density": 1.5}),
    Source("highway-fast-v0"),
    Source("highway-v0", {"lanes_count": 3, "vehicles_count": 30, "vehicles_density": 2}),
    Source("merge-generic-v0"),
    Source("exit-v0"),
    Source("two-way-v0"),
    Source("roundabout-generic-v0"),
    Source("intersection-v0"),
    Source("racetrack-v0"),
    Source("u-turn-v0"),
)
"""Where pictures come from unless told otherwise: every kind of road, three densities of traffic."""


@dataclass(frozen=True)
class StreamSettings:
    """What a stream draws.

    Attributes:
        split: "train", "val" or "test": decides the scenario seeds and which domains may be met.
        sources: environments; a batch takes turns through them.
        domains: names of domains or mixtures; all that the split may meet without.
        cameras: of each driver, all of one size.
        batch_size: worlds in a batch; pictures are so many times the number of cameras.
        frames: pictures of a scenario seed before the next one takes its place.
        fps: pictures a second of simulated time.
        lead: most policy steps that an episode is old at the first of them.
        restart: begin a new episode where one ends, else it counts as over (`Batch.alive`).
        seed: streams of different seeds share no scenario seed.
        least_pixels: visible pixels below which an object is no target; with 0 even hidden ones are, their boxes zero.
        masks, depth, semantic, lanes: which further labels to give.
    """

    split: str = "train"
    sources: tuple[Source, ...] = DEFAULT_SOURCES
    domains: tuple[str, ...] | None = None
    cameras: tuple[Camera, ...] = (Camera(),)
    batch_size: int = 32
    frames: int = 8
    fps: float = 1.0
    lead: int = 8
    restart: bool = True
    seed: int = 0
    least_pixels: int = 1
    masks: bool = False
    depth: bool = False
    semantic: bool = False
    lanes: bool = False

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("frames", 1), ("lead", 0), ("seed", 0), ("least_pixels", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}")
        if not self.sources or not self.cameras:
            raise ValueError("a stream needs at least one source and one camera")
        domains_of(self.split, self.domains)


@dataclass(frozen=True)
class Picture:
    """Where a picture comes from: enough to render it again.

    Attributes:
        id, config: the environment. domain: name. camera: name. seed: of the scenario.
        tick: its place among the seed's pictures. time: since the episode began [s].
        episode: the name of the episode, an integer of 64 bits (a seed's world may begin several).
    """

    id: str
    config: dict[str, Any]
    domain: str
    camera: str
    seed: int
    tick: int
    time: float
    episode: int


@dataclass
class Batch:
    """B pictures with their labels; pictures of one source lie side by side, world by world, camera by camera.

    Attributes:
        images: uint8 [B, 3, H, W].
        targets: in torchvision's form, see `targets_of`.
        pictures: where each comes from.
        alive: bool [B]: its episode is going on (always, where the stream restarts).
        instance: int16 [B, H, W]: slot + 1 of the object seen, 0 none; where masks were asked for.
        depth: float32 [B, H, W] [m]. semantic: uint8 [B, H, W], `sim.sensors.classes.Semantic`.
        lanes: the lane lines of each picture. Each of the last three only where asked for.
    """

    images: Tensor
    targets: list[Target]
    pictures: list[Picture]
    alive: Tensor
    instance: Tensor | None = None
    depth: Tensor | None = None
    semantic: Tensor | None = None
    lanes: list[list[LaneLine]] | None = None

    def __len__(self) -> int:
        return len(self.images)


class FrameStream:
    """An endless iterator of batches: the same settings give the same batches, from any `position` on.

    Scenario seed number k (0, 1, ...) of the split belongs to source k modulo their number. It is driven for
    `settings.frames` pictures, beside others; what is seen in it depends neither on them nor on the batch size.

    Args:
        settings: what to draw.
        make_driver: makes a driver, called with `device=`, once a source.
        device: where worlds and tensors live.
        threads: CPU threads that render; all cores without.

    Raises:
        ValueError: settings that cannot be met: an unknown id or domain, a held-out domain in training, a rate that
            does not divide the simulation frequency, an impossible camera, a driver that cannot drive somewhere.
    """

    def __init__(
        self,
        settings: StreamSettings,
        make_driver: Callable[..., Driver] = random_or_idle,
        device: str | torch.device = "cpu",
        threads: int | None = None,
    ):
        self.settings = settings
        self.device = torch.device(device)
        self.domains = domains_of(settings.split, settings.domains)
        self.position = 0
        self.groups = groups_of(settings.batch_size, len(settings.sources))
        self.worlds = settings.batch_size // self.groups
        self._make_driver = make_driver
        self._threads = threads or len(usable_cores())
        self._pools: dict[int, Pool] = {}
        self._roads: dict[int, LaneLines] = {}
        self._round: list[tuple[int, Iterator[Moment]]] = []
        self._next = -1  # position that `_round` is ready for
        self._executor = ThreadPoolExecutor(min(self._threads, self.groups)) if self._parallel else None

    @property
    def _parallel(self) -> bool:
        return self.device.type == "cpu" and self._threads > 1 and self.groups > 1

    @property
    def pictures(self) -> int:
        """Pictures in a batch."""
        return self.settings.batch_size * len(self.settings.cameras)

    def close(self) -> None:
        """Free the worlds; the next batch would make them anew."""
        self._pools, self._roads, self._round, self._next = {}, {}, [], -1

    def pool(self, source: int) -> Pool:
        """Return the worlds of a source, made when they are first needed."""
        if source not in self._pools:
            settings = self.settings
            self._pools[source] = Pool(
                settings.sources[source],
                self.worlds,
                settings.cameras,
                self.domains,
                self._make_driver,
                settings.fps,
                self.device,
                1 if self._parallel else self._threads,
            )
        return self._pools[source]

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` needs to go on with the next batch."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position; the batches are those of the stream that was never interrupted."""
        position = state["position"]
        if type(position) is not int or position < 0:
            raise ValueError(f"position is {position!r}; it must be an integer of at least 0")
        self.position = position

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._next != self.position:
            self._enter()
        parts = list((self._executor.map if self._executor else map)(self._drawn, self._round))
        self.position += 1
        self._next = self.position if self.position % self.settings.frames else -1
        return joined(parts)

    def _enter(self) -> None:
        """Begin the round of `position` and drive up to it, without looking."""
        number, tick = divmod(self.position, self.settings.frames)
        sources = len(self.settings.sources)
        self._round = []
        for turn in range(number * self.groups, (number + 1) * self.groups):
            visit, source = divmod(turn, sources)
            first = visit * self.worlds
            seeds = [
                scenario_seed(self.settings.split, source + sources * k, self.settings.seed)
                for k in range(first, first + self.worlds)
            ]
            pool = self.pool(source)
            moments = pool.drive(seeds, self.settings.frames, self.settings.lead, self.settings.restart)
            for _ in range(tick):
                next(moments)
            self._round.append((source, moments))

    def _drawn(self, turn: tuple[int, Iterator[Moment]]) -> Batch:
        """Drive one pool to its next moment and look."""
        source, moments = turn
        moment, pool, settings = next(moments), self._pools[source], self.settings
        frames = pool.rig.render()
        height, width = frames.rgb.shape[-2:]
        pictures = pictures_of(pool, moment)
        lanes = None
        if settings.lanes:
            if source not in self._roads:
                self._roads[source] = LaneLines(pool.envs.network)
            lanes = self._roads[source].seen(pool.rig, frames)
        return Batch(
            images=frames.rgb.reshape(-1, 3, height, width),
            targets=targets_of(frames, settings.least_pixels, settings.masks),
            pictures=pictures,
            alive=moment.alive.repeat_interleave(len(settings.cameras)),
            instance=frames.instance.reshape(-1, height, width) if settings.masks else None,
            depth=frames.depth.reshape(-1, height, width) if settings.depth else None,
            semantic=frames.semantic.reshape(-1, height, width) if settings.semantic else None,
            lanes=lanes,
        )


def groups_of(batch_size: int, sources: int) -> int:
    """Return how many sources a batch takes its worlds from: the most that share it evenly."""
    return max(count for count in range(1, min(batch_size, sources) + 1) if batch_size % count == 0)


def pictures_of(pool: Pool, moment: Moment) -> list[Picture]:
    """Return where the pictures of a moment come from, world by world, camera by camera."""
    world, looks = pool.envs.world, pool.rig.looks
    steps, episodes, chosen = world.steps.tolist(), world.episode.tolist(), looks.choice.tolist()
    frequency = pool.envs.config["simulation_frequency"]
    return [
        Picture(
            pool.source.id,
            pool.source.config,
            looks.domains[chosen[i]].name,
            camera.name,
            seed,
            moment.tick,
            round(steps[i] / frequency, 6),
            episodes[i] % 2**64,
        )
        for i, seed in enumerate(moment.seeds)
        for camera in pool.rig.cameras
    ]


def joined(parts: list[Batch]) -> Batch:
    """Return one batch of several, its tensors copied: a rig overwrites its own at the next rendering."""

    def whole(name: str) -> Any:
        tensors = [getattr(part, name) for part in parts]
        return None if tensors[0] is None else torch.cat(tensors) if len(tensors) > 1 else tensors[0].clone()

    tensors = {name: whole(name) for name in ("images", "alive", "instance", "depth", "semantic")}
    lanes = None if parts[0].lanes is None else [lines for part in parts for lines in part.lanes]
    return Batch(
        targets=[target for part in parts for target in part.targets],
        pictures=[picture for part in parts for picture in part.pictures],
        lanes=lanes,
        **tensors,
    )
