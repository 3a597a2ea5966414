"""Which cases can be solved at all, and by whom: reference drivers find it out before a suite judges anybody.

A case is solved by an episode that ends without a crash and, where the id tells of success, with success. And a suite
must not be solvable blind: who does not look at the others must do badly, or good marks prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from tqdm import tqdm

from sim.evaluation.driver import ConstantDriver, Driver, DriverSpec, action_names, prepare
from sim.evaluation.harness import step_limit
from sim.evaluation.runner import run_batch
from sim.evaluation.suites import Group, Suite

BATCH = 256
"""Most cases side by side."""
WELL = 0.9
"""Share of the reference driver's return that a solved case must earn to count as done well."""
MOST_BLIND = 0.5
"""Share of cases done well from which on a blind driver shows that a suite asks for no perception."""


@dataclass(frozen=True)
class Outcomes:
    """How N cases ended: `solved` bool [N], `returns` float64 [N]."""

    solved: np.ndarray
    returns: np.ndarray

    def well(self, reference: Outcomes) -> np.ndarray:
        """Returns which cases were done well, bool [N].

        Solved, and with `WELL` of the reference driver's return where rewards are positive: to stand still or crawl
        avoids many crashes.
        """
        enough = (reference.returns <= 0) | (self.returns >= WELL * reference.returns)
        return self.solved & enough


def drive(driver: Driver, group: Group) -> Outcomes:
    """Drives the cases of a group; ValueError for a driver that cannot drive there."""
    solved, returns = [], []
    for first in range(0, len(group.seeds), BATCH):
        seeds = group.seeds[first : first + BATCH]
        envs = _make(group, len(seeds))
        limit = step_limit(envs.config)
        episodes = run_batch(envs, driver, seeds, None, limit)
        ended = episodes["length"] < limit
        solved.append(ended & (episodes["crashed"] == 0) & (episodes.get("success", np.ones(len(seeds))) > 0))
        returns.append(episodes["return"])
    return Outcomes(np.concatenate(solved), np.concatenate(returns))


def _make(group: Group, worlds: int) -> Any:
    import sim

    return sim.make_vec(group.id, worlds, config=group.config, autoreset_mode=AutoresetMode.DISABLED)


def solve(suite: Suite, references: Sequence[DriverSpec], progress: bool = False) -> Suite:
    """Returns the suite with `solvable_by` filled in anew; cases that nobody solves go to its stress list.

    Args:
        suite: cases and stress list are taken together; groups of the same name must agree in id and config.
        references: the drivers that try, in this order; who cannot drive an id is left out there.
        progress: shows a progress bar.
    """
    together: dict[str, Group] = {}
    for group in (*suite.groups, *suite.stress):
        before = together.get(group.name, replace(group, seeds=()))
        together[group.name] = replace(group, seeds=(*before.seeds, *group.seeds))
    groups, stress = [], []
    for group in tqdm(together.values(), unit="group", desc=suite.name, disable=not progress):
        solvable_by: dict[int, str] = {}
        for reference in references:
            left = [seed for seed in group.seeds if seed not in solvable_by]
            if left:
                solvable_by |= dict.fromkeys(_solved(reference, replace(group, seeds=tuple(left))), reference.name)
        seeds = tuple(seed for seed in group.seeds if seed in solvable_by)
        unsolved = tuple(seed for seed in group.seeds if seed not in solvable_by)
        if seeds:
            groups.append(replace(group, seeds=seeds, solvable_by=solvable_by))
        if unsolved:
            stress.append(replace(group, seeds=unsolved, solvable_by={}))
    return replace(suite, groups=tuple(groups), stress=tuple(stress))


def _solved(reference: DriverSpec, group: Group) -> list[int]:
    """The seeds that a driver solves; none where it cannot drive."""
    driver = reference.build()
    try:
        prepare(driver, _make(group, 1), group.seeds[:1])
    except ValueError:
        return []
    outcomes = drive(driver, group)
    return [seed for seed, solved in zip(group.seeds, outcomes.solved, strict=True) if solved]


@dataclass(frozen=True)
class Blindness:
    """How well one does without looking.

    Attributes:
        cases: how many were driven. reference: share of them that the reference driver solves. blind: share that the
            blind driver does well. constant: share that the best constant action of each group does well, an upper
            bound to what any fixed action reaches. actions: that action, by group.
    """

    cases: int
    reference: float
    blind: float
    constant: float
    actions: dict[str, str]

    @property
    def rejected(self) -> bool:
        """Should nobody be judged by this suite?"""
        return self.constant >= MOST_BLIND or self.blind >= MOST_BLIND


def blindness(suite: Suite, reference: DriverSpec, blind: DriverSpec, per_group: int | None = None) -> Blindness:
    """Returns how well one does in a suite without looking, on the first `per_group` cases of each group."""
    solved, seen, constant, actions = [], [], [], {}
    for whole in suite.groups:
        group = replace(whole, seeds=whole.seeds[:per_group])
        bound = drive(reference.build(), group)
        solved.append(bound.solved)
        seen.append(drive(blind.build(), group).well(bound))
        fixed = {name: drive(ConstantDriver(name), group).well(bound) for name in fixed_actions(group)}
        actions[group.name] = max(fixed, key=lambda name: fixed[name].mean())
        constant.append(fixed[actions[group.name]])
    shares = [float(np.concatenate(part).mean()) for part in (solved, seen, constant)]
    return Blindness(sum(map(len, solved)), *shares, actions)


def fixed_actions(group: Group) -> list[str]:
    """Returns the names of the actions that `ConstantDriver` can take in a group's id."""
    from sim.config import complete

    return action_names(complete(group.id, group.config)) or ["IDLE", "FASTER", "SLOWER"]
