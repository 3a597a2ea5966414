"""Runs a driver over a fixed list of seeds and reports what happened, with intervals."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from tqdm import tqdm

from sim.evaluation.driver import Driver, DriverSpec, prepare, stepped, watchers
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.metrics.steps import UNITS, EpisodeMetrics
from sim.evaluation.statistics import Estimate, mean_interval, wilson_interval

SIMULATORS = ("ours", "highway-env")
CHUNK = 512
"""Most worlds simulated side by side."""
MAX_STEPS = 100_000
"""Policy steps after which an episode that never ends is an error."""


@dataclass(frozen=True)
class Result:
    """The episodes of one evaluation.

    Attributes:
        id, config, simulator, precision: what was driven in.
        driver, sees: who drove, and what it could see.
        seeds: the seeds asked for, one an episode.
        episodes: the metrics of the episodes that ran, arrays [n_run] by name, and their `seed`, in the order
            of `seeds`.
        errors: (seed, message) of the episodes that raised.
        seconds: wall time.
        notes: what the driver tells of its work; see `Driver.notes`.
    """

    id: str
    config: dict
    simulator: str
    precision: str | None
    driver: str
    sees: str
    seeds: list[int]
    episodes: dict[str, np.ndarray]
    errors: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def n_run(self) -> int:
        """How many episodes ran to their end."""
        return len(self.episodes["seed"])

    def estimates(self) -> dict[str, Estimate]:
        """Returns each figure with its 95 % interval: Wilson's for the rate, Student's t for the means."""
        crashes = int(self.episodes["crashed"].sum())
        figures = {
            "return": mean_interval(self.episodes["return"]),
            "crash_rate": wilson_interval(crashes, self.n_run),
        }
        if "success" in self.episodes:
            figures["success_rate"] = wilson_interval(int(self.episodes["success"].sum()), self.n_run)
        return figures | {
            name: mean_interval(self.episodes[name]) for name in ("speed", "distance", "lane_changes", "length")
        }

    def table(self) -> str:
        """Returns a Markdown table with a line above that says what was run."""
        knows = "privileged: sees the world" if self.sees == "world" else f"sees {self.sees}"
        lines = [
            f"{self.driver} ({knows}) on {self.id} in {self.simulator}: {self.n_run} of {len(self.seeds)} "
            f"episodes, {len(self.errors)} errors, seeds {_span(self.seeds)}, {self.seconds:.1f} s",
            "",
            "| | value | 95 % interval |",
            "|---|---|---|",
        ]
        for name, estimate in self.estimates().items():
            percent = name.endswith("_rate")
            label = name.replace("_", " ") + (f" [{UNITS[name]}]" if UNITS.get(name) else "")
            value, low, high = (_show(v, percent) for v in (estimate.value, estimate.low, estimate.high))
            lines.append(f"| {label} | {value} | {low} to {high} |")
        if self.errors:
            seed, message = self.errors[0]
            lines += ["", f"First error, seed {seed}: {message}"]
        lines += ["", *(f"{name}: {note}" for name, note in self.notes.items())] if self.notes else []
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """Returns the result for JSON: figures, what was run, and the single episodes."""
        return {
            "id": self.id,
            "config": self.config,
            "simulator": self.simulator,
            "precision": self.precision,
            "driver": self.driver,
            "sees": self.sees,
            "privileged": self.sees == "world",
            "episodes": self.n_run,
            **{name: estimate.as_dict() for name, estimate in self.estimates().items()},
            "n_planned": len(self.seeds),
            "n_run": self.n_run,
            "n_error": len(self.errors),
            "errors": [{"seed": seed, "message": message} for seed, message in self.errors],
            "seeds": self.seeds,
            "per_episode": {name: values.tolist() for name, values in self.episodes.items()},
            "seconds": self.seconds,
            "notes": self.notes,
            "versions": versions(),
        }


def evaluate(
    driver: DriverSpec | Driver,
    id: str,
    config: dict | None = None,
    seeds: Sequence[int] = range(200),
    simulator: str = "ours",
    device: str = "cpu",
    precision: str = "float32",
    processes: int | None = None,
    progress: bool = True,
) -> Result:
    """Drives exactly one episode a seed, to its end, and returns the result.

    Args:
        driver: a spec, or a driver itself (which then runs in this process).
        id: of the environment, as in `sim.make_vec`.
        config: of the environment, as in `sim.make_vec`.
        seeds: episode i starts from `seeds[i]`.
        simulator: "ours" (batched) or "highway-env" (CPU, float64).
        device: of ours.
        precision: of ours.
        processes: worker processes of highway-env, one a core when None; 1 stays in this process.
        progress: shows a progress bar.

    An episode that raises is counted as an error and takes no part in the figures. Raises ValueError for an
    unknown simulator, id or config, for an empty list of seeds, and for a driver that cannot drive there.
    """
    seeds = [int(seed) for seed in seeds]
    if not seeds:
        raise ValueError("an evaluation needs at least one seed")
    if len(set(seeds)) != len(seeds):
        raise ValueError("the seeds must differ: the same episode twice is not two observations")
    begun = time.perf_counter()
    spec = driver if isinstance(driver, DriverSpec) else None
    probe = spec.build(device if simulator == "ours" else "cpu") if spec else driver
    if simulator == "ours":
        outcomes, full_config = _run_ours(probe, id, config, seeds, device, precision, progress)
    elif simulator == "highway-env":
        outcomes, full_config = _run_highway_env(spec, probe, id, config, seeds, processes, progress)
        precision = None
    else:
        raise ValueError(f"unknown simulator {simulator!r}; there are {', '.join(SIMULATORS)}")
    run = [seed for seed in seeds if not isinstance(outcomes[seed], str)]
    names = outcomes[run[0]] if run else UNITS
    episodes = {name: np.array([outcomes[seed][name] for seed in run], dtype=np.float64) for name in names}
    return Result(
        id=id,
        config=full_config,
        simulator=simulator,
        precision=precision,
        driver=spec.name if spec else type(driver).__name__,
        sees=probe.sees,
        seeds=seeds,
        episodes={"seed": np.array(run, dtype=np.int64), **episodes},
        errors=[(seed, outcomes[seed]) for seed in seeds if isinstance(outcomes[seed], str)],
        seconds=time.perf_counter() - begun,
        notes=probe.notes() if hasattr(probe, "notes") else {},
    )


class EndlessError(RuntimeError):
    """Some episodes of a batch did not end.

    Attributes:
        metrics: of all worlds, arrays [N] by name.
        endless: bool [N], the worlds whose metrics don't count.
    """

    def __init__(self, message: str, metrics: dict[str, np.ndarray], endless: Tensor):
        super().__init__(message)
        self.metrics, self.endless = metrics, endless.tolist()


def run_batch(
    envs: Any, driver: Driver, seeds: Sequence[int], recorder: Any = None, limit: int | None = None
) -> dict[str, np.ndarray]:
    """Drives world i from `seeds[i]` to the end of its episode; returns the metrics, arrays [N] by name.

    A `recorder` (`sim.evaluation.episodes.Recorder`) advances the worlds in place of `envs` and sees every frame. After
    `limit` policy steps what has not ended is cut off; without a limit, `MAX_STEPS` of them raise EndlessError.

    `envs` does not reset by itself (Gymnasium's DISABLED mode); a world that has ended is masked until all have. Where
    an id rewards each agent (reward and terminated are [N, C]), the return is the sum over the agents of what each
    earned until its end, and the episode goes on until all have ended.
    """
    prepare(driver, envs, seeds)
    observation, _ = envs.reset(seed=list(seeds))
    alive = torch.ones(len(seeds), 1, dtype=torch.bool, device=envs.device)
    driver.reset(alive[:, 0].clone())
    space = envs.single_action_space
    egos = len(space.spaces) if isinstance(space, spaces.Tuple) else 1
    metrics = EpisodeMetrics(envs.world, _roads(envs), egos)
    advance, watching = (partial(stepped, envs) if recorder is None else recorder.step), watchers(driver)
    if recorder is not None:
        recorder.begin()
    for _ in range(limit or MAX_STEPS):
        begun = time.perf_counter()
        actions = driver.act(observation)
        seconds = time.perf_counter() - begun + sum(one.seconds() for one in watching)
        observation, reward, terminated, truncated, info = advance(actions, *watching)
        reward, terminated = (value.reshape(len(seeds), -1) for value in (reward, terminated))
        earned = torch.where(alive, reward, torch.zeros_like(reward)).sum(1)
        success = info.get("is_success")
        success = None if success is None else success.reshape(len(seeds), -1).all(1)
        metrics.update(envs.world, earned, alive.any(1), success)
        if recorder is not None:
            recorder.judge(earned, alive.any(1), (terminated | ~alive).all(1), truncated, seconds)
        alive = alive & ~(terminated | truncated[:, None])
        if not alive.any():
            return metrics.finish()
    if limit:
        return metrics.finish()
    message = f"an episode of {envs.id} had not ended after {MAX_STEPS} policy steps"
    raise EndlessError(message, metrics.finish(), alive.any(1))


def _roads(envs: Any) -> Tensor | None:
    """The number of the road of each lane, [L]; None where `envs` shows no network."""
    if not hasattr(envs, "network"):
        return None
    first = np.asarray(envs.network.edge_first)
    return torch.from_numpy(np.repeat(np.arange(len(first) - 1), np.diff(first))).to(envs.device)


Outcome = dict[str, float] | str
"""The metrics of one episode, or the message of the exception that ended it."""


def _run_ours(
    driver: Driver,
    id: str,
    config: dict | None,
    seeds: list[int],
    device: str,
    precision: str,
    progress: bool,
) -> tuple[dict[int, Outcome], dict]:
    from gymnasium.vector import AutoresetMode

    import sim

    def make(n: int) -> Any:
        return sim.make_vec(
            id,
            num_envs=n,
            device=device,
            precision=precision,
            config=config,
            autoreset_mode=AutoresetMode.DISABLED,
        )

    outcomes: dict[int, Outcome] = {}
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    envs = make(len(chunks[0]))  # A bad id, config or driver raises here, before an episode could count as an error.
    prepare(driver, envs, chunks[0])
    with tqdm(total=len(seeds), desc=f"{id} (ours)", unit="ep", disable=not progress) as bar:
        for chunk in chunks:
            if len(chunk) != envs.num_envs:
                envs = make(len(chunk))
            for part, outcome in run_or_split(make, envs, partial(_outcomes, driver), chunk):
                outcomes.update(zip(part, outcome, strict=True))
                bar.update(len(part))
    return outcomes, dict(envs.config)


def _outcomes(driver: Driver, envs: Any, seeds: list[int]) -> list[Outcome]:
    """Drives a batch; episodes that did not end are errors."""
    try:
        return _episodes_of(run_batch(envs, driver, seeds))
    except EndlessError as error:
        ended = zip(_episodes_of(error.metrics), error.endless, strict=True)
        return [_message(error) if endless else episode for episode, endless in ended]


def run_or_split(
    make: Callable[[int], Any], envs: Any, run: Callable[[Any, list[int]], list[Any]], seeds: list[int]
) -> Iterator[tuple[list[int], list[Any]]]:
    """Yields (seeds, what `run` returns), halving a batch that raised until the episodes at fault stand alone.

    Theirs is the message of what was raised. `make` builds environments of another size.
    """
    try:
        outcomes = run(envs, seeds)
    except Exception as error:  # Whatever a driver raises is that episode's error, not the evaluation's.
        if len(seeds) == 1:
            yield seeds, [_message(error)]
            return
        middle = len(seeds) // 2
        for half in (seeds[:middle], seeds[middle:]):
            yield from run_or_split(make, make(len(half)), run, half)
        return
    yield seeds, outcomes


def _run_highway_env(
    spec: DriverSpec | None,
    probe: Driver,
    id: str,
    config: dict | None,
    seeds: list[int],
    processes: int | None,
    progress: bool,
) -> tuple[dict[int, Outcome], dict]:
    envs = HighwayEnv(id, config)  # A bad id or driver raises here, before any process is started.
    prepare(probe, envs, seeds[:1])
    full_config = dict(envs.config)
    processes = min(len(seeds), processes or cpu_count() or 1)
    outcomes: dict[int, Outcome] = {}
    with tqdm(total=len(seeds), desc=f"{id} (highway-env)", unit="ep", disable=not progress) as bar:
        if processes == 1 or spec is None:
            for seed in seeds:
                outcomes[seed] = _try_episode(envs, probe, seed)
                bar.update()
            envs.close()
            return outcomes, full_config
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _start_worker, (spec, id, config))
        try:
            futures = {pool.submit(_work, seed): seed for seed in seeds}
            for future in as_completed(futures):
                # A worker that died takes its episodes with it: they are errors, and the others' results
                # stand.
                error = future.exception()
                outcomes[futures[future]] = _message(error) if error else future.result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    return outcomes, full_config


_worker: dict[str, Any] = {}
"""The environment and driver of this worker process, made once; empty in the parent."""


def _start_worker(spec: DriverSpec, id: str, config: dict | None) -> None:
    torch.set_num_threads(1)
    _worker.update(envs=HighwayEnv(id, config), driver=spec.build())


def _work(seed: int) -> Outcome:
    return _try_episode(_worker["envs"], _worker["driver"], seed)


def _try_episode(envs: HighwayEnv, driver: Driver, seed: int) -> Outcome:
    try:
        return _episodes_of(run_batch(envs, driver, [seed]))[0]
    except Exception as error:
        return _message(error)


def _episodes_of(metrics: dict[str, np.ndarray]) -> list[dict[str, float]]:
    return [dict(zip(metrics, map(float, row), strict=True)) for row in zip(*metrics.values(), strict=True)]


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _show(value: float | None, percent: bool) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if percent else f"{value:.2f}"


def _span(seeds: list[int]) -> str:
    consecutive = seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if consecutive else f"{seeds[0]}, ... ({len(seeds)} of them)"


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in ("slipstream", "highway-env", "gymnasium", "torch", "warp-lang", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
