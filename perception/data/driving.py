"""Worlds that are driven for their pictures: who drives, from which seeds, and at what times cameras look."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

import sim
from sim.evaluation.driver import Driver, IdleDriver, RandomDriver, Sees, prepare
from sim.sensors.camera.cameras import Camera
from sim.sensors.camera.rig import CameraRig


@dataclass(frozen=True)
class Source:
    """An environment that pictures come from.

    Attributes:
        id: such as "highway-v0". config: what differs from its own, such as {"vehicles_density": 1.5}.
    """

    id: str
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Source:
        """Return the source that "highway-v0" or "highway-v0:vehicles_density=1.5,lanes_count=3" names.

        Raises:
            ValueError: a setting without "=", or a value that is no JSON; ids and keys are checked when it is built.
        """
        name, _, settings = text.partition(":")
        config = {}
        for part in filter(None, settings.split(",")):
            key, equals, value = part.partition("=")
            try:
                config[key] = json.loads(value)
            except ValueError:
                equals = ""
            if not equals:
                raise ValueError(f"cannot read {part!r} of {text!r}; write ID:KEY=NUMBER,KEY=NUMBER")
        return cls(name, config)


class MixedDriver:
    """Several drivers side by side: the seed of an episode decides who drives it.

    Args:
        members: make the drivers, each with `device=`; one that cannot drive an environment (its `prepare` raises
            ValueError) is left out there.
        device: where actions live.
    """

    sees: Sees = "world"

    def __init__(self, members: Sequence[Callable[..., Driver]], device: str | torch.device = "cpu"):
        self.members = [make(device=device) for make in members]

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Shares the seeds out; ValueError if no member can drive here."""
        self.able, reasons = [], []
        for member in self.members:
            try:
                prepare(member, envs, seeds)
            except ValueError as error:
                reasons.append(str(error))
                continue
            self.able.append(member)
        if not self.able:
            raise ValueError(f"no driver of the mixture can drive in {envs.id}: {'; '.join(reasons)}")
        chosen = [drawn(seed, DRIVER) % len(self.able) for seed in seeds]
        self.chosen = torch.tensor(chosen, device=envs.device)

    def reset(self, mask: Tensor) -> None:
        for number, member in enumerate(self.able):
            member.reset(mask & (self.chosen == number))

    def act(self, observation: Any) -> Tensor:
        actions = self.able[0].act(observation)
        for number, member in enumerate(self.able[1:], 1):
            theirs = (self.chosen == number).reshape(-1, *[1] * (actions.ndim - 1))
            actions = torch.where(theirs, member.act(observation).to(actions.dtype), actions)
        return actions


def random_or_idle(device: str | torch.device = "cpu") -> Driver:
    """Return the driver that needs nothing: half of the episodes are driven at random, half straight on."""
    return MixedDriver((RandomDriver, IdleDriver), device)


DRIVER, LEAD = 1, 2
"""What a number drawn from a seed is for."""


def drawn(seed: int, purpose: int) -> int:
    """Return an integer of 32 bits that depends on a scenario seed alone."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])


@dataclass
class Moment:
    """Where the worlds of a pool stand when their cameras look.

    Attributes:
        tick: 0, 1, ... since the beginning. seeds: of the worlds.
        alive: bool [n]: the episode that the world began with (or, of a pool that restarts, any) is going on.
    """

    tick: int
    seeds: list[int]
    alive: Tensor


class Pool:
    """Worlds of one source, side by side, with a camera rig.

    Args:
        source: the environment.
        worlds: n.
        cameras: of the rig, all of one size.
        domain: names of domains, of which each episode draws one.
        make_driver: called with `device=`.
        fps: pictures a second of simulated time; must divide the simulation frequency.
        device, threads: as of `sim.make_vec`.

    Raises:
        ValueError: an unknown id, config or domain, an impossible camera or rate, a driver that cannot drive here.
    """

    def __init__(
        self,
        source: Source,
        worlds: int,
        cameras: Sequence[Camera],
        domain: Sequence[str],
        make_driver: Callable[..., Driver] = random_or_idle,
        fps: float = 1.0,
        device: str | torch.device = "cpu",
        threads: int | None = None,
    ):
        self.source = source
        self.envs = sim.make_vec(
            source.id,
            num_envs=worlds,
            device=device,
            config=source.config,
            autoreset_mode=AutoresetMode.DISABLED,
            threads=threads,
        )
        frequency = self.envs.config["simulation_frequency"]
        self.interval = round(frequency / fps) if fps > 0 else 0
        if self.interval < 1 or not math.isclose(self.interval * fps, frequency):
            allowed = ", ".join(f"{frequency / k:g}" for k in range(1, int(frequency) + 1) if frequency % k == 0)
            raise ValueError(f"{source.id} runs at {frequency:g} Hz, so fps cannot be {fps:g}; allowed: {allowed}")
        self.rig = CameraRig(self.envs.network, self.envs.world, cameras, domain=list(domain), threads=threads)
        self.driver = make_driver(device=device)
        prepare(self.driver, self.envs, range(worlds))

    def drive(self, seeds: Sequence[int], ticks: int, lead: int, restart: bool) -> Iterator[Moment]:
        """Yield `ticks` moments, `1 / fps` seconds apart; what happens in a world depends on its seed alone.

        Each world has driven for 0 to `lead` policy steps at the first one, as its seed says.

        Args:
            seeds: a scenario seed a world.
            ticks: how many moments.
            lead: most policy steps before the first.
            restart: begin a new episode where one has ended, from the world's own random stream; else it drives on,
                no longer `alive`.
        """
        observation = self._begin(list(seeds), lead)
        alive = torch.ones(self.envs.num_envs, dtype=torch.bool, device=self.envs.device)
        yield Moment(0, list(seeds), alive)
        frame, tick = 0, 0
        while tick < ticks - 1:
            frames = self.envs.frames(self.driver.act(observation))
            while True:
                try:
                    next(frames)
                except StopIteration as end:
                    observation, ended = end.value[0], self._ended(end.value)
                    break
                frame += 1
                if frame % self.interval == 0 and tick < ticks - 1:
                    tick += 1
                    yield Moment(tick, list(seeds), alive)
            if restart:
                observation = self._restarted(observation, ended)
            else:
                alive = alive & ~ended

    def _begin(self, seeds: list[int], lead: int) -> Any:
        """Begin the episodes, each as many policy steps ago as its seed says; returns their observation."""
        prepare(self.driver, self.envs, seeds)
        waiting = torch.tensor([lead - drawn(seed, LEAD) % (lead + 1) for seed in seeds], device=self.envs.device)
        observation, _ = self.envs.reset(seed=seeds)
        self.driver.reset(torch.ones_like(waiting, dtype=torch.bool))
        for step in range(1, lead + 1):
            result = self.envs.step(self.driver.act(observation))
            begins = waiting == step
            observation = self._restarted(result[0], self._ended(result) & ~begins)
            observation = self._restarted(observation, begins, seeds)
        return observation

    @staticmethod
    def _ended(result: tuple) -> Tensor:
        """Return which worlds' episodes ended, bool [n]; of several agents, when all have."""
        terminated, truncated = result[2], result[3]
        return terminated.reshape(len(terminated), -1).all(1) | truncated

    def _restarted(self, observation: Any, mask: Tensor, seeds: list[int] | None = None) -> Any:
        """Begin new episodes in the worlds of a mask and return the observation of all."""
        if not bool(mask.any()):
            return observation
        observation, _ = self.envs.reset(seed=seeds, options={"reset_mask": mask})
        self.driver.reset(mask)
        return observation
