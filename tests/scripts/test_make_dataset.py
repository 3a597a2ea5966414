"""The script: a set is written, killed for real, finished, verified; what cannot be is one line."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tyro

from perception.data.coco import CocoFolder
from perception.data.manifest import read_manifest
from perception.data.mot import read_clip
from scripts import make_dataset

ROOT = Path(__file__).parents[2]
SMALL = ["--width", "64", "--height", "48", "--env", "highway-fast-v0:vehicles_density=2", "--threads", "1"]
SET = ["--frames", "60", "--clips", "3", "--clip-length", "10", "--depth", "--masks", *SMALL]


def call(out, *arguments):
    """Runs the script's main in this process, which is faster; returns its exit code."""
    return make_dataset.main(tyro.cli(make_dataset.Arguments, args=["--out", str(out), *map(str, arguments)]))


def hashes(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed_after(folder, pictures, arguments):
    """Starts the script in a process of its own and kills it once it has written some pictures."""
    command = [sys.executable, str(ROOT / "scripts/make_dataset.py"), "--out", str(folder), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(folder.glob("train/images/*.png"))) >= pictures:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    return process.wait(timeout=20)


def test_a_killed_set_is_finished_with_the_same_bytes(tmp_path, capsys):
    assert call(tmp_path / "whole", *SET) == 0
    shown = capsys.readouterr()
    assert "60 frames and 3 clips, 90 pictures: up to 2 MB on disk" in shown.err
    assert "train 48 frames and 2 clips, val 6 frames and 0 clips, test 6 frames and 1 clips" in shown.out
    assert killed_after(tmp_path / "killed", 10, SET) == -signal.SIGKILL
    assert not (tmp_path / "killed/manifest.json").exists()
    assert call(tmp_path / "killed", "--verify") == 2
    assert "is not finished: call make_dataset.py again" in capsys.readouterr().err
    assert call(tmp_path / "killed", *SET) == 0
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    about = read_manifest(tmp_path / "killed")
    assert about["files"] == read_manifest(tmp_path / "whole")["files"]
    assert len(CocoFolder(tmp_path / "killed/train/annotations.json", masks=True)) == 48
    assert read_clip(tmp_path / "killed" / about["splits"]["test"]["clips"][0]["name"]).length >= 1
    assert call(tmp_path / "killed", *SET) == 0  # whole: nothing to do
    assert call(tmp_path / "killed", "--verify") == 0
    assert "no problems" in capsys.readouterr().out
    (tmp_path / "killed/val/images/00000000.png").write_bytes(b"")
    assert call(tmp_path / "killed", "--verify") == 1
    assert "val/images/00000000.png: 0 bytes, not" in capsys.readouterr().out
    assert call(tmp_path / "killed", *SET, "--seed", 1) == 2
    assert "holds a data set with other settings: seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "highway-v9"], "unknown environment id 'highway-v9'"),
        (["--env", "highway-v0:lanes"], "cannot read 'lanes'"),
        (["--domain", "fgo"], "unknown domain 'fgo'; did you mean 'fog'"),
        (["--domain", "dusk"], "split 'train' has no domain: dusk are held out for test"),
        (["--split", "training"], "unknown split 'training'; did you mean 'train'"),
        (["--width", "4"], "camera width is 4; it must be an integer of at least 8"),
        (["--camera", "top"], "unknown camera preset 'top'"),
        (["--driver", "racer"], "unknown driver 'racer'"),
        (["--driver", "idm", "--env", "parking-v0"], "the idm driver cannot drive in parking-v0"),
        (["--clips", "1", "--fps", "7", "--frames", "0"], "fps cannot be 7; allowed:"),
        (["--frames", "0"], "nothing to write"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_folder(tmp_path, capsys, arguments, message):
    given = [] if "--width" in arguments else ["--width", "64", "--height", "48"]
    given += [] if "--env" in arguments else ["--env", "highway-fast-v0"]
    assert call(tmp_path / "set", *given, *arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("error:") == 1
    assert not (tmp_path / "set").exists()
