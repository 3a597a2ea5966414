"""two-way-v0: overtaking on a road with oncoming traffic.

Source: highway_env/envs/two_way_env.py, 1.12.1.
"""

from typing import Any

import torch
import warp as wp

from sim.engine import drivers, random
from sim.engine.lanes import DEFAULT_WIDTH, LineType, StraightLane
from sim.engine.network import Network
from sim.engine.spawn import begin_episode, clear_world, place_ego, place_on_lane
from sim.engine.state import Kind
from sim.scenarios.base import Action, Mask, Scenario, Verdict
from sim.world import Sizes

LENGTH = 800.0  # m, of the road
EGO_START = 30.0  # m
EGO_SPEED = 30.0  # m/s
AHEAD = 3  # vehicles in front of the ego
ONCOMING = 2

DEFAULTS = {
    "observation": {"type": "TimeToCollision", "horizon": 5},
    "collision_reward": 0,  # read nowhere, as in highway-env 1.12.1
    "left_lane_constraint": 1,  # likewise
    "left_lane_reward": 0.2,
    "high_speed_reward": 0.8,
}
REWARDS = ("high_speed_reward", "left_lane_reward")


@wp.struct
class Rules:
    """What the kernels need of the config; lanes are flat numbers."""

    ego_kind: int
    traffic_kind: int
    own_lane: int
    oncoming_lane: int
    ego_x: wp.float64
    ego_y: wp.float64
    high_speed_reward: wp.float64
    left_lane_reward: wp.float64


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Build a new scene in each world of `mask`: the ego, the slower vehicles ahead, the oncoming ones."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    heading = wp.float64(0.0)
    place_ego(lanes, world, model, w, 0, rules.ego_kind, rules.ego_x, rules.ego_y, heading, wp.float64(EGO_SPEED))
    ten = wp.float64(10.0)
    for i in range(AHEAD):
        start = wp.float64(70.0) + wp.float64(40.0) * wp.float64(i)
        s = start + ten * random.standard_normal(world.rng, w, model.ziggurat)
        speed = wp.float64(24.0) + wp.float64(2.0) * random.standard_normal(world.rng, w, model.ziggurat)
        v = place_on_lane(lanes, world, w, rules.traffic_kind, rules.own_lane, s, speed)
        world.cars[w, v].changes_lanes = False
    for i in range(ONCOMING):
        start = wp.float64(200.0) + wp.float64(100.0) * wp.float64(i)
        s = start + ten * random.standard_normal(world.rng, w, model.ziggurat)
        speed = wp.float64(20.0) + wp.float64(5.0) * random.standard_normal(world.rng, w, model.ziggurat)
        v = place_on_lane(lanes, world, w, rules.traffic_kind, rules.oncoming_lane, s, speed)
        world.cars[w, v].changes_lanes = False
        world.cars[w, v].target_lane = rules.oncoming_lane
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward, its unweighted terms, and the end: a crash. Time is limited from outside (`max_episode_steps`)."""
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    last = wp.float64(lanes.edges[lanes.lanes[world.cars[w, v].lane].edge].count - 1)
    left = (last - wp.float64(lanes.lanes[world.cars[w, v].target_lane].index)) / last
    fast = wp.float64(drivers.speed_index(model, world, w, v)) / wp.float64(model.target_speeds.shape[0] - 1)
    verdict.terms[w, 0] = fast
    verdict.terms[w, 1] = left
    verdict.reward[w] = rules.high_speed_reward * fast + rules.left_lane_reward * left
    verdict.terminated[w] = world.cars[w, v].crashed
    verdict.truncated[w] = False


class TwoWay(Scenario):
    """Two lanes, of which the left one is the oncoming traffic's too."""

    rewards = REWARDS
    max_episode_steps = 15
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for an action type whose vehicle has no list of target speeds, which the reward needs."""
        action = config["action"]
        if action.get("type") == "MultiAgentAction":
            action = action.get("action_config")
        kind = action.get("type") if isinstance(action, dict) else None  # what is unknown fails as an action type
        if kind in ("ContinuousAction", "DiscreteAction"):
            raise ValueError(
                f"config['action'] is of type {kind}; two-way-v0 rewards the chosen target speed, so it needs "
                "DiscreteMetaAction"
            )

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        return Sizes(vehicles=1 + AHEAD + ONCOMING)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road: the way back lies on the left lane of the way there."""
        line, striped, none = LineType.CONTINUOUS_LINE, LineType.STRIPED, LineType.NONE
        left = StraightLane((0.0, 0.0), (LENGTH, 0.0), line_types=(line, striped))
        right = StraightLane((0.0, DEFAULT_WIDTH), (LENGTH, DEFAULT_WIDTH), line_types=(none, line))
        back = StraightLane((LENGTH, 0.0), (0.0, 0.0), line_types=(none, none))
        return Network({"a": {"b": [left, right]}, "b": {"a": [back]}})

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.own_lane = network.lane_number("a", "b", 1)
        rules.oncoming_lane = network.lane_number("b", "a", 0)
        rules.ego_x, rules.ego_y = map(float, network.lanes[rules.own_lane].position(EGO_START, 0.0))
        return rules
