"""Judges a driver on a suite: drives it, measures it, and leaves the folder with its report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sim.evaluation import cluster
from sim.evaluation.driver import DriverSpec
from sim.evaluation.harness import (
    Chunk,
    ChunkResult,
    Folder,
    Settings,
    chunks_of,
    drive_batch,
    errors_of,
    evaluate_suite,
    make_envs,
    run_chunk,
)
from sim.evaluation.junit import write_junit
from sim.evaluation.player import pack
from sim.evaluation.report_files import SCHEMA, write_text
from sim.evaluation.report_page import write_page
from sim.evaluation.robustness import sweep
from sim.evaluation.suite_report import build_report
from sim.evaluation.suites import Suite
from sim.evaluation.worst_cases import gallery
from sim.provenance import provenance


@dataclass(frozen=True)
class Options:
    """What to judge a driver by; only with --suite."""

    suite: str | None = None
    """A suite's name (highway-core, junctions, parking, dense, smoke) or file."""
    out: Path | None = None
    """Folder for report.json, report.html and the traces; goes on where it was stopped."""
    stress: bool = False
    """The cases that no reference driver solves, instead of those that one does."""
    counterfactuals: bool = False
    """Drive again without the ego, and with the tree search taking over before each crash."""
    robustness: int = 0
    """Cases a group that are driven again under every fault: noise, lost and late observations, slow reactions."""
    batch_size: int = 1024
    """Most worlds side by side; changes no figure."""
    cluster: str | None = None
    """Shard the cases over a Ray cluster: HOST:PORT, or "local" for one started here (extra `cluster`)."""
    junit: Path | None = None
    """Where to write the outcome as JUnit XML."""


def judge(
    spec: DriverSpec,
    suite: Suite,
    out: Path,
    settings: Settings,
    weights: Path | None = None,
    options: Options = Options(),
    progress: bool = True,
) -> dict[str, Any]:
    """Judges a driver and returns the report that then stands in `out`/report.json and report.html.

    Args:
        spec: the driver.
        suite: the cases.
        out: a new or empty folder, or that of the same evaluation, which goes on where it was stopped.
        settings: how to drive.
        weights: the file of the driver's weights, whose hash the report names.
        options: of them `stress`, `robustness`, `cluster` and `junit`.
        progress: shows progress bars.

    Raises:
        FileExistsError: `out` holds something else.
        ValueError: a driver that cannot drive one of the ids, or a suite without a stress list.
        ModuleNotFoundError, ConnectionError: no Ray, or no cluster at the address.
    """
    stress = options.stress
    if stress and not suite.stress:
        raise ValueError(f"suite {suite.name} has no stress list: a reference driver solves each of its cases")
    begun = time.perf_counter()
    probe = spec.build(settings.device)
    chunks_of(suite, settings, stress, probe)  # raises before a folder is made
    sees = probe.sees
    digest = None if weights is None else hashlib.sha256(weights.read_bytes()).hexdigest()
    driver = {"name": spec.name, "sees": sees, "privileged": sees == "world", "weights_sha256": digest}
    decides = {"schema": SCHEMA, "suite": suite.name, "version": suite.version, "sha256": suite.sha256}
    decides |= {"stress": stress, "driver": driver, "precision": settings.precision}
    decides |= {"observation": settings.observation}
    decides |= {"reference": settings.reference.name if settings.reference else None}
    folder = Folder(out, decides)
    settings = replace(settings, driver=spec.name, suite={"name": suite.name, "sha256": suite.sha256})
    address = None if options.cluster == "local" else options.cluster
    shard = partial(run_on_cluster, address=address) if options.cluster else None
    with cluster.session(address) if options.cluster else nullcontext():
        run = evaluate_suite(spec, suite, folder, settings, stress, shard, progress)
        if options.robustness:
            run["robustness"] = _robustness(spec, suite, settings, options, address, progress)
    of_run = _origin(settings, time.perf_counter() - begun)
    report = build_report(suite, driver, run, of_run, stress)
    write_text(out / "report.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    write_page(out / "report.html", report, replays=films(spec, report, settings))
    if options.junit:
        write_junit(options.junit, report)
    return report


def _robustness(
    spec: DriverSpec, suite: Suite, settings: Settings, options: Options, address: str | None, progress: bool
) -> dict[str, Any]:
    """The first cases of each group under every fault, as of `robustness.sweep`."""
    chunks = [chunk for chunk in chunks_of(suite, settings, options.stress) if chunk.number == 0]
    few = [replace(chunk, seeds=chunk.seeds[: options.robustness]) for chunk in chunks]
    gpus = 1.0 if settings.device.startswith("cuda") else 0.0
    sharded = partial(cluster.run_chunks, address=address, gpus=gpus) if options.cluster else None
    return sweep(spec, few, settings, run_chunks=sharded, progress=progress)


def _origin(settings: Settings, seconds: float) -> dict[str, Any]:
    """The part "run" of a report: what may differ between two runs of one command."""
    machine = provenance()
    return {
        "command": machine.pop("command"),
        "commit": machine.pop("commit"),
        "dirty": machine.pop("uncommitted_changes"),
        "started": machine.pop("date"),
        "versions": machine.pop("versions"),
        "machine": machine,
        "seconds": round(seconds, 1),
        "batch_size": settings.batch_size,
    }


def run_on_cluster(
    spec: DriverSpec, chunks: Sequence[Chunk], settings: Settings, address: str | None
) -> Iterator[ChunkResult]:
    """Yields the results of chunks that the workers of a Ray cluster drive, as they arrive."""
    gpus = 1.0 if settings.device.startswith("cuda") else 0.0
    for index, result in cluster.arriving(partial(_on_worker, spec, settings), chunks, address, gpus=gpus):
        lost = isinstance(result, cluster.LostChunk)
        yield errors_of(chunks[index], str(result)) if lost else result


def _on_worker(spec: DriverSpec, settings: Settings, chunk: Chunk) -> ChunkResult:
    return run_chunk(spec.build(settings.device), chunk, settings)


def films(spec: DriverSpec, report: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """Returns the worst cases packed for the page's player, driven again."""
    configs = {group["name"]: group["config"] for group in report["groups"]}
    shown = gallery(report["cases"])
    driver = spec.build(settings.device)
    packed = {}
    for group in dict.fromkeys(case["group"] for case in shown):
        cases = [case for case in shown if case["group"] == group]
        seeds = [case["seed"] for case in cases]
        envs = make_envs(Chunk(0, group, cases[0]["id"], configs[group], tuple(seeds)), settings, len(seeds))
        episodes, _, _ = drive_batch(driver, envs, seeds)
        packed |= {case["case"]: pack(episodes, i, case) for i, case in enumerate(cases)}
    return [packed[case["case"]] for case in shown]


def headline(report: dict[str, Any]) -> str:
    """Returns the figures that matter most, as a Markdown table."""
    lines = [
        f"{report['driver']['name']} on {report['suite']['name']} {report['suite']['version']}: "
        f"{report['n_run']} of {report['n_planned']} cases ran, {report['n_error']} errors",
        "",
        "| metric | value | 95 % interval | valid cases |",
        "|---|--:|--:|--:|",
    ]
    for name in HEADLINE:
        figure = report["metrics"].get(name)
        if figure is None or figure["value"] is None:
            continue
        scale, unit = (100, "%") if figure["rate"] else (1, figure["unit"])
        value, *ends = (None if x is None else scale * x for x in (figure["value"], *figure["ci95"]))
        interval = "-" if None in ends else f"{ends[0]:.2f} to {ends[1]:.2f}"
        lines.append(f"| {name.replace('_', ' ')} [{unit}] | {value:.2f} | {interval} | {figure['n']} |")
    return "\n".join(lines).replace(" []", "")


HEADLINE = (
    "collision", "at_fault_collision", "off_road", "success", "return", "mean_speed", "min_ttc_2d", "tet", "nuplan16",
    "carla21",
)  # fmt: skip
