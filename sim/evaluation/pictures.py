"""Our GrayscaleObservation beside highway-env's own, pixel by pixel, over whole episodes of the same actions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.config import complete, require_known
from sim.evaluation.conformance import our_episodes, workers
from sim.evaluation.oracle import Episode, real_episodes

MEAN_LIMIT = 2.0  # of 255: largest mean absolute difference of a pixel
FAR_APART = 16  # of 255: beyond it two pixels are different,
SHARE_LIMIT = 0.02  # which at most this share of all pixels may be
EPISODES_AT_ONCE = 5  # whose pictures are in memory

GREY = [0.2989, 0.5870, 0.1140]  # of red, green and blue, as highway-env's documentation has it
VIEWS: dict[str, dict[str, Any]] = {
    "documented": {"observation_shape": (128, 64), "stack_size": 4, "weights": GREY, "scaling": 1.75},
    "own scaling": {"observation_shape": (160, 120), "stack_size": 2, "weights": GREY},  # the id's: tyres are seen
}
"""Observations to compare: that of highway-env's documentation, and one as near as the id's own window."""


@dataclass
class Gap:
    """How far two simulators' pictures are apart.

    Attributes:
        frames: observations compared, each a stack of pictures of one agent.
        pixels: of all of them.
        total: sum of the absolute differences, of 255.
        far: pixels more than `FAR_APART` apart.
        exact: observations that are equal.
        unequal_lengths: episodes of which one simulator played more steps; they count as far as both go.
    """

    frames: int = 0
    pixels: int = 0
    total: int = 0
    far: int = 0
    exact: int = 0
    unequal_lengths: int = 0

    @property
    def mean(self) -> float:
        """Mean absolute difference of a pixel, of 255."""
        return self.total / max(self.pixels, 1)

    @property
    def share(self) -> float:
        """Share of the pixels that are more than `FAR_APART` apart."""
        return self.far / max(self.pixels, 1)

    @property
    def close(self) -> bool:
        """Are the pictures within the limits above, and the episodes equally long?"""
        return self.frames > 0 and self.mean <= MEAN_LIMIT and self.share <= SHARE_LIMIT and not self.unequal_lengths

    def add(self, ours: Episode, real: Episode) -> None:
        """Count another episode.

        Raises:
            ValueError: one observation has another shape or type.
        """
        self.unequal_lengths += len(ours.truncated) != len(real.truncated)
        for path, theirs in real.observations.items():
            mine = ours.observations[path]
            steps = min(len(mine), len(theirs))
            mine, theirs = mine[:steps], theirs[:steps]
            if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
                raise ValueError(f"{mine.dtype} {mine.shape} beside highway-env's {theirs.dtype} {theirs.shape}")
            apart = np.abs(mine.astype(np.int16) - theirs)
            self.frames += steps
            self.pixels += apart.size
            self.total += int(apart.sum(dtype=np.int64))
            self.far += int((apart > FAR_APART).sum())
            self.exact += int((apart.reshape(steps, -1).max(axis=1) == 0).sum())


def picture_config(env_id: str, view: str) -> dict[str, Any]:
    """Return the change to an id's config that makes each of its agents see one of `VIEWS`.

    Raises:
        ValueError: an unknown id or view.
    """
    require_known([view], VIEWS, "view")
    seen = {"type": "GrayscaleObservation", **VIEWS[view]}
    if complete(env_id, None)["observation"]["type"] == "MultiAgentObservation":
        seen = {"type": "MultiAgentObservation", "observation_config": seen}
    return {"observation": seen}


def compare_pictures(
    cases: Sequence[tuple[str, str]],
    seeds: Sequence[int],
    most: int | None = None,
    processes: int = 0,
    device: str = "cpu",
    precision: str = "float64",
    progress: Callable[[int], Any] = lambda episodes: None,
) -> Iterator[Gap]:
    """Yield how far the pictures of each case, (id, view), are apart over the seeds, random actions in both.

    Args:
        cases: what to play.
        seeds: of the episodes.
        most: a cap on the steps of an episode; 0 compares the resets.
        processes: for the real side, with plain NumPy as on every other CPU; 0 plays it here.
        device: where ours runs.
        precision: of ours. In float32 a thing half way between two pixels may be drawn at the other one.
        progress: is told how many episodes more are done.
    """
    shares = [tuple(seeds[i : i + EPISODES_AT_ONCE]) for i in range(0, len(seeds), EPISODES_AT_ONCE)]
    with workers(processes) as submit:
        for env_id, view in cases:
            config, gap = picture_config(env_id, view), Gap()
            started: list[Callable[[], list[Episode]]] = []
            for number, share in enumerate(shares):
                for ahead in shares[len(started) : number + processes + 1]:  # no more pictures than are soon needed
                    started.append(submit(real_episodes, env_id, config, ahead, most))
                real = started[number]()
                started[number] = list
                actions = [episode.actions for episode in real]
                ours = our_episodes(env_id, config, share, device, most, precision, actions=actions)
                for mine, theirs in zip(ours, real, strict=True):
                    gap.add(mine, theirs)
                progress(len(share))
            yield gap
