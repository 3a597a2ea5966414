"""A stream of frames inside faults, for whoever sees frames without driving: detectors, trackers, data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sim.config import require_known
from sim.evaluation.counted_random import CountedRandom
from sim.evaluation.fault_effects import BURST_STEPS, DroppedFrames, Effect
from sim.evaluation.faults import STREAMS, fault_named
from sim.sensors.camera.frames import Frames
from sim.sensors.faults import CalibrationDrift, frame_effect

FRAME_FAULTS = (
    "dropped_frames", "dropped_bursts", "frame_latency", "stuck_frame", "blackout", "occlusion", "calibration_drift",
)  # fmt: skip
"""The faults that pictures can have; `sim.evaluation.faults.FAULTS` describes them."""
WORD = 1 << 64


class FrameFaults:
    """Faults of the pictures of N worlds, one call a decision; the next call has the next step of each episode.

    The same numbers as in an evaluation: they depend on `seed`, the episode's seed and the step alone, and a greater
    severity adds to a smaller one. Depth, classes and boxes stay what is there: only what is shown suffers.

    Args:
        faults: name (one of `FRAME_FAULTS`) -> severity, in the order in which they happen; 0 leaves a fault out.
        seeds: of the episodes, N integers of any size, or `World.episode`.
        seed: of the faults' draws.
        device: of the frames.
        rig: the `CameraRig` that renders them, which calibration_drift needs: the drift is in what it renders next.
        stack: how many pictures lie behind each other along the channels, the newest last.

    Raises:
        ValueError: an unknown fault, a severity out of range, or a drift without a rig.
    """

    def __init__(
        self,
        faults: Mapping[str, float],
        seeds: Sequence[int] | Tensor,
        seed: int = 0,
        device: str | torch.device = "cpu",
        rig: Any = None,
        stack: int = 1,
    ):
        require_known(faults, FRAME_FAULTS, "fault of frames")
        severities = {name: fault_named(name).check(severity) for name, severity in faults.items()}
        if severities.get("calibration_drift") and rig is None:
            raise ValueError("calibration_drift needs the rig whose cameras drift")
        self.seed, self.rig, self.stack = seed, rig, stack
        named = _whole(seeds)
        self.steps = torch.zeros(len(named), dtype=torch.int64, device=device)
        self._draws = {name: self._numbers(name, named) for name, severity in severities.items() if severity}
        self.effects = {name: self._effect(name, severities[name]) for name in self._draws}

    def _numbers(self, name: str, seeds: Sequence[int]) -> CountedRandom:
        return CountedRandom(self.seed, STREAMS[name], seeds, self.steps.device)

    def _effect(self, name: str, severity: float) -> Effect:
        draws = self._draws[name]
        if name == "calibration_drift":
            return CalibrationDrift(severity, [self.rig], draws)
        if name.startswith("dropped"):
            return DroppedFrames(severity, BURST_STEPS if name == "dropped_bursts" else None, draws)
        return frame_effect(name, severity, self.stack, draws)

    def reset(self, mask: Tensor, seeds: Sequence[int] | Tensor | None = None) -> None:
        """Begins new episodes in the worlds of `mask`, bool [N].

        Args:
            mask: where.
            seeds: of their episodes, as many as worlds in the mask; None: the same as before.
        """
        self.steps[mask] = 0
        for name, effect in self.effects.items():
            if seeds is not None:
                self._draws[name].keys[mask] = self._numbers(name, _whole(seeds)).keys
            effect.reset(mask)

    def __call__(self, frames: Any) -> Any:
        """Returns what is seen of the frames: uint8 [N, ..., channels, H, W], or `Frames`, whose rgb is changed."""
        if isinstance(frames, Frames):
            return replace(frames, rgb=self(frames.rgb))
        flat = frames.reshape(len(frames), -1, *frames.shape[-2:])
        for effect in self.effects.values():
            flat = effect.see(flat, self.steps)
            effect.keep(flat, self.steps)
        self.steps = self.steps + 1
        return flat.reshape(frames.shape)


def _whole(seeds: Sequence[int] | Tensor) -> list[int]:
    """Returns seeds as non-negative integers: the 64 bits of those that are names of episodes."""
    return [int(one) % WORD if int(one) < 0 else int(one) for one in seeds]
