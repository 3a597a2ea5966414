"""Is an episode of highway-env defined at all, or does the last bit of a number decide it?

A nearly standing vehicle steers with commands divided by its speed, and a dynamical bicycle is unstable there: both can
blow a last bit up to millimetres within a second. Such an episode differs between two CPUs in highway-env itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.evaluation.action_styles import Style
from sim.evaluation.conformance import Conformance, first_difference, workers
from sim.evaluation.oracle import fresh_classes, make_real, real_episode

NUDGES = ((1, 1, 1, 1), (-1, 1, -1, 1), (1, -1, -1, -1), (-1, -1, 1, -1))  # signs for x, y, heading, speed
SMALLEST = 1e-16  # m, rad, m/s: of a nudge, where the number itself is 0


def explain(results: Sequence[Conformance], processes: int = 0) -> None:
    """Look for each difference whether highway-env, too, has parted from itself by that step; fills `ill_posed`."""
    with workers(processes) as submit:
        asked = [
            (result, seed, submit(parts_from_itself, case.env_id, case.config, seed, step, case.style))
            for result in results
            for case in [result.case]
            for seed, step in result.parted.items()
        ]
        for result, seed, answer in asked:
            text = answer()
            if text:
                result.ill_posed[seed] = text


def parts_from_itself(
    env_id: str, config: dict[str, Any] | None, seed: int, most: int | None = None, style: Style = "random"
) -> str | None:
    """Say where highway-env parts from itself if every vehicle begins a last bit away; None if it does not."""
    with fresh_classes():
        env = make_real(env_id, config)
        plain = real_episode(env, seed, most, style)
        for signs in NUDGES:
            nudged = real_episode(env, seed, most, lambda *_: plain.actions, begin=lambda road, s=signs: nudge(road, s))
            text = first_difference(nudged, plain)
            if text:
                return text
    return None


def nudge(road: Any, signs: Sequence[int]) -> None:
    """Move every vehicle of a highway-env road by a last bit in x, y, heading and speed."""
    for vehicle in road.vehicles:
        before = np.array([*vehicle.position, vehicle.heading, vehicle.speed])
        x, y, heading, speed = before + signs * np.maximum(np.spacing(np.abs(before)), SMALLEST)
        vehicle.position = np.array([x, y])
        vehicle.heading, vehicle.speed = float(heading), float(speed)
