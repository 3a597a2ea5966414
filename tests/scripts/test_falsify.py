import json

import pytest
import tyro

from scripts import falsify, replay
from sim.evaluation.falsification import Search

CONFIG = {"vehicles_count": 8, "duration": 6}
SPACE = {"vehicles": 2, "offsets": {"shift": {"deviation": 4, "limit": 12}}}


def call(*arguments):
    """Runs the script in this process; returns its exit code."""
    return falsify.main(tyro.cli(falsify.Arguments, args=[str(argument) for argument in arguments]))


@pytest.fixture
def short(tmp_path):
    """Arguments of a search that takes no time."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    return [
        "--driver", "idle", "--env-config", tmp_path / "config.json", "--space", tmp_path / "space.json",
        "--out", tmp_path / "out", "--batch", 32, "--budget-episodes", 64, "--baseline-episodes", 64,
        "--estimate-episodes", 32, "--keep", 2,
    ]  # fmt: skip


def test_failures_are_found_written_and_filmed(short, tmp_path, capsys):
    assert call(*short) == 0
    printed = capsys.readouterr().out
    assert "| cross-entropy | 64 |" in printed and "| random seeds | 64 |" in printed
    cases = json.loads((tmp_path / "out" / "failures.json").read_text())["cases"]
    assert len(cases) == 2
    film = tmp_path / "crash.gif"
    assert call(*short, "--show", cases[1]["case"], "--video", film) == 0
    assert film.stat().st_size > 0 and cases[1]["about"] in capsys.readouterr().out


def test_replay_knows_the_edited_scene(short, tmp_path, capsys):
    assert call(*short) == 0
    folder, film = tmp_path / "out", tmp_path / "again.gif"
    case = json.loads((folder / "failures.json").read_text())["cases"][0]
    asked = [folder, "--case", case["case"], "--out", film, "--overlay", "ttc"]
    assert replay.main(tyro.cli(replay.Arguments, args=[str(one) for one in asked])) == 0
    assert film.stat().st_size > 0 and case["about"] in capsys.readouterr().out
    assert replay.main(tyro.cli(replay.Arguments, args=[str(folder)])) == 2
    assert f"there are {case['case']}" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_found_and_the_same_command_goes_on(short, tmp_path, capsys, monkeypatch):
    whole = Search.run

    def interrupted(self):
        yield next(whole(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "run", interrupted)
    assert call(*short) == 0
    printed = capsys.readouterr()
    assert "the same command goes on" in printed.err and "| cross-entropy | 32 |" in printed.out
    monkeypatch.setattr(Search, "run", whole)
    assert call(*short) == 0
    assert "| cross-entropy | 64 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--driver", "idle"], "give --out DIR"),
        (["--out", "x"], "nothing to drive"),
        (["--driver", "idle", "--out", "x", "--env", "parking-v0"], "nothing to search"),
        (["--driver", "idle", "--out", "x", "--space", "none.json"], "no such search space"),
        (["--driver", "idle", "--out", "x", "--method", "magic"], "unknown method 'magic'"),
        (["--driver", "idle", "--out", "x", "--baseline-episodes", "0"], "baseline_episodes"),
        (["--driver", "idle", "--out", "x", "--show", "0000"], "give --video"),
        (["--driver", "idle", "--out", "x", "--show", "0000", "--video", "x.gif"], "holds no failures.json"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments, complaint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and complaint in told and told.count("\n") == 1
