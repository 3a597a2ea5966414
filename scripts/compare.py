"""Compare two drivers, A (the baseline) and B (the candidate), on the same cases of a suite.

python scripts/compare.py out/idm out/ppo --markdown comparison.md --html comparison.html
python scripts/compare.py --a old/0 --a old/1 --b new/0 --b new/1 --max-collision-increase 0.01
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from sim.command import command
from sim.evaluation.comparison import PRIMARY, compare
from sim.evaluation.comparison_page import write_comparison
from sim.evaluation.comparison_table import as_dict, markdown
from sim.evaluation.report_files import load_report


@dataclass(frozen=True)
class Arguments:
    """Compare two drivers, A (the baseline) and B (the candidate), on the same cases of a suite.

    Exit codes: 0 compared, 1 the collision gate failed, 2 the reports cannot be compared.
    """

    reports: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """A and B: folders written by evaluate.py --suite, or their report.json."""
    a: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """A training run of side A, instead of A; repeat the option for each."""
    b: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """A training run of side B, likewise."""
    primary: str = PRIMARY
    """The metric declared before looking, tested alone at the full level."""
    max_collision_increase: float | None = None
    """Fail unless the 95 % upper bound of B's collision rate less A's is at most this (0.01: one point)."""
    json: Path | None = None
    """Where to write the comparison as JSON."""
    markdown: Path | None = None
    """Where to write the table that is printed."""
    html: Path | None = None
    """Where to write it as one page, with an interval a metric and links to the cases that tell A from B."""


@command
def main(arguments: Arguments) -> int:
    """Prints the comparison and returns the exit code."""
    sides = _sides(arguments)
    for option in ("json", "markdown", "html"):
        path = getattr(arguments, option)
        if path and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"--{option}: the folder {path.absolute().parent} does not exist")
    margin = arguments.max_collision_increase
    if margin is not None and not 0 <= margin <= 1:
        raise ValueError(f"--max-collision-increase is a share between 0 and 1, got {margin}")
    comparison = compare(*([load_report(path) for path in side] for side in sides), arguments.primary)
    gate = None if margin is None else comparison.gate(margin)
    gated = gate and {"max_collision_increase": margin, "passed": gate[0]}
    table = markdown(comparison)
    if arguments.json:
        figures = as_dict(comparison) | ({"gate": gated} if gated else {})
        arguments.json.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if arguments.html:
        write_comparison(arguments.html, comparison, gated)
    if arguments.markdown:
        arguments.markdown.write_text(table + "\n", encoding="utf-8")
    print(table)
    if gate:
        print(f"\n{gate[1]}")
    return 0 if gate is None or gate[0] else 1


def _sides(arguments: Arguments) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The reports of A and of B; raises ValueError unless there are some on both sides."""
    if arguments.reports and (arguments.a or arguments.b):
        raise ValueError("give either A B, or --a and --b for each run, not both")
    if arguments.reports:
        if len(arguments.reports) != 2:
            raise ValueError(f"give two reports, A and B, got {len(arguments.reports)}; for several runs use --a, --b")
        return arguments.reports[:1], arguments.reports[1:]
    if not arguments.a or not arguments.b:
        raise ValueError("nothing to compare: give A B, or at least one --a and one --b")
    return arguments.a, arguments.b


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
