"""Suites: named, versioned lists of cases as data files, so that two people judge by the same episodes.

A case is an id, a config and a seed: together they fix an episode but for what the driver does. A file of a suite
groups the cases that share id and config; each case carries which reference driver solves it, found beforehand by
scripts/solve_suite.py. Cases that none solves stand on the stress list: they are driven only when asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.config import complete

SCHEMA = 1
FOLDER = Path(__file__).with_name("suites")


@dataclass(frozen=True)
class Group:
    """Cases of one id and config.

    Attributes:
        name: of the group, unique in its suite. id: of the environment. config: what differs from the id's defaults.
        seeds: one a case. solvable_by: by seed, the reference driver that solves it.
    """

    name: str
    id: str
    config: dict[str, Any]
    seeds: tuple[int, ...]
    solvable_by: dict[int, str]


@dataclass(frozen=True)
class Suite:
    """A list of cases under a name and a version.

    Attributes:
        about: one line. groups: of the cases. stress: of those that no reference driver solves.
    """

    name: str
    version: int
    about: str
    groups: tuple[Group, ...]
    stress: tuple[Group, ...] = ()

    @property
    def sha256(self) -> str:
        """The hash of all that decides the episodes: names, ids, configs, seeds; not of who solves them."""
        cases = [
            [[group.name, group.id, group.config, list(group.seeds)] for group in part]
            for part in (self.groups, self.stress)
        ]
        text = json.dumps([self.name, self.version, cases], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def cases(self) -> int:
        """How many cases there are without the stress list."""
        return sum(len(group.seeds) for group in self.groups)

    def save(self, path: str | Path) -> None:
        """Write the suite as JSON."""
        groups = {part: [_as_dict(group) for group in getattr(self, part)] for part in ("groups", "stress")}
        head = {"schema": SCHEMA, "name": self.name, "version": self.version, "about": self.about}
        lines = json.dumps(head | {"sha256": self.sha256} | groups, indent=1)
        Path(path).write_text(lines + "\n", encoding="utf-8")


def names() -> list[str]:
    """Return the names of the suites that come with Slipstream."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_suite(name: str | Path) -> Suite:
    """Read a suite by its name or from a file.

    Raises:
        FileNotFoundError: no such suite or file.
        ValueError: a file that is no suite, of another schema, with an unknown id or config key, or whose cases do not
            have the hash that stands in it.
    """
    path = FOLDER / f"{name}.json" if str(name) in names() else Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"no suite {str(name)!r}; there are {', '.join(names())}, or give a file")
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if read["schema"] != SCHEMA:
            raise ValueError(f"{path} is a suite of schema {read['schema']}; this version reads schema {SCHEMA}")
        groups, stress = (tuple(_group(group) for group in read[part]) for part in ("groups", "stress"))
        suite = Suite(read["name"], read["version"], read["about"], groups, stress)
        stated = read["sha256"]
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a whole suite: {type(error).__name__} {error}") from error
    if suite.sha256 != stated:
        raise ValueError(f"{path} has been changed: its cases have the hash {suite.sha256[:12]}, not {stated[:12]}")
    _check(suite, path)
    return suite


def _check(suite: Suite, path: Path) -> None:
    """Raise ValueError for a suite that cannot be driven."""
    if not suite.cases:
        raise ValueError(f"{path} holds no case")
    found: set[str] = set()
    for group in (*suite.groups, *suite.stress):
        if len(set(group.seeds)) != len(group.seeds):
            raise ValueError(f"{path}: group {group.name!r} holds a seed twice")
        try:
            complete(group.id, group.config)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: group {group.name!r}: {error}") from error
    for group in suite.groups:
        if group.name in found:
            raise ValueError(f"{path} has two groups {group.name!r}")
        found.add(group.name)


def _as_dict(group: Group) -> dict[str, Any]:
    """A group for JSON: seeds that follow each other as [first, count], the solved ones by driver."""
    solved: dict[str, list[int]] = {}
    for seed, driver in sorted(group.solvable_by.items()):
        solved.setdefault(driver, []).append(seed)
    runs = {driver: _runs(seeds) for driver, seeds in sorted(solved.items())}
    config = {"name": group.name, "id": group.id, "config": group.config}
    return config | {"seeds": _runs(group.seeds), "solvable_by": runs}


def _group(read: dict[str, Any]) -> Group:
    solved = {seed: driver for driver, runs in read["solvable_by"].items() for seed in _seeds(runs)}
    return Group(read["name"], read["id"], read["config"], tuple(_seeds(read["seeds"])), solved)


def _runs(seeds: Any) -> list[list[int]]:
    """Pack seeds as runs [first, count], in their order."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([seed, 1])
    return runs


def _seeds(runs: list[list[int]]) -> list[int]:
    return [first + i for first, count in runs for i in range(count)]
