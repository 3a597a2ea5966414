import csv
import dataclasses

import pytest
import torch

from perception.classification.datasets import DataSet, Labelled
from perception.classification.networks import NetworkConfig, build, fill_backbone, load_classifier
from perception.classification.scores import score
from perception.classification.transfer import (
    TUNING_RATE,
    VIEWS,
    FeatureBatches,
    LabelledBatches,
    Recipe,
    config_for,
    spread,
    train,
)
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


@pytest.fixture(scope="module")
def frozen():
    torch.manual_seed(0)
    classifier = build(NetworkConfig("efficientnet-lite0", ("a", "b"), 1, 12, 12, resolution=32))
    fill_backbone(classifier)
    classifier.freeze(len(classifier.features))
    return classifier


def test_features_are_those_of_the_pictures_and_computed_once(frozen, monkeypatch):
    pictures = quarters(10, 0)
    batches = FeatureBatches(frozen, pictures, 4, 0, False, 0)
    passed = []
    forward = frozen.features.forward
    monkeypatch.setattr(frozen.features, "forward", lambda images: (passed.append(len(images)), forward(images))[1])
    with torch.no_grad():
        wanted = frozen.eval()(pictures.images)
    plain = LabelledBatches(pictures, 4, 0)
    passed.clear()
    for _ in range(6 * VIEWS * 10 // 4):
        features, labels = next(batches)
        _, same = next(plain)
        assert torch.equal(labels, same)
        assert not features.requires_grad
    rows, _ = batches.rows()
    torch.testing.assert_close(frozen.head(next(batches)[0]), wanted[rows], rtol=1e-4, atol=1e-5)
    assert sum(passed) == VIEWS * 10


def test_features_after_a_resumption_are_the_same_bit_for_bit(frozen):
    """Sums of floats depend on who is computed together: a resumed run must compute the same groups."""
    pictures = quarters(50, 0)
    whole = FeatureBatches(frozen, pictures, 16, 0, True, 2)
    wanted = [next(whole) for _ in range(20)]
    for stop in (3, 7, 14):
        resumed = FeatureBatches(frozen, pictures, 16, 0, True, 2)
        resumed.load_state_dict({"position": stop})
        for features, labels in wanted[stop:]:
            again, same = next(resumed)
            assert torch.equal(features, again) and torch.equal(labels, same)


def test_features_differ_from_view_to_view_and_not_by_where_one_begins(frozen):
    pictures = quarters(6, 0)
    batches = FeatureBatches(frozen, pictures, 6, 1, True, 2)
    views = []
    for _ in range(VIEWS + 1):
        order = batches.rows()[0].argsort()
        views.append(next(batches)[0][order])
    assert not torch.allclose(views[0], views[1], rtol=0.05)
    assert views[0].abs().max() > 0.1
    assert torch.equal(views[0], views[VIEWS])
    again = FeatureBatches(frozen, pictures, 6, 1, True, 2)
    again.load_state_dict({"position": 2})
    order = again.rows()[0].argsort()
    torch.testing.assert_close(next(again)[0][order], views[2], rtol=1e-4, atol=1e-5)


def test_a_picture_has_the_same_features_in_any_batch(frozen):
    pictures = quarters(10, 0)

    def first_view(batch):
        batches, found = FeatureBatches(frozen, pictures, batch, 1, True, 2), {}
        for _ in range(-(-10 // batch)):
            rows, epochs = batches.rows()
            features, _ = next(batches)
            found |= {int(row): one for row, epoch, one in zip(rows, epochs, features, strict=True) if epoch == 0}
        return torch.stack([found[row] for row in range(10)])

    torch.testing.assert_close(first_view(3), first_view(10), rtol=1e-3, atol=1e-4)


def test_a_plain_net_learns_and_its_folder_gives_it_back(data, tmp_path):
    recipe = Recipe("plain", steps=60, batch=32)
    classifier = train(recipe, data, tmp_path / "run")
    found = score(classifier, data.test.images, data.test.labels)
    assert found.top1 > 0.9
    again = load_classifier(tmp_path / "run")
    averaged = load_classifier(tmp_path / "run/scratch").state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in again.state_dict().items())
    assert all(torch.equal(value, averaged[name]) for name, value in classifier.state_dict().items())
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
    rates = []
    for part in ("head", "last-3-stages"):
        rows = csv.DictReader((tmp_path / "run" / part / "metrics.csv").read_text("utf-8").splitlines())
        rates.append(max(float(row["rate"]) for row in rows))
    assert rates[1] == pytest.approx(TUNING_RATE * rates[0])
    head = load_classifier(tmp_path / "run/head").state_dict()
    assert all(torch.equal(head[name], shipped[name]) for name in head if name.startswith("features."))


def test_frozen_stages_have_no_gradients_and_the_others_do():
    classifier = build(NetworkConfig("resnet", ("a", "b"), 1, 12, 12))
    for stages in (0, 2, 4):
        classifier.freeze(stages)
        learning = [all(one.requires_grad for one in stage.parameters()) for stage in classifier.features]
        assert learning == [False] * stages + [True] * (4 - stages)


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
