"""One policy step: the action, then frames of act, step and collisions. One thread a world.

Source: highway_env/envs/common/abstract.py `_simulate`, road/road.py `Road.act` and `Road.step`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import HOT
from sim.engine.collisions import step_and_collide
from sim.engine.drivers import act_all, apply_meta_action
from sim.engine.lanes import is_swept
from sim.engine.regulation import regulate
from sim.engine.state import Kind
from sim.engine.sweep import act_swept
from sim.engine.vehicles import locate, locate_all, set_closest_lane


@wp.func
def apply_action(
    lanes: Any,
    world: Any,
    model: Any,
    w: int,
    agent: int,
    meta: wp.array2d(dtype=wp.int32),
    command: Any,
):
    """Give a controlled vehicle its action: a meta-action, or an acceleration [m/s2] and a steering angle [rad].

    A vehicle that something else drives (an IDM ego) ignores it.
    """
    v = world.ego[w, agent]
    if world.cars[w, v].kind == Kind.MDP:
        locate(lanes, world, w, v)
        apply_meta_action(lanes, world, model, w, v, meta[w, agent])
    elif world.cars[w, v].kind == Kind.VEHICLE or world.cars[w, v].kind == Kind.BICYCLE:
        world.cars[w, v].acceleration = command[w, agent, 0]
        world.cars[w, v].steering = command[w, agent, 1]


@wp.func(inline=HOT)
def _frame(lanes: Any, world: Any, model: Any, w: int):
    """Advance a world by one simulation frame: all act, junctions are regulated, all step, then collisions."""
    if is_swept(lanes):
        act_swept(lanes, world, model, w)
    else:
        act_all(lanes, world, model, w)
    if model.regulation_period > 0:
        if (world.rows[w].steps + 1 + model.regulation_offset) % model.regulation_period == 0:
            regulate(lanes, world, model, w)
    step_and_collide(lanes, world, model, w)
    world.rows[w].steps = world.rows[w].steps + 1


@wp.func(inline=HOT)
def run_frames(lanes: Any, world: Any, model: Any, w: int, frames: int):
    """Advance a world by simulation frames."""
    if model.late_lanes == 0:
        locate_all(lanes, world, w)
    for _ in range(frames):
        _frame(lanes, world, model, w)
    if model.late_lanes != 0:
        for v in range(world.rows[w].count - world.rows[w].objects):
            set_closest_lane(lanes, world, w, v)


@wp.kernel(enable_backward=False, module="unique")
def simulate(
    lanes: Any,
    world: Any,
    model: Any,
    active: wp.array(dtype=wp.bool),
    agents: int,
    meta: wp.array2d(dtype=wp.int32),
    command: wp.array3d(dtype=Any),
    frames: int,
    policy_period: wp.float64,
    first: int,
):
    """Run `frames` frames in each active world, after the actions of `agents` egos; `policy_period` [s] passes."""
    w = first + wp.tid()
    if not active[w]:
        return
    world.rows[w].time = world.rows[w].time + policy_period
    for agent in range(agents):
        apply_action(lanes, world, model, w, agent, meta, command)
    if frames > 0:
        run_frames(lanes, world, model, w, frames)
