import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from planning.rule_based import IdmDriver
from sim.evaluation.driver import IdleDriver, RandomDriver
from sim.evaluation.highway_env import HighwayEnv
from sim.recording import Frame, Trace, camera, frame_rate, make_envs, pictures, record_episode, replay
from sim.render import Hud

SHORT = {"vehicles_count": 5, "duration": 6}


class Scored(RandomDriver):
    """A driver that says what it thinks of each action."""

    def scores(self, observation):
        return "Q", torch.arange(5.0)[None] + len(self.thoughts)

    def prepare(self, envs, seeds):
        super().prepare(envs, seeds)
        self.thoughts = []

    def act(self, observation):
        self.thoughts.append(observation)
        return super().act(observation)


@pytest.fixture(params=["ours", "highway-env"])
def envs(request, device):
    """One short highway-fast-v0 in either simulator."""
    if request.param == "ours":
        return make_envs("highway-fast-v0", SHORT, "float64", str(device))
    return HighwayEnv("highway-fast-v0", SHORT)


def test_a_trace_survives_the_disk(envs, tmp_path):
    trace = record_episode(Scored(device=envs.device), envs, 3, "thinker")
    trace.save(tmp_path / "episode.npz")
    loaded = Trace.load(tmp_path / "episode.npz")
    assert loaded.case == trace.case
    assert (loaded.case.driver, loaded.case.seed, loaded.case.sees) == ("thinker", 3, "features")
    assert loaded.case.config["vehicles_count"] == 5
    for field in ("actions", "rewards", "terminated", "truncated", "scores"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(trace, field))
    assert loaded.scores.shape == (len(loaded.actions), 5)
    np.testing.assert_array_equal(loaded.scores[:, 0], np.arange(len(loaded.actions)))
    assert [path.name for path in tmp_path.iterdir()] == ["episode.npz"]
    with np.load(tmp_path / "episode.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_a_replay_drives_the_recorded_episode(envs):
    trace = record_episode(RandomDriver(device=envs.device), envs, 4)
    end = float(envs.world.x[0, int(envs.world.ego[0, 0])])
    frames = [(f.time, f.hud, float(f.world.x[0, int(f.world.ego[0, 0])])) for f in replay(trace, envs)]
    times, huds, places = zip(*frames, strict=True)
    assert places[-1] == end
    assert times[0] == 0
    per_step = frame_rate(envs) / envs.config["policy_frequency"]
    assert len(frames) == 2 + per_step * len(trace.actions)
    assert times[-1] == len(trace.actions) / envs.config["policy_frequency"]
    assert huds[0].reward is None
    assert huds[-1].total == pytest.approx(trace.rewards.sum())
    names = ["LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER"]
    assert huds[1].action == names[trace.actions[0]]
    assert huds[-1].action == names[trace.actions[-1]]
    assert trace.terminated[-1] or trace.truncated[-1]
    assert not (trace.terminated[:-1] | trace.truncated[:-1]).any()


@pytest.mark.parametrize("simulator", ["ours", "highway-env"])
@pytest.mark.parametrize(
    ("id", "config", "shape", "action"),
    [
        ("parking-v0", {"duration": 2}, (11, 2), r"[+-]\d\.\d\d [+-]\d\.\d\d"),
        ("lane-keeping-v0", {}, (200, 1), r"[+-]\d\.\d\d"),
        ("intersection-multi-agent-v1", {}, (13, 2), "(SLOWER|IDLE|FASTER), (SLOWER|IDLE|FASTER)"),
        ("intersection-v0", {"action": {"type": "DiscreteAction"}, "duration": 4}, (4,), r"\d"),
    ],
)
def test_episodes_of_any_kind_are_recorded_and_replayed(simulator, id, config, shape, action):
    envs = make_envs(id, config, "float64") if simulator == "ours" else HighwayEnv(id, config)
    trace = record_episode(RandomDriver(), envs, 5)
    assert len(trace.actions) <= shape[0] and trace.actions.shape[1:] == shape[1:]
    assert trace.rewards.shape == trace.terminated.shape == trace.truncated.shape == (len(trace.actions),)
    assert (trace.terminated | trace.truncated).tolist() == [False] * (len(trace.actions) - 1) + [True]
    huds = [frame.hud for frame in replay(trace, envs)]
    assert re.fullmatch(action, huds[-1].action)
    assert huds[-1].total == pytest.approx(trace.rewards.sum())


def test_a_replay_that_goes_another_way_stops_at_the_step(envs):
    trace = record_episode(IdleDriver(device=envs.device), envs, 4)
    edited = dataclasses.replace(trace, rewards=trace.rewards + np.eye(len(trace.rewards))[2] * 1e-3)
    with pytest.raises(ValueError, match="leaves the trace at step 2: reward"):
        list(replay(edited, envs))
    edited = dataclasses.replace(trace, truncated=~trace.truncated)
    with pytest.raises(ValueError, match="leaves the trace at step 0: terminated, truncated"):
        list(replay(edited, envs))


def test_a_driver_of_the_world_is_asked_back_for_its_replay(envs):
    driver = IdmDriver(device=envs.device)
    trace = record_episode(driver, envs, 2, "idm")
    assert trace.case.sees == "world"
    assert len(list(replay(trace, envs, driver))) > len(trace.actions)
    with pytest.raises(ValueError, match="'idm' drives through the world"):
        list(replay(trace, envs))


def damage(path, how):
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "text":
        path.write_text("hello")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        with np.load(path) as file:
            arrays = dict(file)
        case = json.loads(str(arrays["case"]))
        if how == "schema":
            case["schema"] = 99
        elif how == "field":
            del case["seed"]
        elif how == "array":
            del arrays["actions"]
        elif how == "steps":
            arrays["rewards"] = arrays["rewards"][1:]
        elif how == "json":
            case = "{"
        np.savez(path, **arrays | {"case": np.array(case if how == "json" else json.dumps(case))})


@pytest.mark.parametrize("how", ["cut", "text", "empty", "schema", "field", "array", "steps", "json"])
def test_a_damaged_trace_is_one_clear_error(tmp_path, how):
    path = tmp_path / "episode.npz"
    record_episode(IdleDriver(), HighwayEnv("highway-fast-v0", SHORT | {"duration": 2}), 0).save(path)
    damage(path, how)
    with pytest.raises(ValueError, match="schema 99" if how == "schema" else "not a whole trace") as caught:
        Trace.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_trace_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such trace"):
        Trace.load(tmp_path / "none.npz")


def test_pictures_fill_the_gaps_between_frames(device):
    envs = make_envs("highway-fast-v0", SHORT, "float64", str(device))
    trace = record_episode(RandomDriver(device=envs.device), envs, 4)
    drawn = []

    class Camera:
        """Notes where the ego is drawn."""

        def draw(self, world, index, hud):
            drawn.append(float(world.x[0, int(world.ego[0, 0])]))
            return np.zeros((1, 1, 3), np.uint8)

    images, rate = pictures(Camera(), replay(trace, envs), frame_rate(envs))
    assert rate == 20
    count = len(list(images))
    exact = [float(f.world.x[0, int(f.world.ego[0, 0])]) for f in replay(trace, envs)]
    np.testing.assert_array_equal(drawn[3::4], exact)
    assert count == len(drawn) + 20
    moves = np.diff(drawn[3 : 4 * (len(exact) - 1)]).reshape(-1, 4)
    np.testing.assert_allclose(moves, np.repeat(np.diff(exact[:-1])[:, None] / 4, 4, axis=1), atol=1e-9)


def test_a_vehicle_in_a_slot_that_was_given_away_jumps():
    """At 5 frames a second: one drives 20 m/s, the second's slot passes to one 30 m behind, the third is pushed."""

    def frame(*x):
        row = {"x": torch.tensor([x]), "y": torch.zeros(1, 3), "heading": torch.zeros(1, 3)}
        row |= {"speed": torch.tensor([[20.0, 20.0, 0.0]]), "kind": torch.ones(1, 3)}
        return Frame(SimpleNamespace(world=SimpleNamespace(**row)), 0.0, Hud())

    drawn = []

    class Camera:
        def draw(self, world, index, hud):
            assert world.kind.shape == (1, 3)
            drawn.append([round(float(x), 3) for x in world.x[0]])
            return np.zeros((1, 1, 3), np.uint8)

    images, _ = pictures(Camera(), iter([frame(0.0, 50.0, 9.0), frame(4.0, 20.0, 10.0)]), 5.0)
    list(images)
    assert drawn[4:8] == [[1, 20, 9.25], [2, 20, 9.5], [3, 20, 9.75], [4, 20, 10]]


@pytest.mark.parametrize(("id", "shape"), [("highway-fast-v0", (300, 1200, 3)), ("intersection-v0", (712, 600, 3))])
def test_pictures_follow_the_ids_screen_and_leave_room_for_writing(id, shape):
    envs = make_envs(id, None, "float64")
    envs.reset(seed=0)
    assert camera(envs).draw(envs.world).shape == shape
