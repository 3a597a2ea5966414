"""parking-v0, parking-ActionRepeat-v0 and parking-parked-v0: drive into a given spot of a walled car park.

Source: highway_env/envs/parking_env.py, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.lanes import Lane, LineType, StraightLane
from sim.engine.network import Network
from sim.engine.spawn import begin_episode, clear_world, place_ego, place_object, place_on_lane
from sim.engine.state import Kind
from sim.engine.vehicles import OBJECT_SIZE
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, is_number
from sim.world import Sizes

SPOTS_PER_ROW = 14
SPOTS = 2 * SPOTS_PER_ROW
SPOT_LENGTH = 8.0  # m
SPOT_WIDTH = 4.0  # m
ROW_OFFSET = 10.0  # m from the middle of the car park to the entrance of a spot
EGO_SPACING = 10.0  # m between neighbouring egos
# With 8 or 9 egos two may have the same nearest spot, with more they do: then highway-env's reset raises ValueError.
MOST_EGOS = 7
PARKED_AT = 4.0  # m along its spot, where a parked vehicle stands
WALLS_X = 70.0  # m, length of the walls along x, and the distance between those along y
WALLS_Y = 42.0  # m
WALL_WIDTH = 1.0  # m
HALF_PI = math.pi / 2
TWO_PI = 2.0 * math.pi

# What a vehicle and a goal can both be asked for; the last three are equal in both and never count.
FEATURES = {"x": 0, "y": 1, "vx": 2, "vy": 3, "cos_h": 4, "sin_h": 5, "presence": 6, "cos_d": 6, "sin_d": 6}
# ParkingEnv.PARKING_OBS: reward and end look at this, whatever the agent observes
GOAL_FEATURES = ("x", "y", "vx", "vy", "cos_h", "sin_h")
GOAL_SCALES = (100, 100, 5, 5, 1, 1)

DEFAULTS = {
    "observation": {
        "type": "KinematicsGoal",
        "features": ["x", "y", "vx", "vy", "cos_h", "sin_h"],
        "scales": [100, 100, 5, 5, 1, 1],
        "normalize": False,
    },
    "action": {"type": "ContinuousAction"},
    "reward_weights": [1, 0.3, 0, 0, 0.02, 0.02],
    "success_goal_reward": 0.12,
    "collision_reward": -5,
    "steering_range": math.pi / 4,  # rad, read nowhere, as in highway-env 1.12.1
    "simulation_frequency": 15,  # Hz
    "policy_frequency": 5,  # Hz
    "duration": 100,  # s
    "screen_width": 600,  # px
    "screen_height": 300,  # px
    "centering_position": [0.5, 0.5],
    "scaling": 7,  # px/m
    "controlled_vehicles": 1,
    "vehicles_count": 0,
    "add_walls": True,
}
VARIANTS = {
    "": {},
    "ActionRepeat": {"policy_frequency": 1, "duration": 20},
    "parked": {"vehicles_count": 10},
}


@wp.struct
class Rules:
    """What the car park's kernels need of the config."""

    ego_kind: int
    egos: int
    parked: int
    walls: int
    weights: wp.array(dtype=wp.float64)  # of each feature's distance to the goal
    features: wp.array2d(dtype=wp.int32)  # the features (see FEATURES) by which it is judged; row 1 each agent's own
    scales: wp.array2d(dtype=wp.float64)
    reported: int  # row by which success is reported
    success_goal_reward: wp.float64
    collision_reward: wp.float64
    duration: wp.float64


@wp.func
def draw_spot(world: Any, w: int, taken: int):
    """Draw one of the empty spots; bit i of `taken` is spot i, of which at least one must be empty."""
    free = int(0)
    spot = int(0)
    while spot < SPOTS:
        free = free + 1 - ((taken >> spot) & 1)
        spot = spot + 1
    left = random.integers(world.rng, w, 0, free)
    spot = int(0)
    while left > 0 or ((taken >> spot) & 1) == 1:
        left = left - 1 + ((taken >> spot) & 1)
        spot = spot + 1
    return spot


@wp.func
def place_goal(lanes: Any, world: Any, w: int, spot: int):
    """Put a landmark in the middle of a spot and return its slot."""
    zero = type(world.cars[w, 0].x)(0.0)
    x, y = lane.position(lanes, spot, lanes.lanes[spot].length * type(zero)(0.5), zero)
    heading = wp.float64(lanes.lanes[spot].heading)
    size = wp.float64(OBJECT_SIZE)
    return place_object(lanes, world, w, Kind.LANDMARK, wp.float64(x), wp.float64(y), heading, size, size)


@wp.func
def place_walls(lanes: Any, world: Any, w: int):
    """Fence the car park in."""
    zero = wp.float64(0.0)
    across = wp.float64(WALLS_Y) * wp.float64(0.5)
    along = wp.float64(WALLS_X) * wp.float64(0.5)
    turned = wp.float64(HALF_PI)
    width = wp.float64(WALL_WIDTH)
    place_object(lanes, world, w, Kind.OBSTACLE, zero, -across, zero, wp.float64(WALLS_X), width)
    place_object(lanes, world, w, Kind.OBSTACLE, zero, across, zero, wp.float64(WALLS_X), width)
    place_object(lanes, world, w, Kind.OBSTACLE, -along, zero, turned, wp.float64(WALLS_Y), width)
    place_object(lanes, world, w, Kind.OBSTACLE, along, zero, turned, wp.float64(WALLS_Y), width)


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the egos, a goal for each, parked vehicles, walls."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    taken = int(0)
    zero = wp.float64(0.0)
    for agent in range(rules.egos):
        x = wp.float64(agent - rules.egos / 2) * wp.float64(EGO_SPACING)
        heading = wp.float64(TWO_PI) * random.random(world.rng, w)
        ego = place_ego(lanes, world, model, w, agent, rules.ego_kind, x, zero, heading, zero)
        taken = taken | (1 << world.cars[w, ego].lane)
    for agent in range(rules.egos):
        spot = draw_spot(world, w, taken)
        taken = taken | (1 << spot)
        world.goal[w, agent] = spot  # its landmark comes after the parked vehicles
    for _ in range(rules.parked):
        spot = draw_spot(world, w, taken)
        taken = taken | (1 << spot)
        place_on_lane(lanes, world, w, Kind.PARKED, spot, wp.float64(PARKED_AT), zero)
    for agent in range(rules.egos):
        world.goal[w, agent] = place_goal(lanes, world, w, world.goal[w, agent])
    if rules.walls != 0:
        place_walls(lanes, world, w)
    begin_episode(lanes, world, model, w)


@wp.func
def feature(world: Any, w: int, v: int, which: int):
    """Return one of `FEATURES` of a vehicle or a landmark [m, m/s]."""
    speed = wp.float64(world.cars[w, v].speed)
    value = wp.float64(0.0)
    if which == 0:
        value = wp.float64(world.cars[w, v].x)
    elif which == 1:
        value = wp.float64(world.cars[w, v].y)
    elif which == 2:
        value = speed * wp.float64(world.cars[w, v].cos_heading)
    elif which == 3:
        value = speed * wp.float64(world.cars[w, v].sin_heading)
    elif which == 4:
        value = wp.float64(world.cars[w, v].cos_heading)
    elif which == 5:
        value = wp.float64(world.cars[w, v].sin_heading)
    return value


@wp.func
def nearness(world: Any, rules: Rules, w: int, agent: int, row: int):
    """Return minus the square root of an ego's weighted distance to its goal; 0 is best."""
    total = wp.float64(0.0)
    for i in range(rules.weights.shape[0]):
        scale = rules.scales[row, i]
        achieved = feature(world, w, world.ego[w, agent], rules.features[row, i]) / scale
        desired = feature(world, w, world.goal[w, agent], rules.features[row, i]) / scale
        total = total + wp.abs(achieved - desired) * rules.weights[i]
    return -wp.sqrt(total)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Nearness of the first ego to its goal, crashes of all egos, and who has reached the goal."""
    w = first + wp.tid()
    if not mask[w]:
        return
    crashes = int(0)
    for agent in range(rules.egos):
        if world.cars[w, world.ego[w, agent]].crashed:
            crashes = crashes + 1
        verdict.success[w, agent] = nearness(world, rules, w, agent, rules.reported) > -rules.success_goal_reward
    near = nearness(world, rules, w, 0, 0)
    verdict.reward[w] = near + rules.collision_reward * wp.float64(crashes)
    verdict.terminated[w] = crashes > 0 or near > -rules.success_goal_reward
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class Parking(Scenario):
    """The car park; `variant` is "", "ActionRepeat" (one action a second) or "parked" (ten parked vehicles)."""

    traffic = False
    reports = ("is_success",)
    success_of_all = True
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def __init__(self, variant: str = "") -> None:
        self.variant = variant

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS | VARIANTS[self.variant]

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        at_least(config, "controlled_vehicles", 1)
        at_least(config, "vehicles_count", 0)
        egos = config["controlled_vehicles"]
        if egos > MOST_EGOS:
            raise ValueError(
                f"config['controlled_vehicles'] is {egos}; allowed: 1 to {MOST_EGOS}, with more of them two can have "
                "the same nearest spot, and highway-env fails at such a reset"
            )
        weights = config["reward_weights"]
        if not is_row(weights, len(GOAL_FEATURES)):
            raise ValueError(
                f"config['reward_weights'] is {weights!r}; it must be {len(GOAL_FEATURES)} numbers, of the distances "
                f"in {', '.join(GOAL_FEATURES)}"
            )
        if config["observation"].get("type") == "MultiAgentObservation":
            own_goals(config)

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        egos = config["controlled_vehicles"]
        return Sizes(vehicles=2 * egos + parked_count(config) + 4 * bool(config["add_walls"]), egos=egos)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the spots as lanes: first those below the middle, then those above it, from left to right."""
        below: list[Lane] = []
        above: list[Lane] = []
        for k in range(SPOTS_PER_ROW):
            x = (k + 1 - SPOTS_PER_ROW // 2) * SPOT_WIDTH - SPOT_WIDTH / 2
            for row, side in ((below, 1), (above, -1)):
                ends = (x, side * ROW_OFFSET), (x, side * (ROW_OFFSET + SPOT_LENGTH))
                row.append(StraightLane(*ends, width=SPOT_WIDTH, line_types=(LineType.CONTINUOUS, LineType.CONTINUOUS)))
        return Network({"a": {"b": below}, "b": {"c": above}})

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.egos = config["controlled_vehicles"]
        rules.parked = parked_count(config)
        rules.walls = int(bool(config["add_walls"]))
        looked_at = [(GOAL_FEATURES, GOAL_SCALES)]
        if config["observation"].get("type") == "MultiAgentObservation":
            looked_at.append(own_goals(config))
        rules.reported = len(looked_at) - 1
        features = np.array([[FEATURES[name] for name in names] for names, _ in looked_at])
        rules.features = wp.array(features, dtype=wp.int32, device=str(device))
        scales = np.array([scales for _, scales in looked_at], dtype=float)
        rules.scales = wp.array(scales, dtype=wp.float64, device=str(device))
        weights = np.asarray(config["reward_weights"], dtype=float)
        rules.weights = wp.array(weights, dtype=wp.float64, device=str(device))
        return rules

    def goal_reward(self, achieved: np.ndarray, desired: np.ndarray, config: dict[str, Any]) -> np.ndarray:
        """Return the reward `[B]` of goals achieved `[B, F]` where others were desired (`compute_reward`)."""
        return -np.sqrt(np.abs(achieved - desired) @ np.asarray(config["reward_weights"], dtype=float))


def is_row(value: Any, length: int) -> bool:
    """Are these `length` numbers?"""
    return isinstance(value, (list, tuple, np.ndarray)) and len(value) == length and all(map(is_number, value))


def parked_count(config: dict[str, Any]) -> int:
    """Return how many vehicles find a spot: an ego's nearest spot and its goal stay empty."""
    return min(config["vehicles_count"], SPOTS - 2 * config["controlled_vehicles"])


def own_goals(config: dict[str, Any]) -> tuple[list[str], list[float]]:
    """Return the features and scales by which a multi-agent observation tells each agent's success.

    Raises:
        ValueError: the agents see no goal, or not as many features of it as there are weights.
    """
    options = config["observation"].get("observation_config")
    if not isinstance(options, dict) or options.get("type") != "KinematicsGoal":
        raise ValueError(
            "a MultiAgentObservation of the car park needs 'observation_config' of type 'KinematicsGoal': "
            "highway-env reads each agent's success from it"
        )
    features, scales = options.get("features") or ["presence", "x", "y", "vx", "vy"], options.get("scales")
    scales = [scales] * len(features) if is_number(scales) else scales  # as NumPy broadcasts it
    fits = is_row(scales, len(features))
    if len(features) != len(config["reward_weights"]) or not fits or not set(features) <= set(FEATURES):
        raise ValueError(
            f"the car park's agents observe {features!r} with scales {scales!r}; these must be "
            f"{len(config['reward_weights'])} features of {', '.join(FEATURES)} and as many numbers, "
            "one for each of config['reward_weights']"
        )
    return list(features), [float(scale) for scale in scales]
