"""What perception costs: one policy behind perfect perception, cameras, and cameras with one stage's oracle.

All drive the same seeds. Episodes are kept in parts, files that know of which driver and weights they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

import sim
from agents.checkpoint import POLICY
from agents.drivers import choose_driver, choose_environment, stack_of
from agents.stack import ORACLE, StackSettings
from perception.model_folder import fingerprint
from sim.evaluation.driver import DriverSpec, prepare
from sim.evaluation.report_files import write_text
from sim.evaluation.runner import evaluate
from sim.evaluation.statistics import mean_interval, tango_interval

PART = 50
"""Episodes driven at once."""
ORACLES = tuple(f"{stage}={ORACLE}" for stage in ("detector", "fusion", "tracker"))
PERFECT, CAMERAS = "perfect", "cameras"
HEAD = "| perception | crashes | rise [points] | return | change | ms a decision and world |\n|---" + "|--:" * 5 + "|"


@dataclass(frozen=True)
class Row:
    """A driver of the table.

    Attributes:
        name: in the table. run: folder of its policy.
        settings: of its stack; None for the policy alone, which has eyes of its own.
    """

    name: str
    run: Path
    settings: str | None

    @property
    def driver(self) -> DriverSpec:
        return choose_driver(self.run) if self.settings is None else stack_of(f"{self.run},{self.settings}")


def rows_of(
    run: Path, detector: Path, settings: str, also: Sequence[str] = (), beside: Path | None = None
) -> list[Row]:
    """Return the rows of a run's table, perfect perception first, each looked at as far as that needs no driving.

    Args:
        run: folder of the policy.
        detector: model folder.
        settings: of all stacks; see `agents.stack.StackSettings`.
        also: settings of a row more each.
        beside: run folder of a policy that sees by itself and drives in the same environment.

    Raises:
        FileNotFoundError, ValueError: what can't be built or does not fit; before anything is driven.
    """
    ours = f"detector={detector},{settings}"
    rows = [Row(PERFECT, run, f"{ours},{','.join(ORACLES)}"), Row(CAMERAS, run, ours)]
    rows += [Row(more, run, f"{ours},{more}") for more in (*ORACLES, *also)]
    rows += [] if beside is None else [Row(beside.name, beside, None)]
    id, config = choose_environment(run)
    worlds = {}
    for one in dict.fromkeys(row.run for row in rows):
        its, other = choose_environment(one)
        if its != id or _but_observed(other) != _but_observed(config):
            raise ValueError(f"{one} drives in another environment ({its}) than {run} ({id}); rows must share one")
        worlds[one] = sim.make_vec(its, 1, config=other, autoreset_mode=AutoresetMode.DISABLED)
    for row in rows:
        prepare(row.driver.build("cpu"), worlds[row.run], [0])
    return rows


def _but_observed(config: dict | None) -> dict:
    return {key: value for key, value in (config or {}).items() if key != "observation"}


def drive(row: Row, seeds: range, out: Path, progress: bool = False) -> dict[str, Any]:
    """Drive what is missing of a row; return its episodes' "crashed" and "return", and each stage's "ms" a decision.

    Args:
        row: who drives.
        seeds: of the episodes.
        out: folder of the parts.
        progress: show a bar.

    Raises:
        ValueError: a part is of another driver or of other weights, or an episode in it raised.
    """
    driver, made_of, parts = row.driver, _made_of(row), []
    for some in (seeds[first : first + PART] for first in range(0, len(seeds), PART)):
        path = out / f"{row.run.name}-{row.name.replace('/', '_')}-{some[0]}-{len(some)}.json"
        if not path.is_file():
            result = evaluate(driver, *choose_environment(row.run), some, progress=progress).as_dict()
            write_text(path, json.dumps(result | {"made_of": made_of}, indent=1, allow_nan=False) + "\n")
        parts.append(json.loads(path.read_text(encoding="utf-8")))
        if (parts[-1]["driver"], parts[-1].get("made_of")) != (driver.name, made_of) or parts[-1]["n_error"]:
            raise ValueError(f"{path} is of another stack or of other weights, or an episode in it raised; remove it")
    names = ("crashed", "return")
    found: dict[str, Any] = {name: [one for part in parts for one in part["per_episode"][name]] for name in names}
    times = [part["notes"].get("stages, a world", {}) for part in parts]
    found["ms"] = {stage: sum(one[stage]["ms_a_decision"] for one in times) / len(times) for stage in times[0]}
    return found


def _made_of(row: Row) -> list[str]:
    """SHA-256 of the weights of a row's policy and detector."""
    digests = [hashlib.sha256((row.run / POLICY).read_bytes()).hexdigest()]
    folder = ORACLE if row.settings is None else StackSettings.parse(row.settings)[1].detector
    return digests + ([] if folder == ORACLE else [fingerprint(Path(folder))])


def line(name: str, perfect: dict[str, Any], result: dict[str, Any]) -> tuple[str, float]:
    """Return a row as Markdown, and by how many percentage points crashes rose."""
    hit, before = np.array(result["crashed"], bool), np.array(perfect["crashed"], bool)
    rise = tango_interval(int((hit > before).sum()), int((before > hit).sum()), len(hit))
    gain = mean_interval(np.subtract(result["return"], perfect["return"]))
    points = [f"{100 * value:+.1f}" for value in (rise.value, rise.low, rise.high)]
    crashes = f"{int(hit.sum())} of {len(hit)} | {points[0]} ({points[1]} to {points[2]})"
    change = f"{np.mean(result['return']):.2f} | {gain.value:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})"
    times = ", ".join(f"{stage} {ms:.1f}" for stage, ms in result["ms"].items())
    return f"| {name} | {crashes} | {change} | {times} |", 100 * rise.value
