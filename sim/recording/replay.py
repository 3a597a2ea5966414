"""Simulating a recorded episode again, checked step by step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from sim.engine.state_hash import StateHash
from sim.evaluation.driver import Driver, action_names, prepare, watchers
from sim.recording.states import Difference
from sim.recording.traces import Case, Trace
from sim.render import Hud
from sim.world import World

REWARD_TOLERANCE = 1e-6
"""How far a replayed reward may stand from the recorded one."""


class DivergenceError(ValueError):
    """A replay does not do what the trace says; the message tells where it left it.

    Attributes:
        step: of the first policy step that differs, -1 for the reset.
        difference: the first vehicle and field, where full states were recorded.
    """

    def __init__(self, message: str, step: int, difference: Difference | None = None):
        super().__init__(message)
        self.step, self.difference = step, difference


@dataclass(frozen=True)
class Frame:
    """One moment of a replay. `world` is the live state: draw or copy it before the next frame is taken.

    Attributes:
        envs: the environment, one world; `envs.network` has its lanes. time: since the reset [s].
        hud: what to write over the picture.
        index: of the frame, 0 right after the reset; the last frame comes twice.
        observation: what the driver saw when it chose the action that is being carried out. decided: where its egos
            were then, [C, 5]: x, y [m], heading [rad], velocity along x and y [m/s]. age: how long ago that was [s].
        recorded: the state, where it is not simulated.
        plan: where the driver meant to be when it decided, [P, 2] [m] at the policy steps that follow, NaN beyond its
            end; None of a driver that tells none, or was not asked.
    """

    envs: Any
    time: float
    hud: Hud
    index: int = 0
    observation: Any = None
    decided: np.ndarray | None = None
    age: float = 0.0
    recorded: Any = None
    plan: np.ndarray | None = None

    @property
    def world(self) -> Any:
        """The state of the one world."""
        return self.envs.world if self.recorded is None else self.recorded


class Moment:
    """A world some of whose fields are others."""

    def __init__(self, world: Any, fields: dict[str, torch.Tensor]):
        self.__dict__.update(fields)
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


def make_envs(id: str, config: dict | None, precision: str, device: str = "cpu", num_envs: int = 1) -> Any:
    """Returns worlds of ours, one unless told otherwise, that do not reset by themselves."""
    import sim

    return sim.make_vec(
        id,
        num_envs=num_envs,
        device=device,
        precision=precision,
        config=config,
        autoreset_mode=AutoresetMode.DISABLED,
    )


class Outcomes:
    """What each step earned and which worlds it ended, as `sim.evaluation.runner.run_batch` counts them.

    Where an id rewards each agent, a world's reward is the sum over the agents that had not ended, and it terminates
    when all have.

    Attributes:
        alive: bool [N, C], the agents that go on.
    """

    def __init__(self, worlds: int):
        self.alive = torch.ones(worlds, 1, dtype=torch.bool)

    def after(self, outcome: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns rewards float64 [N], terminated and truncated bool [N] of what `step` returned."""
        _, reward, terminated, truncated, _ = outcome
        reward, terminated = (value.cpu().reshape(len(self.alive), -1) for value in (reward, terminated))
        truncated = truncated.cpu()
        earned = torch.where(self.alive, reward, 0).double().sum(1)
        ended = self.alive.any(1) & (terminated | ~self.alive).all(1)
        self.alive = self.alive & ~(terminated | truncated[:, None])
        return earned.numpy(), ended.numpy(), truncated.numpy()


def hasher(envs: Any) -> StateHash | None:
    """Returns what hashes the worlds of `envs`; None for the real highway-env."""
    return StateHash(envs.world) if isinstance(envs.world, World) else None


def hashes_of(state_hash: StateHash | None) -> np.ndarray:
    """Returns uint64 [N]; [0] without a hash."""
    return np.zeros(0, np.uint64) if state_hash is None else state_hash().cpu().numpy().view(np.uint64)


def begin(driver: Driver | None, envs: Any, seeds: list[int]) -> Any:
    """Resets the worlds, and the driver if there is one (it may change the world then); returns the observation."""
    if driver is not None:
        prepare(driver, envs, seeds)
    observation, _ = envs.reset(seed=seeds)
    if driver is not None:
        driver.reset(torch.ones(len(seeds), dtype=torch.bool, device=envs.device))
    return observation


def needs_driver(case: Case, hashes: np.ndarray, envs: Any, seeds: list[int]) -> bool:
    """Does a replay need the driver, which changed the worlds at the reset.

    Args:
        case: of the episodes.
        hashes: uint64 [N], recorded after the reset; [0] where there are none.
        envs: N worlds, which are reset to see; the real highway-env has no hashes to see by.
        seeds: of the episodes.
    """
    if case.sees != "world":
        return False
    envs.reset(seed=seeds)
    return not (len(hashes) and np.array_equal(hashes_of(hasher(envs)), hashes))


def frame_rate(envs: Any) -> float:
    """Returns how many frames of a replay make one simulated second."""
    return float(envs.config["simulation_frequency" if hasattr(envs, "frames") else "policy_frequency"])


def replay(trace: Trace, envs: Any, driver: Driver | None = None, plans: bool = False) -> Iterator[Frame]:
    """Yields the frames of a recorded episode, from the reset to the last, by simulating it again.

    Args:
        trace: the episode.
        envs: one world of the trace's id, config and precision.
        driver: needed for a driver that changed the world at the reset (`needs_driver`). Its actions are not asked for.
        plans: ask the driver all the same, for its plans.

    Raises DivergenceError when the simulation does not do what the trace says: at the first frame that differs from
    the recorded states, naming the vehicle and the field, or at the first step whose hash, reward or end differs; with
    `plans` also at the first step at which the driver decides otherwise.
    """
    sees_world = trace.case.sees == "world"
    if sees_world and driver is None and not len(trace.hashes):
        raise ValueError(_asks_for_driver(trace))  # without hashes nothing would tell
    observation = begin(driver if sees_world or plans else None, envs, [trace.case.seed])
    outcomes, state_hash = Outcomes(1), hasher(envs)
    rate, count, total, reward = frame_rate(envs), 0, 0.0, None
    try:
        _check_hash(trace, -1, envs, state_hash, count)
    except DivergenceError as error:
        if sees_world and driver is None:
            raise ValueError(_asks_for_driver(trace)) from error
        raise
    decided, plan = poses(envs.world), None
    yield Frame(envs, 0.0, _hud(trace, envs, 0, 0.0, reward, total), 0, observation, decided)
    for step, action in enumerate(trace.actions):
        if plans:
            _check_decision(trace, step, driver.act(observation))
            plan = plan_of(driver)
        simulation, first = simulated(envs, torch.as_tensor(action, device=envs.device)[None], True), count
        while (outcome := next(simulation)) is None:
            count += 1
            for look in watchers(driver) if plans else ():
                look()
            _check_states(trace, step, envs, count)
            hud = _hud(trace, envs, step, count / rate, reward, total)
            yield Frame(envs, count / rate, hud, count, observation, decided, (count - first) / rate, plan=plan)
        _check_hash(trace, step, envs, state_hash, count)
        reward, terminated, truncated = (column[0] for column in outcomes.after(outcome))
        _check(trace, step, float(reward), bool(terminated), bool(truncated))
        total += float(reward)
        reward, observation, decided = float(reward), outcome[0], poses(envs.world)
    yield Frame(envs, count / rate, _hud(trace, envs, step, count / rate, reward, total), count, observation, decided)


def poses(world: Any) -> np.ndarray:
    """Where the egos are, as `Frame.decided`."""
    slots = world.ego[0].long()
    x, y, heading, speed = (getattr(world, name)[0, slots].double() for name in ("x", "y", "heading", "speed"))
    return torch.stack([x, y, heading, speed * heading.cos(), speed * heading.sin()], dim=-1).cpu().numpy()


def playback(trace: Trace, envs: Any) -> Iterator[Frame]:
    """Yields the frames of the recorded states, without simulating; where a replay no longer goes the same way.

    Raises ValueError where no states were recorded.
    """
    states = trace.states
    if states is None:
        raise ValueError(f"no states were recorded of seed {trace.case.seed}: it can only be simulated again")
    observation, _ = envs.reset(seed=[trace.case.seed])
    rate, per_step = frame_rate(envs), (len(states) - 1) // len(trace.actions)
    egos = envs.world.ego[0].long()
    names = envs.world.number[0, egos] if "number" in states.fields else None
    decided, total = None, 0.0
    for index in range(len(states)):
        step, fields = max(index - 1, 0) // per_step, {}
        for name, column in states.at(index).items():
            fields[name] = torch.from_numpy(column.copy()).to(getattr(envs.world, name).dtype)[None]
        if names is not None:  # slots move up when others leave
            used = fields["number"] * (fields["kind"] != 0) - (fields["kind"] == 0).int()
            egos = (used == names.cpu()[:, None]).int().argmax(1)
        moment = Moment(envs.world, fields | {"ego": egos[None]})
        if (index - 1) % per_step == 0 or decided is None:
            decided = poses(moment)
            total = float(trace.rewards[:step].sum())
        hud = _hud(trace, envs, step, index / rate, float(trace.rewards[step - 1]) if step else None, total, moment)
        yield Frame(envs, index / rate, hud, index, observation, decided, recorded=moment)


def plan_of(driver: Any) -> np.ndarray | None:
    """Returns what the driver of one world means to do, as `Frame.plan`, after its `act`; None if it tells none."""
    return driver.plan()[0].cpu().numpy() if hasattr(driver, "plan") else None


def _asks_for_driver(trace: Trace) -> str:
    return f"{trace.case.driver!r} drives through the world: its traces are replayed with that driver"


def _hud(trace: Trace, envs: Any, step: int, time: float, reward: float | None, total: float, world: Any = None) -> Hud:
    """What to write over a frame of policy step `step`; `reward` and `total` are of the steps before."""
    title = f"{trace.case.driver} on {trace.case.id}, seed {trace.case.seed}"
    scores = trace.scores[step]
    written = hud_of(envs, title, trace.actions[step], scores, trace.case.score_label, world)
    return replace(written, time=time, reward=reward, total=total)


def hud_of(
    envs: Any, title: str, action: np.ndarray, scores: np.ndarray, score_label: str = "", world: Any = None
) -> Hud:
    """Returns what to write of an action that is being carried out.

    Args:
        envs: the environment.
        title: who drives where.
        action: of the first world: [] or [D], of several agents [C] or [C, D].
        scores: one figure an action, or none.
        score_label: what they are.
        world: its state, where it is not that of `envs`.
    """
    world = envs.world if world is None else world
    names = action_names(envs.config) or []
    agents = np.atleast_1d(action)
    if names:
        words = ", ".join(names[int(agent)] for agent in agents)
    else:
        words = " ".join(f"{number:+.2f}" if agents.dtype.kind == "f" else str(number) for number in agents.flat)
    return Hud(
        title=title,
        speed=world.speed[0, world.ego[0].long()].tolist(),
        action=words,
        actions=names if len(agents) == 1 else [],
        scores=scores if len(scores) == len(names) > 0 else None,
        score_label=score_label,
        controls=_controls(envs.config["action"], action),
    )


def _controls(config: dict, action: np.ndarray) -> dict[str, float]:
    """What the pedals and the wheel of a single agent that steers directly are asked for, each in [-1, 1]."""
    if config["type"] != "ContinuousAction":
        return {}
    names = {"throttle": "longitudinal", "steering": "lateral"}
    used = [name for name, key in names.items() if config.get(key, True)]
    return dict(zip(used, np.clip(action, -1, 1).tolist(), strict=True))


def simulated(envs: Any, actions: torch.Tensor, each: bool) -> Generator[tuple | None, None, None]:
    """Yields None after each frame of a policy step, then what step returns; an `envs` without frames is one frame."""
    if each and hasattr(envs, "frames"):
        simulation = envs.frames(actions)
        while True:
            try:
                next(simulation)
            except StopIteration as end:
                yield end.value
                return
            yield None
    outcome = envs.step(actions)
    if each:
        yield None
    yield outcome


def _check_states(trace: Trace, step: int, envs: Any, frame: int) -> None:
    """DivergenceError if the state is not the one recorded, where states were."""
    if trace.states is None or frame >= len(trace.states):
        return
    difference = trace.states.difference(frame, envs.world)
    if difference is not None:
        place = f"step {step}, {frame / frame_rate(envs):.2f} s" if step >= 0 else "the reset"
        raise DivergenceError(f"the replay leaves the trace at {place}: {difference}", step, difference)


def _check_decision(trace: Trace, step: int, actions: Any) -> None:
    """DivergenceError if the driver now decides otherwise than recorded: its plan would be of another episode."""
    now = torch.as_tensor(actions)[0].cpu().numpy()
    if not np.array_equal(now, trace.actions[step]):
        raise DivergenceError(
            f"the driver leaves the trace at step {step}: it decides {now}, recorded {trace.actions[step]}", step
        )


def _check_hash(trace: Trace, step: int, envs: Any, state_hash: StateHash | None, frame: int) -> None:
    """DivergenceError if the state after a step (-1: after the reset) has another hash than the recorded one."""
    if step < 0:
        _check_states(trace, step, envs, frame)
    if state_hash is None or not len(trace.hashes):
        return
    found, recorded = hashes_of(state_hash)[0], trace.hashes[step + 1]
    if found != recorded:
        place = f"step {step}" if step >= 0 else "the reset"
        if trace.states is None:
            missing = "no states were recorded that would tell the vehicle and the field"
        else:
            missing = f"the recorded {', '.join(trace.states.fields)} are the same, to single precision"
        hashes = f"state hash {found:016x}, recorded {recorded:016x}"
        raise DivergenceError(f"the replay leaves the trace at {place}: {hashes}; {missing}", step)


def _check(trace: Trace, step: int, reward: float, terminated: bool, truncated: bool) -> None:
    """DivergenceError if a step was rewarded or ended otherwise than recorded.

    A recorder may cut an episode off: the end of the last step may be the trace's alone.
    """
    if not abs(reward - trace.rewards[step]) <= REWARD_TOLERANCE:
        raise DivergenceError(
            f"the replay leaves the trace at step {step}: reward {reward}, recorded {trace.rewards[step]}", step
        )
    ended, recorded = [terminated, truncated], [bool(trace.terminated[step]), bool(trace.truncated[step])]
    cut_off = step == len(trace.actions) - 1 and recorded == [False, True] and not terminated
    if ended != recorded and not cut_off:
        raise DivergenceError(
            f"the replay leaves the trace at step {step}: terminated, truncated {ended}, recorded {recorded}", step
        )
