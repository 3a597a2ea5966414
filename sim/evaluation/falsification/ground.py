"""Where cases are driven: thousands of worlds at once, grouped by config, watched frame by frame."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from sim.config import complete
from sim.evaluation.driver import Driver, prepare, stepped, watchers
from sim.evaluation.falsification.margin import FEATURES, Contacts, MarginTracker
from sim.evaluation.falsification.scene import Edit, SceneEditor, removal_mask
from sim.evaluation.falsification.space import EDITS

LARGEST = 1024
"""Most worlds side by side."""
SMALLEST = 16
"""Fewest; batches are filled up to the next power of two, so that few environments are built."""
KEPT_ENVIRONMENTS = 24
ENDLESS = 120.0
"""Where neither a config nor an id ends an episode, it is cut here [s]."""


@dataclass(frozen=True)
class Cases:
    """n scenes to drive in.

    Attributes:
        configs: changes of the base config, one dict a case.
        seeds: of each.
        edits: [n, K, 4] as `EDITS`, of the vehicles in `slots`.
        slots: int64 [n, K], -1 for none; None stands for the K nearest to the ego.
        removed: slots that are taken away in each.
    """

    configs: list[dict[str, Any]]
    seeds: list[int]
    edits: np.ndarray
    slots: np.ndarray | None = None
    removed: list[tuple[int, ...]] | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def pick(self, rows: Sequence[int] | np.ndarray) -> Cases:
        """Returns the cases of the rows, in their order."""
        rows = [int(row) for row in rows]
        return Cases(
            [self.configs[row] for row in rows],
            [self.seeds[row] for row in rows],
            self.edits[rows],
            None if self.slots is None else self.slots[rows],
            None if self.removed is None else [self.removed[row] for row in rows],
        )

    def edits_of(self, row: int) -> list[Edit]:
        """Returns the edits of a case whose slots are known; those that change nothing are left out."""
        found = []
        for slot, values in zip(self.slots[row], self.edits[row], strict=True):
            if slot >= 0 and values.any():
                shift, speed, target, lanes = map(float, values)
                found.append(Edit(int(slot), shift, speed, target, int(lanes)))
        return found


def join(parts: Sequence[Cases]) -> Cases:
    """Returns the cases of all parts, whose slots are known, one after the other."""
    most = max((part.edits.shape[1] for part in parts), default=0)
    edits = [np.pad(part.edits, ((0, 0), (0, most - part.edits.shape[1]), (0, 0))) for part in parts]
    slots = [np.pad(part.slots, ((0, 0), (0, most - part.slots.shape[1])), constant_values=-1) for part in parts]
    return Cases(
        [config for part in parts for config in part.configs],
        [seed for part in parts for seed in part.seeds],
        np.concatenate(edits) if parts else np.zeros((0, 0, len(EDITS))),
        np.concatenate(slots) if parts else np.zeros((0, 0), dtype=np.int64),
        [gone for part in parts for gone in (part.removed or [()] * len(part))],
    )


@dataclass(frozen=True)
class Outcomes:
    """What happened in n cases; all arrays have n rows, in the order of the cases.

    Attributes:
        failed: an ego had a contact that counts. excused: it stood when it was hit. time: of the contact [s], inf.
        margin, features: see `MarginTracker`, `FEATURES`.
        seconds: simulated until the episode's end.
        slots, applied: [n, K], the vehicles chosen to be edited, and whether they were.
        traffic: bool [n, V], the slots that could be taken away; V is that of the largest world.
    """

    failed: np.ndarray
    excused: np.ndarray
    time: np.ndarray
    margin: np.ndarray
    features: np.ndarray
    seconds: np.ndarray
    slots: np.ndarray
    applied: np.ndarray
    traffic: np.ndarray

    def explicit(self, cases: Cases) -> Cases:
        """Returns the cases with the edits that were made, by slot: they lead to the same scenes."""
        edits = np.where(self.applied[..., None], cases.edits, 0.0)
        return replace(cases, edits=edits, slots=self.slots, removed=cases.removed or [()] * len(cases))


class ProvingGround:
    """Drives cases.

    Args:
        driver: who drives.
        id, config, device, precision, threads: as in `sim.make_vec`.
        largest: most worlds side by side.

    Attributes:
        config: the whole base config. changes: what of it differs from the id's defaults.
        simulated: seconds simulated so far, until each episode's end.
        errors: (seed, message) of the episodes in which the driver raised; they have no contact.
    """

    def __init__(
        self,
        driver: Driver,
        id: str,
        config: dict[str, Any] | None = None,
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
        largest: int = LARGEST,
    ) -> None:
        self.driver, self.id, self.device, self.precision, self.threads = driver, id, device, precision, threads
        self.config = complete(id, config)
        self.changes = dict(config or {})
        self.largest = largest
        self.simulated = 0.0
        self.errors: list[tuple[int, str]] = []
        self._built: OrderedDict[tuple[str, int], tuple[Any, SceneEditor]] = OrderedDict()
        self.environment({}, SMALLEST)  # a bad id, config or device raises here

    def environment(self, config: dict[str, Any], worlds: int) -> tuple[Any, SceneEditor]:
        """Returns an environment with a changed config, and its editor; the most recent ones are kept."""
        import sim

        key = (json.dumps(config, sort_keys=True), worlds)
        if key not in self._built:
            envs = sim.make_vec(
                self.id, num_envs=worlds, device=self.device, precision=self.precision, threads=self.threads,
                config=self.changes | config, autoreset_mode=AutoresetMode.DISABLED,
            )  # fmt: skip
            self._built[key] = envs, SceneEditor(envs)
            if len(self._built) > KEPT_ENVIRONMENTS:
                self._built.popitem(last=False)
        self._built.move_to_end(key)
        return self._built[key]

    def run(self, cases: Cases, plans: torch.Tensor | None = None, limits: np.ndarray | None = None) -> Outcomes:
        """Drives each case to its end.

        Args:
            cases: n of them.
            plans: [n, 2, ...], actions instead of the driver's: one for the first step, one for all later ones.
            limits: seconds after which a case is cut, [n].
        """
        limits = np.full(len(cases), np.inf) if limits is None else np.asarray(limits, dtype=np.float64)
        parts: dict[str, np.ndarray] = {}
        waiting = list(self._batches(cases, limits))[::-1]
        while waiting:
            rows = waiting.pop()
            worlds = max(SMALLEST, 2 ** math.ceil(math.log2(len(rows))))
            filled = np.concatenate([rows, np.repeat(rows[-1], worlds - len(rows))])
            chosen = None if plans is None else plans[torch.from_numpy(filled)]
            found = self._drive(cases.pick(filled), worlds, chosen, limits[filled], alone=len(rows) == 1)
            if found is None:  # somewhere in the batch the driver raised
                middle = len(rows) // 2
                waiting += [rows[middle:], rows[:middle]]
                continue
            for name, values in found.items():
                values = values[: len(rows)]
                if name not in parts:
                    parts[name] = np.zeros((len(cases), *values.shape[1:]), dtype=values.dtype)
                short = values.shape[1:] != parts[name].shape[1:]  # worlds of another config have more slots
                if short:
                    parts[name], values = _level(parts[name], values)
                parts[name][rows] = values
        self.simulated += float(parts["seconds"].sum()) if parts else 0.0
        return Outcomes(**parts) if parts else _nothing(cases)

    def _batches(self, cases: Cases, limits: np.ndarray) -> Iterator[np.ndarray]:
        """Rows of one config each, and of similar limits, at most `largest` of them."""
        groups: dict[str, list[int]] = {}
        for row, config in enumerate(cases.configs):
            groups.setdefault(json.dumps(config, sort_keys=True), []).append(row)
        for rows in groups.values():
            rows = np.array(rows)[np.argsort(limits[rows], kind="stable")]
            for start in range(0, len(rows), self.largest):
                yield rows[start : start + self.largest]

    def _drive(
        self, cases: Cases, worlds: int, plans: torch.Tensor | None, limits: np.ndarray, alone: bool
    ) -> dict[str, np.ndarray] | None:
        """One batch of one config, with as many cases as worlds; None where the driver raised, unless it is `alone`.

        A single case in which it raised is an error: it has no contact, and its seconds do not count.
        """
        envs, editor = self.environment(cases.configs[0], worlds)
        driver = self.driver if plans is None else _PlanDriver(plans.to(envs.device))
        prepare(driver, envs, cases.seeds)
        envs.reset(seed=cases.seeds)
        traffic = editor.traffic()
        slots = editor.nearest(cases.edits.shape[1]) if cases.slots is None else torch.as_tensor(cases.slots).int()
        removed = None if cases.removed is None else removal_mask(cases.removed, envs.world.x.shape[1])
        edits = np.where((slots.cpu().numpy() >= 0)[..., None], cases.edits, 0.0)
        applied = editor.apply(edits, slots, removed)
        observation = envs.observe()
        driver.reset(torch.ones(worlds, dtype=torch.bool, device=envs.device))
        cut = torch.as_tensor(limits, device=envs.device)
        try:
            contacts, seconds = _until_all_end(envs, driver, observation, cut)
        except Exception as error:  # whatever a driver raises is that episode's error, not the search's
            if not alone:
                return None
            self.errors.append((cases.seeds[0], f"{type(error).__name__}: {error}"))
            contacts = MarginTracker(envs, duration_of(envs)).finish()
            seconds = torch.zeros(worlds, dtype=torch.float64, device=envs.device)
        kept = {"failed": contacts.failed, "excused": contacts.excused, "time": contacts.time}
        kept |= {"margin": contacts.margin, "features": contacts.features, "seconds": seconds}
        kept |= {"slots": slots.long(), "applied": applied & (slots.to(applied.device) >= 0), "traffic": traffic}
        return {name: values.cpu().numpy() for name, values in kept.items()}


class _PlanDriver:
    """Carries out an action at the first step and another one at all later ones, `plans` [N, 2, ...]."""

    sees = "features"

    def __init__(self, plans: torch.Tensor) -> None:
        self._plans, self._step = plans, 0

    def reset(self, mask: torch.Tensor) -> None:
        """Begin with the first action."""
        self._step = 0

    def act(self, observation: Any) -> torch.Tensor:
        actions = self._plans[:, min(self._step, 1)]
        self._step += 1
        return actions.contiguous()


def duration_of(envs: Any) -> float:
    """Returns how long an episode of an environment can be [s]."""
    if envs.scenario.max_episode_steps is not None:
        return envs.scenario.max_episode_steps / envs.config["policy_frequency"]
    return float(envs.config.get("duration", ENDLESS))


def _until_all_end(envs: Any, driver: Driver, observation: Any, limits: torch.Tensor) -> tuple[Contacts, torch.Tensor]:
    """Drives all worlds to their ends or limits [s]; returns what happened and the seconds simulated in each, [N]."""
    n, frequency = envs.num_envs, float(envs.config["policy_frequency"])
    alive = torch.ones(n, dtype=torch.bool, device=envs.device)
    seconds = torch.zeros(n, dtype=torch.float64, device=envs.device)
    duration = duration_of(envs)
    tracker = MarginTracker(envs, duration)
    step = 0
    while bool(alive.any()) and step < duration * frequency + 1:
        outcome = stepped(envs, driver.act(observation), partial(tracker.update, alive), *watchers(driver))
        observation, _, terminated, truncated, _ = outcome
        step += 1
        seconds[alive] = step / frequency
        alive = alive & ~(terminated.reshape(n, -1).all(1) | truncated) & (step / frequency < limits)
    return tracker.finish(), seconds


def _level(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pads the last axis of the narrower of two arrays with zeros."""
    width = max(first.shape[-1], second.shape[-1])
    return tuple(np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, width - a.shape[-1])]) for a in (first, second))


def _nothing(cases: Cases) -> Outcomes:
    """The outcomes of no cases."""
    k, none = cases.edits.shape[1], np.zeros(0)
    return Outcomes(
        failed=none.astype(bool), excused=none.astype(bool), time=none, margin=none, seconds=none,
        features=np.zeros((0, len(FEATURES))), slots=np.zeros((0, k), dtype=np.int64),
        applied=np.zeros((0, k), dtype=bool), traffic=np.zeros((0, 0), dtype=bool),
    )  # fmt: skip
