import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from planning.rule_based import IdmDriver
from scripts import replay
from sim.evaluation.driver import RandomDriver
from sim.recording import Trace, Traces
from tests.scripts.test_evaluate import call, run, short  # noqa: F401  a fixture
from tests.sim.recording.evaluations import SHORT, record, write_folder


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


TRACES = "traces/fast-0-0.npz"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Two drivers judged on the same four cases, as `evaluate.py --suite` leaves it; the first has states."""
    folders = []
    for driver, name in ((RandomDriver(), "random"), (IdmDriver(), "idm")):
        traces = record("highway-fast-v0", SHORT, range(4), driver, name, full=[1, 3])
        metrics = [{"min_ttc": 0.3 + 0.1 * i, "at_fault_collision": float(i == 2)} for i in range(4)]
        folders.append(write_folder(tmp_path_factory.mktemp("judged") / name, {"fast": (traces, metrics)}))
    return folders


def pictures_of(film):
    video = cv2.VideoCapture(str(film))
    images = []
    while (read := video.read())[0]:
        images.append(read[1])
    return images


def test_an_evaluation_is_verified(judged, capsys, tmp_path):
    for folder in judged:  # idm changes its world at the reset: its replay needs it
        assert call(replay, [folder, "--verify"]) == 0
        steps = sum(len(Traces.load(folder / TRACES).episode(i).actions) + 1 for i in range(4))
        assert f"4 episodes replay as they were recorded: all {steps} state hashes" in capsys.readouterr().out
    assert call(replay, [folder / TRACES, "--verify"]) == 0


def test_an_edited_evaluation_is_named(judged, capsys, tmp_path):
    folder = shutil.copytree(judged[0], tmp_path / "edited")
    path = folder / TRACES
    with np.load(path) as file:
        arrays = dict(file)
    arrays["hashes"][3, 1] ^= np.uint64(1)
    np.savez(path, **arrays)
    capsys.readouterr()
    assert call(replay, [folder, "--verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "traces/fast-0-0.npz: episode 1 (seed 1): the hash of step 2 was edited after it was recorded"
    assert "1 things are not" in lines[-1]
    assert call(replay, [folder, "--case", "fast/1", "--out", tmp_path / "x.mp4"]) == 2
    assert "was edited after it was recorded: the hashes of episode 1 (seed 1)" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:1000])
    assert call(replay, [folder, "--verify"]) == 1
    assert "is not a whole trace" in capsys.readouterr().out


def test_a_case_is_filmed_with_overlays_around_its_worst_moment(judged, tmp_path):
    whole, part, steps = tmp_path / "whole.mp4", tmp_path / "part.mp4", Traces.load(judged[1] / TRACES).steps
    case = ["--case", f"fast/{steps.argmax()}", "--out"]
    assert call(replay, [judged[1], *case, whole, "--overlay", "ttc,rss,seen"]) == 0
    assert call(replay, [judged[1], *case, part, "--from-worst", "min_ttc"]) == 0
    # The worst frame is the tenth, 2 s after the reset: all before it, and the 2 s after it.
    assert len(pictures_of(part)) == 4 * 21 + 20
    assert len(pictures_of(whole)) == 4 + 20 * steps.max() + 4 + 20


def test_all_cases_that_meet_a_condition_are_filmed(judged, tmp_path, capsys):
    films = tmp_path / "films"
    assert call(replay, [judged[0], "--where", "min_ttc < 0.45 and not at_fault_collision", "--out", films]) == 0
    assert sorted(path.name for path in films.iterdir()) == ["fast-0.mp4", "fast-1.mp4"]
    assert f"{films}: 2 films" in capsys.readouterr().out


def test_two_drivers_are_filmed_beside_each_other(judged, tmp_path):
    film = tmp_path / "both.mp4"
    assert call(replay, [judged[0], "--case", "fast/3", "--against", judged[1], "--out", film]) == 0
    images = pictures_of(film)
    assert images[0].shape == (604, 1200, 3)
    first, later = (np.abs(image[60:250].astype(int) - image[364:554]).mean() for image in (images[0], images[60]))
    assert first < 0.2  # one scene
    assert later > 1  # two drivers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "holds 5 cases: give --case GROUP/SEED, --where or --verify"),
        (["--case", "fast/77"], "has no case fast/77"),
        (["--case", "fast/1", "--from-worst", "tet"], "no worst frame of 'tet'"),
        (["--case", "fast/1", "--overlay", "heat"], "unknown overlay 'heat'"),
        (["--where", "colour"], "no metric 'colour'"),
        (["--where", "min_ttc < 0"], "none of the 5 cases"),
        (["--where", "min_ttc < 1"], "give a folder as --out"),
        (["--case", "fast/1", "--against", "nowhere"], "nowhere holds no evaluation"),
    ],
)
def test_a_wrong_question_to_an_evaluation_is_one_line(judged, arguments, message, capsys):
    assert call(replay, [judged[0], *arguments]) == 2
    assert re.fullmatch(f"error: .*{re.escape(message)}.*\n", capsys.readouterr().err)


def test_the_plans_of_a_driver_are_filmed(short, tmp_path, capsys):  # noqa: F811
    film, arguments = tmp_path / "plan.gif", ["--env-config", short, "--overlay", "plan,minimap,scale", "--out"]
    assert call(replay, ["--driver", "search:depth=2,beam=4,tail=0", *arguments, film]) == 0
    assert film.stat().st_size > 10_000
    assert call(replay, ["--driver", "idle", *arguments, film]) == 2
    assert "the overlay 'plan' needs a driver that tells its plan, as search does; IdleDriver has none" in (
        capsys.readouterr().err
    )


def test_there_is_nothing_to_verify_without_a_source(capsys):
    assert call(replay, ["--verify"]) == 2
    assert "--verify needs a trace" in capsys.readouterr().err
