"""The suite solver as a command."""

import subprocess
import sys
from pathlib import Path

from sim.evaluation.suites import Group, Suite, load_suite

SCRIPT = Path(__file__).parents[2] / "scripts/solve_suite.py"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_it_writes_who_solves_what_and_rejects_what_can_be_driven_blind(tmp_path):
    file = tmp_path / "mine.json"
    config = {"vehicles_count": 0, "duration": 3}
    Suite("mine", 1, "", (Group("empty", "highway-fast-v0", config, (5, 6), {}),)).save(file)
    done = run(file, "--drivers", "idle", "--per-group", "2")
    assert "| empty | 2 | idle 2 | 0 |" in done.stdout
    assert "REJECTED" in done.stdout
    assert done.returncode == 1
    assert load_suite(file).groups[0].solvable_by == {5: "idle", 6: "idle"}


def test_an_unknown_suite_is_one_line():
    done = run("no-such-suite")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no suite 'no-such-suite'")
    assert len(done.stderr.splitlines()) == 1
