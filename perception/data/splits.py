"""Who may see what: scenario seeds and domains of the training, validation and test splits.

A split is made by scenario seed and by domain, never by frame: two frames of one episode are nearly the same picture.
"""

from collections.abc import Sequence

from sim.config import require_known
from sim.sensors.looks.domains import HELD_OUT, TRAINING, domains_named

CYCLE = 10
"""Scenario seeds belong to splits by their last decimal digit."""
DIGITS: dict[str, tuple[int, ...]] = {"train": tuple(range(8)), "val": (8,), "test": (9,)}
"""The last digits of a split's scenario seeds."""
SPLITS = tuple(DIGITS)
ROOM = 10**8
"""Scenario seeds of one split that a stream of one seed may use before it would meet the next seed's."""


def scenario_seed(split: str, number: int, seed: int = 0) -> int:
    """Return scenario seed `number` (0, 1, ...) of a split; streams of different `seed` share none.

    Raises:
        ValueError: no such split, or a number or seed below 0.
    """
    require_known([split], SPLITS, "split")
    if number < 0 or seed < 0:
        raise ValueError(f"scenario seed number {number} of seed {seed}: both must be at least 0")
    decade, digit = divmod(number, len(DIGITS[split]))
    return CYCLE * (seed * ROOM + decade) + DIGITS[split][digit]


def split_of(seed: int) -> str:
    """Return the split that a scenario seed belongs to."""
    return next(split for split, digits in DIGITS.items() if seed % CYCLE in digits)


def domains_of(split: str, named: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the domains of a split, out of the named ones.

    Held-out domains are met in "test" alone. If any is named, or none at all, "test" has nothing else; a list of
    training domains leaves it those, with seeds of its own.

    Args:
        split: "train", "val" or "test".
        named: a domain's or mixture's name, or several; None for all there are.

    Raises:
        ValueError: an unknown name, or a split that no named domain may be in.
    """
    require_known([split], SPLITS, "split")
    names = [*TRAINING, *HELD_OUT] if named is None else [domain.name for domain in domains_named(named)]
    names = list(dict.fromkeys(names))
    held_out = [name for name in names if name in HELD_OUT]
    if split == "test":
        return tuple(held_out or names)
    known = tuple(name for name in names if name not in HELD_OUT)
    if not known:
        raise ValueError(
            f"split {split!r} has no domain: {', '.join(held_out)} are held out for test; "
            f"for training there are {', '.join(TRAINING)}"
        )
    return known
