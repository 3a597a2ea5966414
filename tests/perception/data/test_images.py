"""Pictures on disk: exact, whole or not at all, and broken ones are named. Pillow is the oracle."""

import errno
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from perception.data import images


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (3, 24, 40), dtype=np.uint8)


def test_pictures_are_read_by_others_and_come_back_exactly(tmp_path, picture):
    path = tmp_path / "a.png"
    images.write_bytes(path, images.png(picture))
    assert np.array_equal(np.asarray(Image.open(path)), picture.transpose(1, 2, 0))
    assert np.array_equal(images.read_image(path), picture)


def test_grey_transparent_and_jpeg_pictures_become_rgb(tmp_path, picture):
    for name, mode in (("grey.png", "L"), ("alpha.png", "RGBA"), ("photo.jpg", "RGB"), ("palette.png", "P")):
        Image.fromarray(picture.transpose(1, 2, 0)).convert(mode).save(tmp_path / name)
        assert images.read_image(tmp_path / name).shape == picture.shape


def test_depth_is_kept_to_half_a_centimetre_and_the_sky_stays_the_sky(tmp_path):
    depth = np.array([[0.1, 1.004, 12.3456, 655.3], [656.0, 1999.0, np.inf, 0.001]])
    path = tmp_path / "d.png"
    images.write_bytes(path, images.png(images.depth_pixels(depth)))
    pixels = np.asarray(Image.open(path))
    assert pixels.dtype == np.uint16 and pixels[1].tolist() == [65535, 65535, 0, 1]
    back = images.read_depth(path)
    assert np.abs(back[0] - depth[0]).max() <= 0.005 + 1e-6
    assert back[1, 2] == np.inf and back[1, 0] == pytest.approx(655.35)


@pytest.mark.parametrize("kept", [0, 7, 60, -1])
def test_a_picture_that_breaks_off_is_named(tmp_path, picture, kept):
    path = tmp_path / "broken.png"
    path.write_bytes(images.png(picture)[:kept])
    with pytest.raises(ValueError, match=r"broken\.png is not a whole picture"):
        images.read_image(path)


def test_a_jpeg_that_breaks_off_is_named(tmp_path, picture):
    path = tmp_path / "broken.jpg"
    Image.fromarray(picture.transpose(1, 2, 0)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"broken\.jpg is not a whole picture"):
        images.read_image(path)


def test_a_colour_picture_is_no_depth(tmp_path, picture):
    path = tmp_path / "a.png"
    path.write_bytes(images.png(picture))
    with pytest.raises(ValueError, match="is no depth picture"):
        images.read_depth(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    images.write_bytes(path, b"old")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        images.write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_a_header_that_states_more_pixels_than_can_be_is_no_traceback(tmp_path, picture):
    data = bytearray(images.png(picture))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.png is not a whole picture"):
        images.read_image(tmp_path / "a.png")
