"""Lane keeping beside highway-env's: road, scene, rewards, episodes."""

import pytest

import sim
from sim.evaluation.conformance import compare
from sim.evaluation.oracle import make_real
from sim.scenarios import SCENARIOS
from tests.sim.engine.twins import assert_same, network_twin
from tests.sim.scenarios.beside import assert_equal

ID = "lane-keeping-v0"
KINEMATICS = {"type": "Kinematics", "features": ["x", "y", "vx", "vy", "lat_off"]}
FOUR_FRAMES = {"simulation_frequency": 20, "policy_frequency": 5}
CONFIGS = [
    {"observation": KINEMATICS, **FOUR_FRAMES, "manual_control": True},
    {"state_noise": 0.5, "derivative_noise": 0},
    {"action": {"type": "ContinuousAction", "dynamical": True, "longitudinal": False, "steering_range": [-0.3, 0.4]}},
    {"action": {"type": "DiscreteAction", "dynamical": True, "longitudinal": False}, "observation": KINEMATICS},
    {"action": {"type": "MultiAgentAction", "action_config": {"type": "ContinuousAction", "dynamical": True}}},
]


def test_the_road_is_the_same_to_the_last_bit():
    family = SCENARIOS[ID]
    twin, ours = network_twin(make_real(ID).unwrapped.road.network), family.network(family.defaults())
    assert ours.edges == twin.edges
    assert ours.graph == twin.graph


def test_the_default_configs_are_the_same():
    real = dict(make_real(ID).unwrapped.config)
    assert real.pop("offscreen_rendering") is True  # filled in by its constructor
    ours = dict(sim.make_vec(ID).config)
    assert ours.pop("offscreen_rendering") is None
    assert ours == real


def test_the_scene_is_the_same(device):
    envs = sim.make_vec(ID, 2, device=device, precision="float64")
    envs.reset(seed=0)
    real = make_real(ID).unwrapped
    real.reset(seed=0)
    assert_same(envs.world, [real.road, real.road], network_twin(real.road.network))
    assert envs.world.tracked_lane.tolist() == [envs.network.lane_number("c", "d", 0)] * 2


@pytest.mark.parametrize("style", ["random", "follow"])
def test_whole_episodes_are_the_same(style, device):
    result = compare(ID, None, range(2), device=str(device), style=style)
    assert_equal(result)
    assert result.steps == 2 * 200


@pytest.mark.parametrize("config", CONFIGS)
def test_whole_episodes_of_varied_configs_are_the_same(config, device):
    assert_equal(compare(ID, config, [7], device=str(device)))


def test_the_winding_lane_is_asked_for_once_the_straight_one_is_left(device):
    ours, real = sim.make_vec(ID, 1, device=device, precision="float64", autoreset_mode="Disabled"), make_real(ID)
    ours.reset(seed=0)
    real.reset(seed=0)
    straight, winding = ours.network.lane_number("c", "d", 0), ours.network.lane_number("a", "b", 0)
    asked = []
    for _ in range(100):
        ours.step([[0.0]])
        real.step([0.0])
        # highway-env looks at the next step's start
        switches = real.unwrapped.lanes and not real.unwrapped.lane.on_lane(real.unwrapped.vehicle.position)
        asked.append(winding if switches or not real.unwrapped.lanes else straight)
        assert ours.world.tracked_lane.item() == asked[-1]
    assert set(asked) == {straight, winding}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"action": {"type": "ContinuousAction"}}, "'dynamical': True"),
        ({"action": {"type": "DiscreteMetaAction"}}, "'dynamical': True"),
        ({"state_noise": -0.1}, "state_noise'.* at least 0"),
        ({"derivative_noise": float("inf")}, "derivative_noise'.* finite"),
        ({"duration": 3}, "unknown config key 'duration'"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec(ID, config=config)
