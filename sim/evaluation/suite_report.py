"""report.json: the figures of a suite with their intervals, made from the records of its cases.

Schema: sim/evaluation/report.schema.json. The part "run" holds all that may differ between two runs of one command;
the rest is a function of driver and suite alone, but for where the traces of the cases lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.evaluation.metrics.catalogue import SPECS
from sim.evaluation.report_files import SCHEMA, rounded
from sim.evaluation.statistics import estimate_metrics
from sim.evaluation.statistics.tails import tails
from sim.evaluation.suites import Suite

Records = Sequence[dict[str, Any]]

SCORES = ("nuplan16", "carla21")
"""The composites, which a report shows side by side and never alone."""


def build_report(
    suite: Suite, driver: dict[str, Any], run: dict[str, Any], of_run: dict[str, Any], stress: bool = False
) -> dict[str, Any]:
    """Returns the report as a dict that JSON takes.

    Args:
        suite: what was driven.
        driver: name, sees, privileged, weights_sha256.
        run: what `harness.evaluate_suite` returned.
        of_run: command, commit, machine, versions, times.
        stress: whether the stress list was driven.
    """
    records = run["records"]
    groups = suite.stress if stress else suite.groups
    strata = [record["group"] for record in records]
    figures = figures_of(records, strata)
    by_group = []
    for group in groups:
        own = [record for record in records if record["group"] == group.name]
        head = {"name": group.name, "id": group.id, "config": group.config}
        by_group.append(head | counts_of(own) | {"metrics": figures_of(own)})
    latency = np.array(run["latency"] or [np.nan]) * 1000
    shares = {f"p{share}": rounded(float(np.percentile(latency, share))) for share in (50, 95, 99)}
    about = {name: {"unit": s.unit, "better": s.better, "rate": s.rate, "about": s.about} for name, s in SPECS.items()}
    named = {"name": suite.name, "version": suite.version, "sha256": suite.sha256, "stress": stress}
    return {
        "schema": SCHEMA,
        "suite": named | {"groups": [group.name for group in groups], "cases": len(records)},
        "driver": driver,
        **counts_of(records),
        "metrics": {name: about[name] | figure for name, figure in figures.items()},
        "scores": {name: figures[name] for name in SCORES if name in figures},
        "tails": tails_of(records, strata),
        "groups": by_group,
        "cases": list(records),
        "certificate": run["certificate"],
        "robustness": run.get("robustness"),
        "run": of_run | {"decision_latency_ms": shares},
    }


def counts_of(records: Records) -> dict[str, int]:
    """Returns how many cases were planned, ran and raised."""
    errors = sum(record["status"] != "ok" for record in records)
    return {"n_planned": len(records), "n_run": len(records) - errors, "n_error": errors}


def figures_of(records: Records, strata: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Returns each metric with its 95 % interval, in the order of `SPECS`.

    A case that raised counts as the worst in those rates that its group has, as an exception is no success, and takes
    no part in the means, which say over how many cases they are.
    """
    names = [name for name in SPECS if any(name in record["metrics"] for record in records)]
    told = [(record["group"], name, value) for record in records for name, value in record["metrics"].items()]
    has = {(group, name) for group, name, value in told if value is not None}
    values = {}
    for name in names:
        column = [_value(record, name, (record["group"], name) in has) for record in records]
        values[name] = np.array(column, dtype=np.float64)
    estimates = estimate_metrics(values, [name for name in names if SPECS[name].rate], strata)
    found = {}
    for name, estimate in estimates.items():
        asked = sum(name in record["metrics"] or (record["group"], name) in has for record in records)
        found[name] = {
            "value": rounded(estimate.value),
            "ci95": [rounded(estimate.low), rounded(estimate.high)],
            "n": int(np.isfinite(values[name]).sum()),
            "n_invalid": asked - int(np.isfinite(values[name]).sum()),
        }
    return found


def tails_of(records: Records, strata: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the mean return of the worst 5 % and of the worst tenth of the cases that ran (`statistics.tails`)."""
    values = np.array([_value(record, "return", False) for record in records], dtype=np.float64)
    return {
        name: {
            "value": rounded(one.value),
            "ci95": [rounded(one.low), rounded(one.high)],
            "n": one.n,
            "n_invalid": len(values) - one.n,
        }
        for name, one in tails(values, SPECS["return"].better, strata).items()
    }


def _value(record: dict[str, Any], name: str, expected: bool) -> float:
    """A metric of a case; of one that raised the worst rate, if it is `expected` of the case's group."""
    if record["status"] == "ok":
        value = record["metrics"].get(name)
        return np.nan if value is None else value
    spec = SPECS[name]
    return np.nan if not expected or not spec.rate or not spec.better else float(spec.better == "lower")
