"""racetrack, racetrack-large and racetrack-oval (-v0 and -v1): lane keeping and avoidance on a closed circuit.

Source: highway_env/envs/racetrack_env.py, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.network import Network
from sim.engine.spawn import begin_episode, clear_world, place_object, place_on_lane
from sim.engine.state import Kind
from sim.engine.vehicles import OBJECT_SIZE, on_own_lane
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, is_number
from sim.scenarios.racetrack_roads import racetrack, racetrack_large, racetrack_oval
from sim.world import Sizes

EGO_FROM = 20.0  # m along its lane, where an ego may start
EGO_TO = 50.0
TRAFFIC_SPEED = 6.0  # m/s, the least
TRAFFIC_SPREAD = 3.0  # m/s above it
CLEARANCE = 20.0  # m, a further vehicle nearer than this to another is left out
# Of the oval, (distance before the end of the straight, y) [m]
BLOCK_LANE = tuple((back, y) for back in (40.0, 43.0, 46.0, 49.0) for y in (3.75, 6.25))
FORCE_DECISION = tuple((90.0, y) for y in (-1.25, 1.25, 8.85, 11.25))
RANDOM_LENGTH = (100, 200)  # m, of an oval of length 0

DEFAULTS = {
    "observation": {
        "type": "OccupancyGrid",
        "features": ["presence", "on_road"],
        "grid_size": [[-18, 18], [-18, 18]],  # m
        "grid_step": [3, 3],  # m
        "as_image": False,
        "align_to_vehicle_axes": True,
    },
    "action": {"type": "ContinuousAction", "longitudinal": False, "lateral": True, "target_speeds": [0, 5, 10]},
    "simulation_frequency": 15,  # Hz
    "policy_frequency": 5,  # Hz
    "duration": 300,  # s
    "collision_reward": -1,
    "lane_centering_cost": 4,  # 1/m2
    "lane_centering_reward": 1,
    "action_reward": -0.3,
    "controlled_vehicles": 1,
    "other_vehicles": 1,
    "screen_width": 600,  # px
    "screen_height": 600,  # px
    "centering_position": [0.5, 0.5],
    "speed_limit": 10.0,  # m/s, only racetrack-large reads it
    "terminate_off_road": True,
}
OVAL = {
    "length": 100,  # m, of the long straights; 0 draws it
    "no_lanes": 3,
    "block_lane": False,
    "force_decision": False,
}
REWARDS = ("lane_centering_reward", "action_reward", "collision_reward", "on_road_reward")


@wp.struct
class Rules:
    """What the racetracks' kernels need of the config."""

    ego_kind: int
    egos: int
    others: int
    start_lanes: int  # an ego starts on one of the first lanes of the first edge
    obstacles: int
    obstacle: wp.array(dtype=wp.vec2d)  # x, y [m]
    lane_centering_cost: wp.float64
    lane_centering_reward: wp.float64
    action_reward: wp.float64
    collision_reward: wp.float64
    on_road_reward: wp.float64
    terminate_off_road: int
    duration: wp.float64


@wp.func
def random_lane(lanes: Any, world: Any, w: int):
    """`random_lane_index`: one edge leaves each node, so the node drawn first is the edge."""
    edge = random.integers(world.rng, w, 0, lanes.edges.shape[0])
    return lanes.edges[edge].first + random.integers(world.rng, w, 0, lanes.edges[edge].count)


@wp.func
def is_clear(lanes: Any, world: Any, w: int, on: int, longitudinal: wp.float64):
    """Is a place in the middle of a lane at least `CLEARANCE` from all vehicles?"""
    zero = type(world.cars[w, 0].x)(0.0)
    x, y = lane.position(lanes, on, type(zero)(longitudinal), zero)
    for v in range(world.rows[w].count):
        dx = wp.float64(x) - wp.float64(world.cars[w, v].x)
        dy = wp.float64(y) - wp.float64(world.cars[w, v].y)
        if wp.sqrt(dx * dx + dy * dy) < wp.float64(CLEARANCE):
            return False
    return True


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the egos, a vehicle in front, a random number of others."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    on = int(0)
    for agent in range(rules.egos):
        if agent == 0:
            on = random.integers(world.rng, w, 0, rules.start_lanes)
        else:
            on = random_lane(lanes, world, w)
        s = random.uniform(world.rng, w, wp.float64(EGO_FROM), wp.float64(EGO_TO))
        limit = wp.float64(lanes.lanes[on].speed_limit)
        world.ego[w, agent] = place_on_lane(lanes, world, w, rules.ego_kind, on, s, limit)
    zero = wp.float64(0.0)
    if rules.others > 0:
        bend = lanes.edges[1].first  # the vehicle in front is on the second edge, on the lane of the last ego
        on = bend + lanes.lanes[on].index
        s = random.uniform(world.rng, w, zero, wp.float64(lanes.lanes[bend].length))
        speed = wp.float64(TRAFFIC_SPEED) + random.uniform(world.rng, w, zero, wp.float64(TRAFFIC_SPREAD))
        place_on_lane(lanes, world, w, Kind.IDM, on, s, speed)
        extra = random.integers(world.rng, w, 0, rules.others)
        for _ in range(extra):
            on = random_lane(lanes, world, w)
            s = random.uniform(world.rng, w, zero, wp.float64(lanes.lanes[on].length))
            speed = wp.float64(TRAFFIC_SPEED) + random.uniform(world.rng, w, zero, wp.float64(TRAFFIC_SPREAD))
            if is_clear(lanes, world, w, on, s):
                place_on_lane(lanes, world, w, Kind.IDM, on, s, speed)
    for i in range(rules.obstacles):
        size = wp.float64(OBJECT_SIZE)
        at = rules.obstacle[i]
        place_object(lanes, world, w, Kind.OBSTACLE, at[0], at[1], zero, size, size)
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, and the two ends of an episode, of the first ego."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    on_road, s, lateral = on_own_lane(lanes, world, w, v)
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    beside = wp.float64(lateral)
    centred = one / (one + rules.lane_centering_cost * (beside * beside))
    squares = wp.float64(0.0)
    for i in range(action.shape[1]):
        squares = squares + action[w, i] * action[w, i]
    effort = wp.sqrt(squares)
    crashed = wp.where(world.cars[w, v].crashed, one, zero)
    kept = wp.where(on_road, one, zero)
    total = rules.lane_centering_reward * centred + rules.action_reward * effort
    total = total + rules.collision_reward * crashed + rules.on_road_reward * kept
    total = (total - rules.collision_reward) / (one - rules.collision_reward)
    verdict.terms[w, 0] = centred
    verdict.terms[w, 1] = effort
    verdict.terms[w, 2] = crashed
    verdict.terms[w, 3] = kept
    verdict.reward[w] = total * kept
    verdict.terminated[w] = world.cars[w, v].crashed or (rules.terminate_off_road != 0 and not on_road)
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class Racetrack(Scenario):
    """The two-lane circuit; `connected` lets drivers see neighbours on the next and the previous edge (-v1)."""

    rewards = REWARDS
    optional_keys = frozenset({"on_road_reward"})  # highway-env weighs it if it is given
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        at_least(config, "controlled_vehicles", 1)
        at_least(config, "other_vehicles", 0)
        if not is_number(config.get("on_road_reward", 0)):
            raise ValueError(f"config['on_road_reward'] is {config['on_road_reward']!r}; it must be a number")
        if config["collision_reward"] == 1:
            raise ValueError("config['collision_reward'] is 1; it must differ from the best reward, which is 1")
        action = config["action"]
        if action.get("type") == "MultiAgentAction":
            action = action.get("action_config")
        if isinstance(action, dict) and action.get("type") == "DiscreteMetaAction":
            raise ValueError(
                "racetracks have no DiscreteMetaAction, in highway-env neither; "
                "config['action'] may be of type ContinuousAction or DiscreteAction"
            )

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        return racetrack()

    def start_lanes(self, config: dict[str, Any]) -> int:
        """Return on how many lanes the first ego may start."""
        return 2

    def obstacles(self, config: dict[str, Any], network: Network) -> list[tuple[float, float]]:
        """Return x and y [m] of the obstacles, in list order."""
        return []

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        egos, others = config["controlled_vehicles"], config["other_vehicles"]
        return Sizes(vehicles=egos + others + len(self.obstacles(config, network)), egos=egos)

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.egos = config["controlled_vehicles"]
        rules.others = config["other_vehicles"]
        rules.start_lanes = self.start_lanes(config)
        obstacles = self.obstacles(config, network)
        rules.obstacles = len(obstacles)
        points = np.array(obstacles or [(0.0, 0.0)])  # a device array can't be empty
        rules.obstacle = wp.array(points, dtype=wp.vec2d, device=str(device))
        return rules


class RacetrackLarge(Racetrack):
    """The three-lane circuit; as in highway-env no ego starts on its third lane."""

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        super().check(config)
        if not 0 <= config["speed_limit"] < math.inf:
            raise ValueError(f"config['speed_limit'] is {config['speed_limit']!r}; it must be at least 0 and finite")

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        return racetrack_large(config["speed_limit"])


class RacetrackOval(Racetrack):
    """The oval of any length and number of lanes, with or without obstacles on its first straight.

    With length 0 highway-env draws one for each episode from a generator that no seed reaches. The road is shared by
    all worlds here, so it is drawn once, when the environment is built, and is as little reproducible.
    """

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return super().defaults() | OVAL

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        super().check(config)
        if not 0 <= config["length"] < math.inf:
            raise ValueError(
                f"config['length'] is {config['length']!r}; it must be above 0 and finite, or 0 for a random length"
            )
        if config["no_lanes"] == 0:
            raise ValueError(
                "config['no_lanes'] is 0, a random number of lanes, with which highway-env fails at every reset; "
                "it must be an integer of at least 1"
            )
        at_least(config, "no_lanes", 1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road; one of length 0 is drawn now."""
        length = config["length"] or int(np.random.default_rng().integers(*RANDOM_LENGTH))
        return racetrack_oval(length, config["no_lanes"])

    def start_lanes(self, config: dict[str, Any]) -> int:
        """Return on how many lanes the first ego may start."""
        return config["no_lanes"]

    def obstacles(self, config: dict[str, Any], network: Network) -> list[tuple[float, float]]:
        """Return x and y [m] of the obstacles, in list order."""
        length = network.graph["b"]["c"][0].center[0]  # known only here if it was drawn
        some = BLOCK_LANE * bool(config["block_lane"]) + FORCE_DECISION * bool(config["force_decision"])
        return [(length - back, y) for back, y in some]
