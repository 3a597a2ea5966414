"""scripts/train.py on the real simulator: a few steps, a resumption, and one clear line for each mistake."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

import sim
from agents import dqn, networks, ppo
from agents.checkpoint import load_policy
from agents.presets import config_for
from scripts import train

PICTURES = {
    "observation": {
        "type": "GrayscaleObservation",
        "observation_shape": [48, 24],
        "stack_size": 2,
        "weights": [0.2989, 0.5870, 0.1140],
        "scaling": 1.5,
    }
}
SMALL = ["--num-envs", "8", "--horizon", "4", "--hidden", "8", "--total-steps"]


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    train.main(train.parse())


def steps(run_dir: Path) -> int:
    return json.loads((run_dir / "checkpoint.json").read_text())["steps"]


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_run_is_trained_resumed_and_drives(algo, tmp_path, monkeypatch, device):
    out, env_config = tmp_path / "run", tmp_path / "env.json"
    env_config.write_text(json.dumps({"duration": 5, "vehicles_count": 5}))
    on = ["--device", str(device)]
    run(monkeypatch, "--algo", algo, "--out", str(out), "--env-config", str(env_config), *SMALL, "64", *on)
    driver = load_policy(out)
    assert driver.config["env"]["id"] == "highway-fast-v0"
    assert driver.config["env"]["config"]["vehicles_count"] == 5
    assert driver.config["spaces"]["presence"] == 0
    assert steps(out) == 64
    run(monkeypatch, "--out", str(out), "--resume", "--total-steps", "128", *on)
    assert steps(out) == 128


@pytest.mark.parametrize(
    ("env", "config", "shape", "torso"),
    [
        ("parking-v0", {}, [12], networks.MlpTorso),
        ("lane-keeping-v0", {}, [12], networks.MlpTorso),
        ("racetrack-v0", {}, [2, 12, 12], networks.CnnTorso),
        ("two-way-v0", {}, [3, 3, 5], networks.MlpTorso),
        ("intersection-v1", {}, [5, 8], networks.MlpTorso),
        ("highway-fast-v0", PICTURES, [2, 48, 24], networks.PixelTorso),
        ("merge-v0", {"action": {"type": "DiscreteAction"}}, [5, 5], networks.LaneTorso),
    ],
)
def test_ppo_trains_on_every_kind_of_observation_and_action(env, config, shape, torso, tmp_path, monkeypatch, device):
    """One iteration; the driver then drives an episode."""
    out, env_config = tmp_path / "run", tmp_path / "env.json"
    env_config.write_text(json.dumps(config))
    arguments = ["--env", env, "--env-config", str(env_config), "--out", str(out), "--device", str(device)]
    run(monkeypatch, *arguments, *SMALL, "32")
    driver = load_policy(out)
    assert steps(out) == 32
    assert driver.config["spaces"]["observation"] == shape
    assert type(driver.policy.actor_torso) is torso
    assert driver.config["config"]["gamma"] == config_for("ppo", driver.config["env"]["config"]).gamma
    envs = sim.make_vec(env, num_envs=3, config=config, autoreset_mode="Disabled")
    driver.prepare(envs)
    observation, _ = envs.reset(seed=0)
    for _ in range(3):
        observation, *_ = envs.step(driver.act(observation))


def test_dqn_and_several_agents_are_told_where_to_go(tmp_path, monkeypatch):
    for arguments, message in (
        (["--algo", "dqn", "--env", "racetrack-v0"], "needs discrete actions; train continuous ones with ppo"),
        (["--env", "intersection-multi-agent-v0"], "intersection-multi-agent-v0 takes the actions of 2 agents at once"),
    ):
        with pytest.raises(ValueError, match=message):
            run(monkeypatch, *arguments, "--out", str(tmp_path / "run"), *SMALL, "32")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seen", [{}, PICTURES], ids=["rows", "pictures"])
@pytest.mark.parametrize("algorithm", [ppo, dqn])
def test_a_run_in_the_simulator_resumes_to_the_same_weights(algorithm, seen, tmp_path):
    config = algorithm.Config(total_steps=8 * 64, horizon=16, network=networks.Config(hidden=(8,)))
    if algorithm is dqn:
        config = dataclasses.replace(config, learning_starts=64, batch_size=32)

    def stop_halfway(metrics: dict[str, float]) -> None:
        if metrics["steps"] == 8 * 32:
            raise KeyboardInterrupt

    def go(run_dir: Path | None, resume: bool = False, stop=None) -> dict[str, torch.Tensor]:
        envs = sim.make_vec("highway-fast-v0", num_envs=8, config={"vehicles_count": 5, "duration": 10} | seen)
        return algorithm.train(config, envs, run_dir, resume, False, stop).policy.state_dict()

    whole = go(None)
    half = go(tmp_path / "run", stop=stop_halfway)
    resumed = go(tmp_path / "run", resume=True)
    assert any(not torch.equal(whole[name], half[name]) for name in whole)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "does not exist"),
        (["--device", "cuda:99"], "device 'cuda:99' is not available"),
        (["--env", "highway-fats-v0"], "highway-fast-v0"),
        (["--env-config", "{tmp}/none.json"], "none.json"),
        (["--env-config", "{tmp}/bad.json"], "bad.json is not JSON"),
        (["--env-config", "{tmp}/list.json"], "list.json must hold a JSON object"),
    ],
)
def test_each_mistake_is_one_clear_line_and_leaves_no_folder(arguments, message, tmp_path, monkeypatch):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    out = tmp_path / "run"
    with pytest.raises((ValueError, OSError), match=message) as caught:
        run(monkeypatch, "--out", str(out), *(argument.format(tmp=tmp_path) for argument in arguments))
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_folder_in_use_is_refused(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        run(monkeypatch, "--out", str(tmp_path))
