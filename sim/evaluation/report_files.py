"""How report.json is written and read: its version, its figures, and clear words about what is wrong with one."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.evaluation.metrics.base import Spec

SCHEMA = 1
"""Version of report.json and of the folder it stands in."""
DIGITS = 9
"""Significant digits of the figures in a report: sums over a batch may differ in the last bits."""
NAME = "report.json"


def rounded(value: float | None) -> float | None:
    """Returns a figure as it stands in reports: `DIGITS` significant digits, None for what is no finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def write_text(path: str | Path, text: str) -> None:
    """Writes a file whole or not at all: a kill in the middle leaves no half-written file at `path`."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


@dataclass(frozen=True)
class Report:
    """What a comparison needs of a report.

    Attributes:
        path: of the file.
        driver: name, with "(privileged)" where the driver saw more than its observation.
        suite: name, version and sha256 of what was driven.
        specs: what each metric means.
        cases: case -> its record.
    """

    path: Path
    driver: str
    suite: dict[str, Any]
    specs: dict[str, Spec]
    cases: dict[str, dict[str, Any]]


def load_report(path: str | Path) -> Report:
    """Reads a report.

    Args:
        path: report.json, or the folder that holds it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is truncated, of another schema, unfinished, or holds what a report cannot.
    """
    path = Path(path)
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        where = f"no {NAME} in the folder {path}" if path.is_dir() else f"no such file or folder: {path}"
        raise FileNotFoundError(f"{where}; evaluate.py --suite NAME --out FOLDER writes one")
    try:
        read = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} is not valid JSON, perhaps truncated: {error}") from None
    if not isinstance(read, dict) or "schema" not in read:
        raise ValueError(f"{file} is not a report of a suite: it has no 'schema'")
    if read["schema"] != SCHEMA:
        raise ValueError(f"{file} has schema {read['schema']!r}, this program reads schema {SCHEMA}")
    try:
        return _parse(file, read)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is not a report of a suite: {type(error).__name__} {error}") from None


def _parse(file: Path, read: dict[str, Any]) -> Report:
    cases: dict[str, dict[str, Any]] = {}
    for record in read["cases"]:
        if record["case"] in cases:
            raise ValueError(f"{file} holds case {record['case']} twice")
        if record["status"] not in ("ok", "error"):
            raise ValueError(f"{file}, case {record['case']}: status is 'ok' or 'error', not {record['status']!r}")
        for name, value in record["metrics"].items():
            if not (value is None or isinstance(value, (int, float))):
                raise ValueError(f"{file}, case {record['case']}: {name} is a number or null, not {value!r}")
        cases[record["case"]] = record
    if len(cases) != read["n_planned"]:
        raise ValueError(f"{file} is unfinished: {len(cases)} of {read['n_planned']} cases; run the evaluation again")
    driver = read["driver"]["name"] + (" (privileged)" if read["driver"]["privileged"] else "")
    suite = {key: read["suite"][key] for key in ("name", "version", "sha256")}
    specs = {
        name: Spec(entry["unit"], entry["better"], entry["rate"], entry["about"])
        for name, entry in read["metrics"].items()
    }
    return Report(file, driver, suite, specs, cases)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON; a missing figure is null")
