"""Ours beside the real highway-env, step by step: is an episode of a seed the same episode?

Both play the same random actions from the same seed to the end of the episode; every observation, reward and flag
is compared.
"""

import multiprocessing
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

import sim

OBSERVATION_TOLERANCE = 1e-5
REWARD_TOLERANCE = 1e-6
ACTION_SEED = 1_000_000  # the actions of seed s are drawn from ACTION_SEED + s


@dataclass
class Episode:
    """T steps after the reset: observations [T + 1, K, F], rewards, terminated, truncated [T]."""

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


def random_actions(space: gymnasium.Space, seed: int, steps: int) -> np.ndarray:
    """Return the actions [steps, ...] of a seed, the same for both simulators."""
    rng = np.random.default_rng(ACTION_SEED + seed)
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=steps)
    return rng.uniform(-1, 1, size=(steps, *space.shape)).astype(np.float32)


def make_real(env_id: str, config: dict[str, Any] | None) -> gymnasium.Env:
    """Return the real environment, without wrappers."""
    import highway_env  # noqa: F401 - registers the ids

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gymnasium.make(env_id, config=config).unwrapped


def real_episode(env: gymnasium.Env, seed: int, most: int = 10_000) -> Episode:
    """Play a seed's random actions to the end in the real highway-env."""
    observations, rewards, terminated, truncated = [env.reset(seed=seed)[0]], [], [], []
    for action in random_actions(env.action_space, seed, min(most, 1000)):
        observation, reward, end, cut, _ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        terminated.append(bool(end))
        truncated.append(bool(cut))
        if end or cut:
            break
    return Episode(np.array(observations), np.array(rewards), np.array(terminated), np.array(truncated))


def our_episodes(
    env_id: str,
    config: dict[str, Any] | None,
    seeds: list[int],
    device: str = "cpu",
    most: int = 10_000,
    precision: str = "float64",
) -> list[Episode]:
    """Play the same actions in ours, all seeds in one batch."""
    envs = sim.make_vec(
        env_id, len(seeds), config=config, device=device, precision=precision, autoreset_mode="Disabled"
    )
    longest = min(most, int(envs.config["duration"] * envs.config["policy_frequency"]) + 2)
    actions = np.stack([random_actions(envs.single_action_space, seed, longest) for seed in seeds])
    observation, _ = envs.reset(seed=seeds)
    observations, rewards, terminated, truncated = [observation.cpu().numpy()], [], [], []
    done = np.zeros(len(seeds), dtype=bool)
    for t in range(longest):
        observation, reward, end, cut, _ = envs.step(actions[:, t])
        observations.append(observation.cpu().numpy())
        rewards.append(reward.cpu().numpy())
        terminated.append(end.cpu().numpy())
        truncated.append(cut.cpu().numpy())
        done |= terminated[-1] | truncated[-1]
        if done.all():
            break
    lengths = np.zeros(len(seeds), dtype=int)
    if rewards:
        ended = np.array(terminated) | np.array(truncated)
        lengths = np.where(ended.any(0), ended.argmax(0) + 1, len(ended))
    return [
        Episode(
            np.array([o[i] for o in observations[: n + 1]]),
            np.array([r[i] for r in rewards[:n]]),
            np.array([e[i] for e in terminated[:n]]),
            np.array([c[i] for c in truncated[:n]]),
        )
        for i, n in enumerate(lengths)
    ]


def first_difference(
    ours: Episode, real: Episode, observation: float = OBSERVATION_TOLERANCE, reward: float = REWARD_TOLERANCE
) -> str | None:
    """Return in words where two episodes part, None if they are equal within the tolerances."""
    for t in range(min(len(ours.observations), len(real.observations))):
        both_missing = np.isnan(ours.observations[t]) & np.isnan(real.observations[t])
        gap = np.where(both_missing, 0.0, np.abs(ours.observations[t] - real.observations[t]))
        if not (gap <= observation).all():
            return f"observation {t} differs by {gap.max():.2e}"
        if t == 0:
            continue
        if not abs(ours.rewards[t - 1] - real.rewards[t - 1]) <= reward:
            return f"reward {t} is {ours.rewards[t - 1]!r}, not {real.rewards[t - 1]!r}"
        if ours.terminated[t - 1] != real.terminated[t - 1] or ours.truncated[t - 1] != real.truncated[t - 1]:
            return f"step {t} ends differently"
    if len(ours.rewards) != len(real.rewards):
        return f"{len(ours.rewards)} steps, not {len(real.rewards)}"
    return None


@dataclass
class Conformance:
    """Outcome of one id and config over many seeds."""

    env_id: str
    config: dict[str, Any] | None
    seeds: list[int]
    differences: dict[int, str]  # by seed, where the two part
    resets_equal: int
    worst: float  # largest difference of an observation in the equal episodes
    steps: int  # compared

    def row(self) -> str:
        """Return a row of the Markdown table (see `TABLE_HEAD`)."""
        n = len(self.seeds)
        first = next((f"seed {seed}: {text}" for seed, text in sorted(self.differences.items())), "-")
        what = "default" if not self.config else f"`{self.config}`"
        equal = f"{self.resets_equal} / {n} | {n - len(self.differences)} / {n}"
        return f"| {self.env_id} | {what} | {equal} | {self.steps} | {self.worst:.1e} | {first} |"


TABLE_HEAD = (
    "| id | config | resets equal | episodes equal | steps compared | worst observation error | first difference |\n"
    "|---|---|--:|--:|--:|--:|---|"
)


def _real_episodes(env_id: str, config: dict[str, Any] | None, seeds: Sequence[int], most: int) -> list[Episode]:
    env = make_real(env_id, config)
    return [real_episode(env, seed, most) for seed in seeds]


def compare(
    env_id: str,
    config: dict[str, Any] | None,
    seeds: Sequence[int],
    processes: int = 1,
    resets_only: bool = False,
    device: str = "cpu",
) -> Conformance:
    """Play each seed in both simulators and compare; the real one is spread over processes."""
    seeds = list(seeds)
    most = 0 if resets_only else 10_000
    ours = our_episodes(env_id, config, seeds, device, most=most)
    if processes > 1:
        shares = [seeds[i::processes] for i in range(processes)]
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            done = [pool.submit(_real_episodes, env_id, config, share, most) for share in shares]
            by_seed = {
                s: e
                for share, part in zip(shares, done, strict=True)
                for s, e in zip(share, part.result(), strict=True)
            }
        real = [by_seed[seed] for seed in seeds]
    else:
        real = _real_episodes(env_id, config, seeds, most)
    differences, resets, worst = {}, 0, 0.0
    for seed, mine, theirs in zip(seeds, ours, real, strict=True):
        resets += bool(np.allclose(mine.observations[0], theirs.observations[0], rtol=0, atol=1e-6, equal_nan=True))
        text = first_difference(mine, theirs)
        if text:
            differences[seed] = text
        else:
            worst = max(worst, float(np.nanmax(np.abs(mine.observations - theirs.observations))))
    steps = sum(len(episode.rewards) for episode in real)
    return Conformance(env_id, config, seeds, differences, resets, worst, steps)
