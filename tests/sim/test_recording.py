import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from planning.rule_based import IdmDriver
from sim.evaluation.driver import IdleDriver, RandomDriver
from sim.evaluation.highway_env import HighwayEnv
from sim.recording import (
    DivergenceError,
    Frame,
    Trace,
    beside,
    camera,
    frame_rate,
    make_envs,
    pictures,
    record_episode,
    replay,
)
from sim.recording.replay import playback
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
    for field in ("actions", "rewards", "terminated", "truncated", "scores", "hashes"):
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


@pytest.fixture(scope="module")
def full():
    """An episode of ours with its full states."""
    envs = make_envs("highway-fast-v0", SHORT, "float32")
    return envs, record_episode(RandomDriver(), envs, 4, full=True)


def test_full_states_are_those_that_a_replay_shows(full):
    envs, trace = full
    assert len(trace.hashes) == len(trace.actions) + 1
    assert len(trace.states) == 5 * len(trace.actions) + 1
    shown = [float(frame.world.x[0, 3]) for frame in replay(trace, envs)]
    np.testing.assert_array_equal(trace.states.values[trace.states.fields.index("x"), :, 3], shown[:-1])
    plain = record_episode(RandomDriver(), envs, 4)
    np.testing.assert_array_equal(plain.hashes, trace.hashes)
    assert plain.states is None


def test_a_replay_names_the_step_the_vehicle_and_the_field(full):
    """The recording says another speed for one vehicle at one frame."""
    envs, trace = full
    values = trace.states.values.copy()
    values[trace.states.fields.index("speed"), 17, 2] += 0.25
    edited = dataclasses.replace(trace, states=dataclasses.replace(trace.states, values=values))
    with pytest.raises(
        DivergenceError, match=r"step 3, 3\.40 s: speed of vehicle 2 \(slot 2\) is .*, recorded"
    ) as caught:
        list(replay(edited, envs))
    found = caught.value.difference
    assert (caught.value.step, found.slot, found.field) == (3, 2, "speed")
    assert found.recorded - found.replayed == pytest.approx(0.25, abs=1e-5)


def test_without_states_a_replay_names_the_step_and_what_is_missing(full):
    envs, trace = full
    for step, place in ((0, "the reset"), (2, "step 1"), (len(trace.actions), f"step {len(trace.actions) - 1}")):
        hashes = trace.hashes.copy()
        hashes[step] ^= np.uint64(1)
        edited = dataclasses.replace(trace, hashes=hashes, states=None)
        with pytest.raises(DivergenceError, match=f"leaves the trace at {place}: .*no states were recorded") as caught:
            list(replay(edited, envs))
        assert caught.value.step == step - 1


@pytest.mark.parametrize("id", ["highway-fast-v0", "intersection-v0"])
def test_recorded_states_are_shown_without_simulating(id):
    """At junctions vehicles leave and come, and the ego's slot moves."""
    envs = make_envs(id, {"duration": 6}, "float32")
    trace = record_episode(RandomDriver(), envs, 4, full=True)

    def seen(frame):
        world = frame.world
        ego = int(world.ego[0, 0])
        return frame.time, frame.hud, world.x[0, ego].item(), world.heading[0, ego].item(), (world.kind[0] > 0).tolist()

    simulated = [seen(frame) for frame in replay(trace, envs)][:-1]
    envs.world.x[:] = 0
    shown = [seen(frame) for frame in playback(trace, envs)]
    for one, other in zip(simulated, shown, strict=True):
        assert one[0] == other[0] and one[2:] == other[2:]
        assert dataclasses.replace(one[1], scores=None) == dataclasses.replace(other[1], scores=None)
    with pytest.raises(ValueError, match="no states were recorded of seed 4"):
        next(playback(dataclasses.replace(trace, states=None), envs))


def test_a_change_below_what_states_show_is_told_so(full):
    """The world's random stream is in the hash, but not in the states."""
    envs, trace = full
    frames = replay(trace, envs)
    next(frames)
    envs.world.rng[0, 0] += 1
    with pytest.raises(DivergenceError, match=r"at step 0: state hash .*; the recorded kind, x, .* are the same"):
        list(frames)


def test_a_driver_of_the_world_is_asked_back_for_its_replay(envs):
    driver = IdmDriver(device=envs.device)
    trace = record_episode(driver, envs, 2, "idm")
    assert trace.case.sees == "world"
    assert len(list(replay(trace, envs, driver))) > len(trace.actions)
    with pytest.raises(ValueError, match="'idm' drives through the world"):
        list(replay(trace, envs))


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


def test_overlays_are_drawn_at_the_moment_that_is_shown(device):
    envs = make_envs("highway-fast-v0", SHORT, "float64", str(device))
    trace = record_episode(RandomDriver(device=envs.device), envs, 4)
    drawn, asked = [], []

    class Camera:
        def draw(self, world, index, hud, marks):
            drawn.append((float(world.x[0, 0]), marks))
            return np.zeros((1, 1, 3), np.uint8)

    def overlay(frame, moment):
        asked.append(frame.index)
        return float(moment.x[0, 0])

    images, _ = pictures(Camera(), replay(trace, envs), frame_rate(envs), overlay)
    list(images)
    assert all(place == marks for place, marks in drawn)
    assert asked[:8] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("shape", "joined"), [((10, 40, 3), (24, 40, 3)), ((40, 40, 3), (40, 84, 3))])
def test_pictures_beside_each_other_keep_step(shape, joined):
    left = [np.full(shape, 10 + i, np.uint8) for i in range(2)]
    right = [np.full(shape, 50 + i, np.uint8) for i in range(4)]
    images = list(beside(iter(left), iter(right)))
    assert [image.shape for image in images] == [joined] * 4
    assert [(int(image[0, 0, 0]), int(image[-1, -1, 0])) for image in images] == [
        (10, 50),
        (11, 51),
        (11, 52),
        (11, 53),
    ]


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
