"""Config dicts: highway-env's keys and defaults, checked before anything is built.

Source: highway_env/envs/common/abstract.py `default_config`, 1.12.1. As there, the update is shallow: passing
`{"observation": {...}}` replaces the whole nested dict.
"""

import copy
import difflib
from collections.abc import Iterable
from typing import Any

from sim.scenarios import SCENARIOS
from sim.scenarios.base import Scenario

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


def scenario(env_id: str) -> Scenario:
    """Return the scenario of an id; `highway-fast-v0` and `slipstream/highway-fast-v0` are the same.

    Raises:
        ValueError: an unknown id.
    """
    name = env_id.removeprefix("slipstream/")
    if name not in SCENARIOS:
        raise ValueError(f"unknown environment id {env_id!r}{_nearest(name, SCENARIOS)}")
    return SCENARIOS[name]


def complete(env_id: str, changes: dict[str, Any] | None) -> dict[str, Any]:
    """Return the id's whole config: highway-env's defaults with `changes` laid over them.

    Raises:
        ValueError: an unknown key (the message names the nearest), or a value no scene can be built from.
    """
    family = scenario(env_id)
    config = copy.deepcopy(COMMON | family.defaults())
    changes = {} if changes is None else changes
    if not isinstance(changes, dict):
        raise TypeError(f"config must be a dict, not {type(changes).__name__}")
    require_known(changes, set(config) | family.optional_keys, "config key")
    config.update(copy.deepcopy(changes))
    for key in ("simulation_frequency", "policy_frequency"):
        if not config[key] > 0:
            raise ValueError(f"config[{key!r}] is {config[key]!r}; it must be above 0")
    if config["simulation_frequency"] < config["policy_frequency"]:
        raise ValueError("config['simulation_frequency'] must be at least config['policy_frequency']")
    family.check(config)
    return config


def require_known(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise ValueError for the first name that is not known, naming the nearest that is."""
    known = set(known)
    for name in given:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}{_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    options = sorted(known)
    close = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(options)}"
