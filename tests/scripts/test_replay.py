import re

import cv2
import numpy as np
import pytest
from PIL import Image

from scripts import replay
from sim.recording import Trace
from tests.scripts.test_evaluate import call, run, short  # noqa: F401  a fixture


def test_a_trace_and_its_film_without_a_display(short, tmp_path):  # noqa: F811
    trace, film = tmp_path / "idm.npz", tmp_path / "idm.mp4"
    done = run(
        "--driver", "idm", "--seed", 3, "--env-config", short, "--save-trace", trace, "--out", film, script="replay"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(film) in done.stdout
    steps = len(Trace.load(trace).actions)
    video = cv2.VideoCapture(str(film))
    images = []
    while (read := video.read())[0]:
        images.append(read[1])
    # Five frames a policy step and 20 pictures a second: the reset, the steps, the end twice, one still second.
    assert len(images) == 4 + 20 * steps + 4 + 20
    assert all(image.std() > 10 for image in images)
    assert np.abs(images[10].astype(int) - images[60]).mean() > 1
    # The trace alone is enough for the same film.
    again = tmp_path / "again.mp4"
    assert call(replay, [trace, "--out", again]) == 0
    assert again.read_bytes() == film.read_bytes()


def test_a_gif_at_twice_the_speed(short, tmp_path):  # noqa: F811
    film = tmp_path / "idle.gif"
    assert call(replay, ["--driver", "idle", "--env-config", short, "--out", film, "--speed", 2]) == 0
    with Image.open(film) as image:
        total = 0
        for number in range(image.n_frames):
            image.seek(number)
            total += image.info["duration"]
    # Up to six simulated seconds and a still one, twice as fast.
    assert 1000 < total < 4000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--driver", "idle"], "no display to show a window on; write to a file instead"),
        (["--driver", "idle", "--out", "x.avi"], "*.mp4 or *.gif"),
        (["--driver", "idle", "--out", "no/such/x.mp4"], "does not exist"),
        (["no/such/run", "--out", "x.mp4"], "no/such/run"),
        (["none.npz", "--out", "x.mp4"], "no such trace: none.npz"),
        (["--driver", "idle", "--speed", "0"], "--speed must be positive"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert call(replay, arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert re.fullmatch(f"error: .*{re.escape(message)}.*\n", written.err)
