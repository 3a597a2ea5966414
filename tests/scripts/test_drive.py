import re

import pygame
import pytest

from scripts import drive, replay
from sim.recording import Trace
from sim.recording.cockpit import Cockpit
from tests.scripts.test_evaluate import call
from tests.sim.recording.test_cockpit import Clock, press


@pytest.fixture
def keys(monkeypatch):
    """Keys to be pressed, by the second; no window is seen and no time is waited."""
    pressed = {}
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr("sim.recording.cockpit.PICTURES", 5.0)
    original = Cockpit.__init__

    def with_clock(self, *args, **kwargs):
        clock = Clock(pressed)
        original(self, *args, **kwargs, now=clock.now, sleep=clock.sleep)

    monkeypatch.setattr(Cockpit, "__init__", with_clock)
    yield pressed
    pygame.display.quit()


@pytest.mark.parametrize("id", ["parking-v0", "intersection-multi-agent-v0"])
def test_a_drive_is_kept_and_shown_again(id, keys, tmp_path, capsys):
    trace, film = tmp_path / "mine.npz", tmp_path / "mine.gif"
    keys |= {0.5: press(pygame.K_UP), 1.0: press(pygame.K_RIGHT), 1.8: press(pygame.K_q)}
    assert call(drive, ["--env", id, "--seed", 3, "--overlay", "trail,scale", "--save-trace", trace]) == 0
    said = capsys.readouterr().out
    kept = Trace.load(trace)
    rate = kept.case.config["policy_frequency"]
    assert f"seed 3: {len(kept.actions)} decisions at {rate} Hz, return {kept.rewards.sum():.2f}" in said
    assert ("you drive the first, the others idle" in said) == ("multi" in id)
    assert len(kept.actions) == pytest.approx(1.8 * rate, abs=3)
    assert call(replay, [trace, "--verify"]) == 0
    if "multi" in id:
        return
    assert call(replay, [trace, "--out", film, "--overlay", "trail,metrics,scale"]) == 0
    assert film.stat().st_size > 10_000


def test_a_window_that_is_closed_at_once(keys, tmp_path, capsys):
    keys |= {0.0: press(pygame.K_q)}
    assert call(drive, ["--env", "highway-fast-v0", "--save-trace", tmp_path / "x.npz"]) == 0
    assert capsys.readouterr().out == "nothing was driven\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no display to show a window on; driving by keyboard needs one"),
        (["--env", "highway-v9"], "unknown environment id 'highway-v9'; did you mean 'highway-v0'?"),
        (["--rate", 4], "highway-v0 has 15 frames a second: keys can be heard 1, 3, 5, 15 times a second"),
        (["--speed", -1], "--speed must be positive, got -1.0"),
        (["--overlay", "camera"], "needs Camera, BirdsEye or GrayscaleObservation"),
        (["--overlay", "plan"], "the overlay 'plan' needs a driver that tells its plan"),
        (["--env", "parking-v0", "--overlay", "minimap"], "the whole road of parking-v0 fits into the picture"),
        (["--save-trace", "mine.mp4"], "a trace is written to *.npz, not 'mine.mp4'"),
        (["--save-trace", "no/such/mine.npz"], "does not exist"),
        (["--config", "no.json"], "no such config file: no.json"),
        (["--seed", -1], "seed -1 is not a non-negative integer"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert call(drive, arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert re.fullmatch(f"error: .*{re.escape(message)}.*\n", written.err)
