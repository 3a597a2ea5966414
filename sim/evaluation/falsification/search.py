"""The search itself: batch after batch of scenes, and what failed among them; it goes on where it was stopped."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim.evaluation.falsification.check import confirmed
from sim.evaluation.falsification.ground import Cases, ProvingGround, join
from sim.evaluation.falsification.margin import FEATURES
from sim.evaluation.falsification.samplers import METHODS, CmaSampler, Normals, Sampler, make_sampler
from sim.evaluation.falsification.space import EDITS, Space

SCHEMA = 1
"""Of search.npz and failures.json."""
STATE = "search.npz"
BATCH = 512
"""Episodes an iteration."""
CONFIGS_PER_BATCH = 4
"""How many points of a batch draw a config of their own; the others share theirs, so that environments are few."""
HIGHEST_SEED = 2**31
# Streams of random numbers that belong to a search, by the second entry of their seed sequence.
SEARCHING, BASELINE, ESTIMATE = range(3)


@dataclass(frozen=True)
class Settings:
    """How long and how a search looks.

    Attributes:
        method: random, cross-entropy or cma.
        seed: of the search.
        budget_episodes: the search ends after these; None for no limit.
        time_limit_s: or after this many seconds; None for no limit.
        batch: episodes an iteration.
    """

    method: str = "cross-entropy"
    seed: int = 0
    budget_episodes: int | None = 8192
    time_limit_s: float | None = None
    batch: int = BATCH

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; there are {', '.join(METHODS)}")
        if self.seed < 0:
            raise ValueError(f"the seed of a search must not be negative, got {self.seed}")
        if self.budget_episodes is None and self.time_limit_s is None:
            raise ValueError("a search needs a number of episodes or a time limit, or it never ends")
        for name in ("budget_episodes", "time_limit_s", "batch"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")


@dataclass
class Failures:
    """The failures found so far, F of them, and what it took.

    Attributes:
        cases: their scenes, with known slots. points: [F, D]. log_proposal: log density that proposed each, [F].
        times: of the contacts [s], [F]. features: [F, len(FEATURES)].
        margins: of all episodes, an array [n] an iteration.
        seconds, checked_seconds: simulated with the driver, and with plans that would have avoided a contact [s].
        contacts, excused: contacts of all episodes; and those that count for nothing.
    """

    cases: Cases
    points: np.ndarray
    log_proposal: np.ndarray
    times: np.ndarray
    features: np.ndarray
    margins: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0
    checked_seconds: float = 0.0
    contacts: int = 0
    excused: int = 0

    @classmethod
    def none(cls, size: int) -> Failures:
        """Returns no failures of a space with D parameters."""
        cases = Cases([], [], np.zeros((0, 0, len(EDITS))), np.zeros((0, 0), dtype=np.int64), [])
        return cls(cases, np.zeros((0, size)), np.zeros(0), np.zeros(0), np.zeros((0, len(FEATURES))))

    def __len__(self) -> int:
        return len(self.times)

    @property
    def episodes(self) -> int:
        """How many the search has driven."""
        return sum(map(len, self.margins))


class Search:
    """A search that leaves its state in a folder after each iteration.

    Args:
        ground: where to drive. space: what to change. settings: how.
        folder: for the state; a search that was begun there goes on.
        who: what else must be the same to go on: the driver and the environment.

    Raises ValueError for settings that make no sense, and where the folder holds the state of another search.
    """

    def __init__(
        self, ground: ProvingGround, space: Space, settings: Settings, folder: str | Path, who: dict[str, Any]
    ) -> None:
        Settings.check(settings)
        self.ground, self.space, self.settings = ground, space, settings
        self.folder = Path(folder)
        self._sampler: Sampler = make_sampler(settings.method, space.size)
        self._identity = {
            "schema": SCHEMA, "method": settings.method, "seed": settings.seed, "batch": settings.batch,
            "space": space.as_dict(), **who,
        }  # fmt: skip
        self.found = Failures.none(space.size)
        if (self.folder / STATE).is_file():
            self.found = self._load()
            for iteration, margins in enumerate(self.found.margins):  # the sampler learns it all again
                self._sampler.tell(self._points(iteration), margins)

    def run(self) -> Iterator[Failures]:
        """Yields the state after each iteration until the budget or the time is used up."""
        begun = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        limit, budget = self.settings.time_limit_s, self.settings.budget_episodes
        while (budget is None or self.found.episodes < budget) and (limit is None or time.monotonic() - begun < limit):
            self._iterate()
            self._save()
            yield self.found

    def _random(self, iteration: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, SEARCHING, iteration])

    def _points(self, iteration: int) -> np.ndarray:
        """The points of an iteration, [n, D]: the sampler's, a few of which share their config with others."""
        n = self.settings.batch
        points = self._sampler.ask(n, self._random(iteration))
        if not isinstance(self._sampler, CmaSampler):  # its points are few already
            keys = len(self.space.config)
            leaders = np.arange(n) * CONFIGS_PER_BATCH // n * n // CONFIGS_PER_BATCH
            points[:, :keys] = points[leaders, :keys]
        return points

    def _iterate(self) -> None:
        iteration, ground, found = len(self.found.margins), self.ground, self.found
        proposal = self._sampler.proposal()
        points = self._points(iteration)
        seeds = np.random.default_rng([self.settings.seed, SEARCHING, iteration, 1]).integers(
            HIGHEST_SEED, size=len(points)
        )
        cases = Cases(self.space.configs(points), seeds.tolist(), self.space.edits(points))
        before = ground.simulated
        outcomes = ground.run(cases)
        driven = ground.simulated
        cases = outcomes.explicit(cases)
        contacts = int(np.isfinite(outcomes.time).sum())
        outcomes = confirmed(ground, cases, outcomes)
        self._sampler.tell(points, outcomes.margin)
        rows = np.flatnonzero(outcomes.failed)
        log_proposal = (proposal or Normals.nominal(self.space.size)).log_density(points[rows])
        self.found = Failures(  # at once: an interrupt leaves the old state or the new one
            join([found.cases, cases.pick(rows)]),
            np.concatenate([found.points, points[rows]]),
            np.concatenate([found.log_proposal, log_proposal]),
            np.concatenate([found.times, outcomes.time[rows]]),
            np.concatenate([found.features, outcomes.features[rows]]),
            [*found.margins, outcomes.margin],
            found.seconds + driven - before,
            found.checked_seconds + ground.simulated - driven,
            found.contacts + contacts,
            found.excused + int(outcomes.excused.sum()),
        )

    def _save(self) -> None:
        found = self.found
        header = self._identity | {
            "configs": found.cases.configs, "seconds": found.seconds, "checked_seconds": found.checked_seconds,
            "contacts": found.contacts, "excused": found.excused,
        }  # fmt: skip
        partial = self.folder / (STATE + ".partial")
        with open(partial, "wb") as file:
            np.savez(
                file, header=np.array(json.dumps(header)), seeds=np.array(found.cases.seeds, dtype=np.int64),
                edits=found.cases.edits, slots=found.cases.slots, points=found.points,
                log_proposal=found.log_proposal, times=found.times, features=found.features,
                margins=np.stack(found.margins),
            )  # fmt: skip
        os.replace(partial, self.folder / STATE)

    def _load(self) -> Failures:
        path = self.folder / STATE
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header")))
            counts = {name: header.pop(name) for name in ("seconds", "checked_seconds", "contacts", "excused")}
            configs = header.pop("configs")
            seeds = arrays.pop("seeds").tolist()
            cases = Cases(configs, seeds, arrays.pop("edits"), arrays.pop("slots"), [()] * len(seeds))
            margins = list(arrays.pop("margins"))
            found = Failures(cases=cases, margins=margins, **arrays, **counts)
        except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not the whole state of a search: {error}") from error
        mine = json.loads(json.dumps(self._identity))
        for key in sorted(set(header) | set(mine)):
            if header.get(key) != mine.get(key):
                raise ValueError(
                    f"{self.folder} holds another search: its {key} is {_short(header.get(key))}, not "
                    f"{_short(mine.get(key))}; give another --out"
                )
        return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."
