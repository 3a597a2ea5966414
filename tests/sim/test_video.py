import cv2
import numpy as np
import pytest
from PIL import Image

from sim.video import check_video_path, write_video

COLOURS = [(200, 30, 40), (30, 180, 60), (40, 60, 220), (230, 230, 230)]


def frames():
    return (np.full((48, 80, 3), colour, dtype=np.uint8) for colour in COLOURS)


def test_an_mp4_opens_again_with_its_colours(tmp_path):
    assert write_video(tmp_path / "a.mp4", frames(), 5.0) == 4
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 5.0
    for colour in COLOURS:
        ok, image = video.read()
        assert ok
        assert np.abs(image[..., ::-1].mean(axis=(0, 1)) - colour).max() < 12
    assert not video.read()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_gif_opens_again_with_its_colours_and_timing(tmp_path):
    assert write_video(tmp_path / "a.gif", frames(), 5.0) == 4
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 4
        assert image.info["duration"] == 200
        for number, colour in enumerate(COLOURS):
            image.seek(number)
            assert np.abs(np.asarray(image.convert("RGB")).mean(axis=(0, 1)) - colour).max() < 12


def test_a_gif_of_many_frames_a_second_is_thinned_and_keeps_its_time(tmp_path):
    shades = (np.full((8, 8, 3), shade, np.uint8) for shade in range(0, 250, 2))
    assert write_video(tmp_path / "a.gif", shades, 30.0) == 63  # every second of 125
    with Image.open(tmp_path / "a.gif") as image:
        total = 0
        for number in range(image.n_frames):
            image.seek(number)
            total += image.info["duration"]
    assert total == pytest.approx(63 * 2000 / 30, abs=5)


def test_a_film_that_breaks_off_leaves_the_old_file(tmp_path):
    def broken():
        yield from frames()
        raise ZeroDivisionError

    for name in ("a.mp4", "a.gif"):
        (tmp_path / name).write_text("old")
        with pytest.raises(ZeroDivisionError):
            write_video(tmp_path / name, broken(), 5.0)
        assert (tmp_path / name).read_text() == "old"
        with pytest.raises(ValueError, match="at least one frame"):
            write_video(tmp_path / name, [], 5.0)
    assert len(list(tmp_path.iterdir())) == 2


def test_bad_paths_are_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"\*.mp4 or \*.gif, not 'a.avi'"):
        check_video_path(tmp_path / "a.avi")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_video_path(tmp_path / "none" / "a.mp4")
