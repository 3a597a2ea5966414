"""The state of a data set that is being written: a killed run goes on from it and leaves the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from perception.data.images import PARTIAL, write_bytes
from perception.data.manifest import NAME, UNFINISHED, digest, read_manifest

SETTINGS = "settings.json"
Record = dict[str, Any]


class Journal:
    """A folder of a data set that grows: what it will be, and a line for each part of it that is whole.

    Args:
        folder: new or empty, or of a data set with the same settings.
        settings: what decides its bytes, as JSON has it.

    Attributes:
        finished: does the folder hold the whole data set already.

    Raises:
        FileExistsError: the folder holds something else, or a data set with other settings.
        ValueError: what stands there cannot be read.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.folder, self._state = folder, folder / UNFINISHED
        self.finished = (folder / NAME).is_file()
        if self.finished:
            self._require_same(read_manifest(folder)["settings"], settings)
            shutil.rmtree(self._state, ignore_errors=True)  # a kill just before this line left it
            return
        stored = self._state / SETTINGS
        if stored.is_file():
            self._require_same(_read_json(stored), settings)
        elif folder.exists() and (not folder.is_dir() or any(path != self._state for path in folder.iterdir())):
            raise FileExistsError(f"{folder} exists and holds no data set; choose a new --out")
        self._state.mkdir(parents=True, exist_ok=True)
        write_bytes(stored, (json.dumps(settings, indent=1) + "\n").encode())

    def _require_same(self, found: dict[str, Any], settings: dict[str, Any]) -> None:
        wanted = json.loads(json.dumps(settings))  # as it would be read: tuples are lists
        differing = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        if differing:
            key = differing[0]
            raise FileExistsError(
                f"{self.folder} holds a data set with other settings: {', '.join(differing)} "
                f"({key} is {found.get(key)!r} there, {wanted.get(key)!r} here); choose a new --out"
            )

    def records(self, part: str) -> Iterator[Record]:
        """Yield the records of a part; a last line that a kill cut off does not count."""
        path = self._state / f"{part}.jsonl"
        if path.is_file():
            with open(path, "rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        yield json.loads(line)

    def resume(self, part: str) -> int:
        """Return how many records a part has, and drop a last line that was cut off."""
        path, count, size = self._state / f"{part}.jsonl", 0, 0
        if not path.is_file():
            return 0
        with open(path, "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    count, size = count + 1, size + len(line)
        with open(path, "r+b") as file:
            file.truncate(size)
        return count

    def add(self, part: str, record: Record) -> None:
        """Add a record, once all files that it names are whole."""
        with open(self._state / f"{part}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")

    def write(self, path: str, data: bytes) -> tuple[int, str]:
        """Write a file of the data set whole or not at all; returns its size [bytes] and hash."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, data)
        return len(data), digest(data)

    def write_parts(self, path: str, parts: Iterable[str]) -> dict[str, tuple[int, str]]:
        """Write a long text, whole or not at all; returns {path: (size [bytes], hash)}."""
        file, size, sha = self.folder / path, 0, hashlib.sha256()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + PARTIAL)
        try:
            with open(partial, "wb") as target:
                for part in parts:
                    data = part.encode()
                    size += len(data)
                    sha.update(data)
                    target.write(data)
            os.replace(partial, file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        return {path: (size, sha.hexdigest())}

    def close(self) -> None:
        """Drop the state: the data set is whole."""
        shutil.rmtree(self._state)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}; choose a new --out") from None
