"""Observations as one tensor, and what networks are told of an environment."""

import dataclasses
import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from agents.spaces import Spaces, flat, spaces_of, stored_spaces
from sim.engine.lanes import CircularLane, StraightLane
from sim.engine.network import Network, straight_lanes
from tests.agents.identity import IdentityEnvs

META = Discrete(5)


def envs(observation: gymnasium.Space, action: gymnasium.Space = META, **fields) -> IdentityEnvs:
    made = IdentityEnvs(2)
    made.single_observation_space, made.single_action_space = observation, action
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def box(*shape: int) -> Box:
    return Box(-np.inf, np.inf, shape, np.float64)


def test_a_single_tensor_keeps_its_shape_and_becomes_float32(device):
    seen = torch.arange(12, dtype=torch.uint8, device=device).view(2, 2, 3)
    assert flat(seen).dtype == torch.float32 and flat(seen).tolist() == seen.tolist()
    assert flat(seen.cpu().numpy(), device).device.type == device.type
    already = torch.rand(2, 3)
    assert flat(already) is already


def test_dicts_and_tuples_are_joined_in_a_fixed_order():
    """Names count in alphabetical order, whatever order the environment has them in."""
    state, rate = np.array([[[1.0], [2.0]]]), torch.tensor([[[3.0], [4.0]]], dtype=torch.float64)
    assert flat({"state": state, "derivative": rate}).tolist() == [[3, 4, 1, 2]]
    assert flat({"derivative": rate, "state": state}).tolist() == [[3, 4, 1, 2]]
    assert flat((state, {"b": rate, "a": state})).tolist() == [[1, 2, 1, 2, 3, 4]]


def test_a_goal_observation_says_nothing_twice():
    here, there = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 6.0]])
    goal = {"observation": here, "achieved_goal": here, "desired_goal": there}
    assert flat(goal).tolist() == [[5, 6, 1, 2]]
    assert flat({"achieved_goal": here, "desired_goal": there}).tolist() == [[1, 2, 5, 6]]


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (box(3, 3, 5), (3, 3, 5)),
        (box(16, 2), (16, 2)),
        (Dict({"observation": box(6), "achieved_goal": box(6), "desired_goal": box(6)}), (12,)),
        (Dict({"state": box(4, 1), "derivative": box(4, 1)}), (8,)),
        (Tuple([box(5, 5), Dict({"a": box(2)})]), (27,)),
    ],
)
def test_the_shape_is_that_of_the_flat_observation(space, shape):
    assert spaces_of(envs(space)).observation == shape
    sample = space.sample()

    def batched(part):
        if isinstance(part, dict):
            return {name: batched(one) for name, one in part.items()}
        return tuple(map(batched, part)) if isinstance(part, tuple) else part[None]

    assert tuple(flat(batched(sample)).shape) == (1, *shape)


def test_several_agents_are_refused_by_name():
    with pytest.raises(ValueError, match=r"pair-v0 takes the actions of 2 agents at once: .* one agent only"):
        spaces_of(envs(box(5, 5), Tuple([META, META]), id="pair-v0"))
    with pytest.raises(ValueError, match="must be a Box, or a Dict or Tuple of them, got Discrete"):
        spaces_of(envs(Dict({"a": Discrete(3)})))


def road(*, curve: bool = False, across: bool = False) -> Network:
    """Three lanes along x, and what may follow them."""
    graph = {"a": {"b": straight_lanes(3, 0.0, 100.0, 30.0)}, "b": {"c": straight_lanes(2, 100.0, 50.0, 30.0)}}
    if curve:
        graph["b"]["d"] = [CircularLane((100.0, 50.0), 50.0, -np.pi / 2, 0.0)]
    if across:
        graph["c"] = {"d": [StraightLane((150.0, 0.0), (150.0, 50.0))]}
    return Network(graph)


@pytest.mark.parametrize(
    ("observation", "network", "pitch"),
    [
        ({"type": "Kinematics"}, road(), 1 / 3),
        ({"type": "Kinematics", "normalize": False}, road(), 4.0),
        ({"type": "Kinematics", "features_range": {"y": [-16, 16]}}, road(), 0.25),
        ({"type": "Kinematics", "features": ["x", "vx"]}, road(), None),
        ({"type": "Kinematics"}, road(curve=True), None),
        ({"type": "Kinematics"}, road(across=True), None),
        ({"type": "Kinematics"}, None, None),
        ({"type": "OccupancyGrid"}, road(), None),
    ],
)
def test_lanes_are_read_on_straight_roads_only(observation, network, pitch):
    """Two neighbouring lanes are 4 m apart; normalised, y is divided by the 12 m of all three."""
    lane = spaces_of(envs(box(5, 5), config={"observation": observation}, network=network)).lane
    assert (lane and lane.pitch) == (pitch and pytest.approx(pitch))


def test_exit_observations_have_rows_too():
    config = {"observation": {"type": "ExitObservation", "features": ["x", "presence"]}}
    assert spaces_of(envs(box(15, 2), config=config)).presence == 1
    flattened = Tuple([box(5, 5)])
    assert spaces_of(envs(flattened, config={"observation": {"type": "Kinematics"}})).presence is None


def test_spaces_survive_json():
    spaces = spaces_of(envs(box(5, 5), config={"observation": {"type": "Kinematics"}}, network=road()))
    stored = json.loads(json.dumps(dataclasses.asdict(spaces)))
    again = stored_spaces({name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()})
    assert isinstance(again, Spaces) and again == spaces
