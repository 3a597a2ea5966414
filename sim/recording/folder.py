"""The folder of an evaluation as a replay sees it: its cases, their figures and their traces."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from sim.recording.replay import Frame
from sim.recording.traces import Trace, Traces

REPORT = "report.json"
SCHEMAS = (1,)
"""Of report.json that can be read."""
BEFORE, AFTER = 4.0, 2.0
"""How much of an episode is shown around its worst frame [s]."""
COMPARISONS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_CONDITION = re.compile(r"\s*(not\s+)?(\w+)\s*(?:(<=|>=|==|!=|<|>)\s*([-+.\w]+)\s*)?")


class EvaluationFolder:
    """What `scripts/evaluate.py --suite` left in a folder.

    Args:
        path: of the folder.

    Raises:
        FileNotFoundError, ValueError: there is no report in it, or none that this version reads.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        report = self.path / REPORT
        if not report.is_file():
            raise FileNotFoundError(f"{self.path} holds no evaluation: there is no {REPORT}")
        try:
            self.report = json.loads(report.read_text(encoding="utf-8"))
            self.cases = {case["case"]: case for case in self.report["cases"]}
            self._suite = self.report["suite"]["sha256"]
            schema = self.report["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{report} is not a whole report: {error}") from error
        if schema not in SCHEMAS:
            raise ValueError(f"{report} is of schema {schema}; this version reads {', '.join(map(str, SCHEMAS))}")
        self._open: tuple[Path, Traces] | None = None

    def case(self, name: str) -> dict[str, Any]:
        """Returns a case by its name, GROUP/SEED; ValueError if there is none, or it has no trace."""
        if name not in self.cases:
            near = get_close_matches(name, self.cases, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; its cases are like {next(iter(self.cases), 'none')}"
            raise ValueError(f"{self.path} has no case {name}{hint}")
        case = self.cases[name]
        if not case["trace"]:
            raise ValueError(f"case {name} ended in an error and has no trace: {case['error']}")
        return case

    def where(self, text: str) -> list[dict[str, Any]]:
        """Returns the cases that meet conditions like "at_fault_collision" or "min_ttc < 0.5 and not success".

        A bare name asks for a value other than zero; a value that is not valid meets no condition.

        Raises ValueError for what cannot be read and for an unknown metric.
        """
        conditions = [self._condition(part) for part in re.split(r"\band\b", text)]
        cases = [case for case in self.cases.values() if case["trace"]]
        return [case for case in cases if all(condition(case["metrics"]) for condition in conditions)]

    def _condition(self, text: str) -> Any:
        found = _CONDITION.fullmatch(text)
        if found is None or (found[1] and found[3]):
            raise ValueError(f"cannot read the condition {text.strip()!r}; write NAME, not NAME, or NAME < NUMBER")
        negated, name, comparison, number = found.groups()
        known = sorted({name for case in self.cases.values() for name in case["metrics"]})
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ValueError(f"there is no metric {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        if comparison is None:
            comparison, number = ("==" if negated else "!="), "0"
        try:
            bound, compare = float(number), COMPARISONS[comparison]
        except ValueError:
            raise ValueError(f"{number!r} in the condition {text.strip()!r} is not a number") from None

        def condition(metrics: dict[str, Any]) -> bool:
            value = metrics.get(name)
            return value is not None and compare(value, bound)

        return condition

    def traces(self, path: str, check: bool = True) -> Traces:
        """Returns a file of traces of this folder; ValueError if it belongs to another suite."""
        return Traces.load(self.path / path, suite=self._suite, check=check)

    def trace(self, case: dict[str, Any]) -> Trace:
        """Returns the trace of a case."""
        path, index = case["trace"]
        if self._open is None or self._open[0] != path:  # the cases of a file lie side by side
            self._open = (path, self.traces(path))
        return self._open[1].episode(index)

    @cached_property
    def files(self) -> list[str]:
        """The files of all traces, in the order of the cases."""
        return list(dict.fromkeys(case["trace"][0] for case in self.cases.values() if case["trace"]))

    def worst_frame(self, case: dict[str, Any], metric: str) -> int:
        """Returns at which frame a metric was worst; ValueError if the case has no such moment."""
        if metric not in case["frames"]:
            known = ", ".join(sorted(case["frames"])) or "none"
            raise ValueError(f"case {case['case']} has no worst frame of {metric!r}; there are: {known}")
        return case["frames"][metric]


def around(frames: Iterator[Frame], index: int, rate: float) -> Iterator[Frame]:
    """Yields the frames of a replay around one of them; `rate` is frames a second."""
    first, last = index - BEFORE * rate, index + AFTER * rate
    return (frame for frame in takewhile(lambda frame: frame.index <= last, frames) if frame.index >= first)
