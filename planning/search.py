"""A privileged tree search: every branch is a copy of the world, and thousands of them advance in one batch.

The copies hold everything that decides what happens next: the other drivers' hidden state and the random stream too.
So the search knows the future of each plan exactly, which no driver on a road can: it is a bound to measure others
against, not a competitor of theirs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

import sim
from sim.evaluation.driver import Sees, idle_action
from sim.world import Kind, World

CRASH_COST = 1000.0
"""What a crash takes off the value of a branch: more than any rewards make up for, so that it is the last resort."""
GRID = {"acceleration": (0.0, -1.0, 1.0), "steering": (0.0, -0.33, 0.33, -1.0, 1.0)}
"""Shares of the ranges of a directly steered ego that are tried, of each axis the neutral one first."""
CELL = (2.0, 2.0, 0.4, 4.0)
"""Of a directly steered ego: x, y [m], heading [rad], speed [m/s] less apart than this are the same choice."""
META_CELL = (20.0, 20.0, 100.0, 1000.0)
"""Of an ego that is told lanes and speeds; those are part of its choice, so heading and speed are not."""
LEVEL = 0.6
"""Time that a level lasts where the ego is steered directly [s]; at highway-env's 5 Hz one step decides little."""
HASH = 6364136223846793005
"""Odd multiplier that mixes the bits of a row into one number (Knuth's MMIX generator)."""


@dataclass(frozen=True)
class SearchSettings:
    """How a tree grows.

    Attributes:
        depth: levels on which every action is tried.
        beam: most nodes of a world that are kept on a level. With len(actions)^(depth - 1) it is exhaustive.
        tail: further levels on which only the neutral action is tried: leaves are judged by what it leads to.
        replan: levels after which a new tree is grown, at most all of the plan's; until then the plan is followed: the
            world does what its copies did.
        repeat: policy steps that a level lasts; 0 stands for 1 where actions are discrete, else for `LEVEL`.
        branches: most worlds that are advanced at once.
    """

    depth: int = 16
    beam: int = 32
    tail: int = 2
    replan: int = 4
    repeat: int = 0
    branches: int = 4096

    def __post_init__(self) -> None:
        for name, least in (("depth", 1), ("beam", 1), ("tail", 0), ("replan", 1), ("repeat", 0), ("branches", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"the search's {name} is {value!r}; it must be an integer of at least {least}")


class SearchDriver:
    """Takes the first action of the best plan that a beam search finds in copies of the world.

    A plan's value is the sum of its rewards, less `CRASH_COST` if it ends in a crash. On each level equal states of the
    ego are merged; then the beam keeps the best node of each choice (lane and speed aimed at, and roughly where), then
    the second best of each, so that it never holds variations of one plan only. The plan of the decision before always
    stays in the beam: a way out, once found, is not forgotten. Every world is searched by itself: what is found depends
    neither on the batch nor on other worlds.

    Args:
        device: where actions live.
        settings: of `SearchSettings`.
    """

    sees: Sees = "world"

    def __init__(self, device: str | torch.device = "cpu", **settings: int) -> None:
        self.device = torch.device(device)
        self.settings = SearchSettings(**settings)
        self.branches: Branches | None = None
        self.decisions, self.seconds, self.steps = 0, 0.0, 0

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Takes the environment whose worlds it will copy; ValueError if they cannot be copied or searched."""
        if not hasattr(envs, "load_state_dict"):
            raise ValueError(f"the search driver copies worlds of Slipstream; those of {envs.id} here cannot be copied")
        if isinstance(envs.single_action_space, spaces.Tuple):
            raise ValueError(f"the search driver cannot drive in {envs.id}: it drives one agent only")
        self.envs = envs
        self.actions = candidates(envs.single_action_space, envs.config).to(envs.device)
        self.repeat = self.settings.repeat or steps_of_level(envs)
        width = self.settings.beam * len(self.actions)
        size = max(width, min(self.settings.branches, len(seeds) * width))
        if self.branches is None or not self.branches.fits(envs, size):
            self.branches = Branches(envs, size)
        self.chunk = size // width
        levels = self.settings.depth + self.settings.tail
        self.plans = torch.zeros(len(seeds), levels, dtype=torch.int64, device=envs.device)
        self.age = torch.full((len(seeds),), -1, device=envs.device)

    def reset(self, mask: Tensor) -> None:
        """Forgets the plans of the worlds in `mask` (bool [N])."""
        self.age[mask.to(self.age.device)] = -1

    def act(self, observation: Any) -> Tensor:
        """Returns the actions, [N] or [N, D], of the worlds as they are now; the observation is not looked at."""
        begun = time.perf_counter()
        due = (self.age < 0) | (self.age >= min(self.settings.replan, self.plans.shape[1]) * self.repeat)
        for rows in due.nonzero()[:, 0].split(self.chunk):
            self._search(rows)
        level = self.age.div(self.repeat, rounding_mode="floor")
        action = self.plans.gather(1, level[:, None])[:, 0]
        self.age += 1
        self.decisions += len(action)
        self.seconds += time.perf_counter() - begun
        return self.actions[action].to(self.device)

    def plan(self) -> Tensor:
        """Returns where the egos will be if the plans are carried out, [N, P, 2] [m], in copies of the worlds.

        To be asked just after `act`: the places are those at the ends of the policy steps that follow, NaN after the
        end of an episode or of a plan.
        """
        world, rows = self.envs.world, torch.arange(len(self.age), device=self.age.device)
        most = self.plans.shape[1] * self.repeat
        places = torch.full((len(rows), most, 2), torch.nan, dtype=world.x.dtype, device=rows.device)
        for part in rows.split(self.branches.envs.num_envs):
            self.branches.put(world, part)
            alive = torch.ones(len(part), dtype=torch.bool, device=rows.device)
            for step in range(most):
                level = (self.age[part] - 1 + step) // self.repeat
                alive &= level < self.plans.shape[1]
                if not alive.any():
                    break
                choice = self.plans[part, level.clamp(max=self.plans.shape[1] - 1)]
                _, ended, _ = self.branches.step(self.actions[choice], 1)
                places[part[alive], step] = self.branches.places(len(part))[alive]
                alive &= ~ended
        return places

    def statistics(self) -> dict[str, float]:
        """Returns depth and beam, and of a decision its time [ms] and its branches (policy steps simulated)."""
        count = max(self.decisions, 1)
        return {
            "depth": self.settings.depth + self.settings.tail,
            "beam": self.settings.beam,
            "ms_per_decision": 1000 * self.seconds / count,
            "branches_per_decision": self.steps / count,
        }

    def _search(self, rows: Tensor) -> None:
        """Makes new plans for the worlds `rows` [C]."""
        settings, world, older = self.settings, self.envs.world, self._remaining(rows)
        choices = torch.arange(len(self.actions), device=rows.device)
        best = Best(len(rows), settings.depth + settings.tail, rows.device)
        nodes = Nodes.roots(len(rows), rows.device)
        place = rows
        for level in range(settings.depth + settings.tail):
            tried = choices if level < settings.depth else choices[:1]
            self.branches.put(world, place.repeat_interleave(len(tried)))
            nodes = nodes.children(tried, older[:, level])
            reward, ended, crashed = self.branches.step(self.actions[nodes.path[:, -1]], self.repeat)
            self.steps += len(reward) * self.repeat
            nodes.value += reward - CRASH_COST * crashed
            best.offer(nodes.select(ended))
            live = (~ended).nonzero()[:, 0]
            live = live[kept(nodes.select(live), *self.branches.egos(live), settings.beam)]
            if not len(live):
                break
            nodes, place = nodes.select(live), torch.arange(len(live), device=rows.device)
            world = self.branches.envs.world.select(live)
        else:
            best.offer(nodes)
        self.plans[rows] = best.path
        self.age[rows] = 0

    def _remaining(self, rows: Tensor) -> Tensor:
        """The plans of the worlds `rows`, [C, levels], from now on; -1 where there is none."""
        age, plans = self.age[rows], self.plans[rows]
        level = torch.arange(plans.shape[1], device=rows.device) + (age // self.repeat)[:, None]
        inside = level < plans.shape[1]
        plan = torch.where(inside, plans.gather(1, level.clamp(0, plans.shape[1] - 1)), 0)
        return torch.where(age[:, None] < 0, -1, plan)


@dataclass
class Nodes:
    """M nodes of one level.

    Attributes:
        owner: which of the worlds searched each one belongs to, int64 [M]. value: rewards so far, float64 [M].
        path: the actions from the root, int64 [M, level]. known: bool [M], is it the plan of the decision before.
    """

    owner: Tensor
    value: Tensor
    path: Tensor
    known: Tensor

    @classmethod
    def roots(cls, worlds: int, device: torch.device) -> Nodes:
        """Returns one node a world."""
        owner = torch.arange(worlds, device=device)
        path = torch.zeros(worlds, 0, dtype=torch.int64, device=device)
        return cls(owner, torch.zeros(worlds, dtype=torch.float64, device=device), path, torch.ones_like(owner).bool())

    def children(self, tried: Tensor, planned: Tensor) -> Nodes:
        """Returns a child for each of the actions `tried` [A] of each node; `planned` [C] are the older plans'."""
        owner, value, path, known = (
            part.repeat_interleave(len(tried), dim=0) for part in (self.owner, self.value, self.path, self.known)
        )
        action = tried.repeat(len(self.owner))
        return Nodes(owner, value, torch.cat([path, action[:, None]], 1), known & (action == planned[owner]))

    def select(self, index: Tensor) -> Nodes:
        """Returns the nodes picked by a mask or indices."""
        return Nodes(self.owner[index], self.value[index], self.path[index], self.known[index])


class Best:
    """The best finished plan of each of `worlds` worlds; its path is padded with the neutral action, 0."""

    def __init__(self, worlds: int, levels: int, device: torch.device) -> None:
        self.value = torch.full((worlds,), -torch.inf, dtype=torch.float64, device=device)
        self.path = torch.zeros(worlds, levels, dtype=torch.int64, device=device)

    def offer(self, nodes: Nodes) -> None:
        """Keeps the nodes that are better than what there is; among equals the plan of the decision before."""
        order = nodes.known.to(torch.uint8).argsort(descending=True, stable=True)
        order = order[nodes.value[order].argsort(descending=True, stable=True)]
        nodes = nodes.select(order[rank_within(nodes.owner, order)[order] == 0])
        nodes = nodes.select(nodes.value > self.value[nodes.owner])
        self.value[nodes.owner] = nodes.value
        self.path[nodes.owner] = 0
        self.path[nodes.owner, : nodes.path.shape[1]] = nodes.path


class Branches:
    """Worlds of the same id and config as `envs`, in which plans are tried; those not in use stand still."""

    def __init__(self, envs: Any, size: int) -> None:
        self.envs = sim.make_vec(
            envs.id,
            num_envs=size,
            device=envs.device,
            precision=envs.precision,
            config=envs.config,
            autoreset_mode=AutoresetMode.DISABLED,
        )
        self._rest = self.envs.state_dict()

    def fits(self, envs: Any, size: int) -> bool:
        """Can these worlds take copies of those in `envs`, `size` at a time?"""
        own = self.envs
        same = (own.id, own.config, own.precision) == (envs.id, envs.config, envs.precision)
        return same and own.device == envs.device and own.num_envs == size

    def put(self, world: World, rows: Tensor) -> None:
        """Copies the worlds `rows` [M] of `world` into the first M."""
        self._used = len(rows)
        for name, buffer in self.envs.world.buffers.items():
            buffer[: len(rows)] = world.buffers[name][rows]
        idle = torch.arange(self.envs.num_envs, device=rows.device) >= len(rows)
        self.envs.load_state_dict(self._rest | self.envs.world.buffers | {"pending": idle})

    def step(self, actions: Tensor, repeat: int) -> tuple[Tensor, Tensor, Tensor]:
        """Takes each action [M, ...] `repeat` times and returns float64 reward, bool ended and crashed, [M] each.

        What follows the end of an episode earns nothing.
        """
        everyone = torch.zeros(self.envs.num_envs, *actions.shape[1:], dtype=actions.dtype, device=actions.device)
        everyone[: self._used] = actions
        total = torch.zeros(self._used, dtype=torch.float64, device=actions.device)
        ended, crashed = torch.zeros_like(total).bool(), torch.zeros_like(total).bool()
        for _ in range(repeat):
            _, reward, terminated, truncated, info = self.envs.step(everyone)
            reward, over = reward[: self._used], (terminated | truncated)[: self._used]
            total += torch.where(ended, 0.0, reward.double())
            crashed |= info["crashed"][: self._used] & ~ended
            ended |= over
        return total, ended | crashed, crashed

    def places(self, count: int) -> Tensor:
        """Returns where the egos of the first `count` worlds are, [count, 2] [m]."""
        world = self.envs.world
        slot = world.ego[:count, :1].long()
        return torch.cat([world.x[:count].gather(1, slot), world.y[:count].gather(1, slot)], dim=1)

    def egos(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the egos of the worlds `rows` [M] are exactly, int64 [M, 6], and what they aim at, [M, ...]."""
        world = self.envs.world
        slot = world.ego[rows, 0].long()

        def of(name: str) -> Tensor:
            return getattr(world, name)[rows, slot].double()

        state = torch.stack([of(name) for name in ("x", "y", "heading", "speed")], 1)
        aim = torch.stack([of("target_lane"), of("target_speed")], 1)
        exact = torch.cat([state, aim], 1).view(torch.int64)
        meta = (of("kind") == int(Kind.MDP))[:, None]
        cell, meta_cell = (torch.tensor(size, dtype=state.dtype, device=state.device) for size in (CELL, META_CELL))
        choice = torch.cat([(state / torch.where(meta, meta_cell, cell)).round(), torch.where(meta, aim, 0.0)], 1)
        return exact, choice.long()


def steps_of_level(envs: Any) -> int:
    """Returns how many policy steps a level lasts when nothing is said about it."""
    if isinstance(envs.single_action_space, spaces.Discrete):
        return 1
    return max(1, round(envs.config["policy_frequency"] * LEVEL))


def candidates(space: spaces.Space, config: dict) -> Tensor:
    """Returns the actions that are tried, [A] integers or [A, D] floats, the neutral one first."""
    if isinstance(space, spaces.Discrete):
        idle = int(idle_action(space, config))
        return torch.tensor([idle, *(i for i in range(int(space.n)) if i != idle)])
    keys = {"acceleration": "longitudinal", "steering": "lateral"}
    axes = [axis for axis, key in keys.items() if config["action"].get(key, True)]
    return torch.tensor(list(itertools.product(*(GRID[axis] for axis in axes))), dtype=torch.float32)


def kept(nodes: Nodes, exact: Tensor, choice: Tensor, beam: int) -> Tensor:
    """Returns the indices of the nodes that stay, at most `beam` of each world.

    Args:
        nodes: M live nodes.
        exact: int64 [M, K]; nodes of a world that agree in it are the same.
        choice: int64 [M, L]; nodes of a world that agree in it are variations of each other.
        beam: how many stay.
    """
    order = preference(nodes)
    order = order[rank_within(mixed(nodes.owner, exact), order)[order] == 0]
    variation = rank_within(mixed(nodes.owner, choice), order)
    order = order[variation[order].argsort(stable=True)]
    chosen = order[rank_within(nodes.owner, order)[order] < beam]
    return chosen.sort().values


def preference(nodes: Nodes) -> Tensor:
    """Returns the indices of the nodes from the best to the worst; the plan of the decision before comes first."""
    order = nodes.value.argsort(descending=True, stable=True)
    return order[nodes.known[order].to(torch.uint8).argsort(descending=True, stable=True)]


def rank_within(group: Tensor, order: Tensor) -> Tensor:
    """Returns how many of its group come before each one in `order`, int64 [M]; M for those not in `order`.

    Args:
        group: number of each one's group, [M].
        order: indices, the first comes first; may leave some out.
    """
    ranks = torch.full_like(group, len(group))
    sorted_group, by_group = group[order].sort(stable=True)
    position = torch.arange(len(order), device=group.device)
    begins = torch.ones_like(position, dtype=torch.bool)
    begins[1:] = sorted_group[1:] != sorted_group[:-1]
    ranks[order[by_group]] = position - torch.where(begins, position, 0).cummax(0).values
    return ranks


def mixed(owner: Tensor, rows: Tensor) -> Tensor:
    """Returns one number a row for (owner, *row), int64 [M]; unequal rows share one once in about 2^64 pairs."""
    found = owner.clone()
    for column in rows.unbind(1):
        found = (found ^ (found >> 29)) * HASH + column
    return found ^ (found >> 32)
