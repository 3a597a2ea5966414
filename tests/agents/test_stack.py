"""The stack as a driver: chosen by a line of text, called at every frame, the same wherever it drives."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from safetensors.torch import load_file

import sim
from agents.drivers import choose_driver, run_of
from agents.stack import StackDriver, StackSettings
from perception.detection.detector import load_detector
from perception.detection.learning import CLASSES
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.model_folder import ModelFacts, save_model
from sim.evaluation.driver import ConstantDriver, DriverSpec
from sim.evaluation.episodes import Recorder
from sim.evaluation.faults import NotApplicable, faulty
from sim.evaluation.runner import evaluate, run_batch
from sim.recording import record_episode, replay

FASTER = DriverSpec("constant:FASTER", ConstantDriver, ("FASTER",))
SHORT = {"duration": 3}


def envs_of(worlds, **config):
    return sim.make_vec(
        "highway-fast-v0", worlds, config=SHORT | config, autoreset_mode=AutoresetMode.DISABLED, precision="float64"
    )


class Looker(ConstantDriver):
    """Notes the simulation frame that the worlds show whenever it is called."""

    def prepare(self, envs, seeds):
        super().prepare(envs, seeds)
        self.envs, self.seen, self.decided = envs, [], []

    def sense(self):
        self.seen.append(int(self.envs.world.steps[0]))

    def act(self, observation):
        self.decided.append(len(self.seen))
        return super().act(observation)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_driver_may_look_at_every_frame(recorded):
    """After each simulation frame, before the next decision, with a recorder beside it or without."""
    envs, driver = envs_of(2), Looker("IDLE")
    run_batch(envs, driver, [1, 2], Recorder(envs) if recorded else None)
    assert driver.seen == list(range(1, 16))  # 3 s of 5 frames
    assert driver.decided == [0, 5, 10]


@pytest.mark.parametrize("full", [False, True])
def test_recordings_let_it_look_too(full):
    driver = Looker("IDLE")
    record_episode(driver, envs_of(1), 3, full=full)
    assert driver.seen == list(range(1, 16))


def test_the_rate_says_how_often_it_looks():
    """The frame of the decision always; between them what the rate asks for."""
    calls = {}
    for rate in (1, 2.5, 5):
        driver = StackDriver(FASTER, StackSettings(rate=rate))
        run_batch(envs_of(1, vehicles_count=3), driver, [4])
        calls[rate] = driver.notes()["stages, a world"]["cameras"]["calls"]
    assert calls == {1: 1 + 2 + 1, 2.5: 1 + 2 * 3 + 3, 5: 1 + 15}
    with pytest.raises(ValueError, match=r"0\.5 Hz"):
        StackDriver(FASTER, StackSettings(rate=0.5)).prepare(envs_of(1), [0])


def test_a_recording_is_replayed_with_the_same_decisions():
    """The replay asks the stack again, frame by frame; a decision that differed would be an error."""
    envs = envs_of(1)
    policy = DriverSpec("nearest", Nearest)
    trace = record_episode(StackDriver(policy, StackSettings(rate=5)), envs, 11)
    frames = list(replay(trace, envs_of(1), StackDriver(policy, StackSettings(rate=5)), plans=True))
    assert len(frames) > 10 and len(np.unique(trace.actions)) > 1


class Nearest:
    """Brakes when a car is near; a policy whose decisions depend on what is perceived."""

    sees = "features"

    def __init__(self, device="cpu"):
        pass

    def reset(self, mask):
        pass

    def act(self, observation):
        return torch.where(observation[:, 1, 1] < 0.12, 4, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with an untrained detector of few channels."""
    torch.manual_seed(0)
    config = OneStageConfig(CLASSES, channels=(4, 4, 8, 8, 8), blocks=(1, 1, 1, 1), neck=8)
    path = tmp_path_factory.mktemp("detector")
    save_model(path, ModelFacts("one-stage", CLASSES, asdict(config)), OneStage(config).state_dict())
    assert load_file(path / "model.safetensors") and load_detector(path).classes == CLASSES
    return path


def test_a_line_of_text_makes_a_stack(folder):
    """A detector that has learnt nothing sees nothing with much certainty; the drive ends all the same."""
    spec = choose_driver(name=f"stack:constant:FASTER,detector={folder},rate=1")
    result = evaluate(spec, "highway-fast-v0", SHORT, [1, 2], progress=False)
    assert result.n_run == 2 and result.sees == "frames" and not result.errors
    stages = result.as_dict()["notes"]["stages, a world"]
    assert {"cameras", "detector", "fusion", "tracker", "features", "policy"} <= set(stages)
    assert all(row["median_ms"] >= 0 for row in stages.values())
    json.dumps(result.as_dict(), allow_nan=False)
    assert "stages" in result.table()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stack:constant:IDLE,fusion=none", "fusion is 'none'; it must be one of cameras, oracle"),
        ("stack:constant:IDLE,speed=3", "must be one of policy, detector"),
        ("stack:constant:IDLE,rate=fast", "must be a number"),
        ("stack:constant:IDLE,rate=0", "above 0 Hz"),
        ("stack:constant:IDLE,lidar=maybe", "on or off"),
        ("stack:constant:IDLE,cameras=top", "all, or some of front"),
        ("stack:constant:IDLE,domain=mars", "domain is 'mars'"),
        ("stack:detector=oracle", "has no policy: give a run folder"),
    ],
)
def test_a_wrong_line_is_one_clear_error(text, message):
    with pytest.raises(ValueError, match=message):
        choose_driver(name=text)


def test_what_cannot_be_a_stack_is_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="must see features; idm sees world"):
        choose_driver(name="stack:idm").build()
    with pytest.raises(FileNotFoundError):
        choose_driver(name=f"stack:constant:IDLE,detector={tmp_path / 'none'}").build()
    with pytest.raises(FileNotFoundError):
        choose_driver(name=f"stack:{tmp_path / 'none'}").build()
    with pytest.raises(NotApplicable, match="sensors of its own"):
        faulty(choose_driver(name="stack:constant:IDLE"), "observation_noise", 0.1).build().prepare(envs_of(1), [0])
    perfect = choose_driver(name="stack:constant:IDLE,detector=oracle,fusion=oracle,tracker=oracle")
    with pytest.raises(NotApplicable, match="sees the scene itself"):
        faulty(perfect, "missed_objects", 0.9).build().prepare(envs_of(1), [0])
    with pytest.raises(ValueError, match="stack rate is 50 Hz"):
        StackDriver(FASTER, StackSettings(rate=50)).prepare(envs_of(1), [0])


def test_the_run_that_a_stack_names_says_where_it_drives(tmp_path):
    assert run_of(tmp_path, None) == run_of(tmp_path, "idm") == run_of(tmp_path, "stack:detector=oracle") == tmp_path
    assert run_of(None, f"stack:{tmp_path},rate=5") == tmp_path
    assert run_of(None, "stack:constant:IDLE,rate=5") is None
    assert run_of(None, f"stack:rate=5,policy={tmp_path}") == tmp_path
    assert run_of(tmp_path, "stack:policy=runs/lr=0.1") == Path("runs/lr=0.1")
