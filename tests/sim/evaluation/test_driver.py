from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces

import sim
from sim.evaluation.driver import ConstantDriver, Driver, DriverSpec, IdleDriver, RandomDriver, action_names


def envs(space, action):
    return SimpleNamespace(single_action_space=space, config={"action": action})


META = {"type": "DiscreteMetaAction"}
BOX = envs(spaces.Box(np.array([-1, -3], np.float32), np.array([1, 5], np.float32)), {"type": "ContinuousAction"})

PAIR = envs(spaces.Tuple([spaces.Discrete(3)] * 2), {"type": "MultiAgentAction", "action_config": META})


def acts(driver, world, seeds, steps):
    driver.prepare(world, seeds)
    driver.reset(torch.ones(len(seeds), dtype=torch.bool))
    return torch.stack([driver.act(torch.zeros(len(seeds), 5, 5)) for _ in range(steps)])


def test_random_actions_belong_to_the_episode_not_to_the_batch(device):
    world = envs(spaces.Discrete(5), META)
    together = acts(RandomDriver(device=device), world, [4, 9, 2], 50)
    alone = acts(RandomDriver(device=device), world, [9], 50)
    assert together.device.type == device.type
    assert torch.equal(together[:, 1], alone[:, 0])
    assert not torch.equal(together[:, 0], together[:, 1])
    assert not torch.equal(acts(RandomDriver(1, device), world, [9], 50), alone)


def test_random_actions_fill_their_space_evenly():
    counts = torch.bincount(acts(RandomDriver(), envs(spaces.Discrete(5), META), range(20), 200).flatten())
    assert counts.shape == (5,)
    assert (counts - 800).abs().max() < 120  # 4.7 standard deviations
    actions = acts(RandomDriver(), BOX, range(20), 200).reshape(-1, 2)
    low, high = torch.tensor([-1.0, -3.0]), torch.tensor([1.0, 5.0])
    assert (actions >= low).all()
    assert (actions <= high).all()
    assert torch.allclose(actions.mean(0), (low + high) / 2, atol=0.15)
    assert torch.allclose(actions.std(0), (high - low) / 12**0.5, rtol=0.05)


def test_several_agents_draw_apart_from_one_another():
    actions = acts(RandomDriver(), PAIR, [4, 9], 300)
    assert actions.shape == (300, 2, 2) and actions.dtype == torch.int64
    assert sorted(actions.unique().tolist()) == [0, 1, 2]
    same = (actions[:, 0, 0] == actions[:, 0, 1]).float().mean()
    assert 0.2 < same < 0.47  # a third, give or take five standard deviations
    assert torch.equal(actions[:, :1], acts(RandomDriver(), PAIR, [4], 300))


def test_observations_of_any_structure_are_welcome():
    for driver in (RandomDriver(), IdleDriver()):
        driver.prepare(BOX, [0, 1, 2])
        assert driver.act({"a": torch.zeros(3, 2), "b": torch.zeros(3, 4)}).shape == (3, 2)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (envs(spaces.Discrete(5), META), 1),
        (envs(spaces.Discrete(3), META | {"lateral": False}), 1),
        (envs(spaces.Discrete(3), META | {"longitudinal": False}), 1),
        (envs(spaces.Discrete(9), {"type": "DiscreteAction"}), 4),
        (BOX, [0, 1]),
        (PAIR, [1, 1]),
        (envs(spaces.Tuple([BOX.single_action_space] * 2), {"type": "MultiAgentAction"}), [[0, 1], [0, 1]]),
    ],
)
def test_idle_asks_for_nothing(world, expected):
    actions = acts(IdleDriver(), world, [0, 1], 1)[0]
    assert actions.tolist() == [expected, expected]
    assert actions.dtype == (torch.float32 if world is BOX or actions.ndim == 3 else torch.int64)


@pytest.mark.parametrize("switches", [{}, {"lateral": False}, {"longitudinal": False}])
def test_action_names_are_highway_envs(switches):
    from highway_env.envs.common.action import DiscreteMetaAction

    names = dict(enumerate(action_names({"action": META | switches})))
    assert names == DiscreteMetaAction(None, **switches).actions
    assert action_names({"action": {"type": "ContinuousAction"}}) is None
    both = {"type": "MultiAgentAction", "action_config": META | switches}
    assert action_names({"action": both}) == list(names.values())


def test_the_baselines_are_drivers_and_a_spec_builds_them():
    driver = DriverSpec("random", RandomDriver, (7,)).build()
    assert isinstance(driver, Driver)
    assert (driver.seed, driver.sees) == (7, "features")
    assert isinstance(IdleDriver(), Driver)


def test_other_spaces_are_refused():
    with pytest.raises(ValueError, match="Discrete and Box"):
        RandomDriver().prepare(envs(spaces.MultiBinary(3), META), [0])


@pytest.mark.parametrize(
    ("id", "name", "expected"),
    [
        ("highway-fast-v0", "FASTER", 3),
        ("highway-fast-v0", "LANE_LEFT", 0),
        ("intersection-v0", "SLOWER", 0),
        ("parking-v0", "FASTER", [1.0, 0.0]),
        ("parking-v0", "SLOWER", [-1.0, 0.0]),
        ("racetrack-v0", "FASTER", [0.0]),
    ],
)
def test_a_constant_driver_takes_its_action_in_every_world(id, name, expected):
    envs = sim.make_vec(id, num_envs=2)
    driver = ConstantDriver(name)
    driver.prepare(envs, [0, 1])
    assert driver.act(None).tolist() == [expected, expected]


def test_a_constant_driver_names_the_actions_there_are():
    with pytest.raises(ValueError, match="intersection-v0 has no action 'LANE_LEFT'; there are SLOWER, IDLE, FASTER"):
        ConstantDriver("LANE_LEFT").prepare(sim.make_vec("intersection-v0", num_envs=1), [0])
