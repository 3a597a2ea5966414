"""All metrics: `SPECS` says what there is, `measure_all` computes it.

Definitions and sources: docs/evaluation.md.
"""

import numpy as np
import torch

from sim.evaluation import counterfactuals
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics import collisions, comfort, conflicts, energy, extras, progress, rss, rules, scores
from sim.evaluation.metrics.base import Measure, Spec

STEPS = {
    "return": Spec("", "higher", False, "sum of the rewards"),
    "steps": Spec("steps", "", False, "policy steps"),
}
PARTS = (collisions, conflicts, rss, comfort, progress, energy, rules)
SPECS: dict[str, Spec] = dict(STEPS)
for _part in (*PARTS, extras, scores, counterfactuals):
    SPECS |= _part.SPECS


def measure_all(episodes: Episodes, steps: dict[str, np.ndarray]) -> dict[str, Measure]:
    """Returns all metrics of N episodes by name but those of `counterfactuals`, which drive again.

    Those of another family's scenarios are left out.

    Args:
        episodes: the recorded frames.
        steps: the figures of `metrics.steps`, [N] each.
    """
    device = episodes.x.device
    measures = {
        "return": Measure.of(torch.as_tensor(steps["return"], device=device)),
        "steps": Measure.of(torch.as_tensor(steps["length"], device=device)),
    }
    for part in PARTS:
        measures |= part.measure(episodes)
    measures |= extras.measure(episodes)
    return measures | scores.measure(episodes, measures)
