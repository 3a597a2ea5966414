"""report.json as JUnit XML, so that a continuous-integration server can gate on it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from sim.evaluation.report_figures import clean
from sim.evaluation.report_files import write_text
from sim.evaluation.worst_cases import OUTCOMES, moments, outcome

FAILURES = ("at_fault_collision",)
"""Outcomes that fail a case; an error fails it too. A crash whose fault was not judged counts as one at fault."""


def write_junit(path: str | Path, report: dict[str, Any]) -> None:
    """Writes `junit` to a file; a kill in the middle leaves no half-written file at `path`."""
    write_text(path, junit(report))


def junit(report: dict[str, Any]) -> str:
    """Returns JUnit XML: a suite a group, a test case a case.

    A crash of the ego's fault is a failure, an exception an error; a crash of another's fault passes and is named in
    the case's output. Planned cases that were not driven fail their group: a gate must not open on what was not tested.

    Args:
        report: as report.schema.json says.
    """
    suite, driver = report["suite"], report["driver"]
    name = clean(f"{suite['name']} {suite['version']}: {driver['name']}")
    root = ElementTree.Element("testsuites", name=name)
    by_group: dict[str, list] = {group["name"]: [] for group in report["groups"]}
    for case in report["cases"]:
        by_group[case["group"]].append(case)
    for group in report["groups"]:
        cases = by_group[group["name"]]
        part = ElementTree.SubElement(root, "testsuite", name=clean(group["name"]))
        for case in cases:
            _testcase(part, f"{suite['name']}.{group['name']}", case)
        missing = group["n_planned"] - len(cases)
        if missing > 0:
            node = _node(part, f"{suite['name']}.{group['name']}", "every planned case was driven")
            ElementTree.SubElement(node, "failure", type="not_driven", message=f"{missing} cases were not driven")
        _count(part)
    _count(root)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _node(part: ElementTree.Element, where: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(part, "testcase", classname=clean(where), name=clean(name))


def _testcase(part: ElementTree.Element, where: str, case: dict[str, Any]) -> None:
    node, what = _node(part, where, case["case"]), outcome(case)
    said = OUTCOMES[what] + "".join(f", frame {frame}" for name, frame in moments(case)[:1] if name == "contact")
    if what == "error":
        text = clean(case["error"] or "no message")
        ElementTree.SubElement(node, "error", type=text.split(":")[0], message=text)
    elif what in FAILURES:
        figures = [f"{name} {value:g}" for name, value in case["metrics"].items() if value is not None]
        ElementTree.SubElement(node, "failure", type=what, message=said).text = "\n".join(figures)
    elif what != "ok":
        ElementTree.SubElement(node, "system-out").text = said


def _count(node: ElementTree.Element) -> None:
    """The totals that servers read without counting."""
    node.set("tests", str(len(node.findall(".//testcase"))))
    for kind in ("failure", "error"):
        node.set(f"{kind}s", str(len(node.findall(f".//{kind}"))))
