"""scripts/finetune.py: a run is trained on under noise, resumed, and drives; mistakes are one line."""

import json

import pytest
import torch

import sim
from agents import networks, ppo
from agents.checkpoint import load_config, load_policy
from scripts import finetune

SMALL = ppo.Config(
    total_steps=64, horizon=4, minibatch_size=16, network=networks.Config(hidden=(8,)), learning_rate=1e-3
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "x"
    ppo.train(SMALL, sim.make_vec("highway-fast-v0", 8, config={"vehicles_count": 5}), out, show_progress=False)
    return out


def tune(start, out, *more, **options):
    return finetune.main(finetune.Arguments(start, out, *more, **({"total_steps": 64, "seed": 7} | options)))


def test_a_run_is_trained_on_and_resumed(trained, tmp_path):
    tune(trained, tmp_path / "y", total_steps=32)
    tune(trained, tmp_path / "y", resume=True)
    tune(trained, tmp_path / "whole")
    config = load_config(tmp_path / "y")
    assert config["env"]["perception_noise"] == 1.0 and config["env"]["id"] == "highway-fast-v0"
    assert config["env"]["config"]["vehicles_count"] == 5
    assert json.loads((tmp_path / "y" / "checkpoint.json").read_text())["steps"] == 64
    weights, whole, before = (
        load_policy(one).policy.state_dict() for one in (tmp_path / "y", tmp_path / "whole", trained)
    )
    assert all(torch.equal(weights[name], whole[name]) for name in weights)
    moved = [(weights[name] - before[name]).abs().max() for name in weights if name.endswith("weight")]
    assert 0 < max(moved) < 0.1  # it went on from there, not from new weights


def test_mistakes_are_named(trained, tmp_path, capsys):
    assert tune(trained, trained) == 2
    assert "is not empty" in capsys.readouterr().err
    assert tune(tmp_path / "none", tmp_path / "z") == 2
    assert "does not exist" in capsys.readouterr().err
    assert tune(trained, tmp_path / "y", threads=0) == 2
    assert "--threads is 0; it must be at least 1" in capsys.readouterr().err
    assert tune(trained, tmp_path / "y", total_steps=32) == 0
    assert tune(trained, tmp_path / "y", resume=True, scale=0.5) == 2
    assert "another env.perception_noise: it has 1.0, asked for 0.5" in capsys.readouterr().err
