import pytest
import torch
from torch import nn

from perception.trust.robustness import (
    CorruptionErrors,
    corrupted_precision,
    corruption_errors,
    mean_corruption_error,
)
from tests.perception.trust.small_net import spots, trained


def test_mean_corruption_error_of_figures_made_by_hand():
    baseline = CorruptionErrors(0.1, {"fog": (0.2, 0.2, 0.4, 0.4, 0.8), "jpeg_compression": (0.1, 0.1, 0.2, 0.3, 0.3)})
    model = CorruptionErrors(0.05, {"fog": (0.1, 0.1, 0.2, 0.2, 0.4), "jpeg_compression": (0.2, 0.2, 0.4, 0.6, 0.6)})
    assert mean_corruption_error(model, baseline) == pytest.approx((0.5 + 2.0) / 2)
    # sums less five times the clean error: 0.75 / 1.5 and 1.75 / 0.5
    assert mean_corruption_error(model, baseline, relative=True) == pytest.approx((0.5 + 3.5) / 2)
    assert mean_corruption_error(baseline, baseline) == pytest.approx(1.0)
    assert model.mean == pytest.approx((0.2 + 0.4) / 2)


def test_a_baseline_without_errors_or_with_others_is_refused():
    whole = CorruptionErrors(0.0, {"fog": (0.0,) * 5})
    with pytest.raises(ValueError, match="under fog sum up to 0"):
        mean_corruption_error(whole, whole)
    with pytest.raises(ValueError, match="different corruptions"):
        mean_corruption_error(whole, CorruptionErrors(0.0, {"contrast": (0.1,) * 5}))


def test_errors_of_a_classifier_rise_with_severity_and_do_not_depend_on_the_batch():
    images, labels = spots(200, seed=5)
    names = ("gaussian_noise", "contrast")
    found = corruption_errors(trained(), images, labels, names=names)
    assert found.clean < 0.05
    assert found.corrupted["contrast"][4] > 0.5 > found.corrupted["contrast"][0]
    assert found == corruption_errors(trained(), images, labels, names=names, batch=77)


def test_a_model_in_training_mode_is_refused():
    images, labels = spots(4, seed=5)
    with pytest.raises(ValueError, match="training mode"):
        corruption_errors(nn.Linear(2, 2), images, labels)


def test_corrupted_precision_averages_over_corruptions_and_severities():
    images = (torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).byte()

    def sharpness(change):
        parts = [change(images[i : i + 2], torch.arange(i, i + 2)) for i in (0, 2, 4)]
        assert all(part.dtype == torch.uint8 and part.shape == (2, 3, 16, 16) for part in parts)
        return float(torch.cat(parts).float().std() / images.float().std())

    found = corrupted_precision(sharpness, names=("contrast",))
    assert found.clean == pytest.approx(1.0)
    assert found.mpc == pytest.approx((0.75 + 0.5 + 0.4 + 0.3 + 0.15) / 5, abs=0.01)
    assert found.rpc == pytest.approx(found.mpc)
