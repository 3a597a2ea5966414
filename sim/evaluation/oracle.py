"""Episodes of the real highway-env, as a fresh process would play them.

* An id's own wrappers stay on: the TimeLimit of two-way-v0 (15 steps) and lane-keeping-v0 (200), and the
  MultiAgentWrapper of intersection-multi-agent-v1 and -v2, which returns one reward and one end an agent.
* parking-ActionRepeat-v0 and parking-parked-v0 take no config when they are made: they get it by
  `env.unwrapped.configure(config)` before the reset, which builds everything anew.
* IntersectionEnv writes DISTANCE_WANTED, COMFORT_ACC_MAX and COMFORT_ACC_MIN into the class of its traffic, for all
  environments made later in the process; `fresh_classes` undoes it before and after.
* NumPy computes tan, arcsin, arctan, exp and power with AVX-512 where the CPU has it, one bit off the C library's in up
  to 8 % of the calls. `plain_numpy` leaves that out of processes that start under it, as on every other CPU.
* No longer the same in a second run of highway-env itself: the action in the info of `reset`, which comes from an
  unseeded space (with the reward terms that depend on it), and the road of racetrack-oval with `length` 0.
"""

import importlib.util
import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from sim.evaluation.action_styles import ACTION_SEED, Actions, Style, action_at, draw_actions, follow, stacked

ENDLESS_STEPS = 300  # cap where neither the config nor a TimeLimit ends an episode, as in merge: a stopped ego stays
NUMPY_SWITCH = "NPY_DISABLE_CPU_FEATURES"
TRAFFIC_MODULE = "highway_env.vehicle.behavior"
INFOS = ("speed", "crashed", "rewards", "is_success", "agents_rewards", "agents_terminated")


@dataclass
class Episode:
    """T steps after the reset, of C agents where the id has a reward for each.

    Attributes:
        observations: [T + 1, ...] by the path of each array in the observation; "" for an observation of one array.
        rewards, terminated: [T] or [T, C].
        truncated: [T].
        infos: [T, ...] by name, of `INFOS`.
        actions: what was played.
    """

    observations: dict[str, np.ndarray]
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    infos: dict[str, np.ndarray] = field(default_factory=dict)
    actions: Actions | None = None


def leaves(nested: Any, path: str = "") -> dict[str, Any]:
    """Return the arrays of a nested observation by their path, such as "1/achieved_goal"."""
    if isinstance(nested, dict):
        parts = nested.items()
    elif isinstance(nested, tuple):
        parts = enumerate(nested)
    else:
        return {path: nested}
    return {name: leaf for key, part in parts for name, leaf in leaves(part, f"{path}/{key}".lstrip("/")).items()}


def compared_info(info: dict[str, Any]) -> dict[str, Any]:
    """Return what is compared of a step's info, reward terms as "rewards/name"."""
    kept = {name: info[name] for name in INFOS if name in info}
    terms = kept.pop("rewards", {})
    return kept | {f"rewards/{name}": value for name, value in terms.items()}


def has_ended(terminated: Any, truncated: Any) -> Any:
    """Is an episode over: cut, or ended for each agent? Takes flags of a step `[]`, `[C]`, or of worlds `[N, C]`."""
    terminated, truncated = np.asarray(terminated), np.asarray(truncated)
    return truncated | (terminated.all(-1) if terminated.ndim > truncated.ndim else terminated)


def most_steps(config: dict[str, Any], time_limit: int | None, most: int | None = None) -> int:
    """Return how many steps an episode is played at most.

    Args:
        config: the whole config of the environment.
        time_limit: steps [1] of the id's TimeLimit, if it has one.
        most: a cap, if there is one.
    """
    if time_limit is None and "duration" in config:
        time_limit = math.ceil(config["duration"] * config["policy_frequency"]) + 2  # two more, for rounded times
    return min(ENDLESS_STEPS if time_limit is None else time_limit, math.inf if most is None else most)


def real_ids() -> list[str]:
    """Return the ids that highway-env registers."""
    import highway_env

    gymnasium.register_envs(highway_env)
    return [i for i, spec in gymnasium.registry.items() if str(spec.entry_point).startswith("highway_env.")]


@contextmanager
def fresh_classes() -> Iterator[None]:
    """Give highway-env's traffic classes the constants of a fresh process, at the start and at the end."""
    _restore_classes()
    try:
        yield
    finally:
        _restore_classes()


def _restore_classes() -> None:
    live = importlib.import_module(TRAFFIC_MODULE)
    fresh = importlib.util.module_from_spec(live.__spec__)
    live.__spec__.loader.exec_module(fresh)  # a second copy, which nobody has written to
    for name, pristine in vars(fresh).items():
        if not (inspect.isclass(pristine) and pristine.__module__ == TRAFFIC_MODULE):
            continue
        used = getattr(live, name)
        for constant in [key for key in vars(used) if key.isupper()]:
            if constant not in vars(pristine):
                delattr(used, constant)  # a subclass got an attribute of its own
            elif not np.array_equal(vars(used)[constant], vars(pristine)[constant]):
                setattr(used, constant, vars(pristine)[constant])


@contextmanager
def plain_numpy() -> Iterator[None]:
    """Let processes that start meanwhile compute elementary functions with the C library, whatever the CPU."""
    try:
        from numpy._core import _multiarray_umath as built
    except ImportError:  # before NumPy 2
        from numpy.core import _multiarray_umath as built
    wide = [name for name in built.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]
    kept = os.environ.get(NUMPY_SWITCH)
    os.environ[NUMPY_SWITCH] = " ".join(name for name in wide if built.__cpu_features__.get(name))
    try:
        yield
    finally:
        if kept is None:
            del os.environ[NUMPY_SWITCH]
        else:
            os.environ[NUMPY_SWITCH] = kept


def _shapes_as_tuples(config: Any) -> Any:
    """Return a config, maybe out of JSON, whose `observation_shape` is the tuple that highway-env adds a number to."""
    if isinstance(config, list):
        return [_shapes_as_tuples(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {
        key: tuple(value) if key == "observation_shape" else _shapes_as_tuples(value) for key, value in config.items()
    }


def make_real(env_id: str, config: dict[str, Any] | None = None) -> gymnasium.Env:
    """Return the real environment with the wrappers of its id; its spaces are the config's after the first reset."""
    real_ids()  # registers them
    config = _shapes_as_tuples(config)
    maker = gymnasium.envs.registration.load_env_creator(gymnasium.spec(env_id).entry_point)
    takes_config = "config" in inspect.signature(maker).parameters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an id with a newer version
        env = gymnasium.make(env_id, disable_env_checker=True, **({"config": config} if takes_config else {}))
    if config and not takes_config:
        env.unwrapped.configure(config)
    return env


def real_episode(
    env: gymnasium.Env,
    seed: int,
    most: int | None = None,
    style: Style = "random",
    begin: Callable[[Any], None] = lambda road: None,
) -> Episode:
    """Play a seed in the real environment to its end, or for `most` steps; `begin` may change the road first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NaN cast to integers by an OccupancyGrid as image, for one
        first = env.reset(seed=seed)[0]
        begin(env.unwrapped.road)
        return _played(env, first, seed, most, style)


def _played(env: gymnasium.Env, first: Any, seed: int, most: int | None, style: Style) -> Episode:
    real, seen = env.unwrapped, [first]
    steps = most_steps(real.config, env.spec.max_episode_steps, most)
    rng = np.random.default_rng(ACTION_SEED + seed)
    drawn = None if style == "follow" else draw_actions(style, env.action_space, real.config["action"], seed, steps)
    played, rewards, terminated, truncated, infos = [], [], [], [], []
    for t in range(steps):
        played.append(follow(real, rng) if drawn is None else action_at(drawn, t))
        observation, reward, end, cut, info = env.step(played[-1])
        seen.append(observation)
        rewards.append(np.asarray(reward, dtype=float))
        terminated.append(np.asarray(end, dtype=bool))
        truncated.append(bool(cut))
        infos.append({name: np.asarray(value, dtype=float) for name, value in compared_info(info).items()})
        if has_ended(terminated[-1], cut):
            break
    by_path = [leaves(observation) for observation in seen]
    return Episode(
        {path: np.array([one[path] for one in by_path]) for path in by_path[0]},
        np.array(rewards),
        np.array(terminated, dtype=bool),
        np.array(truncated, dtype=bool),
        {name: np.array([one[name] for one in infos]) for name in (infos[0] if infos else {})},
        stacked(played),
    )


def real_episodes(
    env_id: str, config: dict[str, Any] | None, seeds: Sequence[int], most: int | None = None, style: Style = "random"
) -> list[Episode]:
    """Play seeds in one real environment, as a fresh process would."""
    with fresh_classes():
        env = make_real(env_id, config)
        try:
            return [real_episode(env, seed, most, style) for seed in seeds]
        finally:
            env.close()
