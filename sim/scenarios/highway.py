"""highway-v0 and highway-fast-v0: a straight road full of traffic.

Source: highway_env/envs/highway_env.py, 1.12.1.
"""

from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine.network import Network
from sim.engine.spawn import (
    DRAWN_SPEED,
    begin_episode,
    clear_world,
    place_random,
    randomize_behavior,
    snap_target_speed,
)
from sim.engine.state import Kind
from sim.engine.vehicles import on_own_lane
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, is_number, number_pair
from sim.world import Sizes

SPEED_LIMIT = 30.0  # m/s
EGO_SPEED = 25.0  # m/s at the start

DEFAULTS = {
    "lanes_count": 4,
    "vehicles_count": 50,
    "controlled_vehicles": 1,
    "initial_lane_id": None,
    "duration": 40,  # s
    "ego_spacing": 2,
    "vehicles_density": 1,
    "collision_reward": -1,
    "right_lane_reward": 0.1,
    "high_speed_reward": 0.4,
    "lane_change_reward": 0,  # read nowhere, as in highway-env 1.12.1
    "reward_speed_range": [20, 30],  # m/s
    "normalize_reward": True,
    "offroad_terminal": False,
}
FAST = {"simulation_frequency": 5, "lanes_count": 3, "vehicles_count": 20, "duration": 30, "ego_spacing": 1.5}
REWARDS = ("collision_reward", "right_lane_reward", "high_speed_reward", "on_road_reward")


@wp.struct
class Rules:
    """What the highway's kernels need of the config."""

    ego_kind: int
    traffic_kind: int
    egos: int
    others: int
    initial_lane: int
    ego_spacing: wp.float64
    traffic_spacing: wp.float64
    traffic_checks: int
    collision_reward: wp.float64
    right_lane_reward: wp.float64
    high_speed_reward: wp.float64
    on_road_reward: wp.float64
    speed_low: wp.float64
    speed_high: wp.float64
    normalize: int
    offroad_terminal: int
    duration: wp.float64


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: every ego, then its share of the traffic, one ahead of the other."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    share = rules.others / rules.egos
    spare = rules.others % rules.egos
    for agent in range(rules.egos):
        ego = place_random(
            lanes, world, w, rules.ego_kind, wp.float64(EGO_SPEED), 0, rules.initial_lane, rules.ego_spacing
        )
        world.ego[w, agent] = ego
        if rules.ego_kind == Kind.MDP:
            snap_target_speed(world, model, w, ego)
        others = share
        if agent < spare:
            others = share + 1
        for _ in range(others):
            v = place_random(lanes, world, w, rules.traffic_kind, wp.float64(DRAWN_SPEED), 0, -1, rules.traffic_spacing)
            randomize_behavior(world, w, v)
            world.cars[w, v].checks_collisions = rules.traffic_checks != 0
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, and the two ends of an episode, of the first ego."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    on = world.cars[w, v].lane
    on_road, s, lateral = on_own_lane(lanes, world, w, v)
    scored = on
    if world.cars[w, v].kind <= Kind.MDP:
        scored = world.cars[w, v].target_lane
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    forward = wp.float64(world.cars[w, v].speed) * wp.float64(world.cars[w, v].cos_heading)
    crashed = wp.where(world.cars[w, v].crashed, one, zero)
    right = wp.float64(lanes.lanes[scored].index) / wp.float64(wp.max(lanes.edges[lanes.lanes[on].edge].count - 1, 1))
    fast = wp.clamp((forward - rules.speed_low) / (rules.speed_high - rules.speed_low), zero, one)
    kept = wp.where(on_road, one, zero)
    total = rules.collision_reward * crashed + rules.right_lane_reward * right
    total = total + rules.high_speed_reward * fast + rules.on_road_reward * kept
    if rules.normalize != 0:
        best = rules.high_speed_reward + rules.right_lane_reward
        total = (total - rules.collision_reward) / (best - rules.collision_reward)
    verdict.terms[w, 0] = crashed
    verdict.terms[w, 1] = right
    verdict.terms[w, 2] = fast
    verdict.terms[w, 3] = kept
    verdict.reward[w] = total * kept
    verdict.terminated[w] = world.cars[w, v].crashed or (rules.offroad_terminal != 0 and not on_road)
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class Highway(Scenario):
    """The straight highway; `fast` is the cheaper variant, whose traffic does not check collisions with itself."""

    rewards = REWARDS
    optional_keys = frozenset({"on_road_reward"})  # highway-env weighs it if it is given
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def __init__(self, fast: bool) -> None:
        self.fast = fast

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS | (FAST if self.fast else {})

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        at_least(config, "lanes_count", 1)
        at_least(config, "vehicles_count", 0)
        at_least(config, "controlled_vehicles", 1)
        number_pair(config["reward_speed_range"], "config['reward_speed_range']", different=True)
        if not is_number(config.get("on_road_reward", 0)):
            raise ValueError(f"config['on_road_reward'] is {config['on_road_reward']!r}; it must be a number")
        initial, lanes = config["initial_lane_id"], config["lanes_count"]
        if initial is not None and (type(initial) is not int or not 0 <= initial < lanes):
            raise ValueError(f"config['initial_lane_id'] is {initial!r}; allowed: None or 0 to {lanes - 1}")
        for key in ("ego_spacing", "vehicles_density"):
            if not config[key] > 0:
                raise ValueError(f"config[{key!r}] is {config[key]!r}; it must be above 0")
        if config["normalize_reward"]:
            best = config["high_speed_reward"] + config["right_lane_reward"]
            if best == config["collision_reward"]:
                raise ValueError(
                    "normalize_reward needs collision_reward to differ from high_speed_reward + right_lane_reward"
                )

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        egos = config["controlled_vehicles"]
        return Sizes(vehicles=egos + config["vehicles_count"], egos=egos)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        return Network.straight(config["lanes_count"], speed_limit=SPEED_LIMIT)

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.egos = config["controlled_vehicles"]
        rules.others = config["vehicles_count"]
        rules.initial_lane = -1 if config["initial_lane_id"] is None else config["initial_lane_id"]
        rules.traffic_spacing = 1 / config["vehicles_density"]
        rules.traffic_checks = int(not self.fast)
        rules.speed_low, rules.speed_high = np.asarray(config["reward_speed_range"], dtype=float)
        rules.normalize = int(bool(config["normalize_reward"]))
        return rules
