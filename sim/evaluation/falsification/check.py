"""Which contacts count as failures: those that could have been avoided, and that happen again."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from sim.evaluation.falsification.ground import Cases, Outcomes, ProvingGround
from sim.evaluation.falsification.margin import EXCUSED_MARGIN

HELD_AFTER = 3.0
"""How long after the driver's contact a plan must still be clear of any [s]."""
FRACTIONS = (0.0, 0.375, 0.5, 0.625, 1.0)
"""Where on each axis of a continuous action space a plan's constant action lies, from its low to its high end."""


def plans(space: spaces.Space) -> torch.Tensor:
    """Returns P plans of two actions, the first step's and that of all later steps, [P, 2, ...].

    Plans that hold one action come first. Several agents all do the same.
    """
    if isinstance(space, spaces.Tuple):
        one = plans(space.spaces[0])
        return one.unsqueeze(2).expand(*one.shape[:2], len(space.spaces), *one.shape[2:])
    if isinstance(space, spaces.Discrete):
        pairs = sorted(itertools.product(range(int(space.n)), repeat=2), key=lambda pair: pair[0] != pair[1])
        return torch.tensor(pairs) + int(space.start)
    grid = np.array(list(itertools.product(FRACTIONS, repeat=int(np.prod(space.shape)))))
    actions = space.low + grid.reshape(-1, *space.shape) * (space.high - space.low)
    return torch.from_numpy(actions.astype(space.dtype)).unsqueeze(1).expand(-1, 2, *space.shape)


def avoiding_plans(ground: ProvingGround, cases: Cases, times: np.ndarray) -> list[list[Any] | None]:
    """Returns for each case a plan under which no ego touches anything until 3 s after the driver's contact.

    A plan proves that the contact was avoidable from where the episode began. None where no plan of `plans` does; the
    contact may still have been avoidable.

    Args:
        ground: where they were driven.
        cases: n of them, with known slots.
        times: of the driver's contacts [s], [n].
    """
    envs, _ = ground.environment({}, 16)
    all_plans = plans(envs.single_action_space)
    space = envs.single_action_space
    single = space.spaces[0] if isinstance(space, spaces.Tuple) else space
    constant = int(single.n) if isinstance(single, spaces.Discrete) else len(all_plans)
    found: list[list[Any] | None] = [None] * len(cases)
    for chosen in (range(constant), range(constant, len(all_plans))):
        open_cases = [row for row, plan in enumerate(found) if plan is None]
        pairs = [(row, plan) for row in open_cases for plan in chosen]
        if not pairs:
            break
        rows = np.array([row for row, _ in pairs])
        limits = times[rows] + HELD_AFTER
        outcome = ground.run(cases.pick(rows), all_plans[[plan for _, plan in pairs]], limits)
        for (row, plan), contact, limit in zip(pairs, outcome.time, limits, strict=True):
            if found[row] is None and contact > limit:
                found[row] = all_plans[plan].tolist()
    return found


def confirmed(ground: ProvingGround, cases: Cases, outcomes: Outcomes) -> Outcomes:
    """Returns the outcomes without the contacts that no plan avoids.

    They no longer count as failed but as excused.

    Args:
        ground: where they were driven.
        cases: with known slots.
        outcomes: of them.
    """
    rows = np.flatnonzero(outcomes.failed)
    found = avoiding_plans(ground, cases.pick(rows), outcomes.time[rows])
    lost = rows[[plan is None for plan in found]]
    failed, excused, margin = outcomes.failed.copy(), outcomes.excused.copy(), outcomes.margin.copy()
    failed[lost], excused[lost], margin[lost] = False, True, EXCUSED_MARGIN
    return replace(outcomes, failed=failed, excused=excused, margin=margin)


def repeated(ground: ProvingGround, cases: Cases, times: np.ndarray) -> np.ndarray:
    """Returns which cases end in a contact at the same time [s] when driven in another batch and order, bool [n]."""
    order = np.arange(len(cases))[::-1]
    again = ground.run(cases.pick(order), limits=times[order] + HELD_AFTER)
    return again.failed[order] & (again.time[order] == times)
