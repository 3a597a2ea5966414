"""What a data set on disk is to hold, and how much room it takes."""

from __future__ import annotations

from dataclasses import dataclass

from perception.data.driving import Source
from perception.data.splits import DIGITS, SPLITS, domains_of
from perception.data.stream import DEFAULT_SOURCES, StreamSettings
from sim.config import require_known
from sim.sensors.camera.cameras import Camera
from sim.sensors.camera.rig import PIXEL_BYTES

PNG_SHARE = {"rgb": 0.75, "depth": 0.15, "semantic": 0.05}
"""Bytes of a PNG to those of its pixels, at their worst (noisy domains); for the estimate of the disk."""
LABEL_BYTES = 16_000
"""Of a picture's labels on disk, those of the unfinished set included; for the estimate."""


@dataclass(frozen=True)
class DatasetSettings:
    """What a data set holds; with the versions of the code it decides every byte.

    Attributes:
        frames: pictures of all splits together. clips: likewise; each of at most `clip_length` pictures, `fps` a
            second: a clip ends with its episode.
        splits: which to write; frames and clips are shared out among them as the scenario seeds are, 8 : 1 : 1.
        sources, domains, cameras, seed, masks, depth, semantic: see `StreamSettings`.
        frames_per_seed: pictures of a scenario seed, a second of simulated time apart.
        batch_size: worlds side by side.
        drivers: names of who drives for frames, and for clips.
    """

    frames: int = 1000
    clips: int = 0
    clip_length: int = 100
    fps: float = 5.0
    splits: tuple[str, ...] = SPLITS
    sources: tuple[Source, ...] = DEFAULT_SOURCES
    domains: tuple[str, ...] | None = None
    cameras: tuple[Camera, ...] = (Camera(),)
    seed: int = 0
    masks: bool = False
    depth: bool = False
    semantic: bool = False
    frames_per_seed: int = 4
    batch_size: int = 20
    drivers: tuple[tuple[str, ...], tuple[str, ...]] = (("random", "idle"), ("random", "idle"))

    def __post_init__(self) -> None:
        for name, least in (("frames", 0), ("clips", 0), ("clip_length", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}")
        if not self.frames and not self.clips:
            raise ValueError("nothing to write: ask for frames or clips")
        require_known(self.splits, SPLITS, "split")
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise ValueError(f"splits is {self.splits}; name each of them once, at least one")
        for split in self.splits:
            domains_of(split, self.domains)

    def count(self, split: str, clips: bool) -> int:
        """Return how many frames, or clips, a split gets of their total."""
        total, weights = self.clips if clips else self.frames, [len(DIGITS[one]) for one in self.splits]
        before = sum(weights[: self.splits.index(split)])
        return total * (before + len(DIGITS[split])) // sum(weights) - total * before // sum(weights)

    def stream(self, split: str, clips: bool) -> StreamSettings:
        """Return the settings of the stream that the frames of a split, or its clips, come from."""
        worlds = -(-max(self.count(split, clips), 1) // len(self.cameras))
        return StreamSettings(
            split=split,
            sources=self.sources,
            domains=self.domains,
            cameras=self.cameras,
            batch_size=min(self.batch_size, worlds),
            frames=self.clip_length if clips else self.frames_per_seed,
            fps=self.fps if clips else 1.0,
            restart=not clips,
            seed=2 * self.seed + clips,  # so clips and frames share no scenario seed
            least_pixels=0 if clips else 1,
            masks=self.masks and not clips,
            depth=self.depth,
            semantic=self.semantic,
            lanes=True,
        )

    def pictures(self) -> int:
        """Return how many pictures there will be, if no clip ends early."""
        return self.frames + self.clips * self.clip_length

    def disk_bytes(self) -> int:
        """Return about how much room the data set takes on disk, rather more than less."""
        area = self.cameras[0].width * self.cameras[0].height
        one = area * 3 * PNG_SHARE["rgb"] + LABEL_BYTES
        one += area * (2 * PNG_SHARE["depth"] * self.depth + PNG_SHARE["semantic"] * self.semantic)
        return int(one * self.pictures())

    def memory_bytes(self) -> int:
        """Return about how much memory the pictures take while they are made: each source keeps its own buffers."""
        area = self.cameras[0].width * self.cameras[0].height
        return self.batch_size * len(self.cameras) * area * PIXEL_BYTES * (len(self.sources) + 2)

    def about(self) -> str:
        """Return in a line how much there is to come."""
        need = f"{self.disk_bytes() / 1e6:,.0f} MB on disk and {self.memory_bytes() / 1e6:,.0f} MB of memory"
        return f"{self.frames} frames and {self.clips} clips, {self.pictures()} pictures: up to {need}"
