import dataclasses

import pytest
import torch

from perception.classification.datasets import DataSet, Labelled
from perception.classification.networks import build, load_classifier
from perception.classification.scores import score
from perception.classification.transfer import LabelledBatches, Recipe, config_for, spread, train
from perception.shipped_weights import EFFICIENTNET_LITE0, load_shipped, our_names


def quarters(count, seed):
    """Pictures of which one quarter is bright, and which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 120, (count, 1, 12, 12), generator=generator, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        row, column = 6 * (label // 2), 6 * (label % 2)
        images[i, :, row : row + 6, column : column + 6] += 100
    return Labelled(images, labels)


@pytest.fixture(scope="module")
def data():
    return DataSet("quarters", ("a", "b", "c", "d"), quarters(200, 0), quarters(80, 1), quarters(40, 2), shift=1)


def test_an_epoch_shows_every_picture_once_and_epochs_differ():
    pictures = Labelled(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10))
    batches = LabelledBatches(pictures, 4, seed=0)
    labels = torch.cat([next(batches)[1] for _ in range(5)])
    assert sorted(labels[:10].tolist()) == sorted(labels[10:].tolist()) == list(range(10))
    assert not torch.equal(labels[:10], labels[10:])
    large = LabelledBatches(pictures, 25, seed=0)
    counts = next(large)[1].bincount()
    assert counts.sum() == 25
    assert set(counts.tolist()) == {2, 3}


def test_batches_go_on_from_a_position(data):
    batches = LabelledBatches(data.train, 16, seed=3, mirrored=True, shift=2)
    for _ in range(5):
        next(batches)
    state, wanted = batches.state_dict(), next(batches)
    again = LabelledBatches(data.train, 16, seed=3, mirrored=True, shift=2)
    again.load_state_dict(state)
    assert all(torch.equal(one, other) for one, other in zip(next(again), wanted, strict=True))


def test_pictures_are_moved_by_whole_pixels_and_mirrored():
    one = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    one[..., 4, 4] = 1
    one[..., 4, 5] = 2
    pictures = Labelled(one.repeat(400, 1, 1, 1), torch.zeros(400, dtype=torch.int64))
    images, _ = next(LabelledBatches(pictures, 400, seed=0, mirrored=True, shift=2))
    peak = (images == 1).flatten(1).int().argmax(1)
    assert set((peak // 9).tolist()) == {2, 3, 4, 5, 6}
    assert set((peak % 9).tolist()) == {2, 3, 4, 5, 6}
    other = (images == 2).flatten(1).int().argmax(1)
    mirrored = (other < peak).double().mean()
    assert 0.4 < mirrored < 0.6
    still, _ = next(LabelledBatches(pictures, 4, seed=0))
    assert torch.equal(still, pictures.images[:4])


def test_a_plain_net_learns_and_its_folder_gives_it_back(data, tmp_path):
    recipe = Recipe("plain", steps=60, batch=32)
    classifier = train(recipe, data, tmp_path / "run")
    found = score(classifier, data.test.images, data.test.labels)
    assert found.top1 > 0.9
    again = load_classifier(tmp_path / "run")
    assert score(again, data.test.images, data.test.labels) == found
    assert again.config.classes == data.classes
    finished = train(recipe, data, tmp_path / "run")  # nothing is left to do
    assert score(finished, data.test.images, data.test.labels) == found
    with pytest.raises(FileExistsError, match="another training"):
        train(dataclasses.replace(recipe, rate=1e-3), data, tmp_path / "run")


def test_normalisation_is_of_the_training_pictures(data):
    config = config_for(Recipe("plain"), data)
    prepared = build(config).prepared(data.train.images)
    assert abs(float(prepared.mean())) < 1e-4
    assert float(prepared.std()) == pytest.approx(1.0, abs=1e-3)


def test_fine_tuning_changes_the_head_and_the_last_stages_alone(data, tmp_path):
    recipe = Recipe("efficientnet-lite0", share=0.2, steps=4, batch=4, resolution=32, tuned=3)
    classifier = train(recipe, data, tmp_path / "run")
    shipped = our_names(load_shipped(EFFICIENTNET_LITE0))
    weights = classifier.state_dict()
    kept = {name for name in shipped if name in weights and torch.equal(weights[name], shipped[name])}
    stages = {int(name.split(".")[1]) for name in weights if name.startswith("features.") and name not in kept}
    assert stages == {15, 16, 17}
    head = load_classifier(tmp_path / "run/head").state_dict()
    assert all(torch.equal(head[name], shipped[name]) for name in head if name.startswith("features."))


def test_from_scratch_has_the_whole_budget_and_no_shipped_weights(data, tmp_path):
    recipe = Recipe("efficientnet-lite0", share=0.2, steps=2, batch=4, resolution=32, scratch=True)
    assert not recipe.pretrained
    train(recipe, data, tmp_path / "run")
    assert [path.name for path in sorted((tmp_path / "run").iterdir()) if path.is_dir()] == ["scratch"]


def test_seeds_have_folders_of_their_own_and_two_test_sets(data, tmp_path):
    found = spread(Recipe("plain", steps=5, batch=8), data, tmp_path, seeds=2)
    assert [sorted(one) for one in found] == [["seen", "test"]] * 2
    assert (tmp_path / "seed-0/model.json").is_file()
    assert (tmp_path / "seed-1/model.json").is_file()


def test_wrong_recipes_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="both must be at least 2"):
        Recipe("plain", batch=1)
    with pytest.raises(ValueError, match="network is 'vgg'"):
        train(Recipe("vgg"), data, tmp_path / "run")
    with pytest.raises(ValueError, match="share is 2"):
        train(Recipe("plain", share=2), data, tmp_path / "run")
    with pytest.raises(ValueError, match="tuned is 40; the backbone has 1 to 18 stages"):
        train(Recipe("efficientnet-lite0", tuned=40), data, tmp_path / "run")
