"""Episodes as small files, and their replay by simulating them again."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from sim.evaluation.driver import Driver, action_names, prepare
from sim.evaluation.runner import MAX_STEPS, versions
from sim.render import HUD_HEIGHT, Hud, Renderer

SCHEMA = 1
"""Version of the file format; another one is refused."""
SMOOTH_RATE = 20.0
"""Pictures a simulated second below which places between the frames are drawn too [Hz]."""
REWARD_TOLERANCE = 1e-6
"""How far a replayed reward may stand from the recorded one."""
STRIP_ZOOM = 1.27
"""Enlargement of what is seen along a straight road."""
PUSH = 2.0
"""How much further than its speed takes it a contact may push a vehicle within a frame [m]."""


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
        actions: [T] integers or [T, D] floats; of C agents [T, C] or [T, C, D]. rewards: [T], summed over the agents
            where the id rewards each. terminated, truncated: bool [T].
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
        outcome = envs.step(actions)
        observation = outcome[0]
        step = (actions[0].cpu().numpy(), *_first(outcome), scores)
        for array, value in zip(_ARRAYS, step, strict=True):
            rows[array].append(value)
        if any(step[2:4]):
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
        reward = _first(outcome)[0]
        total += reward
    yield Frame(envs, count / rate, _hud(trace, envs, step, count / rate, reward, total))


def _hud(trace: Trace, envs: Any, step: int, time: float, reward: float | None, total: float) -> Hud:
    """What to write over a frame of policy step `step`; `reward` and `total` are of the steps before."""
    names = action_names(envs.config) or []
    agents = np.atleast_1d(trace.actions[step])
    if names:
        action = ", ".join(names[int(agent)] for agent in agents)
    else:
        action = " ".join(f"{number:+.2f}" if agents.dtype.kind == "f" else str(number) for number in agents.flat)
    return Hud(
        title=f"{trace.case.driver} on {trace.case.id}, seed {trace.case.seed}",
        time=time,
        speed=envs.world.speed[0, envs.world.ego[0].long()].tolist(),
        reward=reward,
        total=total,
        action=action,
        actions=names if len(agents) == 1 else [],
        scores=trace.scores[step] if trace.scores.shape[1] == len(names) > 0 else None,
        score_label=trace.case.score_label,
    )


def camera(envs: Any) -> Renderer:
    """Returns a renderer with the view of the id's config and room for the writing.

    A strip along a straight road, 4 to 1 as highway-env's default, is made twice as large and shows more of the road;
    other pictures grow by what is written above and below them.
    """
    config = envs.config
    width, height, scaling = config["screen_width"], config["screen_height"], config["scaling"]
    across, down = config["centering_position"]
    if width >= 4 * height:
        return Renderer(envs.network, 2 * width, 2 * height, STRIP_ZOOM * scaling, (across, down))
    framed = height + 2 * HUD_HEIGHT
    return Renderer(envs.network, width, framed, scaling, (across, (down * height + HUD_HEIGHT) / framed))


def pictures(renderer: Renderer, frames: Iterator[Frame], rate: float) -> tuple[Iterator[np.ndarray], float]:
    """Returns the images of a replay, [H, W, 3] each, and how many of them make one simulated second.

    Between two frames of the simulation (5 Hz in highway-fast-v0, too few for the eye) vehicles are drawn on the
    straight line from one place to the next; the last frame stays for a second. What has gone another way than its
    speed would take it is another vehicle, in a slot that was given away: it is drawn in its new place.

    Args:
        renderer: draws them.
        frames: from `replay`.
        rate: frames a simulated second, from `frame_rate`.
    """
    steps = math.ceil(SMOOTH_RATE / rate)

    def images() -> Iterator[np.ndarray]:
        before, image = None, None
        for frame in frames:
            after = {name: getattr(frame.world, name)[:1].clone() for name in ("x", "y", "heading", "speed")}
            moved = None if before is None else _same_vehicles(before, after, rate)
            for step in range(1, steps + 1):
                if moved is None or step == steps:
                    image = renderer.draw(frame.world, 0, frame.hud)
                else:
                    shares = torch.where(moved, step / steps, 1.0).to(after["x"].dtype)
                    pose = {name: torch.lerp(before[name], after[name], shares) for name in ("x", "y", "heading")}
                    image = renderer.draw(_Moment(frame.world, pose), 0, frame.hud)
                yield image
            before = after
        for _ in range(round(rate * steps)):
            yield image

    return images(), rate * steps


class _Moment:
    """A world some of whose fields are others."""

    def __init__(self, world: Any, fields: dict[str, torch.Tensor]):
        self.__dict__.update(fields)
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


def _same_vehicles(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], rate: float) -> torch.Tensor | None:
    """Whether each slot [1, V] holds the vehicle that it held a frame ago; None if there are not as many slots."""
    if before["x"].shape != after["x"].shape:
        return None
    moved = torch.hypot(after["x"] - before["x"], after["y"] - before["y"])
    expected = torch.maximum(before["speed"].abs(), after["speed"].abs()) / rate
    return moved < expected + PUSH


def _first(outcome: tuple) -> tuple[float, bool, bool]:
    """Reward, terminated and truncated of the one world of a step; of agents their sum, and whether all have ended."""
    _, reward, terminated, truncated, _ = outcome
    return float(reward[0].sum()), bool(terminated[0].all()), bool(truncated[0])


def _frames(envs: Any, actions: torch.Tensor) -> Generator[int, None, tuple]:
    """Yields after each frame of a policy step, once where `envs` has no frames; returns what step does."""
    if hasattr(envs, "frames"):
        return (yield from envs.frames(actions))
    outcome = envs.step(actions)
    yield 0
    return outcome


def _check(trace: Trace, step: int, outcome: tuple) -> None:
    reward, *ended = _first(outcome)
    if not abs(reward - trace.rewards[step]) <= REWARD_TOLERANCE:
        raise ValueError(f"the replay leaves the trace at step {step}: reward {reward}, recorded {trace.rewards[step]}")
    recorded = [bool(trace.terminated[step]), bool(trace.truncated[step])]
    if ended != recorded:
        raise ValueError(
            f"the replay leaves the trace at step {step}: terminated, truncated {ended}, recorded {recorded}"
        )


def _plain(value: Any) -> Any:
    """NumPy values of a config as JSON knows them."""
    return value.tolist()
