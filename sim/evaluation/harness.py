"""Drives a suite, measures every episode and leaves a folder that can be judged, compared and replayed.

The folder: `manifest.json` (what is being judged), `cases.jsonl` (a line a case that is done; a killed evaluation goes
on from it), `traces/*.npz`, `report.json` and `report.html`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from tqdm import tqdm

from sim.evaluation import counterfactuals
from sim.evaluation.driver import Driver, DriverSpec, prepare
from sim.evaluation.episodes import Episodes, Recorder
from sim.evaluation.metrics.base import Measure
from sim.evaluation.metrics.catalogue import measure_all
from sim.evaluation.report_files import rounded, write_text
from sim.evaluation.runner import run_batch, run_or_split, versions
from sim.evaluation.suites import Suite
from sim.recording import Origin, States, Traces
from sim.recording.traces import plain

MAX_STEPS = 400
"""Policy steps after which an episode is cut off, where the id's config has no duration (a merge can be blocked)."""
SAMPLE = 0.02
"""Share of the cases that are driven again for the determinism certificate, at least one a group."""
FULL_STATES = 0.05
"""Share of the cases without a crash whose full states are kept in the traces, by seed."""
MOST_AGAIN, BATCH_AGAIN = 21, 7
"""How many cases of a group are driven again at most, and how many side by side."""
BATCH_BYTES = 2**29
"""Recorded frames that a batch may fill."""
FRAME_BYTES = 45
"""Of a vehicle and frame, as recorded in float32."""


@dataclass(frozen=True)
class Settings:
    """How a suite is driven; nothing here changes what happens in an episode but the precision."""

    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 1024
    """Most worlds side by side; fewer where an episode is long."""
    driver: str = ""
    """Its name, for the traces."""
    suite: dict[str, str] = field(default_factory=dict)
    """Name and sha256, for the traces."""
    observation: dict[str, Any] | None = None
    """What the driver sees, in place of the id's own observation: a policy brings its senses along."""
    reference: DriverSpec | None = None
    """Who takes over before a crash; with one, what would have happened otherwise is measured too."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True)
class Chunk:
    """Cases of one group that are driven side by side.

    Attributes:
        number: of the chunk in its group; names its trace. group, id, config: as in the suite. seeds: of the cases.
    """

    number: int
    group: str
    id: str
    config: dict[str, Any]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class ChunkResult:
    """What came of a chunk.

    Attributes:
        records: a dict a case, in the order of its seeds, as in report.json's "cases".
        traces: by file name.
        latency: seconds a decision, one figure a policy step.
    """

    records: list[dict[str, Any]]
    traces: dict[str, Traces]
    latency: list[float]


def make_envs(chunk: Chunk, settings: Settings, worlds: int) -> Any:
    """Returns environments for a chunk that do not reset by themselves."""
    import sim

    return sim.make_vec(
        chunk.id,
        num_envs=worlds,
        device=settings.device,
        precision=settings.precision,
        config=chunk.config | ({} if settings.observation is None else {"observation": settings.observation}),
        autoreset_mode=AutoresetMode.DISABLED,
    )


def step_limit(config: dict[str, Any]) -> int:
    """Returns after how many policy steps an episode of this config is cut off."""
    if "duration" not in config:
        return MAX_STEPS
    return math.ceil(config["duration"] * config["policy_frequency"]) + 1


def chunks_of(suite: Suite, settings: Settings, stress: bool = False, driver: Driver | None = None) -> list[Chunk]:
    """Returns the chunks of a suite's cases, or of its stress list; ValueError if `driver` cannot drive an id."""
    chunks = []
    for group in suite.stress if stress else suite.groups:
        probe = make_envs(Chunk(0, group.name, group.id, group.config, group.seeds), settings, 1)
        if driver is not None:
            prepare(driver, probe, group.seeds[:1])
        frames = step_limit(probe.config) * probe.frames_per_step
        per_world = frames * probe.world.x.shape[1] * FRAME_BYTES
        size = max(1, min(settings.batch_size, BATCH_BYTES // per_world))
        for number, start in enumerate(range(0, len(group.seeds), size)):
            seeds = group.seeds[start : start + size]
            chunks.append(Chunk(number, group.name, group.id, group.config, tuple(seeds)))
    return chunks


def run_chunk(driver: Driver, chunk: Chunk, settings: Settings) -> ChunkResult:
    """Drives the cases of a chunk to their ends and measures them; one that raises becomes an error."""
    make = cache(partial(make_envs, chunk, settings))  # halves of a batch that raised meet the same few sizes again
    envs = make(len(chunk.seeds))
    prepare(driver, envs, chunk.seeds[:1])  # a driver that cannot drive here raises before an episode could count
    origin = {"suite": settings.suite, "group": chunk.group, "driver": settings.driver}
    result = ChunkResult([], {}, [])
    driven: list[tuple[Episodes, dict[str, np.ndarray], Traces]] = []

    def drive(envs: Any, seeds: list[int]) -> list[bool]:
        driven.append(drive_batch(driver, envs, seeds, origin))
        return [True] * len(seeds)

    for seeds, outcomes in run_or_split(make, envs, drive, list(chunk.seeds)):
        if not driven:
            result.records.extend(_error(chunk, seed, message) for seed, message in zip(seeds, outcomes, strict=True))
            continue
        episodes, steps, traces = driven.pop()
        name = f"traces/{chunk.group}-{chunk.number}-{len(result.traces)}.npz"
        result.traces[name] = traces
        result.latency.extend(episodes.latency.tolist())
        measures = measure_all(episodes, steps)
        if settings.reference is not None:
            taking_over = settings.reference.build(settings.device)
            measures |= counterfactuals.measure(episodes, taking_over, settings.precision, driver)
        result.records.extend(records_of(chunk, episodes, measures, name))
    return result


def drive_batch(
    driver: Driver, envs: Any, seeds: Sequence[int], origin: dict[str, Any] | None = None
) -> tuple[Episodes, dict[str, np.ndarray], Traces]:
    """Drives one batch; returns its episodes, the figures of `metrics.steps` and the traces.

    `origin` holds what the traces are to say of the suite, the group and the driver's name. Crashes and a sample of the
    others carry their full states.
    """
    recorder = Recorder(envs)
    steps = run_batch(envs, driver, seeds, recorder, step_limit(envs.config))
    success = torch.as_tensor(steps["success"] > 0, device=envs.device) if "success" in steps else None
    episodes = recorder.finish(list(seeds), success)
    given = {"driver": type(driver).__name__} | (origin or {})
    about = Origin(
        id=envs.id, config=plain(envs.config), precision=envs.precision, sees=driver.sees, versions=versions(), **given
    )
    crashed = episodes.contact.cpu().numpy() >= 0
    sampled = np.array([seed % round(1 / FULL_STATES) == 0 for seed in seeds])
    traces = Traces(
        origin=about,
        seeds=np.array(seeds, np.int64),
        steps=steps["length"].astype(np.int32),
        actions=episodes.actions.cpu().numpy(),
        rewards=episodes.rewards.cpu().numpy(),
        terminated=recorder.terminated.cpu().numpy(),
        truncated=recorder.truncated.cpu().numpy(),
        hashes=torch.stack(recorder.hashes).cpu().numpy().view(np.uint64),
        states={int(i): States.of_episode(episodes, int(i)) for i in np.flatnonzero(crashed | sampled)},
    )
    return episodes, steps, traces


def records_of(chunk: Chunk, episodes: Episodes, measures: dict[str, Measure], trace: str) -> list[dict[str, Any]]:
    """Returns a dict a case: its outcome and all its metrics."""
    columns = {name: _column(measure) for name, measure in measures.items()}
    contact = episodes.contact.tolist()
    records = []
    for i, seed in enumerate(episodes.seeds):
        rows = {name: [part[i] for part in column] for name, column in columns.items()}
        records.append(
            _head(chunk, seed)
            | {
                "status": "ok",
                "error": None,
                "steps": int(measures["steps"].value[i]),
                "contact_frame": contact[i] if contact[i] >= 0 else None,
                "metrics": {name: value for name, (value, _, _) in rows.items()},
                "frames": {name: frame for name, (_, frame, _) in rows.items() if frame >= 0},
                "others": {name: other for name, (_, _, other) in rows.items() if other >= 0},
                "trace": [trace, i],
            }
        )
    return records


def _head(chunk: Chunk, seed: int) -> dict[str, Any]:
    return {"case": f"{chunk.group}/{seed}", "group": chunk.group, "id": chunk.id, "seed": seed}


def errors_of(chunk: Chunk, message: str) -> ChunkResult:
    """Returns the result of a chunk none of whose cases was driven."""
    return ChunkResult([_error(chunk, seed, message) for seed in chunk.seeds], {}, [])


def _error(chunk: Chunk, seed: int, message: str) -> dict[str, Any]:
    nothing = {"steps": 0, "contact_frame": None, "metrics": {}, "frames": {}, "others": {}, "trace": None}
    return _head(chunk, seed) | {"status": "error", "error": message} | nothing


def _column(measure: Measure) -> tuple[list[float | None], list[int], list[int]]:
    values = [rounded(value) for value in measure.value.tolist()]
    return values, measure.frame.tolist(), measure.other.tolist()


class Folder:
    """The folder of an evaluation: what is done is kept, and not done again.

    Args:
        path: new or empty, or the folder of the same evaluation, begun before.
        manifest: what is judged: suite, driver, settings that decide the figures.

    Raises:
        FileExistsError: the folder holds something else.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self._cases = path, path / "cases.jsonl"
        stored = path / "manifest.json"
        if stored.is_file():
            found = json.loads(stored.read_text(encoding="utf-8"))
            differing = [key for key in manifest if found.get(key) != manifest[key]]
            if differing:
                what = ", ".join(differing)
                raise FileExistsError(f"{path} holds another evaluation: other {what}; choose a new --out")
        elif path.exists() and any(path.iterdir()):
            raise FileExistsError(f"{path} is not empty and holds no evaluation; choose a new --out")
        (path / "traces").mkdir(parents=True, exist_ok=True)
        write_text(stored, json.dumps(manifest, indent=1) + "\n")
        self.done = {record["case"]: record for record in self._read()}

    def _read(self) -> Iterator[dict[str, Any]]:
        """The cases that are done; a last line that a kill cut off does not count."""
        if not self._cases.is_file():
            return
        whole = b""
        for line in self._cases.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            whole += line
            yield json.loads(line)
        self._cases.write_bytes(whole)

    def add(self, result: ChunkResult) -> None:
        """Keep the result of a chunk: the traces first, so that no case stands without its own."""
        for name, traces in result.traces.items():
            traces.save(self.path / name)
        lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in result.records)
        with open(self._cases, "a", encoding="utf-8") as file:
            file.write(lines)
        self.done |= {record["case"]: record for record in result.records}


def evaluate_suite(
    spec: DriverSpec,
    suite: Suite,
    folder: Folder,
    settings: Settings,
    stress: bool = False,
    run_all: Callable[..., Iterator[ChunkResult]] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Drives the cases of a suite that `folder` has not yet, and returns what `report.build_report` needs of the run.

    Args:
        spec: the driver.
        suite: the cases.
        folder: where results are kept.
        settings: how to drive.
        stress: drive the stress list instead.
        run_all: yields the results of chunks: `run_here`, or one that shards them over machines.
        progress: shows a progress bar.

    Raises:
        ValueError: a driver that cannot drive one of the ids.
    """
    chunks = chunks_of(suite, settings, stress)
    planned = [f"{chunk.group}/{seed}" for chunk in chunks for seed in chunk.seeds]
    waiting = [chunk for chunk in chunks if any(f"{chunk.group}/{seed}" not in folder.done for seed in chunk.seeds)]
    latency: list[float] = []
    with tqdm(total=len(planned), unit="ep", desc=suite.name, disable=not progress) as bar:
        bar.update(len(planned) - sum(len(chunk.seeds) for chunk in waiting))
        for result in (run_all or run_here)(spec, waiting, settings):
            folder.add(result)
            latency += result.latency
            bar.update(len(result.records))
    records = [folder.done[case] for case in planned]
    return {"records": records, "latency": latency, "certificate": certificate(spec, folder, chunks, settings)}


def run_here(spec: DriverSpec, chunks: Sequence[Chunk], settings: Settings) -> Iterator[ChunkResult]:
    """Yields the results of the chunks, driven one after the other in this process."""
    driver = spec.build(settings.device)
    for chunk in chunks:
        yield run_chunk(driver, chunk, settings)


def certificate(spec: DriverSpec, folder: Folder, chunks: Sequence[Chunk], settings: Settings) -> dict[str, Any]:
    """Drives a sample of the cases again in small batches and reversed order, and compares every state hash.

    Returns a dict: episodes, batch_size, equal, first_difference (None, or case and step).
    """
    driver, equal, total, first = spec.build(settings.device), 0, 0, None
    stored = lru_cache(maxsize=1)(Traces.load)
    for name in dict.fromkeys(chunk.group for chunk in chunks):
        of_group = [chunk for chunk in chunks if chunk.group == name]
        done = [folder.done[f"{name}/{seed}"] for chunk in of_group for seed in chunk.seeds]
        sample = [record for record in done if record["status"] == "ok"][:: round(1 / SAMPLE)][:MOST_AGAIN]
        for start in range(0, len(sample), BATCH_AGAIN):
            part = sample[start : start + BATCH_AGAIN][::-1]
            seeds = [record["seed"] for record in part]
            _, _, again = drive_batch(driver, make_envs(of_group[0], settings, len(part)), seeds)
            for i, record in enumerate(part):
                file, index = record["trace"]
                before = stored(folder.path / file).episode(index)
                step = first_difference(before.hashes, again.episode(i).hashes)
                total, equal = total + 1, equal + (step is None)
                if step is not None and first is None:
                    first = f"{record['case']}, step {step}"
    return {"episodes": total, "batch_size": BATCH_AGAIN, "equal": equal, "first_difference": first}


def first_difference(one: np.ndarray, other: np.ndarray) -> int | None:
    """Returns the first policy step after which two series of state hashes differ; None if they are equal."""
    common = min(len(one), len(other))
    unequal = np.flatnonzero(one[:common] != other[:common])
    if len(unequal):
        return int(unequal[0])
    return None if len(one) == len(other) else common
