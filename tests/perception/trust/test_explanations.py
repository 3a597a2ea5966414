"""Explanations against captum, SciPy and closed forms."""

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerAttribution, LayerGradCam, LayerGradientXActivation, Occlusion, Saliency
from scipy import stats
from torch import nn

from perception.trust.explanations import (
    class_chance,
    class_score,
    grad_cam,
    insertion_deletion,
    integrated_gradients,
    occlusion,
    parameter_randomisation,
    pointing_game,
    rank_correlation,
    saliency,
    smooth_grad,
)
from tests.perception.trust.small_net import spots, trained


@pytest.fixture(scope="module", params=["plain", "resnet"])
def explained(request):
    images, labels = spots(6, seed=5)
    model = trained(request.param)
    return model, images, labels


def test_saliency_is_captums(explained):
    model, images, labels = explained
    wanted = Saliency(model).attribute(images.clone().requires_grad_(), target=labels).amax(1)
    torch.testing.assert_close(saliency(class_score(model, labels), images), wanted)


def test_integrated_gradients_are_captums(explained):
    model, images, labels = explained
    oracle = CaptumIntegratedGradients(model)
    wanted = oracle.attribute(images, baselines=0.2, target=labels, n_steps=20, method="riemann_middle")
    found = integrated_gradients(class_score(model, labels), images, 0.2, steps=20)
    torch.testing.assert_close(found.attributions, wanted, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.map, found.attributions.sum(1))


def test_integrated_gradients_are_complete(explained):
    model, images, labels = explained
    score = class_score(model, labels)
    coarse, fine = (integrated_gradients(score, images, steps=steps).gap.abs().max() for steps in (2, 256))
    with torch.no_grad():
        difference = (score(images) - score(torch.zeros_like(images))).abs().max()
    assert fine < 0.01 * difference
    assert fine < coarse


def test_grad_cam_is_captums(explained):
    model, images, labels = explained
    layer = model.features[-1]
    coarse = LayerGradCam(model, layer).attribute(images, target=labels, relu_attributions=True)
    wanted = LayerAttribution.interpolate(coarse, images.shape[2:], "bilinear")[:, 0]
    torch.testing.assert_close(grad_cam(class_score(model, labels), images, layer), wanted, rtol=1e-4, atol=1e-6)
    assert not layer._forward_hooks


def test_local_grad_cam_is_captums_gradient_times_activation(explained):
    model, images, labels = explained
    layer = model.features[-1]
    coarse = LayerGradientXActivation(model, layer).attribute(images, target=labels).sum(1, keepdim=True).relu()
    wanted = LayerAttribution.interpolate(coarse, images.shape[2:], "bilinear")[:, 0]
    found = grad_cam(class_score(model, labels), images, layer, local=True)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_grad_cam_refuses_a_layer_of_no_picture(explained):
    model, images, labels = explained
    score = class_score(model, labels)
    for layer, times in ((model.head, 1), (nn.Conv2d(3, 3, 1), 0)):
        with pytest.raises(ValueError, match=f"used {times} times"):
            grad_cam(score, images, layer)


def test_occlusion_is_captums_where_windows_do_not_overlap(explained):
    model, images, labels = explained
    oracle = Occlusion(model)
    wanted = oracle.attribute(images, sliding_window_shapes=(3, 4, 4), strides=(3, 4, 4), target=labels, baselines=0.0)
    found = occlusion(class_score(model, labels), images, window=4, stride=4)
    torch.testing.assert_close(found, wanted[:, 0], rtol=1e-4, atol=1e-5)


def test_occlusion_covers_the_last_pixels_and_averages_overlaps():
    weight = torch.rand(1, 1, 11, 11, generator=torch.Generator().manual_seed(0))
    images = torch.ones(1, 1, 11, 11)
    found = occlusion(lambda x: (x * weight).sum((1, 2, 3)), images, window=4, stride=3)
    assert (found > 0).all()
    assert found[0, 0, 0] == pytest.approx(weight[0, 0, :4, :4].sum().item())
    assert found[0, 10, 10] == pytest.approx(weight[0, 0, 7:, 7:].sum().item())


def test_a_linear_score_has_its_weights_as_every_explanation():
    weight = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    images = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(1))

    def score(x):
        return (x * weight).sum((1, 2, 3))

    steepest = weight.abs().amax(1).expand(3, -1, -1)
    assert torch.allclose(saliency(score, images), steepest)
    assert torch.allclose(smooth_grad(score, images, torch.Generator().manual_seed(0), 5), steepest)
    found = integrated_gradients(score, images, steps=1)
    assert torch.allclose(found.attributions, images * weight, atol=1e-6)
    assert found.gap.abs().max() < 1e-5


def test_smooth_grad_averages_over_the_noise():
    # |d/dx of x^3| = 3 x^2, whose mean over x + noise is 3 (x^2 + sigma^2).
    images = torch.zeros(1, 1, 40, 40)
    images[..., ::2] = 1.0
    found = smooth_grad(lambda x: (x**3).sum((1, 2, 3)), images, torch.Generator().manual_seed(0), 200, sigma=0.2)
    assert found[..., ::2].mean().item() == pytest.approx(3 * (1 + 0.04), rel=0.01)
    assert found[..., 1::2].mean().item() == pytest.approx(3 * 0.04, rel=0.02)


def test_insertion_and_deletion_areas_of_a_score_that_counts_one_pixel():
    images = torch.ones(1, 1, 4, 4)

    def score(x):
        return x[:, 0, 2, 1]

    best = torch.zeros(1, 4, 4)
    best[0, 2, 1] = 1.0
    # The pixel is the first of 16 to come: the score is 0 at the start and 1 from the first sixteenth on.
    inserted, deleted = insertion_deletion(score, images, best, steps=16)
    assert inserted.item() == pytest.approx(1 - 0.5 / 16)
    assert deleted.item() == pytest.approx(0.5 / 16)
    inserted, deleted = insertion_deletion(score, images, -best, steps=16)
    assert inserted.item() == pytest.approx(0.5 / 16)
    assert deleted.item() == pytest.approx(1 - 0.5 / 16)


def test_a_trained_nets_maps_beat_chance(explained):
    model, images, labels = explained
    chance = class_chance(model, labels)
    found = occlusion(class_score(model, labels), images, window=2, stride=1)
    lots = torch.rand(found.shape, generator=torch.Generator().manual_seed(0))
    good, random = (torch.stack(insertion_deletion(chance, images, one)).mean(1) for one in (found, lots))
    assert good[0] > random[0]
    assert good[1] < random[1]
    quarters = torch.stack((labels % 2, labels // 2, labels % 2 + 1, labels // 2 + 1), dim=1) * 6.0
    assert pointing_game(found, quarters).double().mean() >= 0.8


def test_the_pointing_game_counts_pixel_middles():
    maps = torch.zeros(2, 5, 6)
    maps[:, 3, 4] = 1.0
    boxes = torch.tensor([[4.0, 3.0, 5.0, 4.0], [0.0, 0.0, 4.4, 5.0]])
    assert pointing_game(maps, boxes).tolist() == [True, False]


def test_rank_correlation_is_scipys_ties_included():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(3, 7, 7, generator=generator), torch.rand(3, 7, 7, generator=generator).round(decimals=1)
    second = second + first.round(decimals=1)
    wanted = [stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second).tolist() == pytest.approx(wanted)
    assert rank_correlation(first, torch.zeros(3, 7, 7)).tolist() == [0, 0, 0]


def test_random_weights_change_an_honest_explanation_and_not_a_picture_of_the_input(explained):
    model, images, labels = explained
    before = {name: value.clone() for name, value in model.state_dict().items()}
    honest = parameter_randomisation(model, lambda one: saliency(class_score(one, labels), images))
    assert honest[0].layer.startswith("head")
    assert honest[-1].layer.startswith("features.0")
    assert abs(honest[-1].correlation) < 0.5
    edges = parameter_randomisation(model, lambda one: images.mean(1))
    assert all(one.correlation == pytest.approx(1.0) for one in edges)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_randomisation_looks_after_some_layers_and_leaves_unused_ones(explained):
    model, images, labels = explained
    layers = [name for name, one in model.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)][::-1]

    def explain(one):
        return saliency(class_score(one, labels), images)

    for looks, wanted in ((2, [layers[0], layers[-1]]), (1, layers[:1]), (100, layers)):
        assert [one.layer for one in parameter_randomisation(model, explain, looks=looks)] == wanted
    unused = tuple(layers[:1])
    before = model.get_submodule(unused[0]).weight.clone()
    seen = []
    found = parameter_randomisation(
        model, lambda one: (seen.append(one.get_submodule(unused[0]).weight.clone()), images.mean(1))[1], unused=unused
    )
    assert [one.layer for one in found] == layers[1:]
    assert all(torch.equal(weight, before) for weight in seen)


def test_a_window_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="window 9 and stride 1: 1 <= stride <= window <= 8"):
        occlusion(lambda x: x.sum((1, 2, 3)), torch.rand(1, 1, 8, 8), window=9, stride=1)
