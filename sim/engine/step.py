"""One policy step: the action, then frames of act, step and collisions. One thread a world.

Source: highway_env/envs/common/abstract.py `_simulate`, road/road.py `Road.act` and `Road.step`, 1.12.1.
"""

from typing import Any

import warp as wp

from sim.engine import neighbours
from sim.engine.collisions import handle_collisions
from sim.engine.drivers import apply_meta_action, control, decide
from sim.engine.state import Kind
from sim.engine.vehicles import move, move_bicycle


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
    if world.kind[w, v] == Kind.MDP:
        apply_meta_action(lanes, world, model, w, v, meta[w, agent])
    elif world.kind[w, v] == Kind.VEHICLE or world.kind[w, v] == Kind.BICYCLE:
        world.acceleration[w, v] = command[w, agent, 0]
        world.steering[w, v] = command[w, agent, 1]


@wp.func
def frame(lanes: Any, world: Any, model: Any, w: int):
    """Advance a world by one simulation frame: all act, all step, then collisions."""
    count = world.count[w]
    for v in range(count):
        decide(lanes, world, model, w, v)
    for v in range(count):
        control(lanes, world, model, w, v)
    for v in range(count):
        kind = world.kind[w, v]
        if kind == Kind.BICYCLE:
            move_bicycle(lanes, world, model, w, v)
        elif kind < Kind.OBSTACLE:
            if kind <= Kind.DEFENSIVE:
                world.timer[w, v] = world.timer[w, v] + model.dt
            move(lanes, world, model, w, v)
    neighbours.sort_along_axis(world, model, w)
    handle_collisions(world, model, w)
    world.steps[w] = world.steps[w] + 1


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
    """Run `frames` frames in each active world; `agents` actions come first (0: none), with `policy_period` s of time."""
    w = first + wp.tid()
    if not active[w]:
        return
    world.time[w] = world.time[w] + policy_period
    for agent in range(agents):
        apply_action(lanes, world, model, w, agent, meta, command)
    for _ in range(frames):
        frame(lanes, world, model, w)
