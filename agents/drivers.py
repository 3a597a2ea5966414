"""Every driver by the name or file that a command line gives."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from agents.checkpoint import load_config, load_policy
from agents.sb3 import ALGORITHMS, Sb3Driver
from planning.rule_based import IdmDriver
from planning.search import SearchDriver, SearchSettings
from sim.evaluation.driver import BlindDriver, ConstantDriver, Driver, DriverSpec, IdleDriver, RandomDriver

BASELINES: dict[str, Callable[..., Driver]] = {
    "random": RandomDriver,
    "idle": IdleDriver,
    "idm": IdmDriver,
    "blind": BlindDriver,
    "search": SearchDriver,
}


def choose_driver(
    run: Path | None = None, name: str | None = None, trust: bool = False, sb3_algo: str = "ppo"
) -> DriverSpec:
    """Returns the spec of a baseline, a Stable-Baselines3 zip or the policy of a run folder.

    Args:
        run: a run folder; used when `name` is None.
        name: one of `BASELINES`; "constant:FASTER" or another action; "search:depth=8,beam=64" with any of
            `SearchSettings`; "stack:RUN,detector=FOLDER,rate=5" with any of `agents.stack.StackSettings` and, as the
            policy, a run folder (`run` without one) or a baseline; or the path of a zip that Stable-Baselines3 saved.
        trust: the caller vouches for the zip: loading it runs the pickled code inside.
        sb3_algo: the algorithm that saved the zip.

    Raises ValueError or FileNotFoundError with one line that says what is wrong.
    """
    if name is None:
        if run is None:
            raise ValueError(f"nothing to drive: give a run folder, or --driver {'|'.join(BASELINES)}|FILE.zip")
        return DriverSpec(Path(run).name, load_policy, (str(run),))
    if name in BASELINES:
        return DriverSpec(name, BASELINES[name])
    family, _, text = name.partition(":")
    if text and family == "constant":
        return DriverSpec(name, ConstantDriver, (text,))
    if text and family == "search":
        return DriverSpec(name, SearchDriver, (), search_options(text))
    if family == "stack":
        return stack_of(text, run)
    if not name.endswith(".zip"):
        known = f"{', '.join(BASELINES)}, stack:SETTINGS and Stable-Baselines3 files *.zip"
        raise ValueError(f"unknown driver {name!r}; there are {known}")
    if not Path(name).is_file():
        raise FileNotFoundError(f"no such file: {name}")
    if not trust:
        raise ValueError(f"{name} carries pickled code that loading would run; add --trust if you trust its author")
    if sb3_algo not in ALGORITHMS:
        raise ValueError(f"unknown --sb3-algo {sb3_algo!r}; there are {', '.join(ALGORITHMS)}")
    if not zipfile.is_zipfile(name):
        raise ValueError(f"{name} is not a zip file")
    return DriverSpec(Path(name).name, Sb3Driver, (name, sb3_algo))


def stack_of(text: str, run: Path | None = None) -> DriverSpec:
    """Returns the stack that "RUN,detector=FOLDER,rate=5" describes; `run` holds its policy where none is named."""
    from agents.stack import StackDriver, StackSettings  # perception takes a second to import

    named, settings = StackSettings.parse(text)
    if named is None and run is None:
        raise ValueError(f"stack:{text} has no policy: give a run folder, or name one as in stack:RUN,{text}")
    if named is not None and _is_baseline(named):
        policy = choose_driver(name=named)
    else:
        policy = choose_driver(run if named is None else Path(named))
    return DriverSpec(f"stack:{text}", StackDriver, (policy, settings))


def _is_baseline(name: str) -> bool:
    return name in BASELINES or name.partition(":")[0] == "constant"


def run_of(run: Path | None, name: str | None) -> Path | None:
    """Returns the run folder that a command is about: the one whose policy a stack names, else `run`."""
    family, _, text = (name or "").partition(":")
    if family != "stack":
        return run
    from agents.stack import StackSettings  # perception takes a second to import

    named, _ = StackSettings.parse(text)
    return run if named is None or _is_baseline(named) else Path(named)


def driver_again(name: str, device: str = "cpu") -> Driver | None:
    """Returns the driver that a trace names, such as "idm" or "search:depth=8"; None if the name is not enough."""
    return choose_driver(name=name).build(device) if name.partition(":")[0] in BASELINES else None


def search_options(text: str) -> dict[str, int]:
    """Returns the settings in "depth=8,beam=64"; ValueError, naming the known ones, if it says something else."""
    found = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in SearchSettings.__dataclass_fields__ or not value.isdecimal():
            known = ", ".join(SearchSettings.__dataclass_fields__)
            raise ValueError(f"search setting {part!r} must be one of {known}, as in search:depth=8,beam=64")
        found[key] = int(value)
    SearchSettings(**found)
    return found


def choose_environment(
    run: Path | None = None, env: str | None = None, config_file: Path | None = None
) -> tuple[str, dict | None]:
    """Returns the id and config to drive in: those of the run folder, unless something else is asked for.

    Args:
        run: a run folder, or None for highway-fast-v0 with its defaults.
        env: another id; its config then is the default.
        config_file: a JSON file with another config.
    """
    id, config = "highway-fast-v0", None
    if run is not None:
        environment = load_config(run)["env"]
        id, config = environment["id"], environment["config"]
    if env is not None and env != id:
        id, config = env, None
    return id, config if config_file is None else read_config(config_file)


def read_config(path: Path) -> dict:
    """Returns the environment config in a JSON file; FileNotFoundError or ValueError if there is none."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such config file: {path}")
    try:
        config = json.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return config
