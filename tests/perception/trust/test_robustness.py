import math

import pytest
import torch
from torch import nn

from perception.trust.robustness import (
    CorruptedPrecision,
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


def test_each_picture_has_its_own_corruption_whatever_the_batch():
    class FirstPixel(nn.Module):
        def forward(self, images):
            return torch.stack((images[:, 0, 0, 0], torch.full((len(images),), 0.5)), dim=1)

    images, labels = torch.full((60, 1, 8, 8), 0.5), torch.zeros(60, dtype=torch.int64)
    found = [
        corruption_errors(FirstPixel().eval(), images, labels, names=("gaussian_noise",), batch=batch)
        for batch in (60, 7, 1)
    ]
    assert found[0] == found[1] == found[2]
    assert 0.2 < found[0].corrupted["gaussian_noise"][0] < 0.8


def test_a_model_in_training_mode_is_refused():
    images, labels = spots(4, seed=5)
    with pytest.raises(ValueError, match="training mode"):
        corruption_errors(nn.Linear(2, 2), images, labels)


def test_a_picture_is_corrupted_the_same_way_whatever_batch_it_comes_in():
    images = torch.full((4, 3, 16, 16), 128, dtype=torch.uint8)
    made = []

    def tried(change):
        made.append(torch.cat([change(part, part_numbers) for part, part_numbers in parts]))
        return 1.0

    numbers = torch.arange(4)
    for size in (1, 4):
        parts = list(zip(images.split(size), numbers.split(size), strict=True))
        corrupted_precision(tried, names=("gaussian_noise",), severities=(5,))
    assert torch.equal(made[1], made[3])
    assert not torch.equal(made[1][0], made[1][1])


def test_corrupted_precision_averages_over_corruptions_and_severities():
    images = (torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).byte()

    def sharpness(change):
        parts = [change(images[i : i + 2], torch.arange(i, i + 2)) for i in (0, 2, 4)]
        assert all(part.dtype == torch.uint8 and part.shape == (2, 3, 16, 16) for part in parts)
        return float(torch.cat(parts).float().std() / images.float().std())

    heard = []
    found = corrupted_precision(sharpness, names=("contrast",), told=heard.append)
    assert found.clean == pytest.approx(1.0)
    assert found.mean == pytest.approx((0.75 + 0.5 + 0.4 + 0.3 + 0.15) / 5, abs=0.01)
    assert found.relative == pytest.approx(found.mean)
    assert heard == ["contrast"]
    few = corrupted_precision(lambda change: sharpness(change) / 2, names=("contrast",), severities=(1, 3))
    assert few.corrupted["contrast"] == pytest.approx((0.375, 0.2), abs=0.01)
    assert few.mean == pytest.approx(0.2875, abs=0.01)
    assert few.relative == pytest.approx(0.575, abs=0.01)
    assert math.isnan(CorruptedPrecision(0.0, {"contrast": (0.0,)}).relative)
