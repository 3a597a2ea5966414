import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

import sim
from agents import ppo
from agents.networks import Config
from scripts import evaluate

ROOT = Path(__file__).parents[2]
SHORT = {"vehicles_count": 5, "duration": 6}


def run(*arguments, script="evaluate"):
    """Runs a script in a process of its own, where there is no display; returns the finished process."""
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def call(module, arguments):
    """Runs a script's main in this process, which is faster; returns its exit code."""
    return module.main(tyro.cli(module.Arguments, args=[str(argument) for argument in arguments]))


def complaints(done):
    """The lines a script wrote to stderr; where there is no GPU, Warp may say so first."""
    return [line for line in done.stderr.splitlines() if not line.startswith("Warp CUDA warning")]


@pytest.fixture
def short(tmp_path):
    """A file with a config that takes no time."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SHORT))
    return path


@pytest.mark.parametrize("simulator", ["ours", "highway-env"])
def test_a_table_and_figures(simulator, short, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    arguments = (
        "--driver", "idle", "--simulator", simulator, "--episodes", 3, "--seed", 40,
        "--env-config", short, "--json", figures, "--processes", 1,
    )  # fmt: skip
    assert call(evaluate, arguments) == 0
    assert f"idle (sees features) on highway-fast-v0 in {simulator}: 3 of 3 episodes" in capsys.readouterr().out
    report = json.loads(figures.read_text())
    assert report["seeds"] == [40, 41, 42]
    assert report["episodes"] == 3
    assert report["simulator"] == simulator
    assert report["config"]["duration"] == 6
    for name in ("return", "crash_rate", "speed", "length", "distance", "lane_changes"):
        assert report[name]["ci95"][0] <= report[name]["value"] <= report[name]["ci95"][1]


def test_a_run_folder_is_judged_in_its_own_environment_in_both_simulators(tmp_path, capsys):
    envs = sim.make_vec("highway-v0", num_envs=4, config=SHORT)
    ppo.train(ppo.Config(total_steps=128, network=Config(hidden=(8,))), envs, tmp_path / "run", show_progress=False)
    reports = []
    for simulator in ("ours", "highway-env"):
        arguments = [tmp_path / "run", "--simulator", simulator, "--precision", "float64", "--episodes", 2]
        figures = tmp_path / f"{simulator}.json"
        assert call(evaluate, [*arguments, "--processes", 1, "--json", figures]) == 0
        reports.append(json.loads(figures.read_text()))
    assert "run (sees features) on highway-v0 in ours: 2 of 2 episodes" in capsys.readouterr().out
    ours, real = reports
    assert ours["config"]["duration"] == real["config"]["duration"] == 6
    assert ours["per_episode"]["return"] == pytest.approx(real["per_episode"]["return"], abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/run"], "no/such/run"),
        ([], "nothing to drive"),
        (["--driver", "fast"], "unknown driver 'fast'; there are random, idle, idm"),
        (["--driver", "idle", "--simulator", "carla"], "unknown simulator 'carla'; there are ours, highway-env"),
        (["--driver", "idle", "--env", "highway-v9"], "highway-v9"),
        (["--driver", "idle", "--episodes", "0"], "needs at least one seed"),
        (["--driver", "idle", "--json", "no/such/folder/x.json"], "does not exist"),
        (["--driver", "idle", "--env-config", "none.json"], "no such config file: none.json"),
        (["--driver", "none.zip"], "no such file: none.zip"),
        (["--driver", "idle", "--out", "x"], "--out needs --suite"),
        (["--driver", "idle", "--suite", "smoke", "--env-config", "x.json"], "--env-config means nothing with --suite"),
        (["--driver", "idle", "--suite", "smoke", "--simulator", "highway-env"], "--simulator means nothing with"),
        (["--driver", "stack:detector=oracle"], "has no policy: give a run folder, or name one as in stack:RUN,"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert call(evaluate, arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert re.fullmatch(f"error: .*{re.escape(message)}.*\n", written.err)


def test_a_corrupt_run_folder_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    done = run(tmp_path)
    assert done.returncode == 2
    [line] = complaints(done)
    assert "config.json is corrupt" in line
