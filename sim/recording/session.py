"""Driving an episode so that it is recorded: all at once, or frame by frame for somebody who watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sim.evaluation.driver import Driver, idle_action, watchers
from sim.recording.replay import (
    Frame,
    Outcomes,
    begin,
    frame_rate,
    hasher,
    hashes_of,
    hud_of,
    plan_of,
    poses,
    simulated,
)
from sim.recording.states import States, Tape
from sim.recording.traces import Case, Trace, plain

ARRAYS = ("actions", "rewards", "terminated", "truncated", "scores")


class Session:
    """An episode that is being driven and recorded.

    Args:
        driver: who drives.
        envs: one world, of ours (`make_envs`) or of the real highway-env.
        seed: of the episode.
        name: the driver's, for the record.
        full: record the states of all frames too.

    Attributes:
        over: has the episode ended. total: the rewards so far. steps: policy steps so far.
    """

    def __init__(self, driver: Driver, envs: Any, seed: int, name: str = "", full: bool = False):
        self.driver, self.envs, self.seed, self.full = driver, envs, int(seed), full
        self.name = name or type(driver).__name__
        self.over, self.total, self.steps = False, 0.0, 0
        self._observation = begin(driver, envs, [self.seed])
        self._outcomes, self._tape, self._label = Outcomes(1), Tape(), ""
        self._count = self._whole = 0  # frames so far, and up to the end of the last whole step
        self._state_hash = hasher(envs)
        self._hashes = [hashes_of(self._state_hash)]
        self._rows: dict[str, list] = {array: [] for array in ARRAYS}
        if full:
            self._tape.add(envs.world)

    def frames(self) -> Iterator[Frame]:
        """Yields each frame while the episode goes on, the first right after the reset and the last one twice.

        It is the frames that `replay` yields of the trace, with the plan of a driver that has one.
        """
        title = f"{self.name} on {self.envs.id}, seed {self.seed}"
        rate, decided, reward = frame_rate(self.envs), poses(self.envs.world), None
        hud = hud_of(self.envs, title, idle_action(self.envs.single_action_space, self.envs.config), np.zeros(0))
        yield Frame(self.envs, 0.0, replace(hud, time=0.0, total=0.0), 0, self._observation, decided)
        while not self.over:
            observation, first = self._observation, self._count
            action, scores = self._decide()
            plan = plan_of(self.driver)
            for _ in self._simulate(action, scores, True):
                hud = replace(
                    hud_of(self.envs, title, action[0].cpu().numpy(), scores, self._label),
                    time=self._count / rate,
                    reward=reward,
                    total=self.total,
                )
                age = (self._count - first) / rate
                yield Frame(self.envs, self._count / rate, hud, self._count, observation, decided, age, plan=plan)
            reward, decided = float(self._rows["rewards"][-1]), poses(self.envs.world)
        hud = replace(hud, reward=reward, total=self.total)
        yield Frame(self.envs, self._count / rate, hud, self._count, self._observation, decided)

    def run(self, most: int) -> None:
        """Drives to the end of the episode, of at most `most` policy steps, as fast as it goes."""
        while not self.over and self.steps < most:
            for _ in self._simulate(*self._decide(), self.full):
                pass

    def trace(self) -> Trace:
        """Returns what was recorded; an episode that has not ended is cut off after its last whole step.

        Raises:
            ValueError: not one step was driven.
        """
        from sim.evaluation.runner import versions  # which imports this package on its way

        if not self.steps:
            raise ValueError("nothing was driven: a trace needs at least one policy step")
        case = Case(
            id=self.envs.id,
            config=plain(self.envs.config),
            seed=self.seed,
            precision=getattr(self.envs, "precision", "float64"),
            driver=self.name,
            sees=self.driver.sees,
            score_label=self._label,
            versions=versions(),
        )
        arrays = {array: np.array(values) for array, values in self._rows.items()}
        if not self.over:
            arrays["truncated"][-1] = True
        states = None
        if self.full:  # an episode may be cut off in the middle of a step
            states = self._tape.states()
            states = States(states.fields, states.values[:, : self._whole + 1])
        return Trace(case, **arrays, hashes=np.concatenate(self._hashes), states=states)

    def _decide(self) -> tuple[torch.Tensor, np.ndarray]:
        """Asks the driver; returns the actions [1, ...] and its scores of them, none of a driver that gives none."""
        scores = np.zeros(0)
        if hasattr(self.driver, "scores"):
            self._label, values = self.driver.scores(self._observation)
            scores = values[0].detach().cpu().numpy()
        return torch.as_tensor(self.driver.act(self._observation)), scores

    def _simulate(self, actions: torch.Tensor, scores: np.ndarray, each: bool) -> Iterator[None]:
        """Takes a policy step and records it; yields after each frame."""
        watching = watchers(self.driver)
        frames = simulated(self.envs, actions, each or bool(watching))
        while (outcome := next(frames)) is None:
            for look in watching:
                look()
            if not each:
                continue
            self._count += 1
            if self.full:
                self._tape.add(self.envs.world)
            yield
        self._observation = outcome[0]
        reward, terminated, truncated = (column[0] for column in self._outcomes.after(outcome))
        step = (actions[0].cpu().numpy(), reward, terminated, truncated, scores)
        for array, value in zip(self._rows.values(), step, strict=True):
            array.append(value)
        self._hashes.append(hashes_of(self._state_hash))
        self.steps += 1
        self._whole = self._count
        self.total += float(reward)
        self.over = not self._outcomes.alive.any()


def record_episode(driver: Driver, envs: Any, seed: int, name: str = "", full: bool = False) -> Trace:
    """Drives one episode and returns its trace.

    Args:
        driver: who drives.
        envs: one world, of ours (`make_envs`) or of the real highway-env.
        seed: of the episode.
        name: the driver's, for the record.
        full: record the states of all frames too.
    """
    from sim.evaluation.runner import MAX_STEPS  # which imports this package on its way

    session = Session(driver, envs, seed, name, full)
    session.run(MAX_STEPS)
    return session.trace()
