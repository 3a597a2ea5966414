"""Let the reference drivers try every case of a suite, note who solves it, and look whether it can be solved blind.

python scripts/solve_suite.py sim/evaluation/suites/junctions.json
python scripts/solve_suite.py mine.json --check
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sim
from agents.drivers import choose_driver
from sim.command import command
from sim.evaluation.solvability import Blindness, blindness, solve
from sim.evaluation.suites import Suite, load_suite


@dataclass(frozen=True)
class Arguments:
    """Solve the cases of a suite beforehand; cases that nobody solves go to its stress list."""

    suite: Annotated[str, tyro.conf.Positional]
    """A suite's name or file."""
    out: Path | None = None
    """Where to write it; the file itself when left out."""
    drivers: tuple[str, ...] = ("idm", "search")
    """Who tries, in this order."""
    check: bool = False
    """Change nothing; only look whether the suite can be solved blind."""
    per_group: int = 24
    """Cases of each group that the look takes."""
    scenario: Path | None = None
    """Python file that registers the environment with sim.register."""


def solved_lines(suite: Suite) -> list[str]:
    """Returns a Markdown table: a row a group."""
    lines = ["| group | cases | solved by | stress |", "|---|--:|---|--:|"]
    stress = {group.name: len(group.seeds) for group in suite.stress}
    for group in suite.groups:
        names = list(group.solvable_by.values())
        by = ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names))
        lines.append(f"| {group.name} | {len(group.seeds)} | {by} | {stress.pop(group.name, 0)} |")
    return lines + [f"| {name} | 0 | | {count} |" for name, count in stress.items()]


def blind_lines(found: Blindness) -> list[str]:
    """Returns what the look found, as text."""
    actions = ", ".join(f"{name}: {action}" for name, action in found.actions.items())
    return [
        f"of {found.cases} cases the search solves {100 * found.reference:.0f} %; done well are "
        f"{100 * found.blind:.0f} % by the blind driver and {100 * found.constant:.0f} % by the best constant action "
        f"of each group ({actions})",
        "REJECTED: it can be driven blind" if found.rejected else "accepted",
    ]


@command
def main(arguments: Arguments) -> int:
    """Runs the drivers, writes the suite and returns the exit code."""
    if arguments.per_group < 1:
        raise ValueError(f"--per-group is {arguments.per_group}; it must be at least 1")
    if arguments.scenario:
        sim.load_scenarios(arguments.scenario)
    suite = load_suite(arguments.suite)
    if not arguments.check:
        target = arguments.out or suite_file(arguments.suite)
        suite = solve(suite, [choose_driver(name=name) for name in arguments.drivers], sys.stderr.isatty())
        suite.save(target)
        print("\n".join(solved_lines(suite)))
    found = blindness(suite, choose_driver(name="search"), choose_driver(name="blind"), arguments.per_group)
    print("\n".join(blind_lines(found)))
    return int(found.rejected)


def suite_file(name: str) -> Path:
    """Returns the file of a suite that was given by its name or file."""
    from sim.evaluation.suites import FOLDER

    shipped = FOLDER / f"{name}.json"
    return shipped if shipped.is_file() else Path(name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
