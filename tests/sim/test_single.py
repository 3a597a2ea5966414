import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim

FAST = "highway-fast-v0"
CONTINUOUS = {"action": {"type": "ContinuousAction"}}


@pytest.mark.parametrize("config", [None, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_gymnasium_accepts_it(config, precision):
    env = gymnasium.make(f"slipstream/{FAST}", config=config, precision=precision, render_mode="rgb_array")
    with warnings.catch_warnings():
        # Its complaint about infinite bounds holds for highway-env's own space, which ours equals.
        warnings.filterwarnings("ignore", message=".*(infinity|isn't normalized).*")
        check_env(env.unwrapped, skip_render_check=True)  # it would open a window
    env.close()


def rollout(env, steps=12):
    observation, _ = env.reset(seed=8)
    env.action_space.seed(8)
    collected = [observation]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        collected += [observation, reward, terminated, truncated, info["speed"]]
    return collected


@pytest.mark.parametrize("config", [None, CONTINUOUS], ids=["discrete", "continuous"])
def test_the_same_seed_gives_the_same_episode(config):
    first, second = rollout(sim.make(FAST, config)), rollout(sim.make(FAST, config))
    env = sim.make(FAST, config)
    env.reset()
    env.step(env.action_space.sample())
    for other in (second, rollout(env)):
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_types_are_gymnasiums():
    env = sim.make(FAST)
    observation, info = env.reset(seed=0)
    assert isinstance(observation, np.ndarray) and observation.dtype == np.float32
    assert type(info["speed"]) is float and type(info["crashed"]) is bool
    observation, reward, terminated, truncated, info = env.step(np.int64(3))
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
    assert info["action"] == 3 and all(type(term) is float for term in info["rewards"].values())
    assert env.unwrapped.world.x.shape == (1, 21) and len(env.unwrapped.network.lanes) == 3


def test_an_episode_ends_and_is_not_reset_by_itself():
    env = sim.make(FAST, {"vehicles_count": 0, "duration": 2})
    env.reset(seed=0)
    ends = [env.step(1)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, True), (False, True)]
    assert float(env.world.time[0]) == 3


def test_options_change_the_config_for_good():
    env = sim.make(FAST, {"duration": 7})
    env.reset(seed=0)
    changed = {"observation": {"type": "Kinematics", "vehicles_count": 3}, "lanes_count": 2}
    observation, _ = env.reset(seed=0, options={"config": changed})
    assert observation.shape == (3, 5) and env.observation_space.shape == (3, 5)
    assert (env.config["duration"], env.config["lanes_count"], len(env.network.lanes)) == (7, 2, 2)
    again, _ = env.reset(seed=0)
    assert np.array_equal(observation, again)
    built, _ = sim.make(FAST, {"duration": 7} | changed).reset(seed=0)
    assert np.array_equal(observation, built)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"config": {"lane_count": 2}}, "unknown config key 'lane_count'; did you mean 'lanes_count'"),
        ({"config": {"observation": {"type": "Kinematic"}}}, "unknown observation type 'Kinematic'"),
        ({"config": {"action": {"type": "DiscreteMetaAction", "laterl": False}}}, "did you mean 'lateral'"),
        ({"configs": {}}, "unknown reset option 'configs'; did you mean 'config'"),
    ],
)
def test_bad_options_change_nothing(options, words):
    env, plain = (sim.make(FAST) for _ in range(2))
    env.reset(seed=0)
    plain.reset(seed=0)
    with pytest.raises(ValueError, match=words):
        env.reset(options=options)
    assert env.config == plain.config
    assert np.array_equal(env.step(3)[0], plain.step(3)[0])
    assert np.array_equal(env.reset(seed=1)[0], plain.reset(seed=1)[0])
    assert np.array_equal(env.reset(options={"config": {"duration": 5}})[0], plain.reset()[0])


def test_the_caller_keeps_its_config():
    config = {"observation": {"type": "Kinematics", "features": ["x"]}}
    env = sim.make(FAST, config)
    config["observation"]["features"].append("y")
    assert env.reset(seed=0, options={"config": {}})[0].shape == (5, 1)
    env.config["observation"]["features"].append("vx")
    assert sim.make(FAST).config["observation"] == {"type": "Kinematics"}


def test_pictures():
    env = sim.make(FAST, {"screen_width": 320, "screen_height": 120}, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (120, 320, 3) and first.dtype == np.uint8
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 10  # road, lines and cars; not one colour
    assert np.array_equal(first, env.render())
    env.step(3)
    assert not np.array_equal(first, env.render())
    env.close()


def test_a_window_shows_every_frame(monkeypatch):
    shown = []

    class Window(sim.single.Renderer):
        def show(self):
            shown.append(int(env.world.steps[0]))

    monkeypatch.setattr(sim.single, "Renderer", Window)
    env = sim.make(FAST, render_mode="human")
    env.reset(seed=0)
    for _ in range(2):
        result = env.step(3)
    assert shown == list(range(11))  # five frames a step
    plain = sim.make(FAST)
    plain.reset(seed=0)
    plain.step(3)
    assert np.array_equal(result[0], plain.step(3)[0])
    env.close()


def test_a_picture_without_a_render_mode_is_a_warning():
    env = sim.make(FAST)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


@pytest.mark.parametrize("action", [5, -1, np.int64(7)])
def test_actions_outside_the_space(action):
    env = sim.make(FAST)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"action {action} is outside the space; allowed: 0 to 4"):
        env.step(action)


def test_bad_arguments():
    with pytest.raises(ValueError, match="render_mode is 'rgb'; allowed: None, human, rgb_array"):
        sim.make(FAST, render_mode="rgb")
    with pytest.raises(ValueError, match="unknown precision"):
        sim.make(FAST, precision="double")
    with pytest.raises(TypeError, match="config must be a dict, not str"):
        sim.make(FAST, "lanes_count=3")
    with pytest.raises(RuntimeError, match="call reset before step"):
        sim.make(FAST).step(0)
