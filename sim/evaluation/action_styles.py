"""Actions to play the same episode with in two simulators: random, gentle, idle, or steered along the lane.

Random actions mostly end in an early crash; the other styles make episodes last. All but `follow` know only the action
space, so that both simulators can draw them; `follow` watches the real environment, whose actions ours then repeats.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces

Actions = np.ndarray | tuple[np.ndarray, ...]
"""Of T steps: [T] indices or [T, size] floats; of a multi-agent space a tuple with one such array an agent."""
Style = str | Callable[[Space, int, int], Actions]
"""A name of `STYLES`, or a function (space, seed, steps) -> actions."""

STYLES = ("random", "gentle", "idle", "follow")
ACTION_SEED = 1_000_000  # the actions of seed s are drawn from ACTION_SEED + s
GENTLE_IDLE = 0.85  # share of idle steps among gentle discrete actions
GENTLE_SIZE = 0.1  # largest gentle action on an axis that goes to 1
META_IDLE = 1  # DiscreteMetaAction's IDLE has this index with and without lateral or longitudinal actions


def draw_actions(style: Style, space: Space, action: dict[str, Any], seed: int, steps: int) -> Actions:
    """Return the actions of a seed, the same for both simulators and, so far as they go, for any number of steps.

    Args:
        style: any but `follow`.
        space: the action space of one environment.
        action: its `config["action"]`.
        seed: the episode's.
        steps: how many.

    Raises:
        ValueError: an unknown style, or `follow`.
    """
    if callable(style):
        return style(space, seed, steps)
    if style not in STYLES[:-1]:
        raise ValueError(f"action style {style!r} cannot be drawn from a space; allowed: {', '.join(STYLES[:-1])}")
    if isinstance(space, spaces.Tuple):
        inner = action["action_config"]
        streams = [np.random.default_rng([ACTION_SEED + seed, agent]) for agent in range(len(space))]
        return tuple(_agent_actions(style, one, inner, rng, steps) for one, rng in zip(space, streams, strict=True))
    return _agent_actions(style, space, action, np.random.default_rng(ACTION_SEED + seed), steps)


def _agent_actions(
    style: str, space: Space, action: dict[str, Any], rng: np.random.Generator, steps: int
) -> np.ndarray:
    if isinstance(space, spaces.Discrete):
        idle = META_IDLE if action["type"] == "DiscreteMetaAction" else int(space.n) // 2
        if style == "random":
            return rng.integers(space.n, size=steps)
        chance = np.zeros((steps, 2)) if style == "idle" else rng.random((steps, 2))
        return np.where(chance[:, 0] < GENTLE_IDLE, idle, (chance[:, 1] * space.n).astype(np.int64))
    size = {"random": 1.0, "gentle": GENTLE_SIZE, "idle": 0.0}[style]
    return (size * rng.uniform(-1, 1, size=(steps, *space.shape))).astype(np.float32)


def action_at(actions: Actions, step: int) -> Any:
    """Return one step's action, as `step` of a single environment takes it."""
    return tuple(one[step] for one in actions) if isinstance(actions, tuple) else actions[step]


def stacked(actions: Sequence[Any]) -> Actions:
    """Return single steps' (or worlds') actions along a new first axis."""
    if actions and isinstance(actions[0], tuple):
        return tuple(np.stack(agent) for agent in zip(*actions, strict=True))
    return np.stack(actions) if actions else np.zeros(0)


def follow(env: Any, rng: np.random.Generator) -> Any:
    """Return an action that keeps each ego of a real environment on its lane, with some noise.

    Args:
        env: highway-env's, unwrapped, after a reset.
        rng: source of the noise.
    """
    agents = getattr(env.action_type, "agents_action_types", None)
    return _follow(env.action_type, rng) if agents is None else tuple(_follow(agent, rng) for agent in agents)


def _follow(kind: Any, rng: np.random.Generator) -> Any:
    """One agent's action: gentle meta-actions (its vehicle steers itself), or a pursuit of the lane's centre line."""
    space, chance = kind.space(), rng.random(2)
    if hasattr(kind, "target_speeds"):
        return np.int64(META_IDLE if chance[0] < GENTLE_IDLE else chance[1] * space.n)
    vehicle = kind.controlled_vehicle
    longitudinal, lateral = vehicle.lane.local_coordinates(vehicle.position)
    speed = max(vehicle.speed, 1.0)
    heading = vehicle.lane.heading_at(longitudinal + 0.4 * speed) - np.arctan(0.3 * lateral)
    error = (heading - vehicle.heading + np.pi) % (2 * np.pi) - np.pi
    wanted = {"longitudinal": 0.5 * (np.clip(speed, 4.0, 25.0) - vehicle.speed), "lateral": error * 5.0 / speed}
    ranges = {"longitudinal": kind.acceleration_range, "lateral": kind.steering_range}
    axes = [axis for axis in wanted if getattr(kind, axis)]
    spans = [np.ptp(ranges[axis]) or 1.0 for axis in axes]
    action = [2 * (wanted[axis] - ranges[axis][0]) / span - 1 for axis, span in zip(axes, spans, strict=True)]
    action = np.clip(np.array(action) + GENTLE_SIZE * (2 * chance[: len(axes)] - 1), -1, 1)
    if isinstance(space, spaces.Box):
        return action.astype(np.float32)
    per_axis = kind.actions_per_axis
    nearest = np.rint((action + 1) / 2 * (per_axis - 1)).astype(np.int64)
    return np.int64(nearest @ per_axis ** np.arange(len(axes))[::-1])
