import json
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from scripts import conformance

ROOT = Path(__file__).parents[2]
SHORT = {"vehicles_count": 3, "duration": 3}


def call(*arguments):
    """Runs the script in this process; returns its exit code."""
    return conformance.main(tyro.cli(conformance.Arguments, args=[str(argument) for argument in arguments]))


def test_a_table(tmp_path, capsys, device):
    config, file = tmp_path / "case.json", tmp_path / "table.md"
    config.write_text(json.dumps([SHORT, SHORT | {"lanes_count": 2}]))
    arguments = ["--envs", "highway-fast-v0", "--config", config, "--seeds", 2, "--processes", 1]
    assert call(*arguments, "--markdown", file, "--actions", "gentle", "--device", device) == 0
    text = file.read_text()
    assert capsys.readouterr().out == text
    assert "| highway-fast-v0 | 4 / 4 | - | 4 / 4 | 4 / 4 |" in text


def test_a_difference_is_exit_code_one(tmp_path, capsys, monkeypatch, device):
    monkeypatch.setattr("sim.scenarios.highway.SPEED_LIMIT", 29.0)
    assert call("--envs", "highway-fast-v0", "--seeds", 1, "--steps", 2, "--processes", 1, "--device", device) == 1
    assert "| highway-fast-v0 | 0 / 1 | 0 / 1 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--envs", "highway-fast-v9"], "unknown environment id 'highway-fast-v9'; did you mean 'highway-fast-v0'?"),
        (["--seeds", "0"], "--seeds is 0; it must be at least 1"),
        (["--processes", "0"], "--processes is 0; it must be at least 1"),
        (["--device", "tpu"], "device 'tpu' is not available"),
        (["--markdown", "/nowhere/table.md"], "--markdown: the folder /nowhere does not exist"),
        (["--config", "/nowhere.json"], "No such file"),
    ],
)
def test_wrong_input_stops_before_any_work(arguments, said, capsys):
    assert call(*arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", ["null", "3", '"merge-v0"', "[[]]", "[]"])
def test_a_config_file_that_holds_no_config(text, tmp_path, capsys):
    config = tmp_path / "case.json"
    config.write_text(text)
    assert call("--envs", "highway-fast-v0", "--config", config) == 2
    assert "dict" in capsys.readouterr().err


def test_wrong_input_is_one_line(tmp_path):
    config = tmp_path / "case.json"
    config.write_text("{broken")
    command = [sys.executable, str(ROOT / "scripts" / "conformance.py"), "--config", str(config)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    said = [line for line in done.stderr.splitlines() if not line.startswith("Warp CUDA warning")]
    assert done.returncode == 2 and done.stdout == ""
    assert len(said) == 1 and said[0].startswith("error: ")
