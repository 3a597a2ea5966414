import pytest
import torch
from torch import nn

from perception.trust.explanation_trial import (
    CHANCE,
    METHODS,
    Explained,
    explanation_row,
    maps_of,
    mass_inside,
)
from perception.trust.explanations import class_chance, class_score
from tests.perception.trust.small_net import spots, trained


@pytest.fixture(scope="module")
def explained():
    images, labels = spots(12, seed=5)
    model = trained()
    quarters = torch.stack((labels % 2, labels // 2, labels % 2 + 1, labels // 2 + 1), dim=1) * 6.0
    return Explained(
        model,
        images,
        lambda part: class_score(model, labels[part]),
        lambda part: class_chance(model, labels[part]),
        model.features[-1:],
        quarters,
    )


@pytest.mark.parametrize("method", METHODS)
def test_maps_beat_chance_and_do_not_depend_on_the_batch(explained, method):
    row, maps = explanation_row(explained, method, batch=5)
    chance, _ = explanation_row(explained, CHANCE)
    assert maps.shape == (12, 12, 12)
    assert maps.min() >= 0
    assert row.insertion > chance.insertion
    assert row.deletion < chance.deletion
    assert row.inside > 0.3 > 0.25 * 1.15 > chance.inside  # a quarter of the picture
    assert chance.pointing < row.pointing
    assert len(row.randomised) == 3
    assert row.randomised[-1].correlation < 0.9
    assert chance.randomised == ()
    if method != "SmoothGrad":  # whose noise is drawn batch by batch
        torch.testing.assert_close(maps_of(explained, method, slice(3, 9)), maps[3:9], rtol=1e-3, atol=1e-5)


def test_without_boxes_there_is_no_pointing_and_large_pictures_are_not_occluded(explained):
    bare = Explained(explained.model, explained.images, explained.score, explained.chance, explained.layers)
    row, _ = explanation_row(bare, "saliency")
    assert row.pointing is None
    assert row.inside is None
    assert bare.methods == tuple(METHODS)
    large = Explained(explained.model, torch.zeros(1, 3, 100, 120), explained.score, explained.chance, ())
    assert large.methods == tuple(name for name in METHODS if name != "occlusion")


def test_where_nothing_is_to_be_seen_stands_the_mean_colour():
    def mean(part):
        return lambda images: images.mean((1, 2, 3))

    level = Explained(nn.Identity(), torch.full((2, 3, 8, 8), 0.25), mean, mean, ())
    row, _ = explanation_row(level, CHANCE)
    assert row.insertion == pytest.approx(0.25)
    assert row.deletion == pytest.approx(0.25)


def test_several_layers_speak_together(explained):
    both = Explained(
        explained.model, explained.images, explained.score, explained.chance, list(explained.model.features)
    )
    parts = [
        maps_of(Explained(both.model, both.images, both.score, both.chance, [layer]), "HiResCAM")
        for layer in both.layers
    ]
    torch.testing.assert_close(maps_of(both, "HiResCAM"), parts[0] + parts[1])


def test_with_boxes_only_their_insides_are_compared():
    # A map of two halves: inside the box it is the weight of the model, outside always the same and much greater.
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 8, bias=False)

        def forward(self, images):
            outside = (images[:, 0, :, 8:] * torch.linspace(5, 10, 64).reshape(8, 8)).sum((1, 2))
            return (self.layer(images[..., :8])[:, 0, 0, 0] + outside)[:, None]

    torch.manual_seed(0)
    model = Scaled().eval()

    def score(part):
        return lambda images: model(images)[:, 0]

    found = []
    for boxes in (None, torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 2)):
        one = Explained(model, torch.rand(2, 1, 8, 16), score, score, (), boxes)
        found.append(explanation_row(one, "saliency")[0].randomised[-1].correlation)
    assert found[0] > 0.7
    assert abs(found[1]) < 0.4


def test_the_mass_inside_counts_pixel_middles():
    maps = torch.ones(2, 4, 5)
    maps[1] = 0
    boxes = torch.tensor([[0.6, 0.0, 3.4, 2.0], [0.0, 0.0, 5.0, 4.0]])
    assert mass_inside(maps, boxes).tolist() == [pytest.approx(2 * 2 / 20), 0.0]
