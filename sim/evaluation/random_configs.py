"""Random valid configs of every id: a random subset of its keys, each with a random value that highway-env accepts.

Left out is what highway-env itself raises for: two-way-v0 with anything but meta-actions, racetracks with them; float
actions of two axes in merge and roundabout (`action in [0, 2]`); TimeToCollision without meta-actions, or of another
agent than the first where the lanes differ between roads; lane-keeping without the dynamical bicycle; target speeds of
0 in merge (a division); `vehicles_count` 1 of Kinematics, which returns all vehicles. Nor is `length` 0 of the
racetrack's oval drawn: its road comes from an unseeded generator.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Draw = Callable[[Rng], Any]

FEATURES = ["presence", "x", "y", "vx", "vy", "heading", "cos_h", "sin_h", "cos_d", "sin_d"]
FEATURES += ["long_off", "lat_off", "ang_off"]
LANDMARK_FEATURES = ["x", "y", "vx", "vy", "cos_h", "sin_h", "cos_d", "sin_d", "presence"]
TRAFFIC = [f"highway_env.vehicle.behavior.{name}Vehicle" for name in ("IDM", "Linear", "Aggressive", "Defensive")]
# (simulation, policy) [Hz]; some do not divide. The intersection counts frames of an integer frequency.
FREQUENCIES = [(15, 1), (5, 1), (10, 2), (15, 2), (7, 3), (15, 4), (12, 5), (20, 5), (5, 5), (10, 0.5), (12.5, 2.5)]
FAST_SPEEDS = [[20, 25, 30], [15, 20, 25, 30, 35], [18.5, 24, 29.5], [10, 30]]  # m/s
SLOW_SPEEDS = [[0, 4.5, 9], [0, 8, 16], [2, 5, 8, 11], [8, 16, 24]]  # m/s
KEY_CHANCE = 0.5
MAX_EGOS = 3


def one_of(*values: Any) -> Draw:
    """One of the values, as it is."""
    return lambda rng: values[rng.integers(len(values))]


def whole(low: int, high: int) -> Draw:
    """An integer, both ends included."""
    return lambda rng: int(rng.integers(low, high + 1))


def number(low: float, high: float) -> Draw:
    """A number with three decimals."""
    return lambda rng: round(float(rng.uniform(low, high)), 3)


def span(low: tuple[float, float], width: tuple[float, float]) -> Draw:
    """Two rising numbers [a, b]."""

    def draw(rng: Rng) -> list[float]:
        start = number(*low)(rng)
        return [start, round(start + number(*width)(rng), 3)]

    return draw


flag = one_of(True, False)
punishment, praise = number(-4, -0.1), number(0, 2)
traffic = one_of(*TRAFFIC)
seconds = number(2, 9)
REWARD_SPEEDS = {"reward_speed_range": span((0, 20), (3, 20))}
ROAD_REWARD = {"on_road_reward": number(-1, 1)}

HIGHWAY: dict[str, Draw] = {
    "lanes_count": whole(1, 6),
    "vehicles_count": whole(0, 20),
    "controlled_vehicles": whole(1, MAX_EGOS),
    "ego_spacing": number(0.5, 4),
    "vehicles_density": number(0.5, 3),
    "collision_reward": punishment,
    "right_lane_reward": praise,
    "high_speed_reward": praise,
    "normalize_reward": flag,
    "offroad_terminal": flag,
    "duration": seconds,
    "other_vehicles_type": traffic,
    **REWARD_SPEEDS,
}
MERGE: dict[str, Draw] = {
    "collision_reward": punishment,
    "right_lane_reward": praise,
    "high_speed_reward": praise,
    "merging_speed_reward": punishment,
    "lane_change_reward": number(-1, 1),
    "other_vehicles_type": traffic,
    **REWARD_SPEEDS,
}
ROUNDABOUT: dict[str, Draw] = {
    "incoming_vehicle_destination": one_of(None, 0, 1, 2),
    "collision_reward": punishment,
    "high_speed_reward": praise,
    "lane_change_reward": number(-1, 1),
    "normalize_reward": flag,
    "duration": seconds,
    "other_vehicles_type": traffic,
    **ROAD_REWARD,
}
RACETRACK: dict[str, Draw] = {
    "duration": number(3, 12),
    "collision_reward": punishment,
    "lane_centering_cost": number(0, 10),
    "lane_centering_reward": praise,
    "action_reward": number(-1, 1),
    "controlled_vehicles": whole(1, MAX_EGOS),
    "other_vehicles": whole(0, 6),
    "speed_limit": number(4, 20),
    "terminate_off_road": flag,
    **ROAD_REWARD,
}
PARKING: dict[str, Draw] = {
    "reward_weights": lambda rng: [number(0, 1)(rng) for _ in range(6)],
    "success_goal_reward": number(0.05, 1),
    "collision_reward": punishment,
    "steering_range": number(0.3, 1),
    "duration": seconds,
    "controlled_vehicles": whole(1, MAX_EGOS),
    "vehicles_count": whole(0, 30),
    "add_walls": flag,
}
INTERSECTION: dict[str, Draw] = {
    "duration": seconds,
    "destination": one_of(None, "o0", "o1", "o2", "o3"),
    "controlled_vehicles": whole(1, MAX_EGOS),
    "initial_vehicle_count": whole(0, 14),
    "spawn_probability": number(0, 1),
    "collision_reward": punishment,
    "high_speed_reward": praise,
    "arrived_reward": praise,
    "normalize_reward": flag,
    "offroad_terminal": flag,
    "other_vehicles_type": traffic,
    "reward_speed_range": span((0, 8), (1, 5)),
    **ROAD_REWARD,
}
KEYS: dict[str, dict[str, Draw]] = {
    "highway": HIGHWAY | ROAD_REWARD,
    "highway-fast": HIGHWAY | ROAD_REWARD,
    "exit": HIGHWAY | {"lanes_count": whole(2, 7), "goal_reward": number(0.1, 2)},
    "merge": MERGE,
    "merge-generic": MERGE
    | {
        "lanes_count": whole(1, 5),
        "vehicles_count": whole(0, 8),
        "before_merge_length": one_of(40, 60, 100.5, 150, 220),
        "converge_merge_length": one_of(40, 80, 120.25),
        "parallel_merge_length": one_of(50, 80, 140.5),
        "after_merge_length": one_of(90, 120.5, 200),
    },
    "roundabout": ROUNDABOUT,
    "roundabout-generic": ROUNDABOUT
    | {
        "roundabout_radius": number(12, 45),
        "roundabout_lanes": whole(1, 4),
        "vehicles_count": whole(0, 12),
        "incoming_vehicle_destination": one_of(None, 0, 1, 2, 3, 5),
    },
    "intersection": INTERSECTION,
    "intersection-multi-agent": INTERSECTION,
    "two-way": {
        "left_lane_reward": number(-1, 1),
        "high_speed_reward": praise,
        "collision_reward": punishment,
        "other_vehicles_type": traffic,
    },
    "u-turn": {
        "duration": seconds,
        "collision_reward": punishment,
        "left_lane_reward": praise,
        "high_speed_reward": praise,
        "normalize_reward": flag,
        "other_vehicles_type": traffic,
        **REWARD_SPEEDS,
        **ROAD_REWARD,
    },
    "lane-keeping": {"state_noise": number(0, 0.2), "derivative_noise": number(0, 0.2)},
    "racetrack": RACETRACK,
    "racetrack-large": RACETRACK,
    "racetrack-oval": RACETRACK
    | {"length": one_of(80, 100, 145.5, 200), "no_lanes": whole(1, 6), "block_lane": flag, "force_decision": flag},
    "parking": PARKING,
    "parking-ActionRepeat": PARKING,
    "parking-parked": PARKING,
}


def family_of(env_id: str) -> str:
    """Return the key of `KEYS` for an id: its name without the version.

    Raises:
        ValueError: highway-env has no such id.
    """
    family = env_id.rpartition("-v")[0]
    if family not in KEYS:
        raise ValueError(f"no random configs for {env_id!r}; allowed: ids of {', '.join(KEYS)}")
    return family


def random_config(env_id: str, seed: int) -> dict[str, Any]:
    """Return a config of an id; the same for the same seed. It is JSON: lists, numbers, strings, booleans, None.

    Raises:
        ValueError: highway-env has no such id.
    """
    family = family_of(env_id)
    rng = np.random.default_rng([zlib.crc32(env_id.encode()), seed])
    keys = KEYS[family]
    config = {key: draw(rng) for key, draw in keys.items() if rng.random() < KEY_CHANCE}
    if rng.random() < KEY_CHANCE:
        known = [pair for pair in FREQUENCIES if family[:12] != "intersection" or type(pair[0]) is int]
        config["simulation_frequency"], config["policy_frequency"] = one_of(*known)(rng)
    if rng.random() < KEY_CHANCE:
        config["neighbour_vehicles_connected_lanes"] = flag(rng)
    if rng.random() < 0.1:
        config["manual_control"] = True
    if family[:7] == "highway" and rng.random() < KEY_CHANCE:
        config["initial_lane_id"] = whole(0, min(config.get("lanes_count", 3), 3) - 1)(rng)
    kind = _default_kind(env_id)
    if rng.random() < 0.7:
        config["action"] = _action(rng, env_id, "controlled_vehicles" in keys)
        kind = config["action"].get("action_config", config["action"])["type"]
        if "action_config" in config["action"]:
            config["controlled_vehicles"] = whole(1, MAX_EGOS)(rng)
    must = kind != "DiscreteMetaAction" and family in ("two-way", "u-turn")  # their default is TimeToCollision
    if must or rng.random() < 0.7:
        config["observation"] = _observation(rng, family, kind, "controlled_vehicles" in keys)
    return config


def _default_kind(env_id: str) -> str:
    """The type of an id's default actions, of one agent."""
    continuous = ("racetrack", "parking", "lane-keeping", "intersection-v1")
    return "ContinuousAction" if env_id.startswith(continuous) else "DiscreteMetaAction"


def _some(rng: Rng, options: dict[str, Draw]) -> dict[str, Any]:
    """A random subset of options with their values."""
    return {key: draw(rng) for key, draw in options.items() if rng.random() < KEY_CHANCE}


def _action(rng: Rng, env_id: str, many: bool) -> dict[str, Any]:
    family = family_of(env_id)
    kinds = ["DiscreteMetaAction", "ContinuousAction", "DiscreteAction"]
    if family == "two-way":
        kinds = kinds[:1]
    elif family.startswith(("racetrack", "lane-keeping")):
        kinds = kinds[1:]
    kind = one_of(*kinds)(rng)
    if kind == "DiscreteMetaAction":
        fast = family.startswith(("highway", "merge", "exit", "two-way"))
        speeds = FAST_SPEEDS if fast else FAST_SPEEDS[:1] + SLOW_SPEEDS
        axes = one_of({}, {"longitudinal": False}, {"lateral": False}, {"longitudinal": True, "lateral": True})
        action = axes(rng) | _some(rng, {"target_speeds": one_of(*speeds)})
    else:
        single = family.startswith(("merge", "roundabout")) and kind == "ContinuousAction"
        axes = one_of({"longitudinal": False}, {"lateral": False}, *([] if single else [{}, {}]))
        options = {
            "acceleration_range": span((-6, -1), (2, 8)),
            "steering_range": span((-0.8, -0.1), (0.2, 1.2)),
            "dynamical": flag,
            "clip": flag,
        }
        if kind == "ContinuousAction":
            options["speed_range"] = span((-10, 5), (10, 30))
        else:
            options["actions_per_axis"] = whole(2, 5)
        action = axes(rng) | _some(rng, options)
        if family == "lane-keeping":
            action["dynamical"] = True
    action = {"type": kind} | action
    return {"type": "MultiAgentAction", "action_config": action} if many and rng.random() < 0.4 else action


def _observation(rng: Rng, family: str, kind: str, many: bool) -> dict[str, Any]:
    """An observation that fits the family and the type of action; `many` where there may be several egos."""
    chance = rng.random()
    if chance < 0.15:
        parts = [_flat_observation(rng, family, kind) for _ in range(whole(1, 3)(rng))]
        return {"type": "TupleObservation", "observation_configs": parts}
    if many and chance < 0.4:
        if family.startswith("parking"):  # its info weighs six features of each agent's goal
            inner = _goal(rng, count=6)
        elif family.startswith(("highway", "intersection")):
            inner = _flat_observation(rng, family, kind)
        else:
            inner = _flat_observation(rng, family, "no TimeToCollision")
        return {"type": "MultiAgentObservation", "observation_config": inner}
    return _flat_observation(rng, family, kind)


def _flat_observation(rng: Rng, family: str, kind: str) -> dict[str, Any]:
    types = [_kinematics, _kinematics, _occupancy_grid, _lidar]
    if kind == "DiscreteMetaAction":
        types += [_time_to_collision]
    if family.startswith("parking"):
        types += [_goal, _goal]
    if family == "exit":
        types += [_exit, _exit]
    if family == "lane-keeping":
        types += [_attributes, _attributes]
    return types[rng.integers(len(types))](rng)


def _features(rng: Rng, known: list[str]) -> list[str]:
    return [str(name) for name in rng.permutation(known)[: rng.integers(1, len(known) + 1)]]


def _ranges(rng: Rng) -> dict[str, list[float]]:
    place, speed, small = span((-150, -20), (50, 300)), span((-30, -5), (10, 60)), span((-4, -1), (2, 8))
    ranges = {"x": place, "y": place, "vx": speed, "vy": speed, "heading": small, "cos_h": small, "lat_off": small}
    return _some(rng, ranges) or {"x": place(rng)}


def _kinematics(rng: Rng) -> dict[str, Any]:
    options: dict[str, Draw] = {
        "features": lambda rng: _features(rng, FEATURES),
        "vehicles_count": whole(2, 20),
        "features_range": _ranges,
        "absolute": flag,
        "order": one_of("sorted", "shuffled"),
        "normalize": flag,
        "clip": flag,
        "see_behind": flag,
        "observe_intentions": flag,
        "include_obstacles": flag,
        "flatten": flag,
    }
    return {"type": "Kinematics"} | _some(rng, options)


def _exit(rng: Rng) -> dict[str, Any]:
    return _kinematics(rng) | {"type": "ExitObservation"}


def _occupancy_grid(rng: Rng) -> dict[str, Any]:
    side = span((-40, -6), (12, 60))
    options: dict[str, Draw] = {
        "features": lambda rng: _features(rng, [*FEATURES, "on_road"]),
        "grid_size": lambda rng: [side(rng), side(rng)],
        "grid_step": lambda rng: [number(2, 6)(rng), number(2, 6)(rng)],
        "features_range": _ranges,
        "align_to_vehicle_axes": flag,
        "clip": flag,
        "as_image": flag,
    }
    return {"type": "OccupancyGrid"} | _some(rng, options)


def _time_to_collision(rng: Rng) -> dict[str, Any]:
    return {"type": "TimeToCollision"} | _some(rng, {"horizon": one_of(2, 5, 7.5, 12)})


def _lidar(rng: Rng) -> dict[str, Any]:
    options = {"cells": whole(3, 40), "maximum_range": number(10, 120), "normalize": flag}
    return {"type": "LidarObservation"} | _some(rng, options)


def _goal(rng: Rng, count: int | None = None) -> dict[str, Any]:
    features = _features(rng, LANDMARK_FEATURES)
    if count:
        features = [str(name) for name in rng.permutation(LANDMARK_FEATURES)[:count]]
    return {"type": "KinematicsGoal", "features": features, "scales": [number(0.5, 100)(rng) for _ in features]}


def _attributes(rng: Rng) -> dict[str, Any]:
    return {"type": "AttributesObservation", "attributes": _features(rng, ["state", "derivative", "reference_state"])}
