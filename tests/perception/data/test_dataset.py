"""Data sets on disk: the same bytes after a kill, honest about what is missing, changed or does not fit."""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from perception.data import dataset, images, journal, manifest
from perception.data.dataset import DatasetWriter, lane_line
from perception.data.dataset_settings import DatasetSettings
from perception.data.images import read_depth, read_labels
from perception.data.splits import split_of
from perception.data.stream import FrameStream
from sim.sensors.looks.domains import HELD_OUT, TRAINING
from tests.perception.data.small_set import SETTINGS


def hashes(folder):
    """The hash of every file but the manifest, whose command line differs."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != manifest.NAME)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write(folder, settings=SETTINGS):
    return DatasetWriter(folder, settings, threads=1).write(progress=False)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def die_at(monkeypatch, place, count, error):
    """Let the call number `count` to a function, counted from 1, raise."""
    calls = []
    real = getattr(*place)

    def dying(*arguments, **options):
        calls.append(1)
        if len(calls) == count:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(*place, dying)


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ((images.os, "replace"), 8),  # between two pictures of a batch
        ((journal.Journal, "add"), 3),  # pictures written, not yet recorded
        ((journal.Journal, "add"), 7),  # the second round of clips
        ((journal.os, "replace"), 90),
        ((dataset, "write_manifest"), 1),  # all is written but the manifest
        ((journal.Journal, "close"), 1),  # the manifest too
    ],
)
def test_a_killed_run_goes_on_and_leaves_the_same_bytes(written, tmp_path, monkeypatch, place, count):
    folder = tmp_path / "set"
    die_at(monkeypatch, place, count, Killed())
    with pytest.raises(Killed):
        write(folder)
    monkeypatch.undo()
    if place[1] != "close":
        with pytest.raises(FileNotFoundError, match=r"is not finished: call make_dataset\.py again"):
            manifest.verify(folder)
    about = write(folder)
    assert hashes(folder) == hashes(written[0])
    assert about["splits"] == written[1]["splits"] and about["files"] == written[1]["files"]
    assert manifest.verify(folder) == []
    assert not list(folder.rglob("*.partial")) and not (folder / "unfinished").exists()


def test_a_record_that_was_cut_off_does_not_count(written, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    die_at(monkeypatch, (journal.Journal, "add"), 3, Killed())
    with pytest.raises(Killed):
        write(folder)
    monkeypatch.undo()
    records = folder / "unfinished/train-frames.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    write(folder)
    assert hashes(folder) == hashes(written[0])


def test_a_full_disk_is_said_and_nothing_half_written_looks_complete(written, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    full = OSError(errno.ENOSPC, "No space left on device")
    die_at(monkeypatch, (images.os, "replace"), 30, full)
    with pytest.raises(OSError, match="the disk is full: free some space and call the same again"):
        write(folder)
    monkeypatch.undo()
    assert not (folder / manifest.NAME).exists() and not list(folder.rglob("*.partial"))
    write(folder)
    assert hashes(folder) == hashes(written[0])


def test_a_whole_set_is_left_alone(written):
    folder, before = written
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert write(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == times


def test_threads_and_chance_change_no_byte(written, tmp_path):
    DatasetWriter(tmp_path / "set", SETTINGS, threads=2).write(progress=False)
    assert hashes(tmp_path / "set") == hashes(written[0])


def test_other_settings_or_things_in_the_folder_are_refused(written, tmp_path):
    folder, _ = written
    with pytest.raises(FileExistsError, match=r"other settings: frames \(frames is 20 there, 21 here\); choose a new"):
        write(folder, replace(SETTINGS, frames=21))
    with pytest.raises(FileExistsError, match="other settings: masks, depth"):
        write(folder, replace(SETTINGS, masks=False, depth=False))
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and holds no data set"):
        write(tmp_path)
    with pytest.raises(FileExistsError, match="exists and holds no data set"):
        write(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_cannot_be_built_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="unknown domain 'fgo'"):
        replace(SETTINGS, domains=("fgo",))
    with pytest.raises(ValueError, match="fps cannot be 4"):
        write(tmp_path / "set", replace(SETTINGS, fps=4.0))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0, "clips": 0}, "nothing to write"),
        ({"frames": -1}, "frames is -1"),
        ({"clip_length": 0}, "clip_length is 0"),
        ({"splits": ("train", "train")}, "name each of them once"),
        ({"splits": ("trial",)}, "unknown split 'trial'"),
        ({"domains": (HELD_OUT[0],)}, "held out for test"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(OSError, match=r"needs up to \d MB more in .*, but 0 MB are free; take fewer"):
        write(tmp_path / "set")
    assert not (tmp_path / "set").exists()
    huge = replace(SETTINGS, batch_size=10**7)
    with pytest.raises(MemoryError, match=r"pictures of 10000000 worlds need .* GB on cpu"):
        write(tmp_path / "other", huge)


def test_the_estimate_of_the_disk_is_not_less_than_what_is_written(written):
    _, about = written
    assert sum(one["bytes"] for one in about["files"].values()) <= SETTINGS.disk_bytes()


def test_splits_share_no_seed_and_no_held_out_domain(written):
    _, about = written
    train, test = about["splits"]["train"], about["splits"]["test"]
    assert not set(train["seeds"]) & set(test["seeds"])
    assert {split_of(seed) for seed in train["seeds"]} == {"train"}
    assert {split_of(seed) for seed in test["seeds"]} == {"test"}
    assert set(train["domains"]) <= set(TRAINING) and set(test["domains"]) <= set(HELD_OUT)
    assert train["images"] == 17 and test["images"] == 3
    clips = {clip["seed"] for clip in train["clips"]}
    frames = {image["seed"] for image in json.loads((written[0] / "train/annotations.json").read_text())["images"]}
    assert len(clips) == 5 and not clips & frames


def test_totals_are_shared_out_without_rest():
    settings = DatasetSettings(frames=103, clips=7)
    assert [settings.count(split, False) for split in settings.splits] == [82, 10, 11]
    assert sum(settings.count(split, True) for split in settings.splits) == 7
    alone = DatasetSettings(frames=103, splits=("test",))
    assert alone.count("test", False) == 103


def test_depth_classes_and_lanes_are_those_of_the_stream(written):
    folder, _ = written
    batch = next(FrameStream(SETTINGS.stream("train", clips=False), threads=1))
    lanes = json.loads((folder / "train/lanes.json").read_text())["images"]
    rows = [json.loads(line) for line in (folder / "train/tusimple.json").read_text().splitlines()]
    assert len(lanes) == len(rows) == 17
    for i in range(len(batch)):
        name = f"{i:08d}.png"
        assert np.array_equal(read_labels(folder / "train/semantic" / name), batch.semantic[i].numpy())
        depth, exact = read_depth(folder / "train/depth" / name), batch.depth[i].numpy()
        assert np.array_equal(np.isinf(depth), np.isinf(exact))
        near = exact < 655
        assert np.abs(depth[near] - exact[near]).max() <= 0.0051
        assert lanes[i]["file_name"] == rows[i]["raw_file"] == f"images/{name}"
        for entry, line in zip(lanes[i]["lanes"], batch.lanes[i], strict=True):
            back = lane_line(entry)
            assert (back.order, back.kind) == (line.order, line.kind)
            assert np.abs(back.points - line.points).max() < 1e-3 and np.array_equal(back.seen, line.seen)
        assert len(rows[i]["lanes"]) == 4 and {len(lane) for lane in rows[i]["lanes"]} == {len(rows[i]["h_samples"])}


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written[0], tmp_path / "copy")


def test_verify_finds_what_has_happened(copy):
    assert manifest.verify(copy) == []
    picture = copy / "train/images/00000000.png"
    data = bytearray(picture.read_bytes())
    data[100] ^= 1
    picture.write_bytes(data)
    (copy / "train/images/00000001.png").unlink()
    with open(copy / "train/annotations.json", "a") as file:
        file.write("\n")
    (copy / "notes.txt").write_text("mine")
    found = "\n".join(manifest.verify(copy))
    assert "train/images/00000000.png: changed" in found and "train/images/00000001.png: missing" in found
    assert "train/annotations.json: " in found and "notes.txt: not in the manifest" in found
    assert len(found.splitlines()) == 4


def test_a_damaged_manifest_is_named(copy):
    path = copy / manifest.NAME
    text = path.read_text()
    path.write_text(text.replace('"frames": 20', '"frames": 21', 1))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged: its content has another hash"):
        manifest.verify(copy)
    path.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        manifest.verify(copy)
    path.write_text(text.replace('"schema": 1', '"schema": 9', 1))
    with pytest.raises(ValueError, match=r"has schema 9; this version reads schema 1"):
        manifest.verify(copy)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"it has no manifest\.json"):
        manifest.verify(copy)


def test_a_picture_that_is_gone_before_the_end_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    die_at(monkeypatch, (dataset, "write_manifest"), 1, Killed())
    with pytest.raises(Killed):
        write(folder)
    monkeypatch.undo()
    (folder / "train/images/00000003.png").unlink()
    with pytest.raises(ValueError, match=r"00000003\.png was written and is gone; delete"):
        write(folder)
