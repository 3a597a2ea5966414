import json

import pytest
import tyro

from scripts import compare
from tests.scripts.test_evaluate import call
from tests.sim.evaluation.hand_made_reports import collisions, write


@pytest.fixture
def folders(tmp_path):
    """Two runs of A, which crashes in every tenth of 60 cases, and two of B, which never does."""
    for run in range(2):
        write(tmp_path / f"a{run}", collisions([int(i % 10 == 0) for i in range(60)], driver="idle"))
        write(tmp_path / f"b{run}", collisions([0] * 60, driver="idm"))
    return tmp_path


def test_a_table_is_printed_and_written(folders, capsys):
    table, figures = folders / "table.md", folders / "figures.json"
    arguments = [folders / "a0", folders / "b0" / "report.json", "--markdown", table, "--json", figures]
    assert call(compare, arguments) == 0
    printed = capsys.readouterr().out
    assert "Suite smoke 1 (sha256 aaaaaaaaaaaa), 60 cases" in printed
    assert "- A: idle, 1 run: " in printed
    assert "| **collision** [%] | 10.00 (4.66 to 20.15) | 0.00 (0.00 to 6.02) | -10.00 " in printed
    assert "| 6 / 54 / 0 | B is better |" in printed
    assert table.read_text() == printed
    read = json.loads(figures.read_text())
    assert read["primary"] == "collision"
    assert read["metrics"]["collision"]["p"] == 2 / 64
    assert read["metrics"]["collision"]["win_tie_loss"] == [6, 54, 0]
    assert read["metrics"]["collision"]["verdict"] == "B is better"
    assert "gate" not in read


def test_a_page_is_written(folders, capsys):
    page = folders / "pages" / "comparison.html"
    page.parent.mkdir()
    (folders / "a0" / "report.html").write_text("a page")
    gate = ["--max-collision-increase", 0.05]
    assert call(compare, [folders / "a0", folders / "b0", "--html", page, *gate]) == 0
    text = page.read_text()
    assert "idm" in text
    assert "B is better" in text
    assert "Gate at" in text
    record = json.loads((folders / "a0" / "report.json").read_text())["cases"][10]
    link = f"../a0/report.html#case={record['case'].replace('/', '%2F')}"
    assert text.count('href="../a0/report.html#case=') == 6  # every tenth of 60 crashed, and only with A
    assert link in text
    assert "../b0" not in text  # it has no page
    assert f"replay.py {folders / 'a0'} --case {record['case']} --against {folders / 'b0'}" in text
    assert call(compare, [folders / "a0", folders / "b0", "--html", folders / "none" / "x.html"]) == 2
    assert "--html: the folder" in capsys.readouterr().err


def test_a_page_of_several_runs_says_why_it_links_to_none(folders):
    page = folders / "comparison.html"
    arguments = ["--a", folders / "a0", "--b", folders / "b0", "--a", folders / "a1", "--b", folders / "b1"]
    assert call(compare, [*arguments, "--html", page]) == 0
    assert "no single pair of replays" in page.read_text()


def test_several_runs_a_side(folders, capsys):
    arguments = ["--a", folders / "a0", "--b", folders / "b0", "--a", folders / "a1", "--b", folders / "b1"]
    assert call(compare, arguments) == 0
    printed = capsys.readouterr().out
    assert "- A: idle, 2 runs: " in printed
    assert "2 training runs on a side; 5 are the least" in printed


def test_the_gate_decides_the_exit_code(folders, capsys):
    figures = folders / "figures.json"
    gate = ["--max-collision-increase", 0.05, "--json", figures]
    assert call(compare, [folders / "b0", folders / "a0", *gate]) == 1
    assert "GATE FAILED: the collision rate may have risen by up to" in capsys.readouterr().out
    assert json.loads(figures.read_text())["gate"] == {"max_collision_increase": 0.05, "passed": False}
    assert call(compare, [folders / "a0", folders / "b0", *gate]) == 0
    assert "gate passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare: give A B"),
        (["{}/a0"], "give two reports, A and B, got 1"),
        (["{}/a0", "{}/b0", "--a", "{}/a1"], "either A B, or --a and --b"),
        (["--a", "{}/a0"], "at least one --a and one --b"),
        (["{}/a0", "{}/nowhere"], "no such file or folder"),
        (["{}/a0", "{}"], "no report.json in the folder"),
        (["{}/a0", "{}/broken"], "not valid JSON, perhaps truncated"),
        (["{}/a0", "{}/shorter"], "lacks 57 cases"),
        (["{}/a0", "{}/other"], "different suites"),
        (["{}/a0", "{}/b0", "--primary", "speed"], "primary metric 'speed'"),
        (["{}/a0", "{}/b0", "--json", "{}/no/x.json"], "--json: the folder"),
        (["{}/a0", "{}/b0", "--max-collision-increase", "5"], "share between 0 and 1, got 5"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(folders, capsys, arguments, message):
    write(folders / "shorter", collisions([0] * 3))
    write(folders / "other", collisions([0] * 60, sha256="b" * 64))
    (write(folders / "broken", collisions([0])) / "report.json").write_text('{"schema": 1, "cases": [')
    assert call(compare, [argument.format(folders) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_help_says_what_is_what(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(compare.Arguments, args=["--help"])
    assert "baseline" in capsys.readouterr().out
