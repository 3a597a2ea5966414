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
    """The fourth world's ego is steered by its agent, and aims at nothing yet."""
    shape = (4, 2)
    idm, mdp, steered = int(Kind.IDM), int(Kind.MDP), int(Kind.VEHICLE)

    def full(value, dtype=None):
        return torch.full(shape, value, dtype=dtype, device=device)

    world = SimpleNamespace(
        x=full(100.25),
        y=full(4.0),
        speed=full(8.0),
        lane=full(3, torch.int32),
        kind=full(mdp, torch.int32),
        delta=full(0.0),
        timer=full(0.0),
        changes_lanes=full(False),
        target_speed=full(25.0),
        target_lane=full(2, torch.int32),
        ego=torch.tensor([[0], [1], [0], [0]], dtype=torch.int32, device=device),
    )
    world.kind[3, 0] = steered
    let_idm_drive(world, torch.tensor([True, True, False, True], device=device))
    assert world.kind.tolist() == [[idm, mdp], [mdp, idm], [mdp, mdp], [idm, mdp]]
    assert world.delta.tolist() == [[4, 0], [0, 4], [0, 0], [4, 0]]
    assert world.changes_lanes.tolist() == [[True, False], [False, True], [False, False], [True, False]]
    # 104.25 * pi = 327.5110...
    np.testing.assert_allclose(world.timer.cpu(), [[0.5110, 0], [0, 0.5110], [0, 0], [0.5110, 0]], atol=1e-3)
    assert world.target_speed.tolist() == [[25, 25], [25, 25], [25, 25], [8, 25]]
    assert world.target_lane.tolist() == [[2, 2], [2, 2], [2, 2], [3, 2]]


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


@pytest.mark.parametrize(
    ("id", "short"),
    [
        ("highway-fast-v0", {"vehicles_count": 12, "duration": 8}),
        ("highway-v0", {"vehicles_count": 12, "duration": 8}),
        ("merge-v0", {}),
        ("two-way-v0", {}),
        ("roundabout-v0", {}),
        ("intersection-v0", {}),
        ("racetrack-v0", {"duration": 10}),
    ],
)
def test_idm_drives_the_same_episode_in_both_simulators(id, short, device):
    spec = DriverSpec("idm", IdmDriver)
    ours = evaluate(spec, id, short, range(4), device=str(device), precision="float64", progress=False)
    real = evaluate(spec, id, short, range(4), "highway-env", processes=1, progress=False)
    assert not ours.errors
    for name in ("return", "length", "crashed", "speed", "distance", "lane_changes"):
        np.testing.assert_allclose(ours.episodes[name], real.episodes[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        ("parking-v0", "no traffic to follow"),
        ("intersection-multi-agent-v0", "one agent only"),
        ("intersection-v1", "no tyre slip"),
    ],
)
def test_where_idm_cannot_drive_it_says_so_at_once(id, reason):
    with pytest.raises(ValueError, match=f"the idm driver cannot drive in {id}: .*{reason}"):
        evaluate(DriverSpec("idm", IdmDriver), id, None, range(2), "highway-env", processes=1, progress=False)
