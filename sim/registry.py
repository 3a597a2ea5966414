"""Scenarios of your own under the same roof as highway-env's: one call, and every tool knows the id.

`sim.make` and `sim.make_vec`, Gymnasium (under `slipstream/`), `sim.sb3.VecEnv`, the scripts (`--scenario FILE.py`).
"""

import importlib.util
import re
import sys
from pathlib import Path

import gymnasium
import warp as wp

from sim.scenarios import SCENARIOS
from sim.scenarios.base import Scenario

NAMESPACE = "slipstream"
BUILT_IN = frozenset(SCENARIOS)
PARAMETERS = {
    "spawn_kernel": "lanes, world, model, rules, mask, first",
    "judge_kernel": "lanes, world, model, rules, mask, action, verdict, first",
    "after_kernel": "lanes, world, model, rules, mask, first",
}

LOADED_FILES: list[str] = []
"""Files that `load_scenarios` has run here: worker processes have to run them too."""


def register(env_id: str, scenario: Scenario) -> None:
    """Make a scenario known under an id such as "closed-lane-v0".

    An id of one's own may be registered again, as a notebook's cell that is run twice does; the last one counts.

    Raises:
        TypeError: what is given is no scenario, or lacks a kernel.
        ValueError: an id that cannot be one, or belongs to a scenario of Slipstream.
    """
    if not isinstance(env_id, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+-v\d+", env_id):
        raise ValueError(f"environment id {env_id!r} must be a name and a version, such as 'closed-lane-v0'")
    if env_id in BUILT_IN:
        raise ValueError(f"environment id {env_id!r} belongs to Slipstream; choose another")
    if not isinstance(scenario, Scenario):
        raise TypeError(f"register needs an instance of a Scenario, such as ClosedLane(), not {scenario!r}")
    family = type(scenario).__name__
    for name, expected in PARAMETERS.items():
        kernel = getattr(scenario, name, None)
        if kernel is None and name == "after_kernel":
            continue
        if not isinstance(kernel, wp.Kernel):
            raise TypeError(f"{family}.{name} must be a Warp kernel with the parameters {expected}")
        if len(kernel.adj.args) != len(expected.split(", ")):
            found = ", ".join(argument.label for argument in kernel.adj.args)
            raise TypeError(f"{family}.{name} has the parameters {found}; expected {expected}")
    SCENARIOS[env_id] = scenario
    announce(env_id)


def announce(env_id: str) -> None:
    """Register an id with Gymnasium, in place of an older one."""
    name = f"{NAMESPACE}/{env_id}"
    gymnasium.registry.pop(name, None)  # registering twice would warn
    gymnasium.register(
        name,
        entry_point="sim.single:Env",
        vector_entry_point="sim.vector:VectorEnv",
        kwargs={"env_id": env_id},
    )


def load_scenarios(path: str | Path) -> list[str]:
    """Run a Python file that registers scenarios and return their ids.

    Raises:
        FileNotFoundError, ValueError: no such file, or one that registers nothing. What the file itself raises passes.
    """
    path = Path(path)
    if path.suffix != ".py" or not path.is_file():
        raise FileNotFoundError(f"no such Python file: {path}")
    before = dict(SCENARIOS)
    name = f"scenarios_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [env_id for env_id, scenario in SCENARIOS.items() if before.get(env_id) is not scenario]
    if not found:
        raise ValueError(f'{path} registers no scenario: it must call sim.register("some-name-v0", SomeScenario())')
    LOADED_FILES.append(str(path.resolve()))
    return found
