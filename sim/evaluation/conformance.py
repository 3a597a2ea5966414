"""Ours beside the real highway-env, step by step: is an episode of a seed the same episode?

Both play the same actions from the same seed to the end of the episode; every observation, reward, flag and the
reproducible part of every step's info is compared. The real side, and what of it is not reproducible, is in
`sim.evaluation.oracle`.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

import sim
from sim.evaluation.action_styles import Actions, Style, draw_actions, stacked
from sim.evaluation.oracle import Episode, compared_info, has_ended, leaves, most_steps, plain_numpy, real_episodes

OBSERVATION_TOLERANCE = 1e-5
REWARD_TOLERANCE = 1e-6
RESET_TOLERANCE = 1e-6
SHARE = 5  # seeds a task of a worker process


def our_episodes(
    env_id: str,
    config: dict[str, Any] | None,
    seeds: Sequence[int],
    device: str = "cpu",
    most: int | None = None,
    precision: str = "float64",
    style: Style = "random",
    actions: Sequence[Actions] | None = None,
) -> list[Episode]:
    """Play seeds in ours, all in one batch.

    Args:
        env_id: as in `sim.make_vec`, and so are config, device and precision.
        config: changes to the id's default.
        seeds: N of them.
        device: where ours runs.
        most: a cap on the steps.
        precision: of ours.
        style: what is drawn if there are no `actions`.
        actions: one episode's for each seed; the last is repeated in an episode that should have ended.
    """
    envs = sim.make_vec(
        env_id, len(seeds), config=config, device=device, precision=precision, autoreset_mode="Disabled"
    )
    steps = most_steps(envs.config, envs.scenario.max_episode_steps, most)
    if actions is None:
        space, action = envs.single_action_space, envs.config["action"]
        actions = [draw_actions(style, space, action, seed, steps) for seed in seeds]
    plan = _batched(actions)
    seen, outcomes = [_host(leaves(envs.reset(seed=list(seeds))[0]))], []
    done = np.zeros(len(seeds), dtype=bool)
    for step in plan:
        observation, reward, end, cut, info = envs.step(step)
        seen.append(_host(leaves(observation)))
        outcomes.append(_host(compared_info(info) | {"": reward, "terminated": end, "truncated": cut}))
        done |= has_ended(outcomes[-1]["terminated"], outcomes[-1]["truncated"])
        if done.all():
            break
    return [_episode(seen, outcomes, world, given) for world, given in enumerate(actions)]


def _host(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    """Copies on the host."""
    return {name: torch.as_tensor(value).cpu().numpy().copy() for name, value in tensors.items()}


def _batched(actions: Sequence[Actions]) -> list[Any]:
    """The actions of all worlds, [N, ...] (or a tuple of them), for each step of the longest episode."""
    agents = [one if isinstance(one, tuple) else (one,) for one in actions]
    longest = max(len(one[0]) for one in agents)
    if not longest:
        return []
    last = [np.minimum(np.arange(longest), max(len(one[0]) - 1, 0)) for one in agents]
    worlds = [tuple(agent[index] for agent in one) for one, index in zip(agents, last, strict=True)]
    batch = stacked(worlds)  # a tuple of [N, T, ...]
    steps = [tuple(agent[:, t] for agent in batch) for t in range(longest)]
    return steps if isinstance(actions[0], tuple) else [step[0] for step in steps]


def _episode(seen: list[dict], outcomes: list[dict], world: int, actions: Actions) -> Episode:
    """One world's part of a batch, up to its end."""
    ends = [bool(has_ended(one["terminated"][world], one["truncated"][world])) for one in outcomes]
    steps = ends.index(True) + 1 if any(ends) else len(ends)

    def series(name: str) -> np.ndarray:
        return np.array([one[name][world] for one in outcomes[:steps]])

    names = outcomes[0] if outcomes else ()
    return Episode(
        {path: np.array([one[path][world] for one in seen[: steps + 1]]) for path in seen[0]},
        series("") if steps else np.zeros(0),
        series("terminated") if steps else np.zeros(0, dtype=bool),
        series("truncated") if steps else np.zeros(0, dtype=bool),
        {name: series(name) for name in names if name not in ("", "terminated", "truncated")},
        actions,
    )


def gap(ours: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return how far two arrays of one shape are apart; 0 where both are NaN or the same infinity."""
    a, b = np.asarray(ours, dtype=float), np.asarray(real, dtype=float)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, apart)


def _beyond(ours: np.ndarray, real: np.ndarray, tolerance: float) -> str | None:
    """Say which entry is furthest beyond the tolerance, or the last bit of a float32 where that is larger."""
    apart = gap(ours, real)
    allowed = np.fmax(tolerance, 1.001 * np.spacing(np.abs(real)) if real.dtype == np.float32 else 0.0)
    if (apart <= allowed).all():
        return None
    worst = np.unravel_index(np.argmax(np.nan_to_num(apart - allowed, nan=np.inf)), apart.shape)
    place = f" at {[int(i) for i in worst]}" if worst else ""
    return f"differs by {apart[worst]:.2e}{place}: {ours[worst].item()!r}, not {real[worst].item()!r}"


def first_difference(
    ours: Episode, real: Episode, observation: float = OBSERVATION_TOLERANCE, reward: float = REWARD_TOLERANCE
) -> str | None:
    """Return in words where two episodes part, None if they are equal within the tolerances."""
    parting = first_parting(ours, real, observation, reward)
    return parting[1] if parting else None


def first_parting(
    ours: Episode, real: Episode, observation: float = OBSERVATION_TOLERANCE, reward: float = REWARD_TOLERANCE
) -> tuple[int, str] | None:
    """Return the step of `first_difference` (0 for the reset) and its words."""
    text = _other_arrays(ours, real)
    if text:
        return 0, text
    for t in range(min(len(ours.truncated), len(real.truncated)) + 1):
        for path, array in real.observations.items():
            text = _beyond(ours.observations[path][t], array[t], observation)
            if text:
                return t, f"observation {t}{_part(path)} {text}"
        if t == 0:
            continue
        mine, theirs = ours.rewards[t - 1], real.rewards[t - 1]
        if np.shape(mine) != np.shape(theirs) or not (gap(mine, theirs) <= reward).all():
            return t, f"reward {t} is {mine.tolist()}, not {theirs.tolist()}"
        for name in ("terminated", "truncated"):
            mine, theirs = (getattr(episode, name)[t - 1].tolist() for episode in (ours, real))
            if mine != theirs:
                return t, f"step {t} ends differently: {name} is {mine}, not {theirs}"
    if len(ours.truncated) != len(real.truncated):
        return t + 1, f"{len(ours.truncated)} steps, not {len(real.truncated)}"
    return None


def _other_arrays(ours: Episode, real: Episode) -> str | None:
    """Say which array of the reset observation is missing or of another type or shape."""
    for path in sorted(ours.observations.keys() | real.observations.keys()):
        kinds = [
            f"{episode.observations[path].dtype} {episode.observations[path].shape[1:]}"
            if path in episode.observations
            else "missing"
            for episode in (ours, real)
        ]
        if kinds[0] != kinds[1]:
            return f"observation 0{_part(path)} is {kinds[0]}, not {kinds[1]}"
    return None


def _part(path: str) -> str:
    return f" ({path})" if path else ""


def info_difference(ours: Episode, real: Episode, tolerance: float = REWARD_TOLERANCE) -> str | None:
    """Return in words where our infos part from the real ones, as far as both play."""
    for name, theirs in real.infos.items():
        if name not in ours.infos:
            return f"info lacks {name!r}"
        for t, (mine, value) in enumerate(zip(ours.infos[name], theirs, strict=False), start=1):
            mine, value = np.ravel(mine), np.ravel(value)  # a bool is as good as one of a single agent
            if mine.shape != value.shape:
                return f"info {name!r} of step {t} is of {len(mine)} agents, not {len(value)}"
            text = _beyond(mine, value, tolerance)
            if text:
                return f"info {name!r} of step {t} {text}"
    return None


@dataclass(frozen=True)
class Case:
    """What is played: an id, a config, seeds, and how.

    Attributes:
        most: a cap on the steps of an episode.
        name: what the table calls the config; "" is the default config.
    """

    env_id: str
    config: dict[str, Any] | None
    seeds: tuple[int, ...]
    most: int | None = None
    style: Style = "random"
    name: str = ""


@dataclass
class Conformance:
    """Outcome of a case.

    Attributes:
        differences: by seed, where the two part.
        parted: by seed of a difference, the step at which they do; not if a side raised.
        info_differences: the same for the infos.
        ill_posed: by seed of a difference, where highway-env parts from itself (`sensitivity.explain` fills it).
        resets_equal: seeds whose reset observations are equal.
        worst: largest difference of an observation in the equal episodes.
        steps: compared.
    """

    case: Case
    differences: dict[int, str] = field(default_factory=dict)
    parted: dict[int, int] = field(default_factory=dict)
    info_differences: dict[int, str] = field(default_factory=dict)
    ill_posed: dict[int, str] = field(default_factory=dict)
    resets_equal: int = 0
    worst: float = 0.0
    steps: int = 0

    @property
    def equal(self) -> bool:
        """Is everything the same?"""
        return not (self.differences or self.info_differences) and self.resets_equal == len(self.case.seeds)


def _judge(case: Case, ours: Sequence[Episode], real: Sequence[Episode]) -> Conformance:
    result = Conformance(case)
    for seed, mine, theirs in zip(case.seeds, ours, real, strict=True):
        result.steps += len(theirs.truncated)
        kinds = _other_arrays(mine, theirs)
        resets = (_beyond(mine.observations[k][0], a[0], RESET_TOLERANCE) for k, a in theirs.observations.items())
        result.resets_equal += not kinds and not any(resets)
        parting = first_parting(mine, theirs)
        info = info_difference(mine, theirs)
        if parting:
            result.parted[seed], result.differences[seed] = parting
        else:
            gaps = [gap(mine.observations[path], array) for path, array in theirs.observations.items()]
            result.worst = max([result.worst, *(float(g.max()) for g in gaps if g.size)])
        if info:
            result.info_differences[seed] = info
    return result


def compare(
    env_id: str, config: dict[str, Any] | None, seeds: Iterable[int], processes: int = 0, device: str = "cpu",
    most: int | None = None, style: Style = "random",
) -> Conformance:  # fmt: skip
    """Play each seed in both simulators and compare; `most` caps the steps, 0 compares the resets."""
    return next(compare_all([Case(env_id, config, tuple(seeds), most, style)], processes, device))


def compare_all(
    cases: Sequence[Case], processes: int = 0, device: str = "cpu", progress: Callable[[int], Any] = lambda seeds: None
) -> Iterator[Conformance]:
    """Yield each case's outcome in order.

    Args:
        cases: what to play.
        processes: for the real side, which runs ahead in them, with plain NumPy; 0 plays it in this process.
        device: where ours runs.
        progress: is told how many seeds more the real side has played.
    """
    with workers(processes) as submit:
        started = [
            [
                submit(real_episodes, case.env_id, case.config, case.seeds[i : i + SHARE], case.most, case.style)
                for i in range(0, len(case.seeds), SHARE)
            ]
            for case in cases
        ]
        for case, shares in zip(cases, started, strict=True):
            real = []
            try:
                for share in shares:
                    episodes = share()
                    progress(len(episodes))
                    real += episodes
            except Exception as error:  # whatever it is, it is highway-env's answer to this config
                yield _unplayable(case, f"highway-env raises {type(error).__name__}: {error}")
                continue
            shares.clear()  # the episodes of a case go with it
            actions = [episode.actions for episode in real]
            try:
                ours = our_episodes(case.env_id, case.config, case.seeds, device, case.most, actions=actions)
            except (ValueError, TypeError) as error:
                yield _unplayable(case, f"ours raises {type(error).__name__}: {error}")
                continue
            yield _judge(case, ours, real)


def _unplayable(case: Case, why: str) -> Conformance:
    return Conformance(case, dict.fromkeys(case.seeds, why))


@contextmanager
def workers(processes: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """Yield `submit(function, *arguments)`, which returns what waits for the outcome.

    The functions run in processes with plain NumPy, at once; with 0 of them in this one, when their outcome is asked.
    """
    if not processes:
        yield partial
        return
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))

    def submit(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        with plain_numpy():  # processes start when they get work
            return pool.submit(function, *arguments).result

    try:
        yield submit
    finally:
        pool.shutdown(cancel_futures=True)
