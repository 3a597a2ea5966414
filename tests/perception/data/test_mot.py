"""MOT17's format: boxes are where the simulator says, read independently; broken files are named."""

import configparser
import shutil

import numpy as np
import pytest
import torch

from perception.data.mot import read_clip, read_tracks
from perception.data.stream import FrameStream
from perception.data.targets import CATEGORIES
from tests.perception.data.small_set import SETTINGS


@pytest.fixture(scope="module")
def batches():
    """The ticks of two rounds of training clips, straight from the simulator."""
    stream = FrameStream(SETTINGS.stream("train", clips=True), threads=1)
    return [[next(stream) for _ in range(SETTINGS.clip_length)] for _ in range(2)]


def test_a_clip_is_the_stream(written, batches):
    folder, manifest = written
    clips = manifest["splits"]["train"]["clips"]
    assert len(clips) == 5
    for place, about in enumerate(clips):
        turn, number = divmod(place, SETTINGS.batch_size)
        clip = read_clip(folder / about["name"])
        alive = [bool(batch.alive[number]) for batch in batches[turn]]
        assert clip.length == about["length"] == sum(alive) and clip.categories == CATEGORIES
        rows = 0
        for frame, batch in enumerate(batches[turn][: clip.length], 1):
            assert np.array_equal(clip.image(frame), batch.images[number].numpy())
            target, at = batch.targets[number], clip.tracks.at(frame)
            order = torch.argsort(target["number"])
            assert clip.tracks.track[at].tolist() == (target["number"][order] + 1).tolist()
            assert np.abs(clip.tracks.boxes[at] - target["amodal"][order].numpy()).max(initial=0) < 0.02
            assert clip.tracks.labels[at].tolist() == target["labels"][order].tolist()
            assert clip.tracks.counts[at].tolist() == (target["area"][order] > 0).tolist()
            assert np.allclose(clip.tracks.visibility[at], target["visibility"][order], atol=1e-3)
            seen = target["boxes"][order][target["area"][order] > 0]
            assert np.array_equal(clip.visible.boxes[clip.visible.at(frame)], seen.numpy())
            rows += len(at)
        assert rows == len(clip.tracks.frame) > 2


def test_the_files_are_motchallenge_s(written):
    folder, manifest = written
    about = manifest["splits"]["train"]["clips"][0]
    clip = folder / about["name"]
    rows = np.loadtxt(clip / "gt/gt.txt", delimiter=",")
    assert rows.shape[1] == 9 and rows[:, 0].min() == 1 and rows[:, 1].min() >= 1
    assert set(rows[:, 6]) <= {0, 1} and rows[:, 8].min() >= 0 and rows[:, 8].max() <= 1
    visible = np.loadtxt(clip / "gt/visible.txt", delimiter=",")
    # Pixels count from 1, so a visible box ends at most at pixel 97 of a picture 96 wide.
    assert visible[:, 2].min() >= 1 and (visible[:, 2] + visible[:, 4]).max() <= 97
    assert (visible[:, 3] + visible[:, 5]).max() <= 65
    info = configparser.ConfigParser()
    info.read(clip / "seqinfo.ini")
    assert dict(info["Sequence"]) == {
        "name": "train-000000", "imdir": "img1", "framerate": "5", "seqlength": str(about["length"]),
        "imwidth": "96", "imheight": "64", "imext": ".png",
    }  # fmt: skip
    assert (clip / "gt/labels.txt").read_text().split() == list(CATEGORIES.values())
    assert len(list((clip / "img1").iterdir())) == about["length"] == len(list((clip / "depth").iterdir()))


def test_tracks_keep_their_identity(written):
    folder, manifest = written
    clip = read_clip(folder / manifest["splits"]["train"]["clips"][0]["name"])
    for track in np.unique(clip.tracks.track):
        labels = clip.tracks.labels[clip.tracks.track == track]
        assert len(set(labels.tolist())) == 1  # a car does not become a truck
        frames = clip.tracks.frame[clip.tracks.track == track]
        assert len(set(frames.tolist())) == len(frames)


@pytest.fixture
def clip(written, tmp_path):
    folder, manifest = written
    return shutil.copytree(folder / manifest["splits"]["train"]["clips"][0]["name"], tmp_path / "clip")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,5", "is no row of frame, track"),
        ("1,2,three,4,5,6,1,1,1", "is no row of frame, track"),
        ("99,2,3,4,5,6,1,1,1", "there is no frame 99; the clip has"),
        ("1,2,3,4,5,6,1,7,1", "there is no class 7"),
    ],
)
def test_a_broken_row_is_named(clip, line, message):
    with open(clip / "gt/gt.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_clip(clip)


def test_missing_and_broken_parts_are_named(clip):
    (clip / "img1/000002.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"000002\.png is not a whole picture"):
        read_clip(clip).image(2)
    with pytest.raises(ValueError, match="has frames 1 to"):
        read_clip(clip).image(0)
    (clip / "img1/000002.png").unlink()
    with pytest.raises(FileNotFoundError, match="frame 2 is missing"):
        read_clip(clip)
    (clip / "gt/labels.txt").write_text("pedestrian\n")
    with pytest.raises(ValueError, match=r"labels\.txt: label 1 is 'pedestrian', expected 'car'"):
        read_clip(clip)
    (clip / "seqinfo.ini").write_text("[Sequence]\nseqLength=ten\n")
    with pytest.raises(ValueError, match=r"seqinfo\.ini cannot be read"):
        read_clip(clip)
    (clip / "seqinfo.ini").unlink()
    with pytest.raises(FileNotFoundError, match=r"is no clip: it has no seqinfo\.ini"):
        read_clip(clip)


def test_lists_of_detections_are_read(tmp_path):
    (tmp_path / "det.txt").write_text("2,-1,11,21,5,6,0.75\n1,-1,1,1,10,10,0.5\n")
    found = read_tracks(tmp_path / "det.txt")
    assert found.frame.tolist() == [1, 2] and found.track.tolist() == [-1, -1]
    assert found.boxes.tolist() == [[0, 0, 10, 10], [10, 20, 15, 26]] and found.score.tolist() == [0.5, 0.75]
