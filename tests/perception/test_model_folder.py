"""Models on disk: what does not fit is refused."""

import pytest
import torch
from torch import nn

from perception.model_folder import FACTS, WEIGHTS, ModelFacts, load_facts, load_weights, save_model

ABOUT = ModelFacts("one-stage", ("car", "van"), {"width": 320}, {"steps": 5})


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "m", ABOUT, nn.Linear(2, 3).state_dict())
    return tmp_path / "m"


def test_a_model_comes_back(folder):
    assert load_facts(folder, "one-stage") == ABOUT
    torch.manual_seed(0)
    same, other = nn.Linear(2, 3), nn.Linear(2, 3)
    load_weights(folder, other)
    assert torch.equal(same.weight, other.weight) and torch.equal(same.bias, other.bias)
    assert sorted(path.name for path in folder.iterdir()) == [FACTS, WEIGHTS]


def test_what_does_not_fit_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load_facts(tmp_path)
    with pytest.raises(ValueError, match="kind 'one-stage'; expected 'lstm'"):
        load_facts(folder, "lstm")
    with pytest.raises(ValueError, match=r"another network: weight has shape .*\[3, 2\].*\[3, 4\]"):
        load_weights(folder, nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"another network: 0\.weight has shape None"):
        load_weights(folder, nn.Sequential(nn.Linear(2, 3)))
    (folder / FACTS).write_text('{"schema": 99, "kind": "x", "classes": [], "network": {}, "training": {}}')
    with pytest.raises(ValueError, match="schema 99"):
        load_facts(folder)
    (folder / FACTS).write_text("{")
    with pytest.raises(ValueError, match="no model description"):
        load_facts(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:40])
    with pytest.raises(ValueError, match="cannot be read"):
        load_weights(folder, nn.Linear(2, 3))
