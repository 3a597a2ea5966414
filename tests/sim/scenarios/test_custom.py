"""Scenarios of one's own: the README's closed lane beside one written for highway-env, the page's bend, bad input."""

import copy
import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from highway_env.envs.common.abstract import AbstractEnv
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.behavior import IDMVehicle
from highway_env.vehicle.objects import Obstacle

import sim
from scripts import evaluate, replay, train
from sim.evaluation.conformance import first_difference, info_difference, our_episodes
from sim.evaluation.oracle import real_episodes
from sim.registry import BUILT_IN
from sim.scenarios import SCENARIOS, highway
from sim.scenarios.base import Scenario
from sim.world import Kind
from tests.scripts.test_evaluate import call
from tests.sim.engine.twins import assert_same

ROOT = Path(__file__).parents[3]
ID = "closed-lane-v0"


def forget_own_ids() -> None:
    """Takes out every id that a test has registered, as in a new process."""
    for env_id in set(SCENARIOS) - BUILT_IN:
        del SCENARIOS[env_id]
        gymnasium.registry.pop(f"slipstream/{env_id}")
    gymnasium.registry.pop(ID, None)


@pytest.fixture(autouse=True)
def own_ids():
    """Other tests see highway-env's ids alone."""
    yield
    forget_own_ids()


def block(page: str, containing: str) -> str:
    """The only Python block of a page that has these words."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    [found] = [text for text in blocks if containing in text]
    return found


@pytest.fixture
def file(tmp_path) -> Path:
    """The README's scenario in a file of its own."""
    path = tmp_path / "closed_lane.py"
    path.write_text(block("README.md", f'sim.register("{ID}"'), encoding="utf-8")
    return path


@pytest.fixture
def closed_lane(file):
    """The module of the README's scenario, registered."""
    assert sim.load_scenarios(file) == [ID]
    return sys.modules["scenarios_of_closed_lane"]


class RealClosedLane(AbstractEnv):
    """The README's scenario as a user of highway-env writes it; the map is the README's."""

    road_map: dict

    @classmethod
    def default_config(cls) -> dict:
        return super().default_config() | {
            "vehicles_count": 12, "collision_reward": -1, "high_speed_reward": 1, "duration": 40
        }  # fmt: skip

    def _reset(self) -> None:
        network = RoadNetwork.from_config(copy.deepcopy(self.road_map))
        self.road = Road(network=network, np_random=self.np_random)
        ego = self.action_type.vehicle_class(self.road, [20.0, 16.0], 0.0, 25.0)
        self.controlled_vehicles = [ego]
        self.road.vehicles.append(ego)
        for _ in range(self.config["vehicles_count"]):
            self.road.vehicles.append(IDMVehicle.create_random(self.road))
        for x in range(300, 480, 15):
            self.road.objects.append(Obstacle(self.road, [float(x), 16.0]))

    def _rewards(self, action: int) -> dict:
        fast = np.clip((self.vehicle.speed - 20) / 10, 0, 1)
        return {"collision_reward": float(self.vehicle.crashed), "high_speed_reward": fast}

    def _reward(self, action: int) -> float:
        return sum(self.config[name] * value for name, value in self._rewards(action).items())

    def _is_terminated(self) -> bool:
        return self.vehicle.crashed

    def _is_truncated(self) -> bool:
        return self.time >= self.config["duration"]


@pytest.fixture
def real(closed_lane, monkeypatch) -> str:
    """The id of `RealClosedLane` in Gymnasium."""
    monkeypatch.setattr(RealClosedLane, "road_map", closed_lane.ROAD, raising=False)
    gymnasium.register(ID, entry_point=f"{__name__}:RealClosedLane")
    return ID


def test_the_readme_s_example_is_short_enough_to_read(file):
    assert len([line for line in file.read_text().splitlines() if line.strip()]) <= 60


@pytest.mark.parametrize("style", ["random", "gentle", "idle"])
def test_it_is_the_scenario_that_highway_env_would_play(real, style, device):
    """The same scenes, observations, rewards and ends from the same seeds: cones, traffic and queue included."""
    seeds = range(3)
    theirs = real_episodes(real, None, seeds, most=25, style=style)
    ours = our_episodes(ID, None, seeds, str(device), most=25, style=style)
    for one, other in zip(ours, theirs, strict=True):
        assert first_difference(one, other) is None
        assert info_difference(one, other) is None
    assert max(len(one.rewards) for one in ours) > 5


def test_scenes_are_highway_env_s_to_the_last_vehicle(real, device):
    envs = sim.make_vec(ID, 4, precision="float64", device=device)
    envs.reset(seed=7)
    env, roads = gymnasium.make(real, disable_env_checker=True).unwrapped, []
    for seed in range(7, 11):
        env.reset(seed=seed)
        roads.append(env.road)
    assert envs.world.count.tolist() == [1 + 12 + 12] * 4
    assert_same(envs.world, roads, envs.network)


def test_a_seed_is_an_episode_whatever_the_batch(closed_lane, device):
    actions = torch.tensor([[3, 1, 0, 1, 1, 2, 1, 1]] * 6, device=device).T
    seen = []
    for seeds in (range(6), (4, 2)):
        envs = sim.make_vec(ID, len(seeds), device=device, autoreset_mode="Disabled")
        played = [envs.reset(seed=list(seeds))[0]] + [envs.step(a[: len(seeds)])[0] for a in actions]
        seen.append(torch.stack(played, dim=1))
    torch.testing.assert_close(seen[1], seen[0][[4, 2]], rtol=0, atol=0)


def test_traffic_leaves_the_closed_lane_or_queues_before_the_cones(closed_lane, device):
    """The ego too is traffic here. Before cones IDM stops its jam distance of 10 m, from centre to centre, short."""
    worlds, first_cone = 64, 300.0
    envs = sim.make_vec(ID, worlds, device=device, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.world.kind[:, 0] = Kind.IDM
    vehicles = envs.world.kind[0] == Kind.IDM
    closed = closed_lane.CLOSED_Y.value
    started = int(((envs.world.y - closed).abs() < 2)[:, vehicles].sum())
    beside = 0
    for _ in range(30):
        envs.step(torch.ones(worlds, dtype=torch.int64, device=device))
        x, speed = envs.world.x[:, vehicles], envs.world.speed[:, vehicles]
        inside = ((envs.world.y - closed).abs() < 2)[:, vehicles]
        crashed = envs.world.crashed[:, vehicles]
        passing = ~crashed & (x > first_cone) & (x < 465)
        assert not (passing & inside).any()
        beside += int(passing.sum())
    assert beside > 6 * worlds
    assert crashed.sum() <= 2  # of 832; highway-env's MOBIL is not free of them
    queue = inside & (speed.abs() < 0.1) & ~crashed
    assert worlds / 3 < int(queue.sum()) < started / 2  # the others have left in time
    assert x[queue].max() < first_cone - 9.9


def test_gymnasium_sb3_and_the_renderer_know_it(closed_lane):
    env = gymnasium.make(f"slipstream/{ID}", config={"vehicles_count": 3}, render_mode="rgb_array")
    env.reset(seed=1)
    assert env.observation_space.contains(env.step(0)[0])
    env.unwrapped.world.x[0, 0] = 290.0
    picture = env.render()
    orange = (np.abs(picture.astype(int) - [232, 150, 50]).sum(axis=2) < 30).sum()
    assert orange > 4 * 50  # several cones of 2 m by 2 m, at 5.5 pixels a metre
    assert gymnasium.make_vec(f"slipstream/{ID}", num_envs=2, vectorization_mode="vector_entry_point").num_envs == 2


def test_it_is_trained_judged_and_filmed_by_the_scripts(file, tmp_path, monkeypatch, capsys):
    out, film, short = tmp_path / "run", tmp_path / "film.gif", tmp_path / "short.json"
    short.write_text('{"duration": 3}')
    small = ["--env-config", str(short), "--num-envs", "8", "--horizon", "4", "--hidden", "8", "--total-steps", "32"]
    scenario = ["--scenario", file]
    monkeypatch.setattr(sys, "argv", ["train.py", "--env", ID, "--out", str(out), *map(str, scenario), *small])
    train.main(train.parse())
    forget_own_ids()
    assert call(evaluate, [out, *scenario, "--episodes", 3]) == 0
    assert ID in capsys.readouterr().out
    forget_own_ids()
    assert call(replay, [out, *scenario, "--out", film]) == 0
    assert film.stat().st_size > 10_000
    forget_own_ids()
    capsys.readouterr()
    for script in (evaluate, replay):
        assert call(script, [out]) == 2
        error = capsys.readouterr().err
        assert f"unknown environment id '{ID}'" in error and "--scenario FILE.py" in error


def test_a_config_value_of_the_wrong_kind_is_one_clear_error(closed_lane):
    for config, message in (
        ({"vehicle_count": 3}, "unknown config key 'vehicle_count'; did you mean 'vehicles_count'"),
        ({"vehicles_count": 2.5}, "config['vehicles_count'] is 2.5; it must be an integer"),
        ({"duration": "long"}, "config['duration'] is 'long'; it must be a number"),
    ):
        with pytest.raises((ValueError, TypeError), match=re.escape(message)):
            sim.make(ID, config=config)


def test_a_map_alone_drives_with_the_highway_s_traffic(device):
    """The page's bend: vehicles follow it, and the camera too."""
    space: dict[str, Any] = {}
    exec(compile(block("docs/scenarios.md", 'sim.register("bend-v0"'), "docs/scenarios.md", "exec"), space)
    envs = space["envs"]
    assert envs.id == "bend-v0" and envs.num_envs == 64
    env = sim.make("bend-v0", config={"vehicles_count": 0, "offroad_terminal": True}, render_mode="rgb_array")
    env.reset(seed=0)
    env.world.x[0, 0] = 590.0
    for _ in range(4):
        _, _, terminated, _, _ = env.step(1)
        assert not terminated
    x, y = env.world.x[0, 0].item(), env.world.y[0, 0].item()
    assert np.hypot(x - 600, y - 100) == pytest.approx(100, abs=1)  # on the arc
    assert y > 20
    assert env.render().std() > 10


def test_own_ids_can_be_registered_again_and_built_in_ones_cannot(closed_lane):
    first = sim.make_vec(ID).scenario
    sim.register(ID, closed_lane.ClosedLane())
    assert sim.make_vec(ID).scenario is not first
    with pytest.raises(ValueError, match="'highway-v0' belongs to Slipstream"):
        sim.register("highway-v0", closed_lane.ClosedLane())


@pytest.mark.parametrize("env_id", ["closed-lane", "slipstream/closed-lane-v0", "closed lane-v0", "", None, 3])
def test_an_id_that_cannot_be_one_is_one_clear_error(env_id):
    with pytest.raises(ValueError, match="must be a name and a version, such as 'closed-lane-v0'"):
        sim.register(env_id, highway.Highway(fast=True))


class Unfinished(highway.Highway):
    """A highway whose judge is a spawn."""

    judge_kernel = highway.spawn


class Bare(highway.Highway):
    """A highway without a spawn."""

    spawn_kernel = None


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (highway.Highway, "needs an instance of a Scenario"),
        (None, "not None"),
        (Unfinished(fast=True), "judge_kernel has the parameters lanes, .*, first; expected lanes, .*, action, "),
        (Bare(fast=True), "Bare.spawn_kernel must be a Warp kernel with the parameters lanes"),
    ],
)
def test_what_is_no_scenario_is_one_clear_error(scenario, message):
    with pytest.raises(TypeError, match=message):
        sim.register("some-v0", scenario)
    assert "some-v0" not in SCENARIOS


def test_files_that_hold_no_scenario_are_one_clear_error(tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text("import sim\n")
    with pytest.raises(ValueError, match="registers no scenario: it must call sim"):
        sim.load_scenarios(empty)
    for path in (tmp_path / "none.py", tmp_path, "README.md"):
        with pytest.raises(FileNotFoundError, match="no such Python file"):
            sim.load_scenarios(path)


def test_every_family_fills_the_struct_of_its_kernels():
    """`parameters` is what the kernels are annotated with: no family forgets it."""
    for env_id in sorted(BUILT_IN):
        family = SCENARIOS[env_id]
        assert isinstance(family, Scenario)
        annotated = next(one.type for one in family.spawn_kernel.adj.args if one.label == "rules")
        assert annotated is family.parameters, env_id


def test_a_world_too_small_for_its_scene_is_an_error_that_says_how_much_it_needs(closed_lane):
    class Crowded(closed_lane.ClosedLane):
        def sizes(self, config: dict[str, Any], network: Any) -> Any:
            whole = super().sizes(config, network)
            return dataclasses.replace(whole, vehicles=whole.vehicles - 3)

    sim.register("crowded-v0", Crowded())
    needed = sim.make_vec(ID, num_envs=2).world.buffers["cars"].shape[1]
    with pytest.raises(RuntimeError, match=f"placed {needed} things in a world that has {needed - 3} slots"):
        sim.make_vec("crowded-v0", num_envs=2).reset(seed=0)
