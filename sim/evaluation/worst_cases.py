"""Which cases of a report went worst, and the moment at which they did."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

# outcome -> how it reads, worst first
OUTCOMES = {
    "error": "error",
    "at_fault_collision": "crash, at fault",
    "collision": "crash, not at fault",
    "off_road": "off the road",
    "no_success": "goal not reached",
    "ok": "no incident",
}
CLOSEST = ("min_ttc_2d", "min_ttc", "min_pet", "min_thw", "min_gap")
"""Metrics that say how near a crash was, the first that a case has; lower is worse."""
FRAMES_OF_INTEREST = (*CLOSEST, "max_drac", "off_road", "wrong_way", "max_forced_braking")
"""Metrics whose worst frames a viewer may want to see."""


def outcome(case: dict[str, Any]) -> str:
    """Returns the key of `OUTCOMES` that a case of report.json stands under.

    A crash whose fault was not judged counts as one at fault: a gate must not open because a metric is missing.
    """
    if case["status"] != "ok":
        return "error"
    metrics = case["metrics"]
    crashed = metrics.get("collision") == 1 or case.get("contact_frame") is not None
    if metrics.get("at_fault_collision") == 1 or (crashed and metrics.get("at_fault_collision") is None):
        return "at_fault_collision"
    if crashed:
        return "collision"
    if metrics.get("off_road") == 1:
        return "off_road"
    return "no_success" if metrics.get("success") == 0 else "ok"


def worst_first(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the cases of report.json from the worst to the best.

    By outcome; crashes by how hard they were (`delta_v`), the others by how near they came to one; then by name.
    """
    order = list(OUTCOMES)

    def key(case: dict[str, Any]) -> tuple:
        metrics = case["metrics"] or {}
        what = outcome(case)
        hardness = -(metrics.get("delta_v") or 0.0) if what in ("at_fault_collision", "collision") else 0.0
        nearness = tuple(math.inf if metrics.get(name) is None else metrics[name] for name in CLOSEST)
        return (order.index(what), hardness, *nearness, case["group"], case["seed"])

    return sorted(cases, key=key)


def gallery(cases: Sequence[dict[str, Any]], most: int = 12) -> list[dict[str, Any]]:
    """Returns up to `most` cases worth watching, the worst first.

    Of each outcome the groups take turns, so that one bad group does not fill the gallery. Cases that ended in an
    error have no episode to show.
    """
    turns: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for case in worst_first([case for case in cases if case["status"] == "ok"]):
        turns[outcome(case)][case["group"]].append(case)
    rounds = chain.from_iterable(zip_longest(*groups.values()) for groups in turns.values())
    return [case for case in chain.from_iterable(rounds) if case is not None][:most]


def moments(case: dict[str, Any]) -> list[tuple[str, int]]:
    """Returns (what, frame) of a case of report.json: what it was chosen for comes first.

    The contact first where there is one, then how near a crash was, then whatever else has a frame.
    """
    frames = {name: frame for name, frame in (case.get("frames") or {}).items() if frame is not None and frame >= 0}
    found = [("contact", case["contact_frame"])] if case.get("contact_frame") is not None else []
    if not found and outcome(case) == "off_road" and "off_road" in frames:
        found = [("off_road", frames["off_road"])]
    names = [name for name in FRAMES_OF_INTEREST if name in frames and (name, frames[name]) not in found]
    return found + [(name, int(frames[name])) for name in names]
