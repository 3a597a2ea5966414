"""Corruptions against SciPy, OpenCV, Pillow, colorsys and closed forms."""

import colorsys
import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from perception.trust.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    STREAM,
    Numbers,
    corrupt,
    plasma_fractal,
    poisson_quantile,
)
from sim.evaluation.counted_random import CountedRandom

RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "fog")


def corrupted(images, name, severity, first=0, step=0, seed=0):
    cases = range(first, first + len(images))
    steps = torch.full((len(images),), step, dtype=torch.int64)
    return corrupt(images, name, severity, CountedRandom(seed, STREAM, cases), steps)


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(4, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(small, size=(32, 32), mode="bicubic").clamp(0, 1)


def test_the_set_has_fifteen_corruptions():
    assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pictures_stay_pictures_and_do_not_depend_on_their_batch(pictures, name):
    for severity in (1, 5):
        worse = corrupted(pictures, name, severity)
        assert worse.shape == pictures.shape
        assert worse.dtype == torch.float32
        assert worse.min() >= 0
        assert worse.max() <= 1
        torch.testing.assert_close(worse[2:], corrupted(pictures[2:], name, severity, first=2), rtol=0, atol=1e-6)
    grey = pictures[:, :1]
    assert corrupted(grey, name, 3).shape == grey.shape


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_5_changes_more_than_severity_1(pictures, name):
    change = [(corrupted(pictures, name, severity) - pictures).abs().mean() for severity in (1, 5)]
    assert 0 < change[0] < change[1] or name == "saturate"


@pytest.mark.parametrize("name", RANDOM)
def test_another_step_seed_and_case_draw_anew(pictures, name):
    one = pictures[:1]
    first = corrupted(one, name, 5)
    assert torch.equal(first, corrupted(one, name, 5))
    for other in (corrupted(one, name, 5, step=1), corrupted(one, name, 5, seed=1), corrupted(one, name, 5, first=1)):
        assert not torch.equal(first, other)


@pytest.mark.parametrize(("severity", "sigma"), [*zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True)])
def test_gaussian_noise_has_the_published_spread(severity, sigma):
    grey = torch.full((1, 3, 128, 128), 0.5)
    difference = (corrupted(grey, "gaussian_noise", severity) - grey).flatten()
    assert difference.std().item() == pytest.approx(sigma, rel=0.02)
    assert abs(difference.mean().item()) < 0.001


def test_speckle_noise_grows_with_the_value():
    grey = torch.full((2, 1, 128, 128), 0.3)
    grey[1] = 0.6
    spread = (corrupted(grey, "speckle_noise", 5) - grey).flatten(1).std(1)
    assert spread.tolist() == pytest.approx([0.3 * 0.2, 0.6 * 0.2], rel=0.03)


def test_poisson_quantiles_are_scipys():
    generator = torch.Generator().manual_seed(1)
    share = torch.rand(4000, generator=generator, dtype=torch.float64)
    mean = torch.rand(4000, generator=generator, dtype=torch.float64) * 500
    mean[:500] /= 100
    found = poisson_quantile(share, mean)
    assert np.array_equal(found.numpy(), stats.poisson.ppf(share.numpy(), mean.numpy()).clip(min=0))
    assert poisson_quantile(torch.tensor([0.0, 0.999]), torch.tensor([0.0, 0.0])).tolist() == [0.0, 0.0]


def test_poisson_quantiles_of_few_means_are_scipys_too():
    generator = torch.Generator().manual_seed(1)
    share = torch.rand(6000, generator=generator, dtype=torch.float64)
    mean = torch.randint(0, 256, (6000,), generator=generator).double() * 500 / 255
    found = poisson_quantile(share, mean)
    assert np.array_equal(found.numpy(), stats.poisson.ppf(share.numpy(), mean.numpy()).clip(min=0))
    assert np.array_equal(
        poisson_quantile(share[:200].reshape(20, 10), mean[:200].reshape(20, 10)).flatten(), found[:200]
    )


def test_shot_noise_counts_photons():
    grey = torch.full((1, 1, 128, 128), 0.4)
    for severity, photons in ((1, 500), (5, 50)):
        noisy = corrupted(grey, "shot_noise", severity)
        assert torch.allclose(noisy * photons, (noisy * photons).round(), atol=1e-3)
        assert noisy.var().item() == pytest.approx(0.4 / photons, rel=0.05)


@pytest.mark.parametrize(("severity", "share"), [*zip(SEVERITIES, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True)])
def test_impulse_noise_strikes_the_published_share(severity, share):
    struck = corrupted(torch.full((1, 3, 256, 256), 0.5), "impulse_noise", severity)
    assert (struck == 0).double().mean().item() == pytest.approx(share / 2, rel=0.1)
    assert (struck == 1).double().mean().item() == pytest.approx(share / 2, rel=0.1)


@pytest.mark.parametrize(("severity", "sigma"), [*zip(SEVERITIES, (0.4, 0.6, 0.7, 0.8, 1.0), strict=True)])
def test_gaussian_blur_is_scipys(pictures, severity, sigma):
    wanted = ndimage.gaussian_filter(pictures.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(corrupted(pictures, "gaussian_blur", severity), wanted, atol=2e-6)


@pytest.mark.parametrize(
    ("severity", "radius", "sigma"),
    [(1, 0.3, 0.4), (2, 0.4, 0.5), (3, 0.5, 0.6), (4, 1.0, 0.2), (5, 1.5, 0.1)],
)
def test_defocus_blur_is_opencvs(pictures, severity, radius, sigma):
    y, x = np.mgrid[-8:9, -8:9]
    disc = (x**2 + y**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disc / disc.sum(), (3, 3), sigma)
    wanted = np.stack([[cv2.filter2D(channel, -1, kernel) for channel in one] for one in pictures.numpy()])
    np.testing.assert_allclose(corrupted(pictures, "defocus_blur", severity), wanted, atol=2e-6)


def test_glass_blur_of_severity_1_takes_colours_from_above_and_from_the_left():
    picture = torch.stack(torch.meshgrid(*[torch.arange(32) / 31] * 2, indexing="ij"))  # the place as the colour
    picture = torch.cat((picture, picture[:1] * 0))[None]
    moved = ((picture - corrupted(picture, "glass_blur", 1)) * 31).round()
    assert moved[:, 2].abs().max() == 0
    assert set(moved[:, :2].flatten().tolist()) == {0.0, 1.0}
    assert moved[:, :, :2].abs().max() == moved[..., :2].abs().max() == 0
    assert abs(moved[0, :2, 2:, 2:].mean().item() - 0.5) < 0.05


def test_motion_blur_smears_a_point_to_one_side_by_a_gaussian():
    point = torch.zeros(6, 1, 48, 48)
    point[:, :, 24, 24] = 1.0
    for severity, radius, sigma in ((1, 6, 1.0), (5, 9, 2.5)):
        smeared = corrupted(point, "motion_blur", severity)
        assert smeared.sum((1, 2, 3)).tolist() == pytest.approx([1.0] * 6, abs=1e-5)
        assert smeared[..., 25:].abs().max() == 0
        weights = stats.norm.pdf(np.arange(2 * radius + 1), scale=sigma)
        assert smeared[:, 0, 24, 24].tolist() == pytest.approx([weights[0] / weights.sum()] * 6, abs=1e-5)
        rows, columns = smeared[:, 0].nonzero()[:, 1] - 24, smeared[:, 0].nonzero()[:, 2] - 24
        assert (rows.abs() <= columns.abs() + 1).all()  # at most 45 degrees from level


def test_zoom_blur_of_a_ramp_is_a_flatter_ramp():
    x = torch.linspace(-0.4, 0.4, 33)
    ramp = (0.5 + x).expand(1, 1, 33, 33).contiguous()
    for severity, end in enumerate((1.06, 1.11, 1.16, 1.21, 1.26), 1):  # as published; NumPy's first two have one more
        factors = np.arange(1, end, 0.01)
        flatter = (1 + (1 / factors).sum()) / (len(factors) + 1)
        np.testing.assert_allclose(
            corrupted(ramp, "zoom_blur", severity), (0.5 + flatter * x).expand(1, 1, 33, 33), atol=1e-5
        )


def test_fog_on_white_reaches_from_its_thickest_to_nothing():
    white = torch.ones(3, 3, 32, 32)
    for severity, amount in ((1, 0.2), (5, 1.5)):
        foggy = corrupted(white, "fog", severity)
        assert foggy.amin((1, 2, 3)).tolist() == pytest.approx([1 / (1 + amount)] * 3, abs=1e-6)
        assert foggy.amax((1, 2, 3)).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    assert torch.equal(foggy[:, 0], foggy[:, 1])  # fog is grey


def test_plasma_is_smooth_where_it_decays_fast_and_joins_itself():
    def numbers():
        shape = torch.Size((8, 1, 32, 32))
        return Numbers(CountedRandom(0, STREAM, range(8)), torch.zeros(8, dtype=torch.int64), shape)

    rough, smooth = (plasma_fractal(32, decay, numbers()) for decay in (1.75, 3.0))
    steps = [one.diff(dim=2).abs().mean() for one in (rough, smooth)]
    assert steps[1] < 0.8 * steps[0]
    across = (smooth[:, :, -1] - smooth[:, :, 0]).abs().mean()
    assert across < 2 * steps[1]


@pytest.mark.parametrize(("severity", "added"), [*zip(SEVERITIES, (0.05, 0.1, 0.15, 0.2, 0.3), strict=True)])
def test_brightness_is_colorsys(pictures, severity, added):
    def change(h, s, v):
        return h, s, min(v + added, 1.0)

    check_hsv(pictures, "brightness", severity, change)


@pytest.mark.parametrize(
    ("severity", "factor", "addend"),
    [(1, 0.3, 0.0), (2, 0.1, 0.0), (3, 1.5, 0.0), (4, 2.0, 0.1), (5, 2.5, 0.2)],
)
def test_saturate_is_colorsys(pictures, severity, factor, addend):
    def change(h, s, v):
        return h, min(s * factor + addend, 1.0), v

    check_hsv(pictures, "saturate", severity, change)


def check_hsv(pictures, name, severity, change):
    some = pictures[:1, :, ::5, ::5].clone()
    some[0, :, 0, 0], some[0, :, 0, 1], some[0, :, 0, 2] = 0.0, 0.5, 1.0
    pixels = some[0].flatten(1).T.tolist()
    wanted = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in pixels]
    np.testing.assert_allclose(corrupted(some, name, severity)[0].flatten(1).T, wanted, atol=1e-5)


@pytest.mark.parametrize(("severity", "factor"), [*zip(SEVERITIES, (0.75, 0.5, 0.4, 0.3, 0.15), strict=True)])
def test_contrast_keeps_the_mean_and_scales_the_spread(pictures, severity, factor):
    flat = corrupted(pictures, "contrast", severity)
    assert torch.allclose(flat.mean((2, 3)), pictures.mean((2, 3)), atol=1e-5)
    assert torch.allclose(flat.std((2, 3)), factor * pictures.std((2, 3)), rtol=1e-4)


@pytest.mark.parametrize(("severity", "share"), [*zip(SEVERITIES, (0.95, 0.9, 0.85, 0.75, 0.65), strict=True)])
def test_pixelate_is_pillows(pictures, severity, share):
    side = int(32 * share)
    for picture in pictures:
        image = Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())
        wanted = image.resize((side, side), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
        exact = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255.0
        found = corrupted(exact, "pixelate", severity)[0].permute(1, 2, 0) * 255
        np.testing.assert_allclose(found, np.asarray(wanted), atol=1.01)


@pytest.mark.parametrize(("severity", "quality"), [*zip(SEVERITIES, (80, 65, 58, 50, 40), strict=True)])
def test_jpeg_is_pillows(pictures, severity, quality):
    image = Image.fromarray((pictures[0] * 255).round().byte().permute(1, 2, 0).numpy())
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=quality)
    wanted = np.asarray(Image.open(stored)).astype(float)
    found = corrupted(pictures[:1], "jpeg_compression", severity)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(found - wanted).max() <= 3  # two builds of one library round their colours differently


@pytest.mark.parametrize(
    ("images", "name", "severity", "message"),
    [
        (torch.rand(1, 3, 8, 8), "frost", 1, "'frost' is unknown; it must be one of gaussian_noise"),
        (torch.rand(1, 3, 8, 8), "fog", 0, "severity is 0"),
        (torch.rand(1, 4, 8, 8), "fog", 1, "expected floats"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "fog", 1, "expected floats"),
        (torch.rand(1, 3, 8, 8) * 255, "fog", 1, "expected 0 to 1"),
        (torch.full((1, 3, 8, 8), float("nan")), "fog", 1, "expected 0 to 1"),
    ],
)
def test_wrong_arguments_are_refused(images, name, severity, message):
    with pytest.raises(ValueError, match=message):
        corrupted(images, name, severity)
