"""Writes a data set: labelled pictures in COCO's format and clips in MOT17's, split by scenario seed and domain.

    OUT/manifest.json                               what it is made of, hashes; written last
    OUT/SPLIT/annotations.json, images/*.png        pictures and their labels, COCO
    OUT/SPLIT/lanes.json, tusimple.json             lane lines as polylines, and as TuSimple's lists by rows
    OUT/SPLIT/depth/*.png, semantic/*.png           16-bit centimetres (0 is sky) and classes, where asked for
    OUT/SPLIT/clips/NAME/{img1,gt,seqinfo.ini}      MOT17, beside them lanes.json, depth/ and semantic/

A killed run goes on where it stopped and leaves the same bytes.
"""

from __future__ import annotations

import errno
import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from perception.data import mot
from perception.data.coco import DIGITS, annotations_of, json_parts
from perception.data.dataset_settings import DatasetSettings
from perception.data.driving import random_or_idle
from perception.data.images import depth_pixels, png
from perception.data.journal import Journal, Record
from perception.data.lanes import LaneLine, by_rows, rows_of
from perception.data.manifest import read_manifest, write_manifest
from perception.data.stream import Batch, FrameStream, Picture
from perception.data.targets import CATEGORIES, Target
from sim.evaluation.driver import Driver
from sim.provenance import provenance
from sim.sensors.memory import require_memory

MakeDriver = Callable[..., Driver]
Files = dict[str, tuple[int, str]]


class DatasetWriter:
    """Writes a data set into a folder, or goes on with it.

    Args:
        folder: new or empty, or of the same data set.
        settings: what to write.
        make_drivers: who drives for frames and for clips; `settings.drivers` names them.
        threads: CPU threads that render.

    Raises:
        FileExistsError: the folder holds something else, or a data set of other settings or versions.
        MemoryError, OSError: less memory or less room on the disk than it takes.
        ValueError: settings that cannot be met.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: DatasetSettings,
        make_drivers: tuple[MakeDriver, MakeDriver] = (random_or_idle, random_or_idle),
        threads: int | None = None,
    ):
        self.folder, self.settings = Path(folder), settings
        self._make_drivers, self._threads = make_drivers, threads
        require_memory(settings.memory_bytes(), torch.device("cpu"), f"pictures of {settings.batch_size} worlds")
        self._streams = {}
        for split in settings.splits:
            for clips in (False, True):
                if settings.count(split, clips):
                    stream = FrameStream(settings.stream(split, clips), make_drivers[clips], threads=threads)
                    self._streams[split, clips] = stream
        self._require_possible()
        about = provenance()
        self._versions = about["versions"] | {"opencv": cv2.__version__, "commit": about["commit"]}
        if not self.folder.exists():
            self._require_room(0)  # before a folder is made that fewer pictures could not be written into
        self.journal = Journal(self.folder, asdict(settings) | {"versions": self._versions})
        if not self.journal.finished:
            self._require_room(sum(size for record in self._records() for size, _ in record["files"].values()))

    def _require_possible(self) -> None:
        """Build each environment once, so that what cannot be built is said before anything is written."""
        for stream in dict(reversed(self._streams.items())).values():
            for source in range(len(self.settings.sources)):
                stream.pool(source)
            return

    def _require_room(self, done: int) -> None:
        there = next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())
        needed, free = self.settings.disk_bytes() - done, shutil.disk_usage(there).free
        if needed > free:
            raise OSError(
                f"the data set needs up to {needed / 1e6:,.0f} MB more in {self.folder}, but {free / 1e6:,.0f} MB are "
                "free; take fewer or smaller pictures, or another --out"
            )

    def _records(self) -> Iterator[Record]:
        for split, clips in self._streams:
            yield from self.journal.records(_part(split, clips))

    def write(self, progress: bool = True) -> dict[str, Any]:
        """Write what is missing and return the manifest; a data set that is whole is left as it is.

        Args:
            progress: show a progress bar.

        Raises:
            OSError: a file cannot be written, for want of room or another reason; what is whole stays.
        """
        if self.journal.finished:
            return read_manifest(self.folder)
        try:
            with tqdm(total=self.settings.pictures(), unit="picture", disable=not progress, smoothing=0.05) as bar:
                for (split, clips), stream in self._streams.items():
                    (self._write_clips if clips else self._write_frames)(split, stream, bar)
                    stream.close()
            return self._finish()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            advice = "free some space and call the same again: it goes on where it stopped"
            raise OSError(error.errno, f"the disk is full: {advice}", error.filename) from None

    def _write_frames(self, split: str, stream: FrameStream, bar: tqdm) -> None:
        total, part = self.settings.count(split, False), _part(split, False)
        stream.position = self.journal.resume(part)
        written = min(stream.position * stream.pictures, total)
        bar.update(written)
        while written < total:
            batch = next(stream)
            taken = min(len(batch), total - written)
            record: Record = {"images": [], "files": {}}
            for i in range(taken):
                name = f"{written + i:08d}.png"
                entry = _entry(batch, i, f"images/{name}")
                entry["annotations"] = annotations_of(batch.targets[i], self.settings.masks)
                record["images"].append(entry)
                record["files"] |= self._write_pixels(batch, i, split, "images", name)
            self.journal.add(part, record)
            written += taken
            bar.update(taken)

    def _write_clips(self, split: str, stream: FrameStream, bar: tqdm) -> None:
        """Write the clips of a split; those of a round are driven, and written, side by side."""
        total, part, length = self.settings.count(split, True), _part(split, True), self.settings.clip_length
        rounds = self.journal.resume(part)
        written = min(rounds * stream.pictures, total)
        bar.update(written * length)
        while written < total:
            taken = min(stream.pictures, total - written)
            names = [f"{split}/clips/{written + i:06d}" for i in range(taken)]
            for name in names:  # what a kill left of them
                shutil.rmtree(self.folder / name, ignore_errors=True)
            images: list[list[Record]] = [[] for _ in names]
            rows: list[list[np.ndarray]] = [[] for _ in names]
            files: Files = {}
            stream.position = rounds * length
            for frame in range(mot.FIRST, length + 1):
                batch = next(stream)
                going_on = [i for i in range(taken) if bool(batch.alive[i])]
                for i in going_on:
                    name = mot.image_name(frame)
                    images[i].append(_entry(batch, i, f"{mot.IMAGES}/{name}"))
                    rows[i].append(_mot_rows(frame, batch.targets[i]))
                    files |= self._write_pixels(batch, i, names[i], mot.IMAGES, name)
                bar.update(taken)
            for name, entries, table in zip(names, images, rows, strict=True):
                files |= self._write_clip(name, entries, np.concatenate(table))
            clips = [
                entries[0] | {"name": name, "length": len(entries)} for name, entries in zip(names, images, strict=True)
            ]
            self.journal.add(part, {"clips": clips, "files": files})
            written, rounds = written + taken, rounds + 1

    def _write_pixels(self, batch: Batch, i: int, folder: str, images: str, name: str) -> Files:
        """Write the pictures number i of a batch."""
        files = {f"{folder}/{images}/{name}": batch.images[i].cpu().numpy()}
        if batch.depth is not None:
            files[f"{folder}/depth/{name}"] = depth_pixels(batch.depth[i].cpu().numpy())
        if batch.semantic is not None:
            files[f"{folder}/semantic/{name}"] = batch.semantic[i].cpu().numpy()
        return {path: self.journal.write(path, png(pixels)) for path, pixels in files.items()}

    def _write_clip(self, name: str, images: list[Record], rows: np.ndarray) -> Files:
        """Write what a clip has beside its pictures; rows [R, 13]: MOT17's columns, then the visible box."""
        camera = self.settings.cameras[0]
        visible = np.hstack([rows[:, :2], rows[:, 9:13], rows[:, 6:9]])[rows[:, 6] > 0]
        texts = {
            mot.INFO: mot.info_text(
                name.replace("/clips/", "-"), self.settings.fps, len(images), camera.width, camera.height
            ),
            mot.GROUND_TRUTH: mot.rows_text(rows[:, :9]),
            mot.VISIBLE: mot.rows_text(visible),
            mot.LABELS: mot.labels_text(),
            "lanes.json": "".join(lane_parts(images, camera.height)),
        }
        return {f"{name}/{path}": self.journal.write(f"{name}/{path}", text.encode()) for path, text in texts.items()}

    def _finish(self) -> dict[str, Any]:
        """Write the files of whole splits, and last the manifest."""
        files: Files = {}
        for record in self._records():
            files |= {path: (size, sha) for path, (size, sha) in record["files"].items()}
        lost = next((path for path in files if not (self.folder / path).is_file()), None)
        if lost:
            raise ValueError(f"{self.folder / lost} was written and is gone; delete {self.folder} and begin again")
        height = self.settings.cameras[0].height
        for split, clips in self._streams:
            if not clips:
                images = _Images(self.journal, _part(split, False))
                about = {"description": f"Slipstream, split {split}", "version": "1"}
                files |= self.journal.write_parts(f"{split}/annotations.json", json_parts(images, about))
                files |= self.journal.write_parts(f"{split}/lanes.json", lane_parts(images, height))
                files |= self.journal.write_parts(f"{split}/tusimple.json", tusimple_parts(images, height))
        content = {
            "command": shlex.join(sys.argv),
            "settings": asdict(self.settings) | {"versions": self._versions},
            "categories": CATEGORIES,
            "splits": {split: self._summary(split) for split in self.settings.splits},
        }
        write_manifest(self.folder, content, files)
        self.journal.close()
        return read_manifest(self.folder)

    def _summary(self, split: str) -> dict[str, Any]:
        """What came into a split: how many pictures and objects, of which domains, ids and scenario seeds."""
        counts = {name: Counter() for name in ("domains", "ids", "objects", "seeds")}
        images, clips = 0, []
        for entry in _Images(self.journal, _part(split, False)):
            images += 1
            _count(counts, entry)
            counts["objects"].update(CATEGORIES[one["category_id"]] for one in entry["annotations"])
        for record in self.journal.records(_part(split, True)):
            for clip in record["clips"]:
                clips.append({key: clip[key] for key in ("name", "length", "env", "domain", "camera", "seed")})
                _count(counts, clip)
        seeds = sorted(counts.pop("seeds"))
        return (
            {"images": images, "clips": clips}
            | {name: dict(sorted(one.items())) for name, one in counts.items()}
            | {"seeds": seeds}
        )


class _Images(Sequence[Record]):
    """The entries of a split's frames, read again from the journal whenever they are walked through."""

    def __init__(self, journal: Journal, part: str):
        self._journal, self._part = journal, part

    def __iter__(self) -> Iterator[Record]:
        for record in self._journal.records(self._part):
            yield from record["images"]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


def _part(split: str, clips: bool) -> str:
    return f"{split}-{'clips' if clips else 'frames'}"


def _count(counts: dict[str, Counter], entry: Record) -> None:
    for name, key in (("domains", "domain"), ("ids", "env"), ("seeds", "seed")):
        counts[name][entry[key]] += 1


def _entry(batch: Batch, i: int, file_name: str) -> Record:
    """A COCO image entry, with where the picture comes from and its lane lines."""
    picture: Picture = batch.pictures[i]
    height, width = batch.images.shape[-2:]
    return {
        "file_name": file_name,
        "width": width,
        "height": height,
        "env": picture.id,
        "config": picture.config,
        "domain": picture.domain,
        "camera": picture.camera,
        "seed": picture.seed,
        "tick": picture.tick,
        "time": picture.time,
        "episode": f"{picture.episode:016x}",
        "lanes": [_lane_entry(line) for line in batch.lanes[i]],
    }


def _lane_entry(line: LaneLine) -> Record:
    points = [[round(float(x), DIGITS), round(float(y), DIGITS)] for x, y in line.points]
    return {"order": line.order, "kind": line.kind, "points": points, "seen": line.seen.astype(int).tolist()}


def lane_parts(images: Sequence[Record], height: int) -> Iterator[str]:
    """Yield the text of lanes.json: the lane lines of each picture (see `lanes.LaneLine`), points in px."""
    yield '{"images": ['
    for number, image in enumerate(images):
        entry = {"file_name": image["file_name"], "height": height, "lanes": image["lanes"]}
        yield (",\n" if number else "\n") + json.dumps(entry)
    yield "]}\n"


def tusimple_parts(images: Sequence[Record], height: int) -> Iterator[str]:
    """Yield the text of tusimple.json, a line a picture: x of lanes -2, -1, +1, +2 at rows, -2 where there is none."""
    rows = rows_of(height)
    for image in images:
        lines = [lane_line(entry) for entry in image["lanes"]]
        lanes = [[round(float(x), 1) for x in lane] for lane in by_rows(lines, rows)]
        yield json.dumps({"lanes": lanes, "h_samples": rows, "raw_file": image["file_name"]}) + "\n"


def lane_line(entry: Record) -> LaneLine:
    """Return the lane line of an entry of lanes.json."""
    points = np.array(entry["points"], dtype=np.float32).reshape(-1, 2)
    return LaneLine(entry["order"], entry["kind"], points, np.array(entry["seen"], dtype=bool))


def _mot_rows(frame: int, target: Target) -> np.ndarray:
    """Rows [K, 13]: MOT17's columns (see `mot`), then left, top, width and height of the visible box."""
    first = float(mot.FIRST)
    boxes = [box.cpu().double().numpy() for box in (target["amodal"], target["boxes"])]
    whole, visible = (np.hstack([box[:, :2] + first, box[:, 2:] - box[:, :2]]) for box in boxes)
    columns = [target[name].cpu().double().numpy() for name in ("number", "area", "labels", "visibility")]
    number, area, labels, visibility = (column[:, None] for column in columns)
    rows = [np.full_like(number, frame), number + 1, whole, area > 0, labels, visibility, visible]
    return np.hstack(rows)[np.argsort(number[:, 0], kind="stable")]
