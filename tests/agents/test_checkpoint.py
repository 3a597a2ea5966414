"""Run folders: what is in them, what survives an interruption, and what is said of damaged ones."""

import csv
import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from agents import checkpoint, dqn, networks, ppo
from tests.agents.identity import GoalEnvs, IdentityEnvs

ROOT = Path(__file__).parents[2]
NETWORK = networks.Config(hidden=(8,))
PPO = ppo.Config(total_steps=4 * 16 * 8, minibatch_size=64, network=NETWORK)
DQN = dqn.Config(total_steps=4 * 16 * 8, learning_starts=64, batch_size=32, buffer_size=400, network=NETWORK)


@pytest.fixture(params=["ppo", "dqn"])
def trained(request, tmp_path):
    """A finished run's folder, and the driver that its training returned."""
    module, config = {"ppo": (ppo, PPO), "dqn": (dqn, DQN)}[request.param]
    return tmp_path / "run", module.train(config, IdentityEnvs(8), tmp_path / "run", show_progress=False)


@pytest.fixture
def run_dir(tmp_path):
    """The folder of a finished PPO run."""
    ppo.train(PPO, IdentityEnvs(8), tmp_path / "run", show_progress=False)
    return tmp_path / "run"


def test_a_loaded_policy_drives_as_the_trained_one(trained, device):
    run_dir, driver = trained
    loaded = checkpoint.load_policy(run_dir, device)
    observation = torch.rand(50, 4)
    assert loaded.sees == "features"
    loaded.reset(torch.ones(50, dtype=torch.bool))
    assert loaded.act(observation.to(device)).tolist() == driver.act(observation).tolist()
    assert torch.equal(loaded.act(observation.numpy()).cpu(), driver.act(observation))
    label, scores = loaded.scores(observation)
    assert label in ("probability", "Q value")
    assert torch.equal(scores.argmax(-1).cpu(), driver.act(observation))


def test_a_run_folder_says_what_was_trained(trained):
    run_dir, driver = trained
    content = json.loads((run_dir / "config.json").read_text())
    assert content == json.loads(json.dumps(driver.config))
    assert content["env"] == {
        "id": "identity",
        "config": {"size": 4, "length": 8},
        "num_envs": 8,
        "precision": "float32",
    }
    assert content["config"]["network"]["hidden"] == [8]
    assert content["versions"]["torch"] == torch.__version__.split("+")[0]
    env = checkpoint.load_config(run_dir)["env"]
    assert (env["id"], env["config"]) == ("identity", {"size": 4, "length": 8})
    module = {"ppo": ppo, "dqn": dqn}[content["algo"]]
    assert checkpoint.restored(module.Config, content["config"]) == {"ppo": PPO, "dqn": DQN}[content["algo"]]
    names = {path.name for path in run_dir.iterdir()}
    assert {"policy.safetensors", "checkpoint.safetensors", "checkpoint.json", "metrics.csv"} < names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.endswith((".tmp", ".pt", ".pkl", ".zip")) for name in names)
    with (run_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["steps"]) for row in rows] == [128, 256, 384, 512]
    assert {"steps_per_s", "episode_return", "crash_rate"} < rows[0].keys()


def test_metrics_of_a_resumed_run_are_those_of_an_uninterrupted_one(tmp_path):
    """Rows written after the last checkpoint, here a third one and half a fourth, are written anew."""

    def stop_after_two(metrics: dict[str, float]) -> None:
        if metrics["steps"] == 256:
            raise KeyboardInterrupt

    ppo.train(PPO, IdentityEnvs(8), tmp_path / "a", show_progress=False)
    ppo.train(PPO, IdentityEnvs(8), tmp_path / "b", show_progress=False, on_iteration=stop_after_two)
    last = (tmp_path / "b/metrics.csv").read_text().splitlines()[-1]
    with (tmp_path / "b/metrics.csv").open("a") as file:
        file.write(last.replace("256", "384", 1) + "\n51")
    ppo.train(PPO, IdentityEnvs(8), tmp_path / "b", resume=True, show_progress=False)

    def rows(name: str) -> list[dict[str, str]]:
        with (tmp_path / name / "metrics.csv").open() as file:
            clocks = ("elapsed_s", "steps_per_s")
            return [{k: v for k, v in row.items() if k not in clocks} for row in csv.DictReader(file)]

    assert [row["steps"] for row in rows("b")] == ["128", "256", "384", "512"]
    assert [row["policy_loss"] for row in rows("a")] == [row["policy_loss"] for row in rows("b")]


def test_a_crash_loses_only_what_came_after_the_last_checkpoint(tmp_path):
    def fail_in_the_third(metrics: dict[str, float]) -> None:
        if metrics["steps"] == 384:
            raise RuntimeError("power cut")

    config = dataclasses.replace(PPO, checkpoint_every_s=0.0)
    with pytest.raises(RuntimeError, match="power cut"):
        ppo.train(config, IdentityEnvs(8), tmp_path / "run", show_progress=False, on_iteration=fail_in_the_third)
    assert json.loads((tmp_path / "run/checkpoint.json").read_text())["steps"] == 256
    checkpoint.load_policy(tmp_path / "run")


def test_a_finished_run_that_is_resumed_with_a_larger_budget_goes_on(run_dir):
    longer = dataclasses.replace(PPO, total_steps=6 * 16 * 8)
    ppo.train(longer, IdentityEnvs(8), run_dir, resume=True, show_progress=False)
    assert json.loads((run_dir / "checkpoint.json").read_text())["steps"] == 6 * 16 * 8


def test_a_folder_in_use_is_never_overwritten(run_dir):
    before = {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    with pytest.raises(FileExistsError, match="is not empty: pick another, or resume"):
        ppo.train(PPO, IdentityEnvs(8), run_dir)
    assert before == {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir()}


@pytest.mark.parametrize(
    ("config", "envs", "message"),
    [
        (
            dataclasses.replace(PPO, gamma=0.5),
            IdentityEnvs(8),
            "another config.gamma: it has 0.97, asked for 0.5",
        ),
        (PPO, IdentityEnvs(4), "another env.num_envs: it has 8, asked for 4"),
        (PPO, IdentityEnvs(8, length=5), "another env.config.length"),
    ],
)
def test_a_run_is_resumed_only_as_it_was(run_dir, config, envs, message):
    with pytest.raises(ValueError, match=message):
        ppo.train(config, envs, run_dir, resume=True)


def test_resuming_nothing_is_an_error(tmp_path, run_dir):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ppo.train(PPO, IdentityEnvs(8), tmp_path / "none", resume=True)
    with pytest.raises(ValueError, match="name the run folder"):
        ppo.train(PPO, IdentityEnvs(8), resume=True)
    (run_dir / "checkpoint.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no checkpoint\.safetensors"):
        ppo.train(PPO, IdentityEnvs(8), run_dir, resume=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_checkpoint_is_an_error(run_dir):
    path = run_dir / "checkpoint.safetensors"
    tensors = safetensors.torch.load_file(path)
    del tensors["learner.observation"]
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata()
    safetensors.torch.save_file(tensors, path, header)
    with pytest.raises(ValueError, match="does not fit this run: 'observation'"):
        ppo.train(PPO, IdentityEnvs(8), run_dir, resume=True)
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(ValueError, match="its header holds no counters"):
        ppo.train(PPO, IdentityEnvs(8), run_dir, resume=True)
    cut(path)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is corrupt"):
        ppo.train(PPO, IdentityEnvs(8), run_dir, resume=True)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda run: (run / "config.json").unlink(), FileNotFoundError, "has no config.json"),
        (lambda run: (run / "policy.safetensors").unlink(), FileNotFoundError, "has no policy.safetensors"),
        (lambda run: cut(run / "config.json"), ValueError, "config.json is corrupt"),
        (lambda run: (run / "config.json").write_text("[]"), ValueError, "config.json is corrupt: expected"),
        (
            lambda run: (run / "config.json").write_text("{}"),
            ValueError,
            "config.json is corrupt: it lacks algo",
        ),
        (lambda run: cut(run / "policy.safetensors"), ValueError, "policy.safetensors is corrupt"),
        (lambda run: (run / "policy.safetensors").write_bytes(b""), ValueError, "is corrupt"),
        (lambda run: edit(run, ("config", "network", "hidden"), [9]), ValueError, "does not fit config.json"),
        (
            lambda run: edit(run, ("config", "network", "torso"), "gru"),
            ValueError,
            "does not fit config.json",
        ),
        (lambda run: edit(run, ("spaces",), {"colour": 1}), ValueError, "does not fit config.json"),
        (lambda run: edit(run, ("algo",), "sac"), ValueError, "unknown algorithm 'sac'"),
        (lambda run: edit(run, ("env",), {"id": "merge-v0"}), ValueError, "lacks env.config, env.num_envs, env.prec"),
    ],
)
def test_a_damaged_run_is_one_clear_error(run_dir, damage, error, message):
    damage(run_dir)
    with pytest.raises(error, match=message) as caught:
        checkpoint.load_policy(run_dir)
    assert "\n" not in str(caught.value)
    assert str(run_dir) in str(caught.value) or "algorithm" in message


def edit(run_dir: Path, keys: tuple[str, ...], value: object) -> None:
    content = json.loads((run_dir / "config.json").read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (run_dir / "config.json").write_text(json.dumps(content))


def test_a_missing_folder_and_a_missing_device_are_errors(tmp_path, run_dir):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoint.load_policy(tmp_path / "none")
    with pytest.raises(ValueError, match="device 'cuda:99' is not available"):
        checkpoint.load_policy(run_dir, "cuda:99")
    with pytest.raises(ValueError, match="device 'gpu' is not available"):
        checkpoint.load_policy(run_dir, "gpu")


def test_observations_of_another_shape_are_refused(run_dir):
    with pytest.raises(ValueError, match=r"takes observations \[N, \(4,\)\], got shape \[2, 5\]"):
        checkpoint.load_policy(run_dir).act(torch.zeros(2, 5))


def test_a_policy_says_at_once_where_it_cannot_drive(run_dir):
    driver = checkpoint.load_policy(run_dir)
    driver.prepare(IdentityEnvs(2))
    with pytest.raises(ValueError, match=r"trained in identity, does not fit identity: .* 4 discrete actions, not "):
        driver.prepare(IdentityEnvs(2, size=5))
    with pytest.raises(ValueError, match=r"observations \[1\] and 1 dimensions of a continuous action"):
        driver.prepare(IdentityEnvs(2, continuous=True))


@pytest.mark.parametrize("algorithm", [ppo, dqn])
def test_a_run_on_observations_of_several_parts_resumes(algorithm, tmp_path):
    config = {ppo: PPO, dqn: DQN}[algorithm]
    first = dataclasses.replace(config, total_steps=2 * 16 * 8)
    algorithm.train(first, GoalEnvs(8), tmp_path / "run", show_progress=False)
    algorithm.train(config, GoalEnvs(8), tmp_path / "run", resume=True, show_progress=False)
    assert checkpoint.load_config(tmp_path / "run")["spaces"]["observation"] == [8]


def test_a_write_that_fails_leaves_the_last_checkpoint_whole(run_dir, monkeypatch):
    before = (run_dir / "checkpoint.safetensors").read_bytes()

    def fail(tensors, path, header):
        Path(path).write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(run_dir, torch.nn.Linear(1, 1), {"a": torch.zeros(1)}, {})
    assert (run_dir / "checkpoint.safetensors").read_bytes() == before


PROGRAM = """
import sys
import torch
from agents import ppo
from tests.agents.identity import IdentityEnvs
torch.set_num_threads(1)
config = ppo.Config(total_steps=10**9, minibatch_size=64, checkpoint_every_s=1e9)
said = []
def say(metrics):
    if not said:
        said.append(True)
        print("training", flush=True)
ppo.train(config, IdentityEnvs(8), sys.argv[1], on_iteration=say)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_leaves_a_loadable_checkpoint(tmp_path, number):
    run_dir = tmp_path / "run"
    command = [sys.executable, "-c", PROGRAM, str(run_dir)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "training\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "ended\n"), errors
    assert "Traceback" not in errors
    assert f"resume with the checkpoint in {run_dir}" in errors
    checkpoint.load_policy(run_dir)
    steps = json.loads((run_dir / "checkpoint.json").read_text())["steps"]
    config = ppo.Config(total_steps=steps + 1, minibatch_size=64)
    ppo.train(config, IdentityEnvs(8), run_dir, resume=True, show_progress=False)
    assert json.loads((run_dir / "checkpoint.json").read_text())["steps"] == steps + 16 * 8
