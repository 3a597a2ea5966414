"""u-turn-v0 and -v1: overtake slow vehicles on two lanes that turn back.

Source: highway_env/envs/u_turn_env.py, 1.12.1.
"""

from typing import Any

import numpy as np
import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine import random
from sim.engine.lanes import DEFAULT_WIDTH, CircularLane, LineType, StraightLane
from sim.engine.network import Network
from sim.engine.spawn import begin_episode, clear_world, place_ego, place_on_lane, plan_route, randomize_behavior
from sim.engine.state import Kind
from sim.engine.vehicles import on_own_lane
from sim.scenarios.base import Action, Mask, Scenario, Verdict, is_number, number_pair
from sim.world import Sizes

LENGTH = 128.0  # m, of the straight roads
RADIUS = 20.0  # m, of the inner lane's turn

EGO_SPEED = 16.0  # m/s
DESTINATION = "d"
# Lane, mean longitudinal coordinate [m], mean speed [m/s]. Only the first vehicle's behaviour is randomised.
TRAFFIC = (
    (("a", "b", 0), 25.0, 13.5),
    (("a", "b", 1), 56.0, 14.5),
    (("b", "c", 1), 0.5, 4.5),
    (("b", "c", 0), 17.5, 5.5),
    (("c", "d", 0), 1.0, 3.5),
    (("c", "d", 1), 30.0, 5.5),
)
POSITION_DEVIATION = 2.0  # m, standard deviation
SPEED_DEVIATION = 2.0  # m/s, standard deviation

DEFAULTS = {
    "observation": {"type": "TimeToCollision", "horizon": 16},
    "action": {"type": "DiscreteMetaAction", "target_speeds": [8, 16, 24]},
    "screen_width": 789,
    "screen_height": 289,
    "duration": 10,  # s
    "collision_reward": -1.0,
    "left_lane_reward": 0.1,  # grows with the lane id, that is to the right
    "high_speed_reward": 0.4,
    "reward_speed_range": [8, 24],  # m/s
    "normalize_reward": True,
    "offroad_terminal": False,  # read nowhere, as in highway-env 1.12.1
}
REWARDS = ("collision_reward", "left_lane_reward", "high_speed_reward", "on_road_reward")


@wp.struct
class Rules:
    """What the u-turn's kernels need of the config."""

    ego_kind: int
    traffic_kind: int
    routes: wp.array3d(dtype=wp.int32)
    ego_lane: int
    places: wp.array(dtype=wp.int32)  # a lane a vehicle
    starts: wp.array(dtype=wp.float64)  # [m]
    speeds: wp.array(dtype=wp.float64)  # [m/s]
    collision_reward: wp.float64
    left_lane_reward: wp.float64
    high_speed_reward: wp.float64
    on_road_reward: wp.float64
    speed_low: wp.float64
    speed_high: wp.float64
    normalize: int
    duration: wp.float64


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the ego at the start, six vehicles in its way."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    zero = type(lanes.lanes[0].length)(0.0)
    x, y = lane.position(lanes, rules.ego_lane, zero, zero)
    ego = place_ego(
        lanes,
        world,
        model,
        w,
        0,
        rules.ego_kind,
        wp.float64(x),
        wp.float64(y),
        wp.float64(0.0),
        wp.float64(EGO_SPEED),
    )
    if rules.ego_kind == Kind.MDP:  # only one that tracks lanes has a route
        plan_route(lanes, world, w, ego, rules.routes, 0)
    for k in range(rules.places.shape[0]):
        s = rules.starts[k] + random.standard_normal(world.rng, w, model.ziggurat) * wp.float64(POSITION_DEVIATION)
        speed = rules.speeds[k] + random.standard_normal(world.rng, w, model.ziggurat) * wp.float64(SPEED_DEVIATION)
        v = place_on_lane(lanes, world, w, rules.traffic_kind, rules.places[k], s, speed)
        plan_route(lanes, world, w, v, rules.routes, 0)
        if k == 0:
            randomize_behavior(world, w, v)
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, and the two ends of an episode."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    on = world.cars[w, v].lane
    zero = wp.float64(0.0)
    one = wp.float64(1.0)
    on_road, s, lateral = on_own_lane(lanes, world, w, v)
    kept = wp.where(on_road, one, zero)
    crashed = wp.where(world.cars[w, v].crashed, one, zero)
    side = wp.float64(lanes.lanes[on].index) / wp.float64(wp.max(lanes.edges[lanes.lanes[on].edge].count - 1, 1))
    speed = wp.float64(world.cars[w, v].speed)
    fast = wp.clamp((speed - rules.speed_low) / (rules.speed_high - rules.speed_low), zero, one)
    total = rules.collision_reward * crashed + rules.left_lane_reward * side
    total = total + rules.high_speed_reward * fast + rules.on_road_reward * kept
    if rules.normalize != 0:
        best = rules.high_speed_reward + rules.left_lane_reward
        total = (total - rules.collision_reward) / (best - rules.collision_reward)
    verdict.terms[w, 0] = crashed
    verdict.terms[w, 1] = side
    verdict.terms[w, 2] = fast
    verdict.terms[w, 3] = kept
    verdict.reward[w] = total * kept
    verdict.terminated[w] = world.cars[w, v].crashed
    verdict.truncated[w] = world.rows[w].time >= rules.duration


class UTurn(Scenario):
    """A road of two lanes, a turn by 180 degrees, and the road back; `connected` is the variant -v1."""

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
        number_pair(config["reward_speed_range"], "config['reward_speed_range']", different=True)
        if not is_number(config.get("on_road_reward", 0)):
            raise ValueError(f"config['on_road_reward'] is {config['on_road_reward']!r}; it must be a number")
        best = config["high_speed_reward"] + config["left_lane_reward"]
        if config["normalize_reward"] and best == config["collision_reward"]:
            raise ValueError(
                "normalize_reward needs collision_reward to differ from high_speed_reward + left_lane_reward"
            )

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        return Sizes(vehicles=1 + len(TRAFFIC), route=self.routes(network).shape[2] + 1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road: a-b below, b-c around, c-d back above; in the order in which highway-env adds them."""
        none, line, striped = LineType.NONE, LineType.CONTINUOUS_LINE, LineType.STRIPED
        continuous = LineType.CONTINUOUS
        width = DEFAULT_WIDTH
        below = 2 * RADIUS + width  # y of the first lane
        center = (LENGTH, RADIUS + width)
        start, end = float(np.deg2rad(90)), float(np.deg2rad(-90))
        return Network(
            {
                "c": {
                    "d": [
                        StraightLane((LENGTH, width), (0.0, width), line_types=(line, striped)),
                        StraightLane((LENGTH, 0.0), (0.0, 0.0), line_types=(none, line)),
                    ]
                },
                "b": {
                    "c": [
                        CircularLane(center, RADIUS, start, end, clockwise=False, line_types=(continuous, striped)),
                        CircularLane(
                            center, RADIUS + width, start, end, clockwise=False, line_types=(none, continuous)
                        ),
                    ]
                },
                "a": {
                    "b": [
                        StraightLane((0.0, below), (LENGTH, below), line_types=(line, striped)),
                        StraightLane((0.0, below + width), (LENGTH, below + width), line_types=(none, line)),
                    ]
                },
            }
        )

    def routes(self, network: Network) -> np.ndarray:
        """Return the route from each edge to the end of the road."""
        return network.routes([DESTINATION])

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.routes = wp.array(self.routes(network), dtype=wp.int32, device=str(device))
        rules.ego_lane = network.lane_number("a", "b", 0)
        places, starts, speeds = zip(*TRAFFIC, strict=True)
        numbers = [network.lane_number(*place) for place in places]
        rules.places = wp.array(np.array(numbers), dtype=wp.int32, device=str(device))
        rules.starts = wp.array(np.array(starts), dtype=wp.float64, device=str(device))
        rules.speeds = wp.array(np.array(speeds), dtype=wp.float64, device=str(device))
        rules.speed_low, rules.speed_high = np.asarray(config["reward_speed_range"], dtype=float)
        rules.normalize = int(bool(config["normalize_reward"]))
        return rules
