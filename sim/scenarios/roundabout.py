"""roundabout-v0/-v1 and roundabout-generic-v0/-v1: cross a roundabout from the south to the north.

Source: highway_env/envs/roundabout_env.py, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.drivers import speed_index
from sim.engine.network import Network
from sim.engine.spawn import begin_episode, clear_world, place_ego, place_on_lane, plan_route, randomize_behavior
from sim.engine.state import Kind
from sim.engine.vehicles import on_own_lane
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, is_number
from sim.scenarios.roundabout_roads import generic_roundabout, roundabout
from sim.world import Sizes

EGO_SPEED = 8.0  # m/s
EGO_START = 125.0  # m, along the south arm of roundabout-v0
EGO_BEFORE_END = 2.5  # m, from the end of the south arm of roundabout-generic-v0
EGO_DESTINATION = "nxs"
POSITION_DEVIATION = 2.0  # m, standard deviation
SPEED_DEVIATION = 2.0  # m/s, standard deviation
TRAFFIC = (("we", "sx", 1, 5.0), ("we", "sx", 0, 20.0), ("we", "sx", 0, -20.0), ("eer", "ees", 0, 50.0))  # lane, m
TRAFFIC_SPEED = 16.0  # m/s
DESTINATIONS = ("exr", "sxr", "nxr")
GENERIC_DESTINATIONS = ("exr", "sxr", "nxr", "wxr")
GENERIC_ROADS = (("we", "sx"), ("sx", "se"), ("ee", "nx"), ("nx", "ne"), ("eer", "ees"), ("ner", "nes"), ("wer", "wes"))
GENERIC_SPEED = 14.0  # m/s
GENERIC_MARGIN = 5.0  # m, kept free at both ends of a lane
SAFE_DISTANCE = 7.0  # m, between vehicles at the start
TRIES = 10  # to find a place for a vehicle

DEFAULT_TARGET_SPEED = 20.0  # m/s, the lowest of MDPVehicle.DEFAULT_TARGET_SPEEDS
DEFAULT_TARGET_SPEED_RANGE = 10.0  # m/s, from the lowest to the highest
LAST_DEFAULT_INDEX = 2.0  # index of the highest; scales the reward, whatever target speeds the action has
LEFT, RIGHT = 0.0, 2.0  # the raw actions that count as a lane change

DEFAULTS = {
    "observation": {
        "type": "Kinematics",
        "absolute": True,
        "features_range": {"x": [-100, 100], "y": [-100, 100], "vx": [-15, 15], "vy": [-15, 15]},
    },
    "action": {"type": "DiscreteMetaAction", "target_speeds": [0, 8, 16]},
    "incoming_vehicle_destination": None,
    "collision_reward": -1,
    "high_speed_reward": 0.2,
    "right_lane_reward": 0,  # read nowhere, as in highway-env 1.12.1
    "lane_change_reward": -0.05,
    "screen_width": 600,
    "screen_height": 600,
    "centering_position": [0.5, 0.6],
    "duration": 11,  # s
    "normalize_reward": True,
}
GENERIC = {"roundabout_radius": 20, "roundabout_lanes": 2, "vehicles_count": 5, "duration": 17}
REWARDS = ("collision_reward", "high_speed_reward", "lane_change_reward", "on_road_reward")


@wp.struct
class Rules:
    """What the roundabouts' kernels need of the config."""

    ego_kind: int
    traffic_kind: int
    routes: wp.array3d(dtype=wp.int32)  # to each of the traffic's destinations, then to the ego's
    destinations: int  # of the traffic
    given_destination: int  # -1: drawn
    ego_lane: int
    ego_start: wp.float64
    places: wp.array(dtype=wp.int32)  # roundabout: a lane a vehicle; generic: edges to draw from
    starts: wp.array(dtype=wp.float64)  # roundabout: a longitudinal coordinate a vehicle [m]
    others: int
    scores_lane_changes: int
    collision_reward: wp.float64
    high_speed_reward: wp.float64
    lane_change_reward: wp.float64
    on_road_reward: wp.float64
    normalize: int
    duration: wp.float64


@wp.func
def deviating(world: Any, model: Any, w: int, mean: wp.float64, deviation: float):
    """Draw from a normal distribution."""
    return mean + random.standard_normal(world.rng, w, model.ziggurat) * wp.float64(deviation)


@wp.func
def place_planning_ego(lanes: Any, world: Any, model: Any, rules: Rules, w: int):
    """Place the ego on the south arm; only one that tracks lanes has a route."""
    on = rules.ego_lane
    zero = type(lanes.lanes[on].length)(0.0)
    s = type(zero)(rules.ego_start)
    x, y = lane.position(lanes, on, s, zero)
    heading = lane.heading_at(lanes, on, s)
    speed = wp.float64(EGO_SPEED)
    v = place_ego(lanes, world, model, w, 0, rules.ego_kind, wp.float64(x), wp.float64(y), wp.float64(heading), speed)
    if rules.ego_kind == Kind.MDP:
        plan_route(lanes, world, w, v, rules.routes, rules.destinations)


@wp.func
def set_off(lanes: Any, world: Any, rules: Rules, w: int, v: int, given: int):
    """Give a vehicle of the traffic its destination, drawn if `given` is -1, and its driver's parameters."""
    destination = given
    if given < 0:
        destination = random.integers(world.rng, w, 0, rules.destinations)
    plan_route(lanes, world, w, v, rules.routes, destination)
    randomize_behavior(world, w, v)


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the ego and a vehicle at each of the given places, give or take."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    place_planning_ego(lanes, world, model, rules, w)
    given = rules.given_destination
    for k in range(rules.others):
        s = deviating(world, model, w, rules.starts[k], POSITION_DEVIATION)
        speed = deviating(world, model, w, wp.float64(TRAFFIC_SPEED), SPEED_DEVIATION)
        v = place_on_lane(lanes, world, w, rules.traffic_kind, rules.places[k], s, speed)
        set_off(lanes, world, rules, w, v, given)
        given = -1  # only the first vehicle's destination can be chosen
    begin_episode(lanes, world, model, w)


@wp.func
def is_clear(world: Any, w: int, x: wp.float64, y: wp.float64):
    """Is no vehicle within `SAFE_DISTANCE` of (x, y) [m]?"""
    for v in range(world.rows[w].count):
        dx = x - wp.float64(world.cars[w, v].x)
        dy = y - wp.float64(world.cars[w, v].y)
        if wp.sqrt(dx * dx + dy * dy) < wp.float64(SAFE_DISTANCE):
            return False
    return True


@wp.kernel(enable_backward=False, module="unique")
def spawn_anywhere(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the ego and vehicles at random places, as many as find one."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    place_planning_ego(lanes, world, model, rules, w)
    margin = wp.float64(GENERIC_MARGIN)
    for _ in range(rules.others):
        left = int(TRIES)
        while left > 0:
            left = left - 1
            edge = rules.places[random.integers(world.rng, w, 0, rules.places.shape[0])]
            on = lanes.edges[edge].first + random.integers(world.rng, w, 0, lanes.edges[edge].count)
            length = lanes.lanes[on].length
            start = random.uniform(world.rng, w, margin, wp.max(margin, wp.float64(length) - margin))
            x, y = lane.position(lanes, on, type(length)(start), type(length)(0.0))
            if is_clear(world, w, wp.float64(x), wp.float64(y)):
                left = 0
                speed = deviating(world, model, w, wp.float64(GENERIC_SPEED), SPEED_DEVIATION)
                v = place_on_lane(lanes, world, w, rules.traffic_kind, on, start, speed)
                set_off(lanes, world, rules, w, v, rules.given_destination)
    begin_episode(lanes, world, model, w)


@wp.func
def default_speed_index(speed: wp.float64):
    """Index of the nearest of MDPVehicle's default target speeds, not rounded; halves go to the even index."""
    share = (speed - wp.float64(DEFAULT_TARGET_SPEED)) / wp.float64(DEFAULT_TARGET_SPEED_RANGE)
    return wp.clamp(wp.rint(share * wp.float64(LAST_DEFAULT_INDEX)), wp.float64(0.0), wp.float64(LAST_DEFAULT_INDEX))


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, and the two ends of an episode."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    on_road, s, lateral = on_own_lane(lanes, world, w, v)
    kept = wp.where(on_road, one, zero)
    crashed = wp.where(world.cars[w, v].crashed, one, zero)
    fast = default_speed_index(wp.float64(world.cars[w, v].speed))
    if rules.ego_kind == Kind.MDP:
        fast = wp.float64(speed_index(model, world, w, v))
    fast = fast / wp.float64(LAST_DEFAULT_INDEX)
    changed = zero
    if rules.scores_lane_changes != 0:
        if action[w, 0] == wp.float64(LEFT) or action[w, 0] == wp.float64(RIGHT):
            changed = one
    total = rules.collision_reward * crashed + rules.high_speed_reward * fast
    total = total + rules.lane_change_reward * changed + rules.on_road_reward * kept
    if rules.normalize != 0:
        total = (total - rules.collision_reward) / (rules.high_speed_reward - rules.collision_reward)
    verdict.terms[w, 0] = crashed
    verdict.terms[w, 1] = fast
    verdict.terms[w, 2] = changed
    verdict.terms[w, 3] = kept
    verdict.reward[w] = total * kept
    verdict.terminated[w] = world.cars[w, v].crashed
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class Roundabout(Scenario):
    """A roundabout of two lanes with four vehicles beside the ego; `connected` is the variant -v1.

    `lane_change_reward` counts the raw actions 0 and 2, whatever they mean. An action of one axis counts if its number
    is 0 or 2. One of two axes never counts; highway-env cannot tell and raises.
    """

    rewards = REWARDS
    optional_keys = frozenset({"on_road_reward"})  # highway-env weighs it if it is given
    destinations = DESTINATIONS
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        self.given_destination(config)
        if not is_number(config.get("on_road_reward", 0)):
            raise ValueError(f"config['on_road_reward'] is {config['on_road_reward']!r}; it must be a number")
        if config["normalize_reward"] and config["high_speed_reward"] == config["collision_reward"]:
            raise ValueError("normalize_reward needs collision_reward to differ from high_speed_reward")

    def given_destination(self, config: dict[str, Any]) -> int:
        """Return the index of the destination in `destinations` that the config asks for, -1 if it is to be drawn.

        As in a Python list, indices count from the end if they are negative.
        """
        given, count = config["incoming_vehicle_destination"], len(self.destinations)
        if given is None:
            return -1
        if not isinstance(given, (int, np.integer)) or not -count <= given < count:
            raise ValueError(
                f"config['incoming_vehicle_destination'] is {given!r}; allowed: None, or {-count} to {count - 1} "
                f"for {', '.join(self.destinations)}"
            )
        return int(given) % count

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        return Sizes(vehicles=1 + len(TRAFFIC), route=self.routes(network).shape[2] + 1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        return roundabout()

    def routes(self, network: Network) -> np.ndarray:
        """Return the routes from each edge to the traffic's destinations and, last, the ego's."""
        return network.routes([*self.destinations, EGO_DESTINATION])

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = self._shared_rules(config, ego_kind, network, device)
        numbers = [network.lane_number(start, end, i) for start, end, i, _ in TRAFFIC]
        rules.ego_start = EGO_START
        rules.places = wp.array(np.array(numbers), dtype=wp.int32, device=str(device))
        rules.starts = wp.array(np.array([s for *_, s in TRAFFIC]), dtype=wp.float64, device=str(device))
        rules.others = len(TRAFFIC)
        return rules

    def _shared_rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        rules = super().rules(config, ego_kind, network, device)
        rules.routes = wp.array(self.routes(network), dtype=wp.int32, device=str(device))
        rules.destinations = len(self.destinations)
        rules.given_destination = self.given_destination(config)
        rules.ego_lane = network.lane_number("ser", "ses", 0)
        rules.scores_lane_changes = int(scores_lane_changes(config["action"]))
        rules.normalize = int(bool(config["normalize_reward"]))
        return rules


class RoundaboutGeneric(Roundabout):
    """A roundabout of any radius and number of lanes, with up to `vehicles_count` vehicles beside the ego."""

    destinations = GENERIC_DESTINATIONS
    spawn_kernel = spawn_anywhere

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return super().defaults() | GENERIC

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        super().check(config)
        at_least(config, "roundabout_lanes", 1)
        at_least(config, "vehicles_count", 0)
        if not 0 < config["roundabout_radius"] < math.inf:
            raise ValueError(
                f"config['roundabout_radius'] is {config['roundabout_radius']!r}; it must be above 0 and finite"
            )

    def given_destination(self, config: dict[str, Any]) -> int:
        """Return the index of the destination that the config asks for; too high a one is the last."""
        given = config["incoming_vehicle_destination"]
        if isinstance(given, (int, np.integer)):
            config = config | {"incoming_vehicle_destination": min(given, len(self.destinations) - 1)}
        return super().given_destination(config)

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        return Sizes(vehicles=1 + config["vehicles_count"], route=self.routes(network).shape[2] + 1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        return generic_roundabout(config["roundabout_radius"], config["roundabout_lanes"])

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = self._shared_rules(config, ego_kind, network, device)
        edges = [network.edges.index(road) for road in GENERIC_ROADS]
        rules.ego_start = network.lanes[rules.ego_lane].length - EGO_BEFORE_END
        rules.places = wp.array(np.array(edges), dtype=wp.int32, device=str(device))
        rules.starts = wp.zeros(1, dtype=wp.float64, device=str(device))  # a kernel takes no missing array
        rules.others = config["vehicles_count"]
        return rules


def scores_lane_changes(action: dict[str, Any]) -> bool:
    """Can an action be 0 or 2? Neither arrays of two axes nor the tuples of several agents are a number."""
    if action.get("type") == "ContinuousAction":
        return not (action.get("longitudinal", True) and action.get("lateral", True))
    return action.get("type") != "MultiAgentAction"
