import pytest
import torch
from torch import nn

from perception.classification.scores import calibration_error, logits_of, score, top1


def logits(chances, answers):
    """Two classes: logits that give `answers` with these probabilities."""
    margin = torch.logit(torch.tensor(chances, dtype=torch.float64))
    sign = 2.0 * torch.tensor(answers) - 1
    return torch.stack((torch.zeros_like(margin), margin * sign), dim=1)


def test_confidence_equal_to_accuracy_is_no_error():
    found = logits([0.8] * 10, [1] * 10)
    labels = torch.tensor([1] * 8 + [0] * 2)
    assert calibration_error(found, labels) == pytest.approx(0.0, abs=1e-9)
    assert top1(found, labels) == 0.8


def test_the_error_is_the_gap_weighted_by_how_many():
    # Six answers at 0.9, three right: gap 0.4. Four at 0.6, all right: gap 0.4. And two of these at 0.7: gap 0.3.
    found = logits([0.9] * 6 + [0.6] * 2 + [0.7] * 2, [1] * 10)
    labels = torch.tensor([1] * 3 + [0] * 3 + [1] * 4)
    assert calibration_error(found, labels) == pytest.approx((6 * 0.4 + 2 * 0.4 + 2 * 0.3) / 10)


def test_too_sure_and_not_sure_enough_cancel_only_within_a_bin():
    found = logits([0.95, 0.95], [1, 1])
    assert calibration_error(found, torch.tensor([1, 0])) == pytest.approx(0.45)
    assert calibration_error(found, torch.tensor([1, 1])) == pytest.approx(0.05)


def test_low_confidences_have_bins_of_their_own():
    # Of 20 classes: confidence 0.05 (all alike) and right, 0.1 and wrong; in one bin the two gaps would cancel.
    found = torch.zeros(2, 20, dtype=torch.float64)
    found[1, 0] = torch.log(torch.tensor(0.1 / (0.9 / 19)))
    assert calibration_error(found, torch.tensor([0, 3])) == pytest.approx((0.95 + 0.1) / 2)


def test_scoring_puts_the_model_in_the_mode_of_use_and_back():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(4, 3)).train()
    images, labels = torch.rand(7, 1, 2, 2), torch.arange(7) % 3
    first, second = (logits_of(model, images, batch) for batch in (2, 7))
    assert torch.allclose(first, second)
    assert model.training
    found = score(model, images, labels)
    assert found.count == 7
    assert found.top1 == top1(first, labels)
