"""lane-keeping-v0: steer a vehicle with tyre slip along a straight lane, then along a winding one.

Source: highway_env/envs/lane_keeping_env.py, 1.12.1.
"""

import math
from typing import Any

import torch
import warp as wp

from sim.engine import lanes as lane
from sim.engine.lanes import LineType, SineLane, StraightLane
from sim.engine.network import Network
from sim.engine.spawn import begin_episode, clear_world, place_ego
from sim.engine.state import Kind
from sim.scenarios.base import Action, Mask, Scenario, Verdict
from sim.world import Sizes

WIDTH = 10  # m, of the lanes
EGO_LONGITUDINAL = 50.0  # m, where the ego starts on the straight lane
EGO_LATERAL = -4.0  # m
EGO_SPEED = 8.3  # m/s

DEFAULTS = {
    "observation": {"type": "AttributesObservation", "attributes": ["state", "derivative", "reference_state"]},
    "action": {
        "type": "ContinuousAction",
        "steering_range": [-math.pi / 3, math.pi / 3],  # rad
        "longitudinal": False,
        "lateral": True,
        "dynamical": True,
    },
    "simulation_frequency": 10,  # Hz
    "policy_frequency": 10,  # Hz
    "state_noise": 0.05,  # largest error of the observed state [m, rad, m/s, rad/s]
    "derivative_noise": 0.05,  # of its derivative, the same per second
    "screen_width": 600,  # px
    "screen_height": 250,  # px
    "scaling": 7,  # px/m
    "centering_position": [0.4, 0.5],
}


@wp.struct
class Rules:
    """What lane keeping's kernels need of the config."""

    ego_kind: int
    straight: int  # lane to follow first
    winding: int  # and from when the ego has left it


@wp.kernel(enable_backward=False, module="unique")
def spawn(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, first: int):
    """Put the ego beside the middle of the straight lane in each world of `mask`; nothing is drawn."""
    w = first + wp.tid()
    if not mask[w]:
        return
    clear_world(world, w)
    on = rules.straight
    s = type(lanes.lanes[on].length)(EGO_LONGITUDINAL)
    x, y = lane.position(lanes, on, s, type(s)(EGO_LATERAL))
    heading = wp.float64(lanes.lanes[on].heading)
    speed = wp.float64(EGO_SPEED)
    place_ego(lanes, world, model, w, 0, rules.ego_kind, wp.float64(x), wp.float64(y), heading, speed)
    world.rows[w].tracked_lane = on
    begin_episode(lanes, world, model, w)


@wp.kernel(enable_backward=False, module="unique")
def judge(lanes: Any, world: Any, model: Any, rules: Rules, mask: Mask, action: Action, verdict: Verdict, first: int):
    """Reward the distance to the lane asked for, then ask for the winding one if the ego is off the straight one.

    highway-env changes the lane at the start of the next step, which is the same: nothing happens in between.
    """
    w = first + wp.tid()
    if not mask[w]:
        return
    v = world.ego[w, 0]
    on = world.rows[w].tracked_lane
    s, lateral = lane.local_coordinates(lanes, on, world.cars[w, v].x, world.cars[w, v].y)
    share = wp.float64(lateral) / wp.float64(lanes.lanes[on].width)
    verdict.reward[w] = wp.float64(1.0) - share * share
    verdict.terminated[w] = False
    verdict.truncated[w] = False
    if not lane.on_lane(lanes, on, s, lateral, type(s)(0.0)):
        world.rows[w].tracked_lane = rules.winding


class LaneKeeping(Scenario):
    """One vehicle, no traffic, never an end but Gymnasium's time limit."""

    traffic = False
    max_episode_steps = 200
    observes_first = True
    parameters = Rules
    spawn_kernel = spawn
    judge_kernel = judge

    def defaults(self) -> dict[str, Any]:
        """Return the keys this family adds to the common config."""
        return DEFAULTS

    def check(self, config: dict[str, Any]) -> None:
        """Raise ValueError for a value no scene can be built from."""
        for key in ("state_noise", "derivative_noise"):
            if not 0 <= config[key] < math.inf:
                raise ValueError(f"config[{key!r}] is {config[key]!r}; it must be at least 0 and finite")
        action = config["action"]
        if action.get("type") == "MultiAgentAction":
            action = action.get("action_config")
        if isinstance(action, dict) and (action.get("type") == "DiscreteMetaAction" or not action.get("dynamical")):
            raise ValueError(
                f"config['action'] is {config['action']!r}; lane keeping, in highway-env too, needs a vehicle with "
                "tyre slip: a ContinuousAction or DiscreteAction with 'dynamical': True"
            )

    def sizes(self, config: dict[str, Any], network: Network) -> Sizes:
        """Return how many slots a world needs."""
        return Sizes(vehicles=1)

    def network(self, config: dict[str, Any]) -> Network:
        """Return the road: the winding lane a-b, the straight one c-d and the piece d-a between them."""
        striped = (LineType.STRIPED, LineType.STRIPED)
        winding = SineLane((0.0, 0.0), (500.0, 0.0), 5, 2 * math.pi / 100, 0, width=WIDTH, line_types=striped)
        straight = StraightLane((50.0, 50.0), (115.0, 15.0), width=WIDTH, line_types=striped)
        end = (115.0 + 20, 15 + 20 * (15 - 50) / (115 - 50))
        between = StraightLane((115.0, 15.0), end, width=WIDTH, line_types=(LineType.NONE, LineType.STRIPED))
        return Network({"a": {"b": [winding]}, "c": {"d": [straight]}, "d": {"a": [between]}})

    def rules(self, config: dict[str, Any], ego_kind: Kind, network: Network, device: torch.device) -> Any:
        """Return the kernels' parameters."""
        rules = super().rules(config, ego_kind, network, device)
        rules.straight = network.lane_number("c", "d", 0)
        rules.winding = network.lane_number("a", "b", 0)
        return rules
