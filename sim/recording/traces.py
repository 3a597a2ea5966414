"""Recorded episodes as small files: what was driven, the actions, and a hash of the state after each step.

A file is an .npz without pickle; one holds the episodes of a batch. It can be read with NumPy alone:

    header      text: JSON with `schema`, the fields of `Origin`, and `states`: the field names of each `states_I`
    seeds       int64 [N]
    steps       int32 [N], how many policy steps each episode has; later rows of the arrays below are zero
    actions     [S, N, ...]
    rewards     [S, N], summed over the agents where the id rewards each
    terminated  bool [N], truncated bool [N]: how each episode ended at its last step
    scores      [S, N, A], one figure an action; A is 0 where the driver gave none
    hashes      uint64 [S + 1, N], `sim.engine.state_hash` of each world after the reset and after each step; [0, N]
                where the simulator has none (the real highway-env)
    checksums   uint64 [6, N] of the contents, in the order of `CHECKED`; header_checksum uint64 of the header
    states_I    float32 [F, T, V], only of some episodes I: their full states (see `states.py`)
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sim.recording.states import States

SCHEMA = 2
"""Version of the file format; another one is refused. A change of what the state hash covers is a new version too."""
CHECKED = ("actions", "rewards", "scores", "hashes", "ends", "states")
"""What each episode has a checksum of; "ends" are its seed, its length and how it ended."""
_ARRAYS = ("seeds", "steps", "actions", "rewards", "terminated", "truncated", "scores", "hashes", "checksums")
_BROKEN = (
    KeyError, IndexError, ValueError, TypeError, OSError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""What reading a damaged file may raise."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Everything that episodes of one batch share.

    Attributes:
        id, config, precision: as in `sim.make_vec`.
        driver, sees: who drove, and what it could see.
        score_label: what the scores are; empty without scores.
        versions: of the packages that ran.
        suite: name and sha256 of the suite of the episodes, empty without one; group: of that suite.
    """

    id: str
    config: dict
    precision: str
    driver: str
    sees: str
    score_label: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    suite: dict[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Case(Origin):
    """Everything that decides an episode but the driver's actions: an origin and the episode's seed."""

    seed: int


@dataclass(frozen=True)
class Trace:
    """One episode of T policy steps.

    Attributes:
        case: what was driven.
        actions: [T] integers or [T, D] floats; of C agents [T, C] or [T, C, D]. rewards: [T], summed over the agents
            where the id rewards each. terminated, truncated: bool [T].
        scores: one figure an action, [T, A]; A is 0 where the driver gave none.
        hashes: uint64 [T + 1] of the state after the reset and after each step; [0] where the simulator has none.
        states: the full states, if they were recorded.
        edits: which of `CHECKED` are not what was recorded; only in a file read with `check=False`.
    """

    case: Case
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    scores: np.ndarray
    hashes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    states: States | None = None
    edits: tuple[str, ...] = ()

    def save(self, path: str | Path) -> None:
        """Writes a file of one episode, as `Traces.save` does."""
        Traces.of([self]).save(path)

    @classmethod
    def load(cls, path: str | Path, check: bool = True) -> Trace:
        """Reads a file of one episode; errors as in `Traces.load`."""
        traces = Traces.load(path, check=check)
        if len(traces) != 1:
            raise ValueError(f"{path} holds {len(traces)} episodes; this needs a trace of one")
        return traces.episode(0)


@dataclass(frozen=True)
class Traces:
    """N episodes of one id, config and driver; the arrays are described at the top of this file.

    Attributes:
        origin: what the episodes share.
        states: the full states of the episodes that have them, by position.
        edits: what is not as it was recorded, as (position, one of `CHECKED`).
    """

    origin: Origin
    seeds: np.ndarray
    steps: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    hashes: np.ndarray
    scores: np.ndarray | None = None
    states: Mapping[int, States] = field(default_factory=dict)
    edits: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        scores = np.zeros((*np.shape(self.rewards), 0)) if self.scores is None else self.scores
        object.__setattr__(self, "scores", scores)
        self._require_shapes()

    def __len__(self) -> int:
        return len(self.seeds)

    def _require_shapes(self) -> None:
        """ValueError if the arrays do not fit together."""
        n, rows = len(self.seeds), len(self.actions)
        wanted = {"steps": (n,), "terminated": (n,), "truncated": (n,), "rewards": (rows, n)}
        wanted |= {"actions": (rows, n), "scores": (rows, n), "hashes": (rows + 1, n) if len(self.hashes) else (0, n)}
        for name, shape in wanted.items():
            found = np.shape(getattr(self, name))
            if found[: len(shape)] != shape:
                raise ValueError(f"{name} of {n} episodes and {rows} steps has the shape {found}")
        if n == 0 or np.min(self.steps) < 1 or np.max(self.steps) > rows:
            raise ValueError(f"each episode must have 1 to {rows} steps")
        if any(not 0 <= index < n for index in self.states):
            raise ValueError(f"there are states of episode {max(self.states)}, but only {n} episodes")

    @classmethod
    def of(cls, traces: Sequence[Trace]) -> Traces:
        """Puts single episodes of one origin together; ValueError if they differ in it, or end before their end."""
        origins = [{f.name: getattr(trace.case, f.name) for f in fields(Origin)} for trace in traces]
        if any(origin != origins[0] for origin in origins):
            raise ValueError("the traces of one file must have one id, config, precision, driver and suite")
        steps = np.array([len(trace.actions) for trace in traces], np.int32)

        def side_by_side(name: str) -> np.ndarray:
            parts = [getattr(trace, name) for trace in traces]
            rows = max(map(len, parts))
            return np.stack([_padded(part, rows) for part in parts], axis=1)

        if len({len(trace.hashes) > 0 for trace in traces}) > 1:
            raise ValueError("some of the traces have state hashes and some have none")

        for trace in traces:
            if (trace.terminated | trace.truncated)[:-1].any():
                raise ValueError(f"the episode of seed {trace.case.seed} goes on after its end")
        return cls(
            origin=Origin(**origins[0]),
            seeds=np.array([trace.case.seed for trace in traces], np.int64),
            steps=steps,
            terminated=np.array([trace.terminated[-1] for trace in traces]),
            truncated=np.array([trace.truncated[-1] for trace in traces]),
            states={i: trace.states for i, trace in enumerate(traces) if trace.states is not None},
            **{name: side_by_side(name) for name in ("actions", "rewards", "scores", "hashes")},
        )

    def episode(self, index: int) -> Trace:
        """Returns one episode; IndexError if there is none of that position."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no episode {index}; the file has {len(self)}")
        steps = int(self.steps[index])
        last = np.arange(steps) == steps - 1
        origin = {f.name: getattr(self.origin, f.name) for f in fields(Origin)}
        return Trace(
            case=Case(**origin, seed=int(self.seeds[index])),
            actions=self.actions[:steps, index],
            rewards=self.rewards[:steps, index],
            terminated=last & self.terminated[index],
            truncated=last & self.truncated[index],
            scores=self.scores[:steps, index],
            hashes=self.hashes[: steps + 1, index],
            states=self.states.get(index),
            edits=tuple(name for where, name in self.edits if where == index),
        )

    def save(self, path: str | Path) -> None:
        """Writes the file; a kill or a full disk in the middle leaves no half-written file at `path`.

        The same episodes give the same bytes.
        """
        path = Path(path)
        header = {"schema": SCHEMA, **asdict(self.origin)}
        header["states"] = {str(index): list(states.fields) for index, states in sorted(self.states.items())}
        text = json.dumps(header)
        arrays = {name: np.asarray(getattr(self, name)) for name in _ARRAYS if name != "checksums"}
        rows = int(np.max(self.steps))
        for name, kept in (("actions", rows), ("rewards", rows), ("scores", rows), ("hashes", rows + 1)):
            arrays[name] = arrays[name][:kept].copy()
            for index, steps in enumerate(self.steps):
                arrays[name][steps + kept - rows :, index] = 0
        arrays |= {f"states_{index}": states.values for index, states in self.states.items()}
        arrays |= {"header": np.array(text), "header_checksum": np.array(_checksum([text.encode()]), np.uint64)}
        arrays["checksums"] = self._checksums()
        partial = path.with_name(path.name + ".partial")
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
                for name, array in arrays.items():
                    stream = io.BytesIO()
                    np.save(stream, array, allow_pickle=False)
                    # A ZipInfo of its own carries no time of day.
                    file.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue(), zipfile.ZIP_DEFLATED)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, suite: str | None = None, check: bool = True) -> Traces:
        """Reads a file that `save` wrote.

        Args:
            path: of the file.
            suite: sha256 of the suite that the episodes must be of, if they are of one; None takes any.
            check: refuse a file whose contents are not those that were recorded; else they are listed in `edits`.

        Raises FileNotFoundError or ValueError with one line that says what is wrong.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no such trace: {path}")
        try:
            traces = cls._read(path)
        except UnknownSchemaError as error:
            raise ValueError(f"{path} is a trace of schema {error}; this version reads schema {SCHEMA}") from error
        except _BROKEN as error:
            reason = " ".join(f"{error}".split()) or type(error).__name__
            raise ValueError(f"{path} is not a whole trace: {reason}") from error
        found = traces.origin.suite.get("sha256")
        if None not in (suite, found) and found != suite:
            raise ValueError(f"{path} is of the suite with sha256 {found}, not {suite}")
        if check and traces.edits:
            index, name = traces.edits[0]
            raise ValueError(
                f"{path} was edited after it was recorded: the {name} of episode {index} (seed {traces.seeds[index]}) "
                "are not those recorded; replay.py --verify tells where"
            )
        return traces

    @classmethod
    def _read(cls, path: Path) -> Traces:
        with zipfile.ZipFile(path) as file:  # reads whole members, and so checks the CRC of each
            members = {name.removesuffix(".npy"): file.read(name) for name in file.namelist()}
        load = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in members.items()}
        old = json.loads(str(load["case"])) if "case" in load and "header" not in load else {}
        text = str(load["header"]) if not old else "{}"
        header = json.loads(text) | old
        if header.pop("schema", None) != SCHEMA:
            raise UnknownSchemaError((json.loads(text) | old).get("schema"))
        if _checksum([text.encode()]) != int(load["header_checksum"]):
            raise ValueError("its header was edited")
        names = header.pop("states")
        states = {int(index): States(tuple(names[index]), load[f"states_{index}"]) for index in names}
        arrays = {name: load[name] for name in _ARRAYS}
        checksums = arrays.pop("checksums")
        traces = cls(Origin(**header), **arrays, states=states)
        wrong = np.argwhere((traces._checksums() != checksums).T)
        edits = tuple((int(index), CHECKED[name]) for index, name in wrong)
        return cls(traces.origin, **arrays, states=states, edits=edits)

    def _checksums(self) -> np.ndarray:
        """uint64 [len(CHECKED), N]."""
        columns = {n: np.ascontiguousarray(np.moveaxis(getattr(self, n), 1, 0)) for n in CHECKED[:4]}
        kinds = {name: f"{name} {column.dtype.str} {column.shape[2:]}".encode() for name, column in columns.items()}
        result = np.zeros((len(CHECKED), len(self)), np.uint64)
        for index, steps in enumerate(map(int, self.steps)):
            for row, name in enumerate(CHECKED[:4]):
                kept = columns[name][index, : steps + (name == "hashes")]
                result[row, index] = _checksum([kinds[name], kept.tobytes()])
            ends = [int(self.seeds[index]), steps, bool(self.terminated[index]), bool(self.truncated[index])]
            result[4, index] = _checksum([json.dumps(ends).encode()])
        for index, states in self.states.items():
            result[5, index] = _checksum([json.dumps(states.fields).encode(), states.values.tobytes()])
        return result


class UnknownSchemaError(Exception):
    """A trace of another version of the format."""


def _checksum(parts: Iterable[bytes]) -> int:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    missing = np.zeros((rows - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, missing])


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config as JSON holds it: NumPy's values as Python's, tuples as lists."""
    return json.loads(json.dumps(config, default=lambda value: value.tolist()))
