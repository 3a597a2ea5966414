import os
import re
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from perception.pictures import Frame, drive, open_footage
from sim.evaluation.driver import IdleDriver
from sim.video import write_video

WHOLE = {".avi": "MJPG", ".mkv": "mp4v", ".mov": "mp4v", ".mp4": "mp4v"}


@pytest.fixture
def photo():
    """Smooth, so that JPEG hardly changes it; no two quarters alike."""
    y, x = np.mgrid[:24, :40]
    return Image.fromarray(np.stack([x * 6, y * 10, 250 - x * 3 - y * 4], axis=-1).astype(np.uint8))


def pixels_of(path):
    (frame,) = open_footage(path).frames
    return frame.pixels.transpose(1, 2, 0)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "1", "RGBA"])
def test_png_of_any_mode_is_what_pillow_reads(tmp_path, photo, mode):
    photo.convert(mode).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(pixels_of(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("shape", [(24, 40, 3), (24, 40)])
def test_16_bit_pictures_keep_their_upper_8_bits(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 2**16, shape, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    upper = np.broadcast_to((pixels >> 8).reshape(24, 40, -1), (24, 40, 3))[..., ::-1]
    assert np.abs(pixels_of(tmp_path / "a.png") - upper.astype(int)).max() <= 1


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("held", range(1, 9))
def test_a_camera_that_was_turned_round_is_turned_back(tmp_path, photo, held, ending):
    exif = Image.Exif()
    exif[0x0112] = held
    path = tmp_path / f"a.{ending}"
    photo.save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    assert pixels_of(path).shape == upright.shape
    assert np.abs(pixels_of(path) - upright).mean() < 1.5


@pytest.mark.parametrize("ending", ["bmp", "webp", "jpeg", "PNG"])
def test_other_formats(tmp_path, photo, ending):
    photo.save(tmp_path / f"a.{ending}")
    assert np.abs(pixels_of(tmp_path / f"a.{ending}") - np.asarray(photo).astype(int)).mean() < 4


def test_cmyk_is_shown_in_rgb(tmp_path, photo):
    photo.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(pixels_of(tmp_path / "a.jpg") - np.asarray(photo).astype(int)).mean() < 6


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path, photo):
    for name in ("10.png", "9.png", "b2.png", "b10.png", ".hidden.png", "1.PNG"):
        photo.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "more.png").mkdir()
    footage = open_footage(tmp_path, fps=5)
    frames = list(footage.frames)
    assert [frame.name for frame in frames] == ["1.PNG", "9.png", "10.png", "b2.png", "b10.png"]
    assert [frame.time for frame in frames] == [0, 0.2, 0.4, 0.6, 0.8]
    assert [frame.begins for frame in frames] == [True, False, False, False, False]
    assert (footage.count, footage.moving, footage.fps) == (5, False, 5)


def frames_of_noise(count, size=(96, 64)):
    """Frames that no codec makes small, each with a grey of its own in the upper left quarter."""
    noise = np.random.default_rng(1)
    for number in range(count):
        picture = noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        picture[: size[1] // 2, : size[0] // 2] = 20 * number + 10
        yield picture


def write(path, codec, count=10):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.5, (96, 64))
    assert writer.isOpened()
    for picture in frames_of_noise(count):
        writer.write(picture)
    writer.release()
    return path


def greys(frames):
    return [round((float(frame.pixels[:, 8:24, 8:40].mean()) - 10) / 20) for frame in frames]


@pytest.mark.parametrize(("ending", "codec"), WHOLE.items())
def test_a_whole_video_gives_all_frames_and_their_times(tmp_path, ending, codec):
    footage = open_footage(write(tmp_path / f"a{ending}", codec))
    frames = list(footage.frames)
    assert greys(frames) == list(range(10))
    assert [frame.time for frame in frames] == pytest.approx([0.08 * number for number in range(10)], abs=1e-6)
    assert (footage.count, footage.fps, footage.moving, footage.name) == (10, 12.5, True, "a")
    assert [frame.begins for frame in frames] == [True] + [False] * 9
    assert [frame.name for frame in frames] == [f"a {number:06d}" for number in range(1, 11)]


def test_a_video_is_rgb(tmp_path):
    write_video(tmp_path / "a.mp4", [np.full((48, 80, 3), (200, 30, 40), np.uint8)] * 3, 5)
    for frame in open_footage(tmp_path / "a.mp4").frames:
        assert np.abs(frame.pixels.mean((1, 2)) - (200, 30, 40)).max() < 12


def until_it_breaks(path):
    """The frames that come before the error, and its words."""
    frames = []
    with pytest.raises(ValueError, match="breaks off") as error:
        for frame in open_footage(path).frames:
            frames.append(frame)
    return frames, str(error.value)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return path


def test_an_avi_that_ends_in_the_middle_of_a_frame(tmp_path):
    path = write(tmp_path / "a.avi", "MJPG")
    data = path.read_bytes()
    ends = [match.end() for match in re.finditer(b"\xff\xd9\x00{0,3}(00dc|idx1)", data)]  # of the JPEG of each frame
    assert len(ends) == 10
    for whole in (1, 4, 9):
        size = (ends[whole - 1] + ends[whole]) // 2
        path.write_bytes(data[:size])
        frames, words = until_it_breaks(path)
        assert greys(frames) == list(range(whole))
        assert words == (
            f"{path} breaks off: it has {size} of {len(data)} bytes, in the middle of frame {whole + 1}; "
            f"{whole} frames before it are whole"
        )


def with_index_in_front(data):
    """An mp4 with its `moov` moved before the frames, and where each frame ends."""
    at, boxes = 0, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        boxes[kind] = data[at : at + length]
        at += length
    index = bytearray(boxes[b"moov"])

    def table(name, first):
        start = index.find(name) + 8
        count = struct.unpack_from(">I", index, start + first)[0]
        return start + first + 4, count

    place, count = table(b"stco", 0)
    for k in range(count):
        struct.pack_into(">I", index, place + 4 * k, struct.unpack_from(">I", index, place + 4 * k)[0] + len(index))
    begin = struct.unpack_from(">I", index, place)[0]
    place, count = table(b"stsz", 4)
    sizes = struct.unpack_from(f">{count}I", index, place)
    rest = b"".join(box for kind, box in boxes.items() if kind not in (b"ftyp", b"moov"))
    return boxes[b"ftyp"] + bytes(index) + rest, begin + np.cumsum(sizes)


def test_an_mp4_with_its_index_in_front_ends_in_the_middle_of_a_frame(tmp_path):
    path = write(tmp_path / "a.mp4", "mp4v")
    data, ends = with_index_in_front(path.read_bytes())
    path.write_bytes(data)
    assert greys(open_footage(path).frames) == list(range(10))  # moved rightly
    path.write_bytes(data[: (ends[5] + ends[6]) // 2])
    frames, words = until_it_breaks(path)
    assert greys(frames) == list(range(6))
    assert "in the middle of frame 7; 6 frames" in words


def test_an_mp4_that_lost_its_index_cannot_be_read(tmp_path):
    path = write(tmp_path / "a.mp4", "mp4v")
    cut(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"a\.mp4 breaks off: it has \d+ of \d+ bytes, and its index, without which"):
        open_footage(path)


def test_a_matroska_file_that_ends_in_the_middle(tmp_path):
    path = write(tmp_path / "a.mkv", "mp4v")
    cut(path, path.stat().st_size // 2)
    frames, words = until_it_breaks(path)
    assert 2 <= len(frames) <= 5
    assert greys(frames) == list(range(len(frames)))
    assert f"{len(frames)} frames before it are whole" in words


def test_what_follows_the_last_part_of_a_video_is_no_break(tmp_path):
    path = write(tmp_path / "a.avi", "MJPG")
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert len(list(open_footage(path).frames)) == 10


BAD = {
    "none.png": (None, FileNotFoundError, r"no such file or folder: .*none\.png"),
    "empty": ({}, ValueError, r"empty holds no picture \(\*\.bmp, .*\): it is empty"),
    "texts": (
        {"a.txt": b"a", "b.csv": b"b"},
        ValueError,
        "texts holds no picture .*: its 2 entries are of other types",
    ),
    "a.xyz": (b"some", ValueError, r"a\.xyz is of an unknown type; pictures are \*\.bmp, .*, videos \*\.avi, "),
    "a.png": (b"some", ValueError, r"a\.png is not a whole picture: 4 bytes"),
    "b.jpg": (b"", ValueError, r"b\.jpg is not a whole picture: 0 bytes"),
    "a.mp4": (b"no video at all", ValueError, r"a\.mp4 is no video: its 15 bytes do not begin as those of \*\.avi"),
    "b.avi": (b"", ValueError, r"b\.avi is no video: its 0 bytes"),
    "c.mkv": (b"\x1a\x45\xdf\xa3", ValueError, r"c\.mkv cannot be read as a video: .*breaks off"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, name):
    content, kind, words = BAD[name]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
        for inner, data in content.items():
            (path / inner).write_bytes(data)
    with pytest.raises(kind, match=words) as error:
        list(open_footage(path).frames)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp"])
def test_a_picture_that_breaks_off_comes_after_those_before_it(tmp_path, photo, ending):
    photo.save(tmp_path / "1.png")
    photo.save(tmp_path / f"2.{ending}")
    cut(tmp_path / f"2.{ending}", os.path.getsize(tmp_path / f"2.{ending}") // 2)
    frames = open_footage(tmp_path).frames
    assert next(frames).name == "1.png"
    with pytest.raises(ValueError, match=rf"2\.{ending} is not a whole picture"):
        next(frames)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none(tmp_path, fps):
    with pytest.raises(ValueError, match=r"fps is .*; it must be a number above 0"):
        open_footage(tmp_path, fps)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 8, 8), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8)), np.zeros((3, 0, 8), np.uint8)],
    ids=["four channels", "no channels", "no bytes", "no rows"],
)
def test_pixels_that_are_no_picture(pixels):
    with pytest.raises(ValueError, match=r"live: a picture must be uint8 \[3, H, W\] \(RGB\), not "):
        Frame("live", pixels)


def test_a_drive_shows_episode_after_episode():
    footage = drive("highway-v0:vehicles_count=3,duration=1", IdleDriver, count=20, fps=15, seed=4)
    frames = list(footage.frames)
    assert [frame.begins for frame in frames] == [number in (0, 16) for number in range(20)]
    assert [frame.time for frame in frames] == pytest.approx([number / 15 for number in range(20)])
    assert {frame.pixels.shape for frame in frames} == {(3, 192, 320)}
    assert not np.array_equal(frames[0].pixels, frames[10].pixels)
    assert not np.array_equal(frames[0].pixels, frames[16].pixels)
    assert (footage.name, footage.count, footage.moving) == ("highway-v0", 20, True)


def test_a_rate_that_does_not_divide_the_simulations():
    with pytest.raises(ValueError, match="highway-v0 runs at 15 Hz, so fps cannot be 4"):
        drive("highway-v0", IdleDriver, count=2, fps=4)
