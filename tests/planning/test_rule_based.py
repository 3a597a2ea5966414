from types import SimpleNamespace

import numpy as np
import pytest
import torch

from planning.rule_based import IdmDriver, let_idm_drive
from sim.evaluation.driver import Driver, DriverSpec
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.runner import evaluate
from sim.world import Kind


def test_only_the_egos_of_the_mask_change_hands(device):
    shape = (3, 2)
    world = SimpleNamespace(
        x=torch.full(shape, 100.25, device=device),
        y=torch.full(shape, 4.0, device=device),
        kind=torch.full(shape, int(Kind.MDP), dtype=torch.int32, device=device),
        delta=torch.zeros(shape, device=device),
        timer=torch.zeros(shape, device=device),
        changes_lanes=torch.zeros(shape, dtype=torch.bool, device=device),
        target_speed=torch.full(shape, 25.0, device=device),
        ego=torch.tensor([[0], [1], [0]], dtype=torch.int32, device=device),
    )
    let_idm_drive(world, torch.tensor([True, True, False], device=device))
    idm, mdp = int(Kind.IDM), int(Kind.MDP)
    assert world.kind.tolist() == [[idm, mdp], [mdp, idm], [mdp, mdp]]
    assert world.delta.tolist() == [[4, 0], [0, 4], [0, 0]]
    assert world.changes_lanes.tolist() == [[True, False], [False, True], [False, False]]
    # 104.25 * pi = 327.5110...
    np.testing.assert_allclose(world.timer.cpu(), [[0.5110, 0], [0, 0.5110], [0, 0]], atol=1e-3)
    assert (world.target_speed == 25).all()


def test_in_the_real_highway_env_the_ego_is_an_idm_vehicle_in_the_same_place():
    from highway_env.vehicle.behavior import IDMVehicle

    envs, driver = HighwayEnv("highway-fast-v0"), IdmDriver()
    driver.prepare(envs, [0])
    observation, _ = envs.reset(seed=0)
    before = envs.world
    driver.reset(torch.ones(1, dtype=torch.bool))
    after, ego = envs.world, envs.env.vehicle
    assert type(ego) is IDMVehicle
    assert envs.env.road.vehicles[0] is ego
    assert ego.check_collisions
    assert ego.target_speed == 25
    assert after.kind[0, 0] == Kind.IDM
    for name in ("x", "y", "speed", "heading", "lane"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    assert driver.act(observation).tolist() == [1]
    # It decides once a frame, although highway-env hands a policy step's action to its ego besides.
    decisions, act = [], ego.act
    ego.act = lambda action=None: decisions.append(act(action))
    envs.step(torch.tensor([1]))
    assert len(decisions) == 5
    # Whatever is asked of it, it drives by itself.
    places = []
    for action in (0, 4):
        driver.prepare(envs, [0])
        envs.reset(seed=0)
        driver.reset(torch.ones(1, dtype=torch.bool))
        for _ in range(3):
            envs.step(torch.tensor([action]))
        places.append(envs.env.vehicle.position.copy())
    np.testing.assert_array_equal(*places)


def test_idm_is_a_privileged_driver():
    assert isinstance(IdmDriver(), Driver)
    assert IdmDriver().sees == "world"


@pytest.mark.parametrize("id", ["highway-fast-v0", "highway-v0"])
def test_idm_drives_the_same_episode_in_both_simulators(id, device):
    spec, short = DriverSpec("idm", IdmDriver), {"vehicles_count": 12, "duration": 8}
    ours = evaluate(spec, id, short, range(4), device=str(device), precision="float64", progress=False)
    real = evaluate(spec, id, short, range(4), "highway-env", processes=1, progress=False)
    assert not ours.errors
    for name in ("return", "length", "crashed", "speed", "distance", "lane_changes"):
        np.testing.assert_allclose(ours.episodes[name], real.episodes[name], atol=1e-6, err_msg=name)
