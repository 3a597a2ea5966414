"""The intersection ids: an ego, or several, through a four-way junction where the horizontal road has right of way.

Source: highway_env/envs/intersection_env.py, 1.12.1.
"""

import math
from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import COLD, random
from sim.engine import lanes as lane
from sim.engine.neighbours import sort_along_axis
from sim.engine.network import Network
from sim.engine.regulation import PREDICTIONS
from sim.engine.spawn import (
    begin_episode,
    clear_world,
    place_ego,
    place_on_lane,
    plan_route,
    randomize_behavior,
    remove,
)
from sim.engine.state import Kind
from sim.engine.step import run_frames
from sim.engine.vehicles import on_own_lane
from sim.scenarios.base import Action, Mask, Scenario, Verdict, at_least, is_number, number_pair
from sim.scenarios.intersection_road import CORNERS, is_exit, junction
from sim.world import Sizes

# Traffic
FURTHEST_START = 80.0  # m, from the entry: the first vehicles are spread from 0 to it
START_PROBABILITY = 0.6  # of each of the first vehicles, whatever the config's spawn_probability
START_OFFSET = 5.0  # m
START_SPEED = 8.0  # m/s
START_GAP = 15.0  # m, nothing starts nearer to another vehicle
WARM_UP = 3  # s that the traffic drives before the ego comes
CHALLENGER_START = 60.0  # m
CHALLENGER_SPREAD = 0.1  # m
EGO_START = 60.0  # m
EGO_SPREAD = 5.0  # m, around one spread behind the start: highway-env draws normal(1.0), whose 1.0 is the mean
EGO_GAP = 20.0  # m, traffic nearer to a new ego goes
LEAVING_DISTANCE = 4 * 5.0  # m before the end of an exit (four vehicle lengths), where traffic is taken away
ARRIVED_DISTANCE = 25.0  # m into an exit, where an ego has arrived

MOST_TRAFFIC = 256  # slots for traffic; no vehicle enters while all are taken. Gaps of 15 m keep it far below.

RANGES = {"x": [-100, 100], "y": [-100, 100], "vx": [-20, 20], "vy": [-20, 20]}  # m, m/s
OBSERVATION = {
    "type": "Kinematics",
    "vehicles_count": 15,
    "features": ["presence", "x", "y", "vx", "vy", "cos_h", "sin_h"],
    "features_range": RANGES,
    "absolute": True,
    "flatten": False,
    "observe_intentions": False,
}
ACTION = {"type": "DiscreteMetaAction", "longitudinal": True, "lateral": False, "target_speeds": [0, 4.5, 9]}
DEFAULTS = {
    "observation": OBSERVATION,
    "action": ACTION,
    "duration": 13,  # s
    "destination": "o1",
    "controlled_vehicles": 1,
    "initial_vehicle_count": 10,
    "spawn_probability": 0.6,
    "screen_width": 600,
    "screen_height": 600,
    "centering_position": [0.5, 0.6],
    "scaling": 5.5 * 1.3,
    "collision_reward": -5,
    "high_speed_reward": 1,
    "arrived_reward": 1,
    "reward_speed_range": [7.0, 9.0],  # m/s
    "normalize_reward": False,
    "offroad_terminal": False,
}
CONTINUOUS = {
    "observation": OBSERVATION
    | {"vehicles_count": 5, "features": ["presence", "x", "y", "vx", "vy", "long_off", "lat_off", "ang_off"]},
    "action": {
        "type": "ContinuousAction",
        "steering_range": [-np.pi / 3, np.pi / 3],
        "longitudinal": True,
        "lateral": True,
        "dynamical": True,
        "target_speeds": [0, 4.5, 9],  # without effect, as in highway-env
    },
}
MULTI_AGENT = {
    "observation": {"type": "MultiAgentObservation", "observation_config": OBSERVATION},
    "action": {"type": "MultiAgentAction", "action_config": ACTION},
    "controlled_vehicles": 2,
}
REWARDS = ("collision_reward", "high_speed_reward", "arrived_reward", "on_road_reward")


@wp.struct
class Rules:
    """What the intersection's kernels need of the config."""

    ego_kind: int
    traffic_kind: int
    egos: int
    attempts: int  # to start a vehicle before the warm-up
    starts: wp.array(dtype=wp.float64)  # [attempts], where [m]
    warm_up_frames: int
    destination: int  # of the egos, an index of `routes`; -1 is drawn
    spawn_probability: wp.float64
    entries: wp.array(dtype=wp.int32)  # [4], lane number of each corner's entry
    exits: wp.array(dtype=wp.int32)  # [E], does the edge lead out
    routes: wp.array3d(dtype=wp.int32)  # [E, D, R], to the four corners and the egos' destination
    collision_reward: wp.float64
    high_speed_reward: wp.float64
    arrived_reward: wp.float64
    on_road_reward: wp.float64
    speed_low: wp.float64
    speed_high: wp.float64
    normalize: int
    offroad_terminal: int
    duration: wp.float64


@wp.func
def _is_near(world: Any, w: int, v: int, x: Any, y: Any, distance: Any):
    """Is a vehicle nearer than `distance` to (x, y) [m]?"""
    dx = world.cars[w, v].x - x
    dy = world.cars[w, v].y - y
    return wp.sqrt(dx * dx + dy * dy) < distance


@wp.func(inline=COLD)
def _spawn_vehicle(
    lanes: Any,
    world: Any,
    model: Any,
    rules: Rules,
    w: int,
    longitudinal: wp.float64,
    position_spread: wp.float64,
    speed_spread: wp.float64,
    probability: wp.float64,
    straight: bool,
    kept_free: int,
):
    """Let a vehicle in at a random entry, about `longitudinal` [m] along it, if there is room and by chance."""
    if random.uniform(world.rng, w, wp.float64(0.0), wp.float64(1.0)) > probability:
        return
    entry, destination = random.choose_two(world.rng, w, CORNERS)
    if straight:
        destination = (entry + 2) % CORNERS
    offset = random.standard_normal(world.rng, w, model.ziggurat) * position_spread
    start = longitudinal + wp.float64(START_OFFSET) + offset
    speed = wp.float64(START_SPEED) + random.standard_normal(world.rng, w, model.ziggurat) * speed_spread
    on = rules.entries[entry]
    zero = type(model.dt)(0.0)
    x, y = lane.position(lanes, on, type(zero)(start), zero)
    for other in range(world.rows[w].count):
        if _is_near(world, w, other, x, y, type(zero)(START_GAP)):
            return
    if world.rows[w].count + kept_free >= world.cars.shape[1]:
        return
    v = place_on_lane(lanes, world, w, rules.traffic_kind, on, start, speed)
    plan_route(lanes, world, w, v, rules.routes, destination)
    randomize_behavior(world, w, v)


@wp.func
def _is_ego(world: Any, w: int, v: int, egos: int):
    """Is the vehicle one of the first `egos` controlled ones?"""
    found = bool(False)
    for agent in range(egos):
        if world.ego[w, agent] == v:
            found = True
    return found


@wp.func(inline=COLD)
def _spawn_ego(lanes: Any, world: Any, model: Any, rules: Rules, w: int, agent: int):
    """Place an ego on the entry of its corner, and take away the traffic close to it."""
    on = rules.entries[agent % CORNERS]
    destination = rules.destination
    if destination < 0:
        destination = random.integers(world.rng, w, 1, CORNERS)
    offset = wp.float64(EGO_SPREAD) * (wp.float64(1.0) + random.standard_normal(world.rng, w, model.ziggurat))
    zero = type(model.dt)(0.0)
    x, y = lane.position(lanes, on, type(zero)(wp.float64(EGO_START) + offset), zero)
    heading = lane.heading_at(lanes, on, type(zero)(EGO_START))
    speed = wp.float64(lanes.lanes[on].speed_limit)
    kind = rules.ego_kind
    v = place_ego(lanes, world, model, w, agent, kind, wp.float64(x), wp.float64(y), wp.float64(heading), speed)
    if kind == Kind.MDP:
        plan_route(lanes, world, w, v, rules.routes, destination)
    other = int(0)
    while other < world.rows[w].count:
        if _is_near(world, w, other, x, y, type(zero)(EGO_GAP)) and not _is_ego(world, w, other, agent + 1):
            remove(world, w, other)
        else:
            other = other + 1


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: traffic that has driven a while, a challenger, the egos."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    free = rules.egos
    for i in range(rules.attempts):
        chance = wp.float64(START_PROBABILITY)
        _spawn_vehicle(lanes, world, model, rules, w, rules.starts[i], one, one, chance, False, free)
    sort_along_axis(world, model, w)
    world.rows[w].steps = -rules.warm_up_frames
    run_frames(lanes, world, model, w, rules.warm_up_frames)
    start = wp.float64(CHALLENGER_START)
    _spawn_vehicle(lanes, world, model, rules, w, start, wp.float64(CHALLENGER_SPREAD), zero, one, True, free)
    for agent in range(rules.egos):
        _spawn_ego(lanes, world, model, rules, w, agent)
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def renew_traffic(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """After a step: take away the vehicles that leave, then maybe let one in. The egos stay."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = int(0)
    while v < world.rows[w].count:
        on = world.cars[w, v].lane
        leaves = bool(False)
        if rules.exits[lanes.lanes[on].edge] != 0:
            s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)
            if s >= lanes.lanes[on].length - type(s)(LEAVING_DISTANCE):
                leaves = not _is_ego(world, w, v, rules.egos)
        if leaves:
            remove(world, w, v)
        else:
            v = v + 1
    one = wp.float64(1.0)
    _spawn_vehicle(lanes, world, model, rules, w, wp.float64(0.0), one, one, rules.spawn_probability, False, 0)
    sort_along_axis(world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward and end of each ego; the episode's are their mean, and one crash or all arrivals."""
    w = first + wp.tid()
    if not mask[w]:
        return
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    agents = wp.float64(rules.egos)
    total = wp.float64(0.0)
    crashed = wp.float64(0.0)
    fast = wp.float64(0.0)
    arrived = wp.float64(0.0)
    kept = wp.float64(0.0)
    first_is_off = bool(False)
    for agent in range(rules.egos):
        v = world.ego[w, agent]
        on = world.cars[w, v].lane
        on_road, s, lateral = on_own_lane(lanes, world, w, v)
        there = rules.exits[lanes.lanes[on].edge] != 0 and s >= type(s)(ARRIVED_DISTANCE)
        share = (wp.float64(world.cars[w, v].speed) - rules.speed_low) / (rules.speed_high - rules.speed_low)
        share = wp.clamp(share, zero, one)
        crash = wp.where(world.cars[w, v].crashed, one, zero)
        arrival = wp.where(there, one, zero)
        hold = wp.where(on_road, one, zero)
        score = rules.collision_reward * crash + rules.high_speed_reward * share
        score = score + rules.arrived_reward * arrival + rules.on_road_reward * hold
        if there:
            score = rules.arrived_reward
        score = score * hold
        if rules.normalize != 0:
            score = (score - rules.collision_reward) / (rules.arrived_reward - rules.collision_reward)
        verdict.agent_reward[w, agent] = score
        verdict.agent_terminated[w, agent] = world.cars[w, v].crashed or there
        total = total + score
        crashed = crashed + crash
        fast = fast + share
        arrived = arrived + arrival
        kept = kept + hold
        if agent == 0:
            first_is_off = not on_road
    verdict.terms[w, 0] = crashed / agents
    verdict.terms[w, 1] = fast / agents
    verdict.terms[w, 2] = arrived / agents
    verdict.terms[w, 3] = kept / agents
    verdict.reward[w] = total / agents
    verdict.terminated[w] = crashed > zero or arrived == agents or (rules.offroad_terminal != 0 and first_is_off)
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class Intersection(Scenario):
    """The junction, for one ego, with meta-actions or continuous control, or for several egos.

    Args:
        continuous: the ego is steered directly (intersection-v1).
        multi_agent: two egos, each with its own observation and action.
        connected: traffic sees vehicles on the lanes before and after its own.
        per_agent: rewards and ends of each agent are returned, instead of the episode's.
    """

    rewards = REWARDS
    optional_keys = frozenset({"on_road_reward"})  # highway-env weighs it if it is given
    reports = ("agents_rewards", "agents_terminated")
    driver = {"distance_wanted": 7, "comfort_acc_max": 6, "comfort_acc_min": -3}  # m, m/s2
    regulated = True
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge
    after_kernel = renew_traffic

    def __init__(
        self,
        continuous: bool = False,
        multi_agent: bool = False,
        connected: bool = False,
        per_agent: bool = False,
    ) -> None:
        self.changes: dict[str, Any] = CONTINUOUS if continuous else MULTI_AGENT if multi_agent else {}
        super().__init__(connected)
        self.per_agent = per_agent

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS | self.changes

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        at_least(config, "simulation_frequency", 2)  # the junction is regulated at 2 Hz
        at_least(config, "initial_vehicle_count", 0)
        at_least(config, "controlled_vehicles", 1)
        number_pair(config["reward_speed_range"], "config['reward_speed_range']", different=True)
        if not is_number(config.get("on_road_reward", 0)):
            raise ValueError(f"config['on_road_reward'] is {config['on_road_reward']!r}; it must be a number")
        if not isinstance(config["destination"], (str, int, float, type(None))):
            raise ValueError(f"config['destination'] is {config['destination']!r}; it must be a node's name or None")
        if config["normalize_reward"] and config["arrived_reward"] == config["collision_reward"]:
            raise ValueError("normalize_reward needs collision_reward to differ from arrived_reward")

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road."""
        return junction()

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs: all that can enter by the end of the episode."""
        most = min(max(config["duration"] * config["policy_frequency"], 0), MOST_TRAFFIC)
        traffic = min(config["initial_vehicle_count"] + math.ceil(most) + 2, MOST_TRAFFIC)
        egos = config["controlled_vehicles"]
        route = self._routes(config, network).shape[2] + 1
        return Sizes(vehicles=traffic + egos, egos=egos, route=route, predictions=PREDICTIONS)

    def _routes(self, config: dict[str, Any], network: Network) -> np.ndarray:
        """Routes to the corners, then to the egos' destination; highway-env takes an unknown one for no route."""
        return network.routes([*(f"o{corner}" for corner in range(CORNERS)), config["destination"] or "o0"])

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.egos = config["controlled_vehicles"]
        count = config["initial_vehicle_count"]
        rules.attempts = max(count - 1, 0)
        starts = np.linspace(0.0, FURTHEST_START, max(count, 1))
        rules.starts = wp.array(starts, dtype=wp.float64, device=str(device))
        rules.warm_up_frames = WARM_UP * config["simulation_frequency"]
        rules.destination = CORNERS if config["destination"] else -1
        entries = [network.lane_number(f"o{corner}", f"ir{corner}", 0) for corner in range(CORNERS)]
        rules.entries = wp.array(entries, dtype=wp.int32, device=str(device))
        rules.exits = wp.array([int(is_exit(*edge)) for edge in network.edges], dtype=wp.int32, device=str(device))
        rules.routes = wp.array(self._routes(config, network), dtype=wp.int32, device=str(device))
        rules.speed_low, rules.speed_high = np.asarray(config["reward_speed_range"], dtype=float)
        rules.normalize = int(bool(config["normalize_reward"]))
        return rules
