"""The intersections beside highway-env's: road, scenes, rewards of each agent, episodes."""

import math

import numpy as np
import pytest
import torch

import sim
from sim.evaluation.conformance import compare
from sim.evaluation.oracle import fresh_classes, make_real
from sim.scenarios.intersection import MOST_TRAFFIC
from sim.scenarios.intersection_road import junction
from sim.world import Kind
from tests.sim.engine.twins import assert_same, network_twin
from tests.sim.scenarios.beside import assert_equal, assert_same_defaults

IDS = tuple(f"intersection-{name}" for name in ("v0", "v1", "v2", "multi-agent-v0", "multi-agent-v1", "multi-agent-v2"))
BEHAVIOR = "highway_env.vehicle.behavior."
# id and what differs from its defaults
CONFIGS = [
    (
        "v0",
        {"other_vehicles_type": BEHAVIOR + "LinearVehicle", "simulation_frequency": 10, "initial_vehicle_count": 20},
    ),
    ("v2", {"other_vehicles_type": BEHAVIOR + "AggressiveVehicle", "destination": None}),
    ("v0", {"other_vehicles_type": BEHAVIOR + "DefensiveVehicle", "destination": "o3", "duration": 8}),
    ("v0", {"controlled_vehicles": 3, "destination": "", "normalize_reward": True, "on_road_reward": 0.3}),
    ("multi-agent-v1", {"controlled_vehicles": 5, "initial_vehicle_count": 3, "arrived_reward": 7}),
    ("multi-agent-v2", {"controlled_vehicles": 3, "destination": None, "simulation_frequency": 5}),
    ("v1", {"action": {"type": "ContinuousAction"}, "offroad_terminal": True, "destination": None}),
    ("v1", {"action": {"type": "ContinuousAction", "lateral": False}, "reward_speed_range": [10, 2]}),
    ("v0", {"spawn_probability": 0, "initial_vehicle_count": 0, "manual_control": True}),
    ("v0", {"spawn_probability": 1.0, "initial_vehicle_count": 1, "policy_frequency": 5, "duration": 5}),
    ("v0", {"destination": "nowhere", "simulation_frequency": 7, "policy_frequency": 2, "duration": 6}),
    ("v0", {"simulation_frequency": 2, "collision_reward": -1, "high_speed_reward": 0.2}),
]


def full(name):
    return f"intersection-{name}"


def test_the_road_is_the_same_to_the_last_bit():
    with fresh_classes():
        twin, ours = network_twin(make_real("intersection-v0").unwrapped.road.network), junction()
    assert ours.edges == twin.edges
    assert ours.graph == twin.graph


@pytest.mark.parametrize("env_id", IDS)
def test_the_default_configs_are_the_same(env_id):
    with fresh_classes():
        assert_same_defaults(env_id)


@pytest.mark.parametrize(("env_id", "config"), [(IDS[0], {}), (IDS[1], {}), (IDS[5], {}), (full("v0"), CONFIGS[0][1])])
def test_a_seed_gives_the_same_scene(env_id, config, device):
    seeds = range(100, 106)
    envs = sim.make_vec(env_id, len(seeds), config=config, device=device, precision="float64")
    envs.reset(seed=seeds[0])
    with fresh_classes():
        real, roads = make_real(env_id, config).unwrapped, []
        for seed in seeds:
            real.reset(seed=seed)
            roads.append(real.road)
        egos = [[road.vehicles.index(one) for one in real.controlled_vehicles] for road in roads[-1:]]
    assert envs.world.count.tolist() == [len(road.vehicles) for road in roads]
    assert envs.world.ego[-1:].tolist() == egos
    assert_same(envs.world, roads, envs.network)


@pytest.mark.parametrize("env_id", IDS)
def test_whole_episodes_are_the_same(env_id, device):
    assert_equal(compare(env_id, None, [0, 1, 2], device=str(device), style="gentle"))


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_whole_episodes_of_varied_configs_are_the_same(name, config, device):
    assert_equal(compare(full(name), config, [300, 301], device=str(device)))


def test_the_stream_goes_on_after_the_last_step(device):
    """Traffic is renewed after the step that ends an episode, too: a reset without a seed follows those draws."""
    config = {"simulation_frequency": 5, "duration": 3, "spawn_probability": 1.0}
    envs = sim.make_vec(full("v0"), 1, config=config, device=device, precision="float64")  # resets itself
    envs.reset(seed=[7])
    with fresh_classes():
        real, over = make_real(full("v0"), config).unwrapped, False
        real.reset(seed=7)
        while not over:
            envs.step([1])
            *_, end, cut, _ = real.step(1)
            over = end or cut
        real.reset()
        assert_same(envs.world, [real.road], envs.network)


def test_each_agent_has_its_own_reward_and_end(device):
    """In a batch, those of the id's wrapper are those in the info; the episode's are the mean and any crash."""
    actions = np.tile([[2, 0]], (40, 1))
    results = {}
    for name in ("multi-agent-v0", "multi-agent-v1"):
        envs = sim.make_vec(full(name), 40, device=device, autoreset_mode="Disabled")
        envs.reset(seed=0)
        for _ in range(6):
            results[name] = envs.step(actions)
    _, reward, end, _, info = results["multi-agent-v0"]
    _, rewards, ends, _, _ = results["multi-agent-v1"]
    assert rewards.shape == ends.shape == (40, 2)
    assert torch.equal(rewards, info["agents_rewards"])
    assert torch.equal(ends, info["agents_terminated"])
    assert torch.allclose(reward, rewards.mean(1), atol=1e-6)
    assert (rewards[:, 0] != rewards[:, 1]).any()
    crashed = envs.world.crashed.gather(1, envs.world.ego.long())
    assert 0 < crashed.any(1).sum() < 40
    assert torch.equal(end, crashed.any(1) | ends.all(1))


def test_slots_for_all_who_can_come():
    sizes = {
        seconds: sim.make_vec(full("v0"), config={"duration": seconds}).world.x.shape[1] for seconds in (0, 13, 60)
    }
    assert sizes[13] - sizes[0] == 13
    assert sizes[60] - sizes[13] == 60 - 13
    config = {"duration": math.inf, "initial_vehicle_count": 300, "controlled_vehicles": 3}
    assert sim.make_vec(full("v0"), config=config).world.x.shape[1] == MOST_TRAFFIC + 3


def test_nobody_enters_a_full_road(device):
    """The road then goes on with the vehicles it has, its ego among them."""
    config = {"spawn_probability": 1.0, "initial_vehicle_count": 0, "duration": 0}
    envs = sim.make_vec(full("v0"), 30, config=config, device=device, autoreset_mode="Disabled")
    envs.reset(seed=0)
    slots, most = envs.world.x.shape[1], 0
    for _ in range(10):  # the slots are for none
        envs.step(np.ones(30, dtype=int))
        most = max(most, int(envs.world.count.max()))
    assert most == slots
    assert (envs.world.kind.gather(1, envs.world.ego.long()) == Kind.MDP).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"reward_speed_range": [8, 8]}, "reward_speed_range'.* different"),
        ({"normalize_reward": True, "collision_reward": 1}, "normalize_reward"),
        ({"on_road_reward": None}, "on_road_reward"),
        ({"simulation_frequency": 7.5}, "simulation_frequency'.* integer"),
        ({"simulation_frequency": 1}, "simulation_frequency'.* at least 2"),
        ({"controlled_vehicles": 0}, "controlled_vehicles'.* at least 1"),
        ({"initial_vehicle_count": 2.5}, "initial_vehicle_count'.* integer"),
        ({"initial_vehicle_count": -1}, "initial_vehicle_count'.* at least 0"),
        ({"destination": ["o1"]}, "destination'.* node's name"),
        ({"destinations": "o2"}, "did you mean 'destination'"),
    ],
)
def test_a_config_without_a_scene_is_one_clear_error(config, message):
    with pytest.raises(ValueError, match=message):
        sim.make_vec(full("v0"), config=config)
