"""Tiny models for a benchmark that must work anywhere: trained for seconds, so the figures are real but low."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch

from perception.classification import datasets, transfer
from perception.detection.recipe import Recipe, train
from perception.lanes import models as lanes

SECONDS = {"one-stage": 60.0, "lanes": 20.0, "classifier": 15.0}
"""For which each tiny model is trained [s]; there are two lane networks."""
DATA = "fashion-mnist"


def tiny_models(
    folder: Path, tasks: Collection[str], step: Callable[[str], None], seconds: Mapping[str, float] = SECONDS
) -> tuple[list[str], list[str]]:
    """Train a one-stage detector, both lane networks and a plain classifier, and return their folders and notes.

    Args:
        folder: of their folders; what was trained there before is used again.
        tasks: for which models are wanted: of detection, lanes and classification.
        step: told what begins.
        seconds: of each.
    """
    threads = torch.get_num_threads()
    sources, notes = [], []

    def note(name: str, limit: float) -> None:
        sources.append(str(folder / name))
        notes.append(f"{name}: a tiny training of {limit:g} s made here, so low figures are expected; time is its own")

    limit = seconds["one-stage"]
    if "detection" in tasks:
        step("training a one-stage detector")
        train(Recipe(steps=10_000, batch=10, time_limit_s=limit), folder / "quick-one-stage", progress=False)
        note("quick-one-stage", limit)
    limit = seconds["lanes"]
    for kind in lanes.NETWORKS if "lanes" in tasks else ():
        step(f"training {kind}")
        lane_recipe = lanes.LaneRecipe(kind, steps=10_000, time_limit_s=limit, threads=threads)
        lanes.lane_training(lane_recipe, folder / f"quick-{kind}").run(progress=False)
        note(f"quick-{kind}", limit)

    if "classification" not in tasks:
        return sources, notes
    step("training a classifier")
    limit = seconds["classifier"]
    try:
        data = datasets.load_data(DATA)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        notes.append(f"no classifier: {error}")
        return sources, notes
    transfer.train(
        transfer.Recipe("plain", steps=10_000, batch=128, time_limit_s=limit), data, folder / "quick-classifier"
    )
    note("quick-classifier", limit)
    return sources, notes
