"""Episodes as small files, and their replay by simulating them again."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from sim.evaluation.driver import Driver, action_names, prepare
from sim.evaluation.runner import MAX_STEPS, versions
from sim.render import Hud, Renderer

SCHEMA = 1
"""Version of the file format; another one is refused."""
SMOOTH_RATE = 20.0
"""Pictures a simulated second below which places between the frames are drawn too [Hz]."""
REWARD_TOLERANCE = 1e-6
"""How far a replayed reward may stand from the recorded one."""


@dataclass(frozen=True)
class Case:
    """Everything that decides an episode but the driver's actions.

    Attributes:
        id, config, precision: as in `sim.make_vec`; seed: of the episode.
        driver, sees: who drove, and what it could see.
        score_label: what the scores are; empty without scores.
        versions: of the packages that ran.
    """

    id: str
    config: dict
    seed: int
    precision: str
    driver: str
    sees: str
    score_label: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Trace:
    """One episode of T policy steps.

    Attributes:
        case: what was driven.
        actions: [T] integers or [T, D] floats. rewards: [T]. terminated, truncated: bool [T].
        scores: one figure an action, [T, A]; A is 0 where the driver gave none.
    """

    case: Case
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    scores: np.ndarray

    def save(self, path: str | Path) -> None:
        """Writes an .npz file without pickle; a kill in the middle leaves no half-written file at `path`."""
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with open(partial, "wb") as file:
            case = np.array(json.dumps({"schema": SCHEMA, **asdict(self.case)}))
            np.savez_compressed(file, case=case, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Reads a file that `save` wrote.

        Raises FileNotFoundError or ValueError with one line that says what is wrong.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no such trace: {path}")
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                case = json.loads(str(file["case"]))
                arrays = {name: file[name] for name in _ARRAYS}
        except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a whole trace: {error}") from error
        schema = case.pop("schema", None)
        if schema != SCHEMA:
            raise ValueError(f"{path} is a trace of schema {schema}; this version reads schema {SCHEMA}")
        if set(case) != {f.name for f in fields(Case)}:
            raise ValueError(f"{path} is not a whole trace: its case has the fields {', '.join(sorted(case))}")
        steps = {len(values) for values in arrays.values()}
        if len(steps) != 1 or steps == {0}:
            raise ValueError(f"{path} is not a whole trace: its arrays hold {sorted(steps)} steps")
        return cls(Case(**case), **arrays)


_ARRAYS = ("actions", "rewards", "terminated", "truncated", "scores")


@dataclass(frozen=True)
class Frame:
    """One moment of a replay. `world` is the live state: draw or copy it before the next frame is taken.

    Attributes:
        envs: the environment, one world; `envs.network` has its lanes. time: since the reset [s].
        hud: what to write over the picture.
    """

    envs: Any
    time: float
    hud: Hud

    @property
    def world(self) -> Any:
        """The state of the one world."""
        return self.envs.world


def make_envs(id: str, config: dict | None, precision: str, device: str = "cpu") -> Any:
    """Returns one world of ours that does not reset by itself."""
    import sim

    return sim.make_vec(
        id,
        num_envs=1,
        device=device,
        precision=precision,
        config=config,
        autoreset_mode=AutoresetMode.DISABLED,
    )


def record_episode(driver: Driver, envs: Any, seed: int, name: str = "") -> Trace:
    """Drives one episode and returns its trace.

    Args:
        driver: who drives.
        envs: one world, of ours (`make_envs`) or of the real highway-env.
        seed: of the episode.
        name: the driver's, for the record.
    """
    prepare(driver, envs, [seed])
    observation, _ = envs.reset(seed=[seed])
    driver.reset(torch.ones(1, dtype=torch.bool, device=envs.device))
    rows: dict[str, list] = {array: [] for array in _ARRAYS}
    label = ""
    for _ in range(MAX_STEPS):
        scores = np.zeros(0)
        if hasattr(driver, "scores"):
            label, values = driver.scores(observation)
            scores = values[0].detach().cpu().numpy()
        actions = driver.act(observation)
        observation, reward, terminated, truncated, _ = envs.step(actions)
        step = (actions[0].cpu().numpy(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), scores)
        for array, value in zip(_ARRAYS, step, strict=True):
            rows[array].append(value)
        if terminated[0] or truncated[0]:
            break
    case = Case(
        id=envs.id,
        config=json.loads(json.dumps(envs.config, default=_plain)),
        seed=int(seed),
        precision=getattr(envs, "precision", "float64"),
        driver=name or type(driver).__name__,
        sees=driver.sees,
        score_label=label,
        versions=versions(),
    )
    return Trace(case, **{array: np.array(values) for array, values in rows.items()})


def frame_rate(envs: Any) -> float:
    """Returns how many frames of a replay make one simulated second."""
    return float(envs.config["simulation_frequency" if hasattr(envs, "frames") else "policy_frequency"])


def replay(trace: Trace, envs: Any, driver: Driver | None = None) -> Iterator[Frame]:
    """Yields the frames of a recorded episode, from the reset to the last, by simulating it again.

    Args:
        trace: the episode.
        envs: one world of the trace's id, config and precision.
        driver: needed for a driver that saw the world: it may have changed the world at the reset. Its
            actions are not asked for.

    Raises ValueError when the simulation does not do what the trace says, naming the step.
    """
    if trace.case.sees == "world":
        if driver is None:
            raise ValueError(
                f"{trace.case.driver!r} drives through the world: its traces are replayed with that driver"
            )
        prepare(driver, envs, [trace.case.seed])
    envs.reset(seed=[trace.case.seed])
    if trace.case.sees == "world":
        driver.reset(torch.ones(1, dtype=torch.bool, device=envs.device))
    rate, count, total, reward = frame_rate(envs), 0, 0.0, None
    yield Frame(envs, 0.0, _hud(trace, envs, 0, 0.0, reward, total))
    for step, action in enumerate(trace.actions):
        simulation = _frames(envs, torch.as_tensor(action, device=envs.device)[None])
        while True:
            try:
                next(simulation)
            except StopIteration as end:
                outcome = end.value
                break
            count += 1
            yield Frame(envs, count / rate, _hud(trace, envs, step, count / rate, reward, total))
        _check(trace, step, outcome)
        reward = float(outcome[1][0])
        total += reward
    yield Frame(envs, count / rate, _hud(trace, envs, step, count / rate, reward, total))


def _hud(trace: Trace, envs: Any, step: int, time: float, reward: float | None, total: float) -> Hud:
    """What to write over a frame of policy step `step`; `reward` and `total` are of the steps before."""
    names = action_names(envs.config) or []
    action = trace.actions[step]
    return Hud(
        title=f"{trace.case.driver} on {trace.case.id}, seed {trace.case.seed}",
        time=time,
        speed=float(envs.world.speed[0, int(envs.world.ego[0, 0])]),
        reward=reward,
        total=total,
        action=names[int(action)] if names else " ".join(f"{a:+.2f}" for a in np.atleast_1d(action)),
        actions=names,
        scores=trace.scores[step] if trace.scores.shape[1] == len(names) > 0 else None,
        score_label=trace.case.score_label,
    )


def pictures(renderer: Renderer, frames: Iterator[Frame], rate: float) -> tuple[Iterator[np.ndarray], float]:
    """Returns the images of a replay, [H, W, 3] each, and how many of them make one simulated second.

    Between two frames of the simulation (5 Hz in highway-fast-v0, too few for the eye) vehicles are drawn on the
    straight line from one place to the next; the last frame stays for a second.

    Args:
        renderer: draws them.
        frames: from `replay`.
        rate: frames a simulated second, from `frame_rate`.
    """
    steps = math.ceil(SMOOTH_RATE / rate)

    def images() -> Iterator[np.ndarray]:
        before, image = None, None
        for frame in frames:
            after = {name: getattr(frame.world, name)[:1].clone() for name in ("x", "y", "heading")}
            others = {name: getattr(frame.world, name) for name in ("acceleration", "kind", "crashed", "ego")}
            for step in range(1, steps + 1):
                if before is None or step == steps or before["x"].shape != after["x"].shape:
                    image = renderer.draw(frame.world, 0, frame.hud)
                else:
                    pose = {name: torch.lerp(before[name], after[name], step / steps) for name in after}
                    image = renderer.draw(SimpleNamespace(**pose, **others), 0, frame.hud)
                yield image
            before = after
        for _ in range(round(rate * steps)):
            yield image

    return images(), rate * steps


def _frames(envs: Any, actions: torch.Tensor) -> Generator[int, None, tuple]:
    """Yields after each frame of a policy step, once where `envs` has no frames; returns what step does."""
    if hasattr(envs, "frames"):
        return (yield from envs.frames(actions))
    outcome = envs.step(actions)
    yield 0
    return outcome


def _check(trace: Trace, step: int, outcome: tuple) -> None:
    _, reward, terminated, truncated, _ = outcome
    reward = float(reward[0])
    if not abs(reward - trace.rewards[step]) <= REWARD_TOLERANCE:
        raise ValueError(f"the replay leaves the trace at step {step}: reward {reward}, recorded {trace.rewards[step]}")
    ended, recorded = (
        (bool(terminated[0]), bool(truncated[0])),
        (bool(trace.terminated[step]), bool(trace.truncated[step])),
    )
    if ended != recorded:
        raise ValueError(
            f"the replay leaves the trace at step {step}: terminated, truncated {ended}, recorded {recorded}"
        )


def _plain(value: Any) -> Any:
    """NumPy values of a config as JSON knows them."""
    return value.tolist()
