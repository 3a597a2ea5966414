"""exit-v0/-v1: leave a highway by the ramp on its right.

Source: highway_env/envs/exit_env.py, 1.12.1.
"""

from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import random
from sim.engine.lanes import DEFAULT_WIDTH, CircularLane
from sim.engine.network import Network, straight_lanes
from sim.engine.spawn import begin_episode, clear_world, place_random, plan_route, snap_target_speed
from sim.engine.state import Kind
from sim.scenarios import highway
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, number_pair
from sim.world import Sizes

ROAD_LENGTH = 1000.0  # m
EXIT_POSITION = 400.0  # m, where the lane that leads to the exit begins
EXIT_LENGTH = 100.0  # m
EXIT_RADIUS = 150.0  # m
LEFT_SPEED_LIMIT = 26.0  # m/s, of the leftmost lane
SPEED_LIMIT_STEP = 3.4  # m/s less on each lane further right
EGO_SPEED = 25.0  # m/s at the start
DESTINATION = "3"  # where the traffic goes: straight on

DEFAULTS = highway.DEFAULTS | {
    "observation": {
        "type": "ExitObservation",
        "vehicles_count": 15,
        "features": ["presence", "x", "y", "vx", "vy", "cos_h", "sin_h"],
        "clip": False,
    },
    "action": {"type": "DiscreteMetaAction", "target_speeds": [18, 24, 30]},
    "lanes_count": 6,
    "collision_reward": 0,
    "high_speed_reward": 0.1,
    "right_lane_reward": 0,
    "goal_reward": 1,
    "vehicles_count": 20,
    "vehicles_density": 1.5,
    "duration": 18,  # s
    "simulation_frequency": 5,
    "scaling": 5,
}
REWARDS = ("collision_reward", "goal_reward", "high_speed_reward", "right_lane_reward")


@wp.struct
class Rules:
    """What the kernels need of the config; lanes are flat numbers."""

    ego_kind: int
    traffic_kind: int
    egos: int
    others: int
    edge: int  # where all start
    ego_spacing: wp.float64
    traffic_spacing: wp.float64
    lane_shares: wp.array(dtype=wp.float64)  # [lanes] running sum of the chances of each lane
    speeds: wp.array(dtype=wp.float64)  # [lanes] initial speed [m/s]
    routes: wp.array3d(dtype=wp.int32)  # see Network.routes
    exit_lane: int
    ramp: int
    collision_reward: wp.float64
    goal_reward: wp.float64
    high_speed_reward: wp.float64
    right_lane_reward: wp.float64
    speed_low: wp.float64
    speed_high: wp.float64
    normalize: int
    duration: wp.float64


@wp.func
def _draw_lane(world: Any, w: int, shares: wp.array(dtype=wp.float64)):
    """Draw a lane id: `Generator.choice(lanes, size=1, p=...)`."""
    drawn = random.random(world.rng, w)
    index = int(0)
    while index < shares.shape[0] - 1 and shares[index] <= drawn:
        index = index + 1
    return index


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the egos on the left lane, the traffic ahead, more to the right."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    for agent in range(rules.egos):
        ego = place_random(lanes, world, w, rules.ego_kind, wp.float64(EGO_SPEED), rules.edge, 0, rules.ego_spacing)
        world.ego[w, agent] = ego
        if rules.ego_kind == Kind.MDP:
            snap_target_speed(world, model, w, ego)
    for _ in range(rules.others):
        index = _draw_lane(world, w, rules.lane_shares)
        speed = rules.speeds[index]
        v = place_random(lanes, world, w, rules.traffic_kind, speed, rules.edge, index, rules.traffic_spacing)
        plan_route(lanes, world, w, v, rules.routes, 0)
        world.cars[w, v].changes_lanes = False
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, success and the two ends of an episode, of the first ego."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    scored = world.cars[w, v].lane
    if world.cars[w, v].kind <= Kind.MDP:
        scored = world.cars[w, v].target_lane
    success = scored == rules.exit_lane or scored == rules.ramp
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    crashed = wp.where(world.cars[w, v].crashed, one, zero)
    reached = wp.where(success, one, zero)
    speed = wp.float64(world.cars[w, v].speed)
    fast = wp.clamp((speed - rules.speed_low) / (rules.speed_high - rules.speed_low), zero, one)
    right = wp.float64(lanes.lanes[scored].index)
    total = rules.collision_reward * crashed + rules.goal_reward * reached
    total = total + rules.high_speed_reward * fast + rules.right_lane_reward * right
    if rules.normalize != 0:
        share = (total - rules.collision_reward) / (rules.goal_reward - rules.collision_reward)
        total = wp.clamp(share, zero, one)
    verdict.terms[w, 0] = crashed
    verdict.terms[w, 1] = reached
    verdict.terms[w, 2] = fast
    verdict.terms[w, 3] = right
    verdict.reward[w] = total
    verdict.success[w, 0] = success
    verdict.terminated[w] = world.cars[w, v].crashed
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class Exit(Scenario):
    """The exit; `connected` is the variant whose neighbours also count on the lanes before and after."""

    rewards = REWARDS
    reports = ("is_success",)
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value from which no scene or no reward can be computed."""
        at_least(config, "lanes_count", 1)
        at_least(config, "vehicles_count", 0)
        at_least(config, "controlled_vehicles", 1)
        if config["lanes_count"] == 1 and config["vehicles_count"] > 0:
            raise ValueError(
                "config['lanes_count'] is 1; the traffic never starts on the left lane, so it needs at least 2 lanes"
            )
        number_pair(config["reward_speed_range"], "config['reward_speed_range']", different=True)
        for key in ("ego_spacing", "vehicles_density"):
            if not config[key] > 0:
                raise ValueError(f"config[{key!r}] is {config[key]!r}; it must be above 0")
        if config["normalize_reward"] and config["collision_reward"] == config["goal_reward"]:
            raise ValueError("normalize_reward needs collision_reward to differ from goal_reward")

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        egos = config["controlled_vehicles"]
        steps = 1 + network.routes([DESTINATION]).shape[2]
        return Sizes(vehicles=egos + config["vehicles_count"], egos=egos, route=steps)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        count = config["lanes_count"]
        after = EXIT_POSITION + EXIT_LENGTH
        # the limits are set below
        before = straight_lanes(count, 0.0, EXIT_POSITION, None)
        beside = straight_lanes(count + 1, EXIT_POSITION, EXIT_LENGTH, None)
        behind = straight_lanes(count, after, ROAD_LENGTH - after, None)
        for section in (before, beside, behind):
            for one, limit in zip(section, speed_limits(count + 1), strict=False):
                one.speed_limit = limit
        center = (after, count * DEFAULT_WIDTH + EXIT_RADIUS)
        ramp = CircularLane(center, EXIT_RADIUS, 3 * np.pi / 2, 2 * np.pi, forbidden=True)
        return Network({"0": {"1": before}, "1": {"2": beside}, "2": {"3": behind, "exit": [ramp]}})

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        count = config["lanes_count"]
        rules.egos = config["controlled_vehicles"]
        rules.others = config["vehicles_count"]
        rules.edge = network.edges.index(("0", "1"))
        rules.traffic_spacing = 1 / config["vehicles_density"]
        rules.lane_shares = wp.array(lane_shares(count), dtype=wp.float64, device=str(device))
        rules.speeds = wp.array(speed_limits(count), dtype=wp.float64, device=str(device))
        rules.routes = wp.array(network.routes([DESTINATION]), dtype=wp.int32, device=str(device))
        rules.exit_lane = network.lane_number("1", "2", count)
        rules.ramp = network.lane_number("2", "exit", 0)
        rules.speed_low, rules.speed_high = np.asarray(config["reward_speed_range"], dtype=float)
        rules.normalize = int(bool(config["normalize_reward"]))
        return rules


def speed_limits(lanes: int) -> list[float]:
    """Return the speed limit of each lane [m/s]; from the ninth lane on it is negative, as in highway-env."""
    return [LEFT_SPEED_LIMIT - SPEED_LIMIT_STEP * i for i in range(lanes)]


def lane_shares(lanes: int) -> np.ndarray:
    """Return the running sums `[lanes]` of each lane's chance, which grows with its id.

    As NumPy's `choice` computes them, to the last bit.
    """
    ids = np.arange(lanes)
    shares = (ids / max(ids.sum(), 1)).cumsum()
    return shares / max(shares[-1], np.finfo(float).tiny)
