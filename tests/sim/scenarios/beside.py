"""A scenario's road, config and scenes beside the real highway-env's."""

from collections.abc import Sequence
from typing import Any

import torch

import sim
from sim.evaluation.conformance import Conformance
from sim.evaluation.oracle import make_real
from tests.sim.engine.twins import assert_same, network_twin

BEHAVIOR = "highway_env.vehicle.behavior."
EVERYTHING = {  # of every vehicle, unscaled
    "type": "Kinematics",
    "features": ["presence", "x", "y", "vx", "vy", "cos_h", "sin_h", "cos_d", "sin_d"],
    "vehicles_count": 30,
    "see_behind": True,
    "absolute": True,
    "normalize": False,
    "observe_intentions": True,
}


def assert_same_defaults(env_id: str) -> None:
    """The same keys and values."""
    real, ours = dict(make_real(env_id).unwrapped.config), dict(sim.make_vec(env_id).config)
    assert real.pop("offscreen_rendering") is True  # filled in by its constructor
    assert ours.pop("offscreen_rendering") is None
    assert ours == real


def assert_same_road(env_id: str, config: dict[str, Any]) -> None:
    """The same lanes, to the last bit of every coordinate, in the same order."""
    twin, ours = network_twin(make_real(env_id, config).unwrapped.road.network), sim.make_vec(env_id, config=config)
    assert ours.network.edges == twin.edges
    for number, (mine, theirs) in enumerate(zip(ours.network.lanes, twin.lanes, strict=True)):
        assert mine == theirs, twin.lane_index(number)


def assert_same_scenes(env_id: str, config: dict[str, Any], seeds: Sequence[int], device: torch.device) -> None:
    """Every field of every vehicle and object after the reset, in list order."""
    envs = sim.make_vec(env_id, len(seeds), config=config, device=device, precision="float64")
    envs.reset(seed=list(seeds))
    real, roads = make_real(env_id, config).unwrapped, []
    for seed in seeds:
        real.reset(seed=seed)
        roads.append(real.road)
    assert envs.world.count.tolist() == [len(road.vehicles) + len(road.objects) for road in roads]
    assert_same(envs.world, roads, envs.network)


def assert_same_scenes_in_float32(env_id: str, device: torch.device) -> None:
    """The positions and speeds of float64, rounded."""
    worlds = []
    for precision in ("float32", "float64"):
        envs = sim.make_vec(env_id, 50, device=device, precision=precision)
        envs.reset(seed=0)
        worlds.append(envs.world)
    assert torch.equal(worlds[0].count, worlds[1].count)
    for name in ("x", "y", "speed", "heading"):
        found, expected = (getattr(world, name)[world.valid].double() for world in worlds)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def assert_equal(result: Conformance) -> None:
    """No step of any seed differs."""
    assert result.differences == {}
    assert result.info_differences == {}
    assert result.resets_equal == len(result.case.seeds)
