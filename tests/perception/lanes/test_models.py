"""Lane models in folders: made, trained, loaded; what is no lane model is refused."""

import json

import pytest
import torch

from perception.lanes.learning import LaneLesson
from perception.lanes.models import NETWORKS, LaneRecipe, lane_loss, lane_training, load_lane_model, make_network
from perception.lanes.row_anchor import RowAnchor
from perception.lanes.segmentation import Segmentation
from perception.model_folder import FACTS, ModelFacts, load_facts, save_model


@pytest.fixture(params=NETWORKS)
def stored(request, tmp_path):
    network, facts = make_network(LaneRecipe(request.param, 1))
    save_model(tmp_path / "model", facts, network.state_dict())
    return tmp_path / "model", network.eval()


def test_a_loaded_model_says_the_same(stored):
    folder, network = stored
    images = torch.randint(0, 256, (2, 3, 192, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = load_lane_model(folder)
    assert not model.training and torch.equal(model.predict(images), network.predict(images))
    assert len(model.predict(images[:0])) == 0
    assert load_facts(folder).classes == (model.config.classes if isinstance(model, Segmentation) else NAMES)


NAMES = ("next left", "left", "right", "next right")


def change(folder, **entries):
    path = folder / FACTS
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_what_is_no_lane_model_is_refused(stored, tmp_path):
    folder, network = stored
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load_lane_model(tmp_path)
    facts = load_facts(folder)
    change(folder, network=facts.network | {"wheels": 4})
    with pytest.raises(ValueError, match=r"describes another .* network: .*wheels"):
        load_lane_model(folder)
    change(folder, network=facts.network | {"neck": 16})
    with pytest.raises(ValueError, match="is of another network"):
        load_lane_model(folder)
    other = next(name for name in NETWORKS if name != facts.kind)
    change(folder, network=facts.network, kind=other)
    with pytest.raises(ValueError, match=r"another"):
        load_lane_model(folder)
    save_model(folder, ModelFacts("one-stage", ("car",), {}), network.state_dict())
    with pytest.raises(ValueError, match="kind 'one-stage', which finds no lanes; known: row-anchor, segmentation"):
        load_lane_model(folder)


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="must be one of row-anchor, segmentation"):
        LaneRecipe("unet", 10)


def test_each_network_has_its_loss():
    images = torch.zeros(2, 3, 192, 320, dtype=torch.uint8)
    lesson = LaneLesson(images, torch.full((2, 4, 28), 50.0), torch.zeros(2, 192, 320, dtype=torch.uint8))
    for name, part in zip(NETWORKS, ("place", "entropy"), strict=True):
        network, _ = make_network(LaneRecipe(name, 1))
        parts = lane_loss(network, lesson)
        assert parts["loss"] > parts[part] > 0
    assert isinstance(make_network(LaneRecipe("row-anchor", 1))[0], RowAnchor)


def test_a_training_can_be_stopped_and_goes_on(tmp_path):
    recipe = LaneRecipe("row-anchor", 4, batch=2, threads=1)
    whole = lane_training(recipe, tmp_path / "whole")
    whole.run(progress=False)
    begun = lane_training(recipe, tmp_path / "parts")
    begun.settings = type(begun.settings)(**vars(begun.settings) | {"time_limit_s": 1e-9})
    begun.run(progress=False)
    assert begun.step == 1
    lane_training(recipe, tmp_path / "parts").run(progress=False)
    one, other = (load_lane_model(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(FileExistsError, match="another training"):
        lane_training(LaneRecipe("segmentation", 4, batch=2, threads=1), tmp_path / "parts")
