"""Which cells are to find which object."""

import torch

from perception.detection.assignment import TOP, assign
from perception.detection.one_stage import cells

CENTERS, STRIDES = cells(128, 64)


def given(targets, labels=None, ignore=None, scores=None, boxes=None):
    targets = torch.tensor(targets, dtype=torch.float32).reshape(-1, 4)
    labels = torch.zeros(len(targets), dtype=torch.int64) if labels is None else torch.tensor(labels)
    ignore = torch.zeros(len(targets), dtype=torch.bool) if ignore is None else torch.tensor(ignore)
    scores = torch.full((len(CENTERS), 2), 0.01) if scores is None else scores
    if boxes is None:
        boxes = torch.cat((CENTERS - 2 * STRIDES[:, None], CENTERS + 2 * STRIDES[:, None]), 1)
    return assign(scores, boxes, CENTERS, STRIDES, targets, labels, ignore), targets


def test_positives_lie_inside_their_object():
    found, targets = given([[8, 8, 56, 48], [70, 10, 120, 60]])
    assert 0 < int(found.positive.sum()) <= 2 * TOP
    for cell in found.positive.nonzero()[:, 0]:
        box = targets[found.object[cell]]
        assert (CENTERS[cell] > box[:2]).all() and (CENTERS[cell] < box[2:]).all()
    assert set(found.object[found.positive].tolist()) == {0, 1}


def test_the_cell_that_does_best_is_to_be_as_sure_as_its_box_is_good():
    """Of two cells inside one object, the one with the better box gets its overlap as score, the other less."""
    targets = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    boxes = torch.cat((CENTERS - 1, CENTERS + 1), 1)
    inside = ((CENTERS > 16) & (CENTERS < 48)).all(1).nonzero()[:, 0]
    good, fair = inside[0], inside[5]
    boxes[good] = torch.tensor([16.0, 16.0, 48.0, 44.0])  # overlap 7/8
    boxes[fair] = torch.tensor([16.0, 16.0, 48.0, 32.0])  # overlap 1/2
    found, _ = given(targets.tolist(), boxes=boxes)
    assert float(found.quality[good]) == torch.tensor(0.875)
    assert 0 < float(found.quality[fair]) < 0.2
    assert float(found.quality.max()) == torch.tensor(0.875)


def test_the_class_decides_which_cells_do_best():
    scores = torch.full((len(CENTERS), 2), 0.01)
    inside = ((CENTERS > 16) & (CENTERS < 80)).all(1) & (STRIDES == 8)
    sure = inside.nonzero()[:TOP, 0]
    scores[sure, 1] = 0.9
    other = inside.nonzero()[TOP : 2 * TOP, 0]
    scores[other, 0] = 0.9  # sure, but of another class
    boxes = torch.tensor([16.0, 16.0, 80.0, 60.0]).repeat(len(CENTERS), 1)
    found, _ = given([[16, 16, 80, 60]], labels=[1], scores=scores, boxes=boxes)
    assert found.positive[sure].all() and not found.positive[other].any()


def test_ignored_objects_are_neither_asked_for_nor_denied():
    found, _ = given([[8, 8, 56, 48], [70, 10, 120, 60]], ignore=[False, True])
    assert set(found.object[found.positive].tolist()) == {0}
    inside = ((torch.tensor([70, 10]) < CENTERS) & (torch.tensor([120, 60]) > CENTERS)).all(1)
    assert (found.ignored == inside).all()


def test_small_objects_are_found_by_a_cell_beside_them():
    """An object that holds no cell's middle still gets one."""
    found, _ = given([[13, 13, 18, 18]])
    assert found.positive.any()
    assert (CENTERS[found.positive] - 15.5).abs().max() < STRIDES[found.positive].max()


def test_no_objects():
    found, _ = given([])
    assert not found.positive.any() and not found.ignored.any() and not found.quality.any()
