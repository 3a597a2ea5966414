"""Failures made small: the fewest vehicles, the fewest and smallest changes with which the driver still fails.

Delta debugging removes parts while the failure remains; all failures are shrunk side by side, so that each round is one
batch of episodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sim.evaluation.falsification.ground import Cases, Outcomes, ProvingGround
from sim.evaluation.falsification.margin import FEATURES
from sim.evaluation.falsification.space import EDITS

ROUNDS = 40
"""After which shrinking stops; delta debugging of 50 vehicles takes about 15."""
GRACE = 5.0
"""How much later than the first contact a smaller scene may fail [s]."""
SCALES = np.arange(1, 16) / 16
"""Of the changes that are left, tried all at once; the smallest that fails is taken."""

Test = Callable[[list[tuple[int, tuple]]], np.ndarray]
"""Takes pairs (row, the items kept) and returns which still fail, bool."""


def minimise(items: Sequence[Sequence[Any]], test: Test) -> list[tuple]:
    """Returns for each row a subset of its items that still fails, and no longer does without any one of them.

    Where ROUNDS pass before, the subset may be larger. The full set is taken to fail; items should be in the order of
    their importance, as short beginnings are tried first.
    Source: A. Zeller and R. Hildebrandt (2002), "Simplifying and isolating failure-inducing input", ddmin.
    """
    kept = [tuple(row) for row in items]
    starts = [(row, kept[row][:m]) for row in range(len(kept)) for m in _beginnings(len(kept[row]))]
    for (row, subset), fails in zip(starts, test(starts) if starts else [], strict=True):
        if fails and len(subset) < len(kept[row]):
            kept[row] = subset
    parts = [min(2, len(row)) for row in kept]
    open_rows = {row for row in range(len(kept)) if kept[row]}
    for _ in range(ROUNDS):
        tries = [
            (row, tuple(itertools.chain(*(c for c in chunks if c is not chunk))))
            for row in sorted(open_rows)
            for chunks in [_split(kept[row], parts[row])]
            for chunk in chunks
        ]
        if not tries:
            break
        fails = test(tries)
        for row in sorted(open_rows):
            smaller = [subset for (of, subset), bad in zip(tries, fails, strict=True) if of == row and bad]
            if smaller:
                kept[row], parts[row] = smaller[0], max(parts[row] - 1, min(2, len(smaller[0])))
            elif parts[row] >= len(kept[row]):
                open_rows.discard(row)
            else:
                parts[row] = min(2 * parts[row], len(kept[row]))
            parts[row] = min(parts[row], len(kept[row]))
            if not kept[row]:
                open_rows.discard(row)
    return kept


def _beginnings(size: int) -> list[int]:
    """All sizes up to 8, then 12, 16, 24, 32 and so on, largest first."""
    sizes = [*range(9), *(2**i * k // 2 for i in range(3, size.bit_length() + 1) for k in (3, 4))]
    return [m for m in reversed(sizes) if m < size]


def _split(items: tuple, parts: int) -> list[tuple]:
    """Cuts items into parts as equal as can be."""
    bounds = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in itertools.pairwise(bounds)]


def shrink(ground: ProvingGround, cases: Cases, outcomes: Outcomes) -> Cases:
    """Returns smaller cases that still fail, in the same order.

    First the config goes back to the base one, key by key; then vehicles are taken away; then the changes of those left
    are undone one by one, and the rest made smaller.

    Args:
        ground: where they were driven.
        cases: failures with known slots and nothing removed.
        outcomes: of them.
    """
    limits = outcomes.time + GRACE
    cases = _shrink_configs(ground, cases, limits)
    seen = ground.run(cases, limits=limits)
    cases = _shrink_vehicles(ground, cases, seen, limits)
    cases = _shrink_edits(ground, cases, limits)
    return _scale_edits(ground, cases, limits)


def _test(ground: ProvingGround, cases: Cases, limits: np.ndarray, change: Callable[[Cases, int, tuple], None]) -> Test:
    """A test that lets `change` alter a copy of the case of a row, given the items kept."""

    def test(tries: list[tuple[int, tuple]]) -> np.ndarray:
        rows = [row for row, _ in tries]
        batch = _copied(cases.pick(rows))
        for place, (_, kept) in enumerate(tries):
            change(batch, place, kept)
        return ground.run(batch, limits=limits[rows]).failed

    return test


def _copied(cases: Cases) -> Cases:
    return replace(cases, configs=[dict(c) for c in cases.configs], edits=cases.edits.copy(), removed=[*cases.removed])


def _shrink_configs(ground: ProvingGround, cases: Cases, limits: np.ndarray) -> Cases:
    base = ground.config
    items = [[key for key, value in config.items() if value != base[key]] for config in cases.configs]

    def change(batch: Cases, place: int, kept: tuple) -> None:
        batch.configs[place] = {key: value for key, value in batch.configs[place].items() if key in kept}

    kept = minimise(items, _test(ground, cases, limits, change))
    small = _copied(cases)
    for row, keys in enumerate(kept):
        change(small, row, keys)
    return small


def _shrink_vehicles(ground: ProvingGround, cases: Cases, seen: Outcomes, limits: np.ndarray) -> Cases:
    everyone = [np.flatnonzero(row).tolist() for row in seen.traffic]

    def order(row: int) -> list[int]:
        """The one that was touched, then those that were edited, nearest first, then the others as they were placed."""
        touched = seen.features[row, FEATURES.index("number")]
        first = [slot for slot in (touched, *cases.slots[row]) if slot in everyone[row]]
        return list(dict.fromkeys(map(int, [*first, *everyone[row]])))

    def change(batch: Cases, place: int, kept: tuple) -> None:
        row = owner[place]
        batch.removed[place] = tuple(slot for slot in everyone[row] if slot not in kept)

    owner: list[int] = []

    def test(tries: list[tuple[int, tuple]]) -> np.ndarray:
        owner[:] = [row for row, _ in tries]
        return _test(ground, cases, limits, change)(tries)

    kept = minimise([order(row) for row in range(len(cases))], test)
    small = _copied(cases)
    owner[:] = range(len(cases))
    for row, slots in enumerate(kept):
        change(small, row, slots)
        small.edits[row][~np.isin(small.slots[row], slots)] = 0.0
    return small


def _shrink_edits(ground: ProvingGround, cases: Cases, limits: np.ndarray) -> Cases:
    items = [[tuple(index) for index in np.argwhere(edits)] for edits in cases.edits]

    def change(batch: Cases, place: int, kept: tuple) -> None:
        mask = np.zeros(batch.edits.shape[1:], dtype=bool)
        for index in kept:
            mask[index] = True
        batch.edits[place] = np.where(mask, batch.edits[place], 0.0)

    kept = minimise(items, _test(ground, cases, limits, change))
    small = _copied(cases)
    for row, indices in enumerate(kept):
        change(small, row, indices)
    return small


def _scale_edits(ground: ProvingGround, cases: Cases, limits: np.ndarray) -> Cases:
    """Multiplies all changes of a case but those of the lane by the smallest of SCALES with which it still fails."""
    scaled = np.arange(len(EDITS)) != EDITS.index("lanes")
    rows = [row for row in range(len(cases)) if cases.edits[row][:, scaled].any()]
    pairs = [(row, scale) for row in rows for scale in SCALES]
    if not pairs:
        return cases
    batch = _copied(cases.pick([row for row, _ in pairs]))
    for place, (_, scale) in enumerate(pairs):
        batch.edits[place][:, scaled] *= scale
    fails = ground.run(batch, limits=limits[[row for row, _ in pairs]]).failed
    small = _copied(cases)
    for place in np.flatnonzero(fails)[::-1]:  # the smallest comes last
        small.edits[pairs[place][0]] = batch.edits[place]
    return small
