"""Evaluations: knowing the truth is perfect, what is usual is what it says, a folder is judged by its own network."""

import numpy as np
import pytest
import torch

from perception.data.lanes import ABSENT
from perception.lanes import evaluation
from perception.lanes.drawing import TRUE_COLOUR, contact_sheet
from perception.lanes.evaluation import SEED, baseline, evaluate, scored_classes, scored_lanes, usual_lanes
from perception.lanes.learning import lane_lesson, lane_stream
from perception.lanes.models import LaneRecipe, make_network
from perception.lanes.segmentation import GROUPS
from perception.model_folder import save_model
from sim.sensors.colouring import GAP, LABEL

PERFECT = {
    "tusimple_accuracy": 1.0, "tusimple_fp": 0.0, "tusimple_fn": 0.0, "f1_50": 1.0, "f1_75": 1.0, "mf1": 1.0,
    "precision_50": 1.0, "recall_50": 1.0, "pictures": 2, "own_error_px": 0.0, "own_error_px_p90": 0.0,
    "own_found": 1.0,
}  # fmt: skip


def test_knowing_the_truth_is_perfect():
    lessons = [lane_lesson(next(lane_stream(split, 2, SEED)), 28) for split in ("val", "test")]
    scores = scored_lanes(lambda images: lessons[0].lanes, 28, "val", 1, 2)
    assert {name: scores[name] for name in PERFECT} == PERFECT and scores["lanes"] >= 2
    scores = scored_classes(lambda images: lessons[1].labels, tuple(GROUPS), "test", 1, 2)
    assert scores["miou"] == scores["accuracy"] == 1.0
    assert not torch.equal(lessons[0].images, lessons[1].images)


def test_what_is_usual_is_the_median_of_those_that_are_there():
    lanes = np.full((5, 4, 2), float(ABSENT))
    lanes[:3, 1, 0] = (10, 90, 20)
    lanes[:2, 2, 1] = (50, 60)
    usual = usual_lanes(lanes)
    assert usual[1].tolist() == [20, ABSENT] and (usual[[0, 2, 3]] == ABSENT).all()


@pytest.mark.parametrize("name", ["row-anchor", "segmentation"])
def test_a_network_and_the_usual_are_scored_alike(tmp_path, monkeypatch, name):
    monkeypatch.setattr(evaluation, "LEARNT_BATCHES", 1)
    network, facts = make_network(LaneRecipe(name, 1))
    save_model(tmp_path, facts, network.state_dict())
    scores = evaluate(tmp_path, "test", batches=1, batch_size=2)
    usual = baseline(name, "test", 1, 2)
    assert set(scores) == set(usual) - {"miou_one_class"} or name == "segmentation"
    key = "mf1" if name == "row-anchor" else "miou"
    assert 0 <= scores[key] < usual[key] < 1
    if name == "segmentation":
        assert usual["miou_one_class"] < usual["miou"]
    with pytest.raises(ValueError, match="unknown split"):
        evaluate(tmp_path, "all", 1)
    with pytest.raises(ValueError, match="needs at least 1"):
        evaluate(tmp_path, "val", 0)
    with pytest.raises(ValueError, match="needs at least one"):
        contact_sheet(tmp_path, "val", 0)
    sheet = contact_sheet(tmp_path, "val", 2, 1)
    assert sheet.size == (2 * 320 + GAP, 192 + LABEL)
    dots = (np.asarray(sheet)[LABEL:] == TRUE_COLOUR).all(-1).sum()
    assert (dots > GAP * 192) == (name == "row-anchor")  # all but those between the two


def test_classes_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"tells road, sky; the simulator's groups are rest"):
        scored_classes(lambda images: images, ("road", "sky"), "val", 1, 1)
