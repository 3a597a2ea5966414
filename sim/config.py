"""Config dicts: highway-env's keys and defaults, checked before anything is built.

Source: highway_env/envs/common/abstract.py `default_config`, 1.12.1. As there, the update is shallow: passing
`{"observation": {...}}` replaces the whole nested dict.
"""

import copy
import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from sim.scenarios import SCENARIOS
from sim.scenarios.base import Scenario, is_number, number_pair

COMMON = {
    "observation": {"type": "Kinematics"},
    "action": {"type": "DiscreteMetaAction"},
    "simulation_frequency": 15,  # Hz
    "policy_frequency": 1,  # Hz
    "other_vehicles_type": "highway_env.vehicle.behavior.IDMVehicle",
    "screen_width": 600,  # px
    "screen_height": 150,  # px
    "centering_position": [0.3, 0.5],
    "scaling": 5.5,  # px/m
    "show_trajectories": False,
    "render_agent": True,
    "offscreen_rendering": None,
    "manual_control": False,
    "real_time_rendering": False,
    "neighbour_vehicles_connected_lanes": False,
}

# Accepted, because highway-env's scripts pass them, and without influence on an episode: they tell its viewer how to
# draw. Pictures of `sim.make` show trails with show_trajectories, and heed the other four of the viewer: screen_width,
# screen_height, centering_position and scaling.
VIEWER_ONLY = frozenset({"show_trajectories", "render_agent", "offscreen_rendering", "real_time_rendering"})


def scenario(env_id: str) -> Scenario:
    """Return the scenario of an id; `highway-fast-v0` and `slipstream/highway-fast-v0` are the same.

    Raises:
        ValueError: an unknown id.
    """
    if not isinstance(env_id, str):
        raise TypeError(f"environment id {env_id!r} is not a string; allowed: {', '.join(SCENARIOS)}")
    name = env_id.removeprefix("slipstream/")
    if name not in SCENARIOS:
        own = "one of your own needs sim.register, in scripts --scenario FILE.py"
        raise ValueError(f"unknown environment id {env_id!r}{_nearest(name, SCENARIOS)}; {own}")
    return SCENARIOS[name]


def complete(env_id: str, changes: dict[str, Any] | None) -> dict[str, Any]:
    """Return the id's whole config: highway-env's defaults with `changes` laid over them.

    Raises:
        TypeError, ValueError: an unknown key (the message names the nearest), a value of another type than the
            default's, or one that no scene can be built from.
    """
    family = scenario(env_id)
    variant = {"neighbour_vehicles_connected_lanes": True} if family.connected else {}
    defaults = COMMON | family.defaults() | variant
    config = copy.deepcopy(defaults)
    changes = {} if changes is None else changes
    if not isinstance(changes, dict):
        raise TypeError(f"config must be a dict, not {type(changes).__name__}")
    require_known(changes, set(config) | family.optional_keys, "config key")
    config.update(copy.deepcopy(changes))
    for key, default in defaults.items():
        _check_type(key, config[key], default)
    for key in ("simulation_frequency", "policy_frequency"):
        if not 0 < config[key] < math.inf:
            raise ValueError(f"config[{key!r}] is {config[key]!r}; it must be above 0 and finite")
    if config["simulation_frequency"] < config["policy_frequency"]:
        raise ValueError("config['simulation_frequency'] must be at least config['policy_frequency']")
    family.check(config)
    return config


def _check_type(key: str, value: Any, default: Any) -> None:
    """Raise unless a value is of its default's kind: a switch, a number, two numbers or a dict; others pass."""
    if isinstance(default, bool):
        fits, wanted = isinstance(value, (bool, int, np.bool_)), "True or False"
    elif isinstance(default, (int, float)):
        fits, wanted = is_number(value), "a number"
    elif isinstance(default, list) and len(default) == 2:
        number_pair(value, f"config[{key!r}]")
        return
    else:
        fits, wanted = isinstance(value, dict) or not isinstance(default, dict), "a dict"
    if not fits:
        error = ValueError if isinstance(value, float) else TypeError
        raise error(f"config[{key!r}] is {value!r}; it must be {wanted}")


def require_known(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise ValueError for the first name that is not known, naming the nearest that is."""
    known = list(known)
    for name in given:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}{_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    options = sorted(known)
    close = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(options)}"
