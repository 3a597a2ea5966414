"""manifest.json: what a data set is made of and with, and the hash of every file in it.

It is written last: a folder that has one is whole. `verify` says what has happened to it since.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from perception.data.images import write_bytes

NAME = "manifest.json"
SCHEMA = 1
UNFINISHED = "unfinished"
"""The folder with the state of a data set that is being written; gone when it is whole."""


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def write_manifest(folder: Path, content: dict[str, Any], files: dict[str, tuple[int, str]]) -> None:
    """Write a manifest.

    Args:
        folder: of the data set.
        content: what it says besides its schema and the files.
        files: size [bytes] and hash of every other file, by its path inside the folder.
    """
    listed = {path: {"bytes": size, "sha256": sha} for path, (size, sha) in sorted(files.items())}
    whole = {"schema": SCHEMA} | content | {"files": listed}
    whole["sha256"] = digest(_canonical(whole))
    write_bytes(folder / NAME, (json.dumps(whole, indent=1) + "\n").encode())


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a data set.

    Raises:
        FileNotFoundError: the folder has none: it is no data set, or one that is not finished.
        ValueError: it is damaged or of another schema.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        unfinished = (Path(folder) / UNFINISHED).is_dir()
        why = "it is not finished: call make_dataset.py again" if unfinished else f"it has no {NAME}"
        raise FileNotFoundError(f"{folder} is no whole data set: {why}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stated = content["sha256"]
        schema, _ = content["schema"], content["files"]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__} {error}") from None
    if schema != SCHEMA:
        raise ValueError(f"{path} has schema {schema!r}; this version reads schema {SCHEMA}")
    if digest(_canonical({key: value for key, value in content.items() if key != "sha256"})) != stated:
        raise ValueError(f"{path} is damaged: its content has another hash than it states")
    return content


def verify(folder: str | Path) -> list[str]:
    """Return what is wrong with the files of a data set, a line each: missing, changed, or not listed.

    Raises:
        FileNotFoundError, ValueError: there is no usable manifest, see `read_manifest`.
    """
    folder = Path(folder)
    listed = read_manifest(folder)["files"]
    problems = []
    for path, stated in listed.items():
        file = folder / path
        if not file.is_file():
            problems.append(f"{path}: missing")
        elif file.stat().st_size != stated["bytes"]:
            problems.append(f"{path}: {file.stat().st_size} bytes, not {stated['bytes']}")
        elif digest(file.read_bytes()) != stated["sha256"]:
            problems.append(f"{path}: changed, its hash is another one")
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return problems + [f"{path}: not in the manifest" for path in sorted(found - {*listed, NAME})]


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
