"""merge-v0/-v1 and merge-generic-v0/-v1: a highway that a vehicle joins from a ramp, which ends at an obstacle.

Source: highway_env/envs/merge_env.py, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import random
from sim.engine.lanes import DEFAULT_WIDTH, Lane, LineType, SineLane, StraightLane
from sim.engine.network import Network, straight_lanes
from sim.engine.spawn import begin_episode, clear_world, place_ego, place_object, place_on_lane
from sim.engine.state import Kind
from sim.engine.vehicles import OBJECT_SIZE
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, number_pair
from sim.world import Sizes

SECTIONS = (150, 80, 80, 150)  # m: before, converging, parallel, after
LANES = 2
AMPLITUDE = 3.25  # m, half the way that the ramp moves sideways
APPROACH = 6.5 + 4 + 4  # m, y of the ramp of merge-v0
EGO_START = 30.0  # m
EGO_SPEED = 30.0  # m/s
RAMP_SPEED = 20.0  # m/s
RAMP_TARGET_SPEED = 30.0  # m/s
RAMP_START = 110.0  # m, of the merging vehicle of merge-v0
RAMP_LEAD = 30.0  # m, from the ego to the merging vehicle of merge-generic
END = 370.0  # m, merge-v0 is over here
END_MARGIN = 90  # m, merge-generic is over this far before its road's end

GENERIC_SPEED_LIMIT = 30.0  # m/s
TRAFFIC_SPEED = 30.0  # m/s
TRIES = 10  # places drawn for a vehicle before it is left out
SAFE_DISTANCE = 15.0  # m, between vehicles of a lane at the start

DEFAULTS = {
    "collision_reward": -1,
    "right_lane_reward": 0.1,
    "high_speed_reward": 0.2,
    "reward_speed_range": [20, 30],  # m/s
    "merging_speed_reward": -0.5,
    "lane_change_reward": -0.05,
}
GENERIC = {
    "lanes_count": 2,
    "vehicles_count": 3,
    "before_merge_length": 150,  # m
    "converge_merge_length": 80,  # m
    "parallel_merge_length": 80,  # m
    "after_merge_length": 150,  # m
}
GENERIC_SECTIONS = ("before_merge_length", "converge_merge_length", "parallel_merge_length", "after_merge_length")
REWARDS = ("collision_reward", "right_lane_reward", "high_speed_reward", "lane_change_reward", "merging_speed_reward")


@wp.struct
class Rules:
    """What the kernels need of the config; lanes are flat numbers."""

    ego_kind: int
    traffic_kind: int
    road: int  # leftmost lane of the first section
    lanes: int
    others: int
    length: wp.float64  # of the road on which merge-generic places its traffic [m]
    ego_x: wp.float64
    ego_y: wp.float64
    ramp: int
    ramp_start: wp.float64
    obstacle_x: wp.float64
    obstacle_y: wp.float64
    counted_lane: int  # lane whose vehicles should be fast, -1 none
    counts_lane_changes: int
    end: wp.float64  # x at which the episode is over [m]
    collision_reward: wp.float64
    right_lane_reward: wp.float64
    high_speed_reward: wp.float64
    lane_change_reward: wp.float64
    merging_speed_reward: wp.float64
    speed_low: wp.float64
    speed_high: wp.float64


@wp.func
def _begin(lanes: Any, world: Any, model: Any, rules: Rules, w: int):
    """Empty the world and place the ego."""
    clear_world(world, w)
    straight = wp.float64(0.0)
    place_ego(lanes, world, model, w, 0, rules.ego_kind, rules.ego_x, rules.ego_y, straight, wp.float64(EGO_SPEED))


@wp.func
def _finish(lanes: Any, world: Any, model: Any, rules: Rules, w: int):
    """Place the merging vehicle and the obstacle at the end of its lane."""
    v = place_on_lane(lanes, world, w, rules.traffic_kind, rules.ramp, rules.ramp_start, wp.float64(RAMP_SPEED))
    world.cars[w, v].target_speed = type(world.cars[w, v].speed)(RAMP_TARGET_SPEED)
    size = wp.float64(OBJECT_SIZE)
    heading = wp.float64(0.0)
    place_object(lanes, world, w, int(Kind.OBSTACLE), rules.obstacle_x, rules.obstacle_y, heading, size, size)
    begin_episode(lanes, world, model, w)


@wp.func
def _place_near(lanes: Any, world: Any, rules: Rules, w: int, start: wp.float64, speed: wp.float64):
    """Place a vehicle on one of the two lanes, give or take 5 m and 1 m/s."""
    on = rules.road + random.integers(world.rng, w, 0, rules.lanes)
    s = start + random.uniform(world.rng, w, wp.float64(-5.0), wp.float64(5.0))
    drawn = speed + random.uniform(world.rng, w, wp.float64(-1.0), wp.float64(1.0))
    place_on_lane(lanes, world, w, rules.traffic_kind, on, s, drawn)


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene of merge-v0 in each world of `mask`: the ego, three vehicles near it, the merging one."""
    w = first + wp.tid()
    if not mask[w]:
        return
    _begin(lanes, world, model, rules, w)
    _place_near(lanes, world, rules, w, wp.float64(90.0), wp.float64(29.0))
    _place_near(lanes, world, rules, w, wp.float64(70.0), wp.float64(31.0))
    _place_near(lanes, world, rules, w, wp.float64(5.0), wp.float64(31.5))
    _finish(lanes, world, model, rules, w)


@wp.func
def _is_free(lanes: Any, world: Any, w: int, index: int, s: wp.float64):
    """Is no vehicle within the safe distance of `s` [m] on the lanes of this index?

    At the start x is the coordinate along the road. A float32 world compares rounded places, so about one scene in a
    million differs from float64's.
    """
    for v in range(world.rows[w].count):
        if lanes.lanes[world.cars[w, v].lane].index == index:
            if wp.abs(s - wp.float64(world.cars[w, v].x)) <= wp.float64(SAFE_DISTANCE):
                return False
    return True


@wp.kernel(enable_backward=False, module="unique")
def spawn_generic(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene of merge-generic: vehicles anywhere on the highway, each left out after ten vain tries."""
    w = first + wp.tid()
    if not mask[w]:
        return
    _begin(lanes, world, model, rules, w)
    for _ in range(rules.others):
        tried = int(0)
        while tried < TRIES:
            tried = tried + 1
            index = random.integers(world.rng, w, 0, rules.lanes)
            s = random.uniform(world.rng, w, wp.float64(0.0), rules.length)
            if _is_free(lanes, world, w, index, s):
                spread = random.uniform(world.rng, w, wp.float64(-2.0), wp.float64(2.0))
                speed = wp.float64(TRAFFIC_SPEED) + spread
                place_on_lane(lanes, world, w, rules.traffic_kind, rules.road + index, s, speed)
                tried = TRIES
    _finish(lanes, world, model, rules, w)


@wp.func
def _missing_speed(world: Any, w: int, on: int):
    """Sum over the driven vehicles of a lane of the share of their target speed that they lack.

    A target speed of zero gives NumPy's infinity or NaN.
    """
    total = wp.float64(0.0)
    for v in range(world.rows[w].count):
        if world.cars[w, v].lane == on and world.cars[w, v].kind <= Kind.MDP:
            target = wp.float64(world.cars[w, v].target_speed)
            total = total + (target - wp.float64(world.cars[w, v].speed)) / target
    return total


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, and the end: a crash, or the merge lies behind. An episode is never cut."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    crashed = wp.where(world.cars[w, v].crashed, one, zero)
    right = wp.float64(lanes.lanes[world.cars[w, v].lane].index)
    fast = (wp.float64(world.cars[w, v].speed) - rules.speed_low) / (rules.speed_high - rules.speed_low)
    changed = zero
    if rules.counts_lane_changes != 0:
        # the raw action, whatever it stands for: `action in [0, 2]`
        if action[w, 0] == zero or action[w, 0] == wp.float64(2.0):
            changed = one
    slow = _missing_speed(world, w, rules.counted_lane)
    total = rules.collision_reward * crashed + rules.right_lane_reward * right + rules.high_speed_reward * fast
    total = total + rules.lane_change_reward * changed + rules.merging_speed_reward * slow
    worst = rules.collision_reward + rules.merging_speed_reward
    best = rules.high_speed_reward + rules.right_lane_reward
    verdict.terms[w, 0] = crashed
    verdict.terms[w, 1] = right
    verdict.terms[w, 2] = fast
    verdict.terms[w, 3] = changed
    verdict.terms[w, 4] = slow
    verdict.reward[w] = (total - worst) / (best - worst)
    verdict.terminated[w] = world.cars[w, v].crashed or wp.float64(world.cars[w, v].x) > rules.end
    verdict.truncated[w] = False


class Merge(Scenario):
    """Two lanes and a ramp; `connected` is the variant whose neighbours also count on the lanes before and after."""

    rewards = REWARDS
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value from which no scene or no reward can be computed."""
        number_pair(config["reward_speed_range"], "config['reward_speed_range']", different=True)
        worst = config["collision_reward"] + config["merging_speed_reward"]
        best = config["high_speed_reward"] + config["right_lane_reward"]
        if worst == best:
            raise ValueError(
                "the reward is scaled between collision_reward + merging_speed_reward and "
                f"high_speed_reward + right_lane_reward, which must differ; both are {best}"
            )

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs: ego, traffic, merging vehicle, obstacle."""
        return Sizes(vehicles=1 + 3 + 1 + 1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        before, converge, parallel, _ = SECTIONS
        line, striped, none = LineType.CONTINUOUS_LINE, LineType.STRIPED, LineType.NONE
        ends = np.cumsum((0, *SECTIONS)).astype(float)

        def section(first: int, last: int, right: LineType) -> list[Lane]:
            markings = ((line, striped), (none, right))
            return [
                StraightLane((ends[first], i * DEFAULT_WIDTH), (ends[last], i * DEFAULT_WIDTH), line_types=sides)
                for i, sides in enumerate(markings)
            ]

        approach = StraightLane((0.0, APPROACH), (float(before), APPROACH), line_types=(line, line), forbidden=True)
        ramp = SineLane(
            approach.position(before, -AMPLITUDE),
            approach.position(before + converge, -AMPLITUDE),
            AMPLITUDE,
            2 * np.pi / (2 * converge),
            np.pi / 2,
            line_types=(line, line),
            forbidden=True,
        )
        x, y = ramp.position(converge, 0)
        joining = StraightLane((x, y), (x + parallel, y), line_types=(none, line), forbidden=True)
        sections = (section(0, 2, line), section(2, 3, striped), section(3, 4, line))
        return _joined(sections, approach, ramp, joining)

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        main, beside = network.graph["a"]["b"], network.graph["b"]["c"]
        rules.road = network.lane_number("a", "b", 0)
        rules.lanes = len(main)
        rules.ego_x, rules.ego_y = map(float, main[-1].position(EGO_START, 0.0))
        rules.ramp = network.lane_number("j", "k", 0)
        rules.ramp_start = RAMP_START
        rules.obstacle_x, rules.obstacle_y = map(float, beside[-1].position(SECTIONS[2], 0))
        # highway-env names lane 2, which is the joining lane only where the highway has two
        rules.counted_lane = network.lane_number("b", "c", 2) if len(beside) > 2 else -1
        rules.counts_lane_changes = int(_compares_a_number(config["action"]))
        rules.end = END
        rules.speed_low, rules.speed_high = np.asarray(config["reward_speed_range"], dtype=float)
        return rules


class MergeGeneric(Merge):
    """Any number of lanes and vehicles, and sections of any length."""

    spawn_kernel = spawn_generic

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return super().defaults() | GENERIC

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value from which no scene or no reward can be computed."""
        super().check(config)
        at_least(config, "lanes_count", 1)
        at_least(config, "vehicles_count", 0)
        for key in GENERIC_SECTIONS[:3]:
            if not 0 < config[key] < math.inf:
                raise ValueError(f"config[{key!r}] is {config[key]!r}; it must be above 0 m and finite")
        after = config["after_merge_length"]
        if not END_MARGIN <= after < math.inf:
            raise ValueError(
                f"config['after_merge_length'] is {after!r}; it must be at least {END_MARGIN} m and finite"
            )

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs: ego, traffic, merging vehicle, obstacle."""
        return Sizes(vehicles=1 + config["vehicles_count"] + 1 + 1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        count = config["lanes_count"]
        before, converge, parallel, after = (config[key] for key in GENERIC_SECTIONS)
        line, striped = LineType.CONTINUOUS_LINE, LineType.STRIPED
        shared = {"forbidden": True, "speed_limit": GENERIC_SPEED_LIMIT}
        y = count * DEFAULT_WIDTH
        middle, far = y + AMPLITUDE, y + 2 * AMPLITUDE
        joint, end = before + converge, before + converge + parallel
        approach = StraightLane((0.0, far), (before, far), line_types=(line, line), **shared)
        ramp = SineLane(
            (before, middle),
            (joint, middle),
            AMPLITUDE,
            2 * np.pi / (2 * converge),
            np.pi / 2,
            line_types=(line, line),
            **shared,
        )
        joining = StraightLane((joint, y), (end, y), line_types=(striped, line), **shared)
        places = ((0, joint), (joint, parallel), (end, after))
        sections = tuple(straight_lanes(count, start, length, GENERIC_SPEED_LIMIT) for start, length in places)
        return _joined(sections, approach, ramp, joining)

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        before, converge, parallel, after = (config[key] for key in GENERIC_SECTIONS)
        rules.others = config["vehicles_count"]
        rules.length = float(before + converge + parallel)
        rules.ramp_start = EGO_START + RAMP_LEAD
        joining = network.graph["b"]["c"][-1]
        rules.obstacle_x, rules.obstacle_y = map(float, joining.position(parallel, 0))
        rules.end = float(before + converge + parallel + after - END_MARGIN)
        return rules


def _joined(sections: tuple[list[Lane], ...], approach: Lane, ramp: Lane, joining: Lane) -> Network:
    """Return the highway's three sections with the ramp that joins the second."""
    first, second, third = sections
    graph = {"a": {"b": first}, "b": {"c": [*second, joining]}, "c": {"d": third}}
    return Network(graph | {"j": {"k": [approach]}, "k": {"b": [ramp]}})


def _compares_a_number(action: dict[str, Any]) -> bool:
    """Is highway-env's `action in [0, 2]` a question about one number?

    For the tuples of several agents it is never true. For arrays of two axes highway-env 1.12.1 raises at the reset,
    so that the config can't be used there; here such a term is 0.
    """
    if action.get("type") == "ContinuousAction":
        return not (action.get("longitudinal", True) and action.get("lateral", True))
    return action.get("type") != "MultiAgentAction"
