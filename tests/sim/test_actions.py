import itertools
import math

import numpy as np
import pytest
import torch

import sim
from sim.actions import action_type, checked

FAST = "highway-fast-v0"
CONTINUOUS = {"type": "ContinuousAction"}
LEFT, IDLE, RIGHT, FASTER, SLOWER = range(5)


def envs_with(action, num_envs=1, device="cpu", **config):
    return sim.make_vec(FAST, num_envs, device=device, config={"action": action, "vehicles_count": 0} | config)


def test_meta_actions(device):
    """What each action makes of a target lane 1 and a target speed of 25 m/s."""
    envs = envs_with({"type": "DiscreteMetaAction"}, 5, device, initial_lane_id=1)
    envs.reset(seed=0)
    assert envs.action_type.names == ("LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER")
    envs.step([LEFT, IDLE, RIGHT, FASTER, SLOWER])
    assert envs.world.target_lane[:, 0].tolist() == [0, 1, 2, 1, 1]
    assert envs.world.target_speed[:, 0].tolist() == [25, 25, 25, 30, 20]


@pytest.mark.parametrize(
    "switches, names",
    [
        ({"lateral": False}, ("SLOWER", "IDLE", "FASTER")),
        ({"longitudinal": False}, ("LANE_LEFT", "IDLE", "LANE_RIGHT")),
    ],
)
def test_meta_actions_of_one_axis(switches, names, device):
    one, all_axes = (
        envs_with({"type": "DiscreteMetaAction"} | s, 3, device, initial_lane_id=1) for s in (switches, {})
    )
    assert one.action_type.names == names and one.single_action_space.n == 3
    one.reset(seed=0)
    all_axes.reset(seed=0)
    twins = [all_axes.action_type.names.index(name) for name in names]
    assert torch.equal(one.step([0, 1, 2])[0], all_axes.step(twins)[0])


def test_target_speeds(device):
    envs = envs_with({"type": "DiscreteMetaAction", "target_speeds": [10, 18, 26, 34, 42]}, 1, device)
    envs.reset(seed=0)
    assert envs.world.target_speed.item() == 26  # the ego starts with 25 m/s
    envs.step([FASTER])
    assert envs.world.target_speed.item() == 34
    for _ in range(12):
        envs.step([SLOWER])
    assert envs.world.target_speed.item() == 10


def test_continuous_actions_are_mapped_to_their_ranges(device):
    action = CONTINUOUS | {"acceleration_range": [-4, 2], "steering_range": [-0.1, 0.3]}
    envs = envs_with(action, 5, device)
    envs.reset(seed=0)
    envs.step(torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [-7.0, 7.0], [0.5, -0.5]], device=device))
    assert envs.world.acceleration[:, 0].tolist() == pytest.approx([-4, 2, -1, -4, 0.5])
    assert envs.world.steering[:, 0].tolist() == pytest.approx([-0.1, 0.3, 0.1, 0.3, 0.0], abs=1e-7)


def test_the_default_ranges(device):
    envs = envs_with(CONTINUOUS, 2, device)
    envs.reset(seed=0)
    envs.step([[1.0, 1.0], [-1.0, -1.0]])
    assert envs.world.acceleration[:, 0].tolist() == [5, -5]
    assert envs.world.steering[:, 0].tolist() == pytest.approx([math.pi / 4, -math.pi / 4])


def test_without_clipping_actions_go_on_beyond_one(device):
    envs = envs_with(CONTINUOUS | {"clip": False}, 1, device)
    envs.reset(seed=0)
    envs.step([[1.5, -2.0]])
    assert envs.world.acceleration.item() == pytest.approx(7.5)
    assert envs.world.steering.item() == pytest.approx(-math.pi / 2)


@pytest.mark.parametrize(
    "switches, expected", [({"lateral": False}, (2.5, 0.0)), ({"longitudinal": False}, (0.0, math.pi / 8))]
)
def test_continuous_actions_of_one_axis(switches, expected, device):
    envs = envs_with(CONTINUOUS | switches, 1, device)
    assert envs.single_action_space.shape == (1,)
    envs.reset(seed=0)
    envs.step([[0.5]])
    assert (envs.world.acceleration.item(), envs.world.steering.item()) == pytest.approx(expected)


@pytest.mark.parametrize("limits", [[10, 26], [0, 27]])
def test_the_speed_range_bounds_the_ego(limits, device):
    envs = envs_with(CONTINUOUS | {"speed_range": limits, "lateral": False}, 2, device)
    envs.reset(seed=0)
    for _ in range(15):
        envs.step([[1.0], [-1.0]])
    fastest, slowest = envs.world.speed[:, 0].tolist()
    assert fastest <= limits[1] + 1 and slowest >= limits[0] - 1  # a frame of full throttle beyond
    assert fastest > limits[1] - 1 and slowest < limits[0] + 1


def test_discrete_actions_are_a_grid(device):
    grid = list(itertools.product((-1.0, 0.0, 1.0), repeat=2))
    discrete = envs_with({"type": "DiscreteAction"}, 9, device)
    continuous = envs_with(CONTINUOUS, 9, device)
    assert discrete.single_action_space.n == 9
    discrete.reset(seed=0)
    continuous.reset(seed=0)
    assert torch.equal(discrete.step(range(9))[0], continuous.step(grid)[0])


def test_the_dynamical_vehicle_slips(device):
    kinematic, dynamical = (envs_with(CONTINUOUS | {"dynamical": on}, 1, device) for on in (False, True))
    assert dynamical.world.kind[0, 0] == 0
    kinematic.reset(seed=0)
    dynamical.reset(seed=0)
    for _ in range(2):
        kinematic.step([[0.0, 0.2]])
        dynamical.step([[0.0, 0.2]])
    assert dynamical.world.kind[0, 0] == sim.world.Kind.BICYCLE
    assert abs(dynamical.world.lateral_speed.item()) > 0.01
    assert not torch.allclose(kinematic.world.heading, dynamical.world.heading, atol=1e-2)


@pytest.mark.parametrize(
    "actions",
    [
        [3, 2, 1],
        (3, 2, 1),
        np.array([1, 2, 3])[::-1],
        np.array([3, 2, 1], dtype=np.uint16),
        torch.tensor([3, 2, 1], dtype=torch.int32),
        torch.tensor([1, 2, 3]).flip(0),
    ],
    ids=["list", "tuple", "reversed view", "uint16", "int32 tensor", "int64 tensor"],
)
def test_integers_of_all_sorts_are_taken(actions):
    taken = checked(actions, action_type({"type": "DiscreteMetaAction"}, 1).space, 3, torch.device("cpu"))
    assert taken.dtype == torch.int64 and taken.tolist() == [3, 2, 1]


def test_read_only_arrays_are_taken_and_kept_apart(device):
    envs = envs_with(CONTINUOUS, 2, device)
    envs.reset(seed=0)
    actions = np.broadcast_to(np.array([0.5, 0.25], dtype=np.float32), (2, 2))
    info = envs.step(actions)[4]
    assert info["action"].tolist() == [[0.5, 0.25]] * 2
    buffer = np.zeros((2, 2), dtype=np.float32)
    info = envs.step(buffer)[4]
    buffer[:] = 9
    assert info["action"].abs().max() == 0


BAD_DISCRETE = [
    ([0, 1, 5], ValueError, "action 5 is outside the space; allowed: 0 to 4"),
    ([0, -1, 4], ValueError, "action -1 is outside the space; allowed: 0 to 4"),
    (torch.tensor([0, 1, 99]), ValueError, "action 99 is outside the space"),
    ([0.0, 1.0, 2.0], TypeError, "a discrete space takes integers 0 to 4"),
    ([0, 1, math.nan], TypeError, "a discrete space takes integers 0 to 4"),
    ([True, False, True], TypeError, "actions are torch.bool"),
    (np.zeros(3, dtype=complex), TypeError, "actions are torch.complex128; allowed: integers or floats"),
    ([0, 1], ValueError, "actions have shape (2,); expected (3,), one action a world"),
    ([[0], [1], [2]], ValueError, "actions have shape (3, 1); expected (3,)"),
    (1, ValueError, "actions have shape (); expected (3,)"),
    ([[0], [1, 2], [3]], TypeError, "actions must be an array of numbers [3, ...], not [[0], [1, 2], [3]]"),
    (None, TypeError, "actions must be an array of numbers [3, ...], not None"),
    (["LANE_LEFT"] * 3, TypeError, "actions must be an array of numbers [3, ...], not ['LANE_LEFT'"),
    (torch.zeros(3, dtype=torch.int64, device="meta"), ValueError, "actions are on meta, the environment is on "),
]
BAD_CONTINUOUS = [
    ([[0, 0], [0, math.nan], [0, 0]], ValueError, "actions hold NaN or infinity"),
    ([[0, 0], [-math.inf, 0], [0, 0]], ValueError, "actions hold NaN or infinity"),
    ([0.0, 0.0, 0.0], ValueError, "actions have shape (3,); expected (3, 2), one action a world"),
    ([[0.0, 0.0, 0.0]] * 3, ValueError, "actions have shape (3, 3); expected (3, 2)"),
    ([["a", "b"]] * 3, TypeError, "actions must be an array of numbers"),
    (np.zeros((3, 2), dtype=complex), TypeError, "actions are torch.complex128"),
    (torch.zeros(3, 2, device="meta"), ValueError, "actions are on meta, the environment is on "),
]


@pytest.mark.parametrize(
    "type_name, actions, error, words",
    [("DiscreteMetaAction", *case) for case in BAD_DISCRETE] + [("ContinuousAction", *case) for case in BAD_CONTINUOUS],
    ids=itertools.count(),
)
def test_bad_actions(type_name, actions, error, words, device):
    """One clear line, and the worlds stay as they were."""
    envs = envs_with({"type": type_name}, 3, device, vehicles_count=3)
    envs.reset(seed=0)
    if isinstance(actions, torch.Tensor) and actions.device.type == "cpu":
        actions = actions.to(device)
    before = envs.state_dict()
    with pytest.raises(error) as caught:
        envs.step(actions)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    for name, tensor in envs.state_dict().items():
        assert torch.equal(tensor, before[name])
