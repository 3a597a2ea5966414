"""A learned model of motion: an LSTM reads a track's boxes and the gaps between them, and says where it will be when.

It predicts the mean and the variance of the box after any gap, relative to the box it was last seen in; trained by the
likelihood of what came next. Its history may have holes and its gaps may be uneven, as a tracker's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.model_folder import ModelFacts, load_facts, load_weights
from perception.tracking.clips import LEAST_NOISE, Clip
from perception.tracking.tracks import to_middle
from perception.training import Training, TrainingSettings

KIND = "lstm-motion"
LONGEST_GAP = 3.0
"""Gaps that the network is asked for are at most so long; beyond, its variance grows [s]."""
BLOCK = 64
"""Rows that go through the network at once, always so many: what one gives does not depend on how many there are."""
COORDINATES = 4
INPUTS = 13


@dataclass(frozen=True)
class LstmSettings:
    """The network.

    Attributes:
        hidden: width of the LSTM and of the layer behind it.
        detector: standard deviation of a detected coordinate, share of the width or height. pixels: at least [px].
        reach: scale of predicted velocities, in boxes [1/s].
    """

    hidden: int = 48
    detector: float = 0.03
    pixels: float = 0.5
    reach: float = 2.0


class MotionNetwork(nn.Module):
    """Boxes and gaps in, mean and variance after a gap out; see the module."""

    def __init__(self, settings: LstmSettings) -> None:
        super().__init__()
        self.settings = settings
        self.cell = nn.LSTMCell(INPUTS, settings.hidden)
        self.head = nn.Sequential(
            nn.Linear(settings.hidden + INPUTS + 2, settings.hidden), nn.SiLU(), nn.Linear(settings.hidden, 8)
        )
        # It begins as "stays where it is, not sure".
        nn.init.zeros_(self.head[2].weight)
        nn.init.zeros_(self.head[2].bias)

    def step(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden and cell [M, H] after one more box, as `inputs_of` gives it [M, INPUTS]."""
        return self.cell(inputs, (hidden, cell))

    def ahead(self, inputs: Tensor, hidden: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean velocity over a gap [M] in boxes a second, and the log of the variance in boxes [M, 4]."""
        time = gap.clamp(0, LONGEST_GAP)[:, None]
        raw = self.head(torch.cat([hidden, inputs, time, (time + 0.05).log()], 1))
        spread = raw[:, COORDINATES:].clamp(-8, 8) + (0.02 + time).log() * 2 - 1
        return self.settings.reach * raw[:, :COORDINATES], spread


def inputs_of(before: Tensor, now: Tensor, gap: Tensor, seen: Tensor, frame: Tensor) -> Tensor:
    """Return what the network is told of a box [M, INPUTS].

    Args:
        before: the box before [M, 4]: middle x, middle y, width, height [px].
        now: this one.
        gap: time between them [M] [s].
        seen: how often the track was seen before this box [M].
        frame: width, height of the picture [2] [px].
    """
    size = before[:, 2:].clamp(min=1)
    time = gap.clamp(min=0.02)[:, None]
    shift = (now[:, :2] - before[:, :2]) / size
    growth = (now[:, 2:].clamp(min=1) / size).log()
    speed = torch.cat([shift, growth], 1) / time
    first = (seen == 0).to(now.dtype)[:, None]
    place = now[:, :2] / frame - 0.5
    scale = (now[:, 2:].clamp(min=1) / frame).log() / 4
    sides = torch.cat([now[:, :2] - now[:, 2:] / 2, frame - now[:, :2] - now[:, 2:] / 2], 1)
    cut = (sides < 1.5).to(now.dtype)  # does it touch the frame: then what is seen of it is cut off
    return torch.cat([speed.clamp(-20, 20) / 4 * (1 - first), time.log() * (1 - first), place, scale, cut], 1)


class LstmMotion:
    """The network as a tracker uses it; see `tracks.Motion`. It knows boxes in pictures of one size, `frame`, alone.

    A state holds the last box, the velocity of its four numbers, their variance, how often it was seen, the time since,
    the last inputs, and the LSTM's hidden and cell state.

    Args:
        network: trained.
        frame: width and height of the pictures [px].
    """

    def __init__(self, network: MotionNetwork, frame: tuple[int, int], device: str | torch.device = "cpu") -> None:
        self.dtype, self.device = torch.float32, torch.device(device)
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.frame = torch.tensor(frame, dtype=self.dtype, device=self.device)
        hidden = network.settings.hidden
        # last box, box now, velocity, variance; seen, gap; inputs, hidden, cell
        self._parts = (4, 4, 4, 4, 1, 1, INPUTS, hidden, hidden)
        self.size = sum(self._parts)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> LstmMotion:
        """Return the model in a folder; errors as of `model_folder`."""
        facts = load_facts(Path(folder), KIND)
        network = MotionNetwork(LstmSettings(**facts.network["lstm"]))
        load_weights(Path(folder), network)
        return cls(network, tuple(facts.network["frame"]), device)

    def start(self, boxes: Tensor) -> Tensor:
        zero = torch.zeros(len(boxes), 1, dtype=self.dtype, device=self.device)
        empty = zero.expand(-1, self.network.settings.hidden)
        return self._read(boxes, boxes, zero, zero, empty, empty, self.noise(boxes))

    def predict(self, states: Tensor, elapsed: Tensor) -> Tensor:
        last, _, _, _, seen, gap, inputs, hidden, cell = states.split(self._parts, 1)
        gap = gap + elapsed[:, None]
        now, velocity, variance = self._ahead(last, inputs, hidden, gap)
        return torch.cat([last, now, velocity, variance, seen, gap, inputs, hidden, cell], 1)

    def update(self, states: Tensor, boxes: Tensor) -> Tensor:
        last, now, _, variance, seen, gap, _, hidden, cell = states.split(self._parts, 1)
        noise = self.noise(boxes)
        weight = variance / (variance + noise)
        better = now + weight * (boxes - now)  # where it is, of what was thought and what is seen
        return self._read(last, boxes, gap, seen, hidden, cell, weight * noise, better)

    def shift(self, states: Tensor, offset: Tensor) -> Tensor:
        return torch.cat([states[:, :2] + offset, states[:, 2:4], states[:, 4:6] + offset, states[:, 6:]], 1)

    def boxes(self, states: Tensor) -> Tensor:
        return states[:, 4:8]

    def velocities(self, states: Tensor) -> Tensor:
        return states[:, 8:12]

    def variances(self, states: Tensor) -> Tensor:
        return states[:, 12:16]

    def noise(self, boxes: Tensor) -> Tensor:
        settings = self.network.settings
        return (settings.detector * _scale(boxes)).clamp(min=settings.pixels).square()

    def _read(
        self,
        last: Tensor,
        boxes: Tensor,
        gap: Tensor,
        seen: Tensor,
        hidden: Tensor,
        cell: Tensor,
        variance: Tensor,
        better: Tensor | None = None,
    ) -> Tensor:
        """States after one more box."""
        inputs = inputs_of(last, boxes, gap[:, 0], seen[:, 0], self.frame)
        hidden, cell = self._blocks(self.network.step, inputs, hidden, cell)
        zero = torch.zeros_like(gap)
        _, velocity, _ = self._ahead(boxes, inputs, hidden, zero + 0.05)
        now = boxes if better is None else better
        return torch.cat([boxes, now, velocity, variance, seen + 1, zero, inputs, hidden, cell], 1)

    def _ahead(self, last: Tensor, inputs: Tensor, hidden: Tensor, gap: Tensor) -> tuple[Tensor, ...]:
        """Box, its velocity and its variance [M, 4] a gap [M, 1] after the last box."""
        speed, spread = self._blocks(lambda a, b, c: self.network.ahead(a, b, c[:, 0]), inputs, hidden, gap)
        scale = _scale(last)
        velocity = speed * scale
        now = last + velocity * gap.clamp(max=LONGEST_GAP)
        now = torch.cat([now[:, :2], now[:, 2:].clamp(min=1)], 1)
        variance = spread.exp() * scale.square() + 0.1 * self.noise(last)
        return now, velocity, variance * (gap / LONGEST_GAP).clamp(min=1).square()

    @staticmethod
    def _blocks(call: Any, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        """Call with `BLOCK` rows at a time, the last ones filled up: then each row's sums are always made alike."""
        rows = len(arguments[0])
        padded = [torch.cat([part, part.new_zeros(-rows % BLOCK, part.shape[1])]) for part in arguments]
        parts = [call(*blocks) for blocks in zip(*(part.split(BLOCK) for part in padded), strict=True)]
        first, second = (torch.cat(column)[:rows] for column in zip(*parts, strict=True))
        return first, second


def _scale(boxes: Tensor) -> Tensor:
    return boxes[:, 2:].clamp(min=1).repeat(1, 2)


@dataclass(frozen=True)
class TrackSettings:
    """How histories are drawn from tracks.

    Attributes:
        batch_size: histories in a batch. length: boxes of each.
        noise: standard deviation of a detected coordinate, as of `Trouble`.
        hole: share of steps with a gap of up to `longest` [s], as of an occlusion.
        seed: of the draws.
    """

    batch_size: int = 128
    length: int = 14
    noise: float = 0.03
    hole: float = 0.15
    longest: float = 2.0
    seed: int = 0


class TrackBatches:
    """An endless iterator of histories out of perfect clips: at random rates of frames, with noise, misses and holes.

    A batch is a dict: "seen" [B, L, 4] noisy and "true" [B, L, 4] perfect boxes (middle x, middle y, width, height
    [px]), "gap" [B, L] the time since the one before [s], "there" [B, L] 1 where the history goes on.

    Raises:
        ValueError: there is no track of two boxes.
    """

    def __init__(self, clips: Sequence[Clip], settings: TrackSettings | None = None) -> None:
        self.settings, self.position = settings or TrackSettings(), 0
        self.tracks: list[tuple[np.ndarray, np.ndarray]] = []
        for clip in clips:
            for track in np.unique(clip.truth.track):
                rows = clip.truth.track == track
                if rows.sum() > 1:
                    boxes = to_middle(torch.from_numpy(clip.truth.boxes[rows])).numpy()
                    self.tracks.append((clip.times[clip.truth.frame[rows]], boxes))
        if not self.tracks:
            raise ValueError("the clips hold no track that is seen twice")
        lengths = np.array([len(times) for times, _ in self.tracks], dtype=float)
        self._odds = lengths / lengths.sum()

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]

    def __iter__(self) -> TrackBatches:
        return self

    def __next__(self) -> dict[str, Tensor]:
        settings = self.settings
        random = np.random.default_rng([settings.seed, self.position])
        self.position += 1
        true = np.ones((settings.batch_size, settings.length, 4))
        gap, there = np.zeros(true.shape[:2]), np.zeros(true.shape[:2])
        for k, track in enumerate(random.choice(len(self.tracks), settings.batch_size, p=self._odds)):
            times, boxes = self.tracks[track]
            picked = self._picked(times, random)
            true[k, : len(picked)] = boxes[picked]
            gap[k, 1 : len(picked)] = np.diff(times[picked])
            there[k, : len(picked)] = 1
        sides = np.tile(true[..., 2:], 2)
        corners = random.normal(size=true.shape) * np.maximum(settings.noise * sides, LEAST_NOISE)
        low, high = corners[..., :2], corners[..., 2:]
        seen = true + np.concatenate([(low + high) / 2, high - low], -1)
        arrays = {"seen": seen, "true": true, "gap": gap, "there": there}
        return {name: torch.from_numpy(array).float() for name, array in arrays.items()}

    def _picked(self, times: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Which boxes of a track a history is made of: indices, rising."""
        settings = self.settings
        stride = random.choice([1, 1, 2, 3, 3, 5, 5])
        steps = stride * random.choice([1, 1, 1, 1, 2], settings.length)  # a miss now and then
        rate = 1 / max(float(np.median(np.diff(times))), 1e-6)
        holes = random.random(settings.length) < settings.hole
        steps = np.where(holes, steps + np.rint(random.uniform(0.3, settings.longest, settings.length) * rate), steps)
        start = random.integers(0, max(1, len(times) - stride))
        index = start + np.concatenate([[0], np.cumsum(steps[1:])]).astype(int)
        return index[index < len(times)]


def motion_loss(frame: tuple[int, int]) -> Any:
    """Return the loss of a network for pictures of a width and height [px]: how unlikely the next true boxes are."""

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        seen, true, gap, there = (batch[name] for name in ("seen", "true", "gap", "there"))
        size = torch.tensor(frame, dtype=seen.dtype, device=seen.device)
        hidden = cell = seen.new_zeros(len(seen), network.settings.hidden)
        total, error, boxes = seen.new_zeros(()), seen.new_zeros(()), there[:, 1:].sum().clamp(min=1)
        for k in range(seen.shape[1] - 1):
            before = seen[:, max(k - 1, 0)]
            inputs = inputs_of(before, seen[:, k], gap[:, k], torch.full_like(gap[:, k], k), size)
            hidden, cell = network.step(inputs, hidden, cell)
            speed, spread = network.ahead(inputs, hidden, gap[:, k + 1])
            wanted = (true[:, k + 1] - seen[:, k]) / _scale(seen[:, k])
            off = wanted - speed * gap[:, k + 1, None]
            unlikely = 0.5 * (off.square() * (-spread).exp() + spread).clamp(max=50)
            total = total + (unlikely.sum(1) * there[:, k + 1]).sum()
            error = error + (off[:, :2].abs().mean(1) * there[:, k + 1]).sum()
        return {"loss": total / boxes, "off": error / boxes}

    return loss


SETTINGS = TrainingSettings(steps=2000, rate=3e-3, warm_up=50, weight_decay=0.01, averaging=0.99)


def train(
    clips: Sequence[Clip],
    folder: str | Path,
    lstm: LstmSettings | None = None,
    tracks: TrackSettings | None = None,
    training: TrainingSettings | None = None,
    progress: bool = True,
) -> LstmMotion:
    """Train a model of motion on the tracks of perfect clips, all of one picture size, into a folder; or go on with it.

    Raises:
        ValueError: clips of several sizes, or without tracks. Others as of `Training`.
    """
    frames = {(clip.width, clip.height) for clip in clips}
    if len(frames) != 1:
        raise ValueError(f"clips must be of one size, found {sorted(frames)}")
    frame = frames.pop()
    lstm, tracks = lstm or LstmSettings(), tracks or TrackSettings()
    training = training or SETTINGS
    torch.manual_seed(training.seed)
    network = MotionNetwork(lstm)
    facts = ModelFacts(
        KIND,
        (),
        {"lstm": asdict(lstm), "frame": list(frame)},
        {"recipe": {"tracks": asdict(tracks), "clips": len(clips), "steps": training.steps}},
    )
    Training(network, facts, motion_loss(frame), TrackBatches(clips, tracks), Path(folder), training).run(progress)
    return LstmMotion.load(folder)
