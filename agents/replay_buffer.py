"""A replay buffer on the worlds' device: a ring of tensors, n-step returns, optional priorities.

Shapes: N worlds, C capacity, B a sampled batch, S one observation's shape.
"""

from typing import NamedTuple

import torch
from torch import Tensor

FANOUT = 128
"""Children of a node of the sum tree: three levels hold two million priorities."""


class Batch(NamedTuple):
    """Transitions to learn from: Q(observation, action) should be `returns + discount * V(next)`."""

    observations: Tensor  # [B, *S]
    actions: Tensor  # [B] int64
    returns: Tensor  # [B], discounted rewards up to n steps on, or to the episode's end
    next_observations: Tensor  # [B, *S], what was seen after the last of them, before any reset
    discount: Tensor  # [B], gamma ** (steps in the return), and 0 if the episode terminated on them
    index: Tensor  # [B] int64, place in the buffer
    weight: Tensor  # [B], importance of the sample, at most 1


class SumTree:
    """Non-negative priorities that can be sampled in proportion, many at a time.

    Every inner node holds the sum of its `FANOUT` children and is summed anew when one of them changes, so
    rounding errors never pile up.
    """

    def __init__(self, capacity: int, device: torch.device):
        self.capacity = capacity
        self.levels: list[Tensor] = []  # root's children first, leaves last
        size = capacity
        while True:
            padded = -(-size // FANOUT) * FANOUT
            self.levels.insert(0, torch.zeros(padded, dtype=torch.float64, device=device))
            if padded == FANOUT:
                return
            size = padded // FANOUT

    @property
    def leaves(self) -> Tensor:
        """The priorities, [C]."""
        return self.levels[-1][: self.capacity]

    @property
    def total(self) -> Tensor:
        """Sum of all priorities, a scalar."""
        return self.levels[0].sum()

    def set(self, index: Tensor, priority: Tensor) -> None:
        """Sets the priorities at `index` [B]; an index given twice must carry the same priority twice."""
        self.levels[-1][index] = priority.to(torch.float64)
        self._sum_above(index)

    def _sum_above(self, index: Tensor) -> None:
        for parents, children in zip(self.levels[-2::-1], self.levels[:0:-1], strict=True):
            index = torch.div(index, FANOUT, rounding_mode="floor")
            parents[index] = children.view(-1, FANOUT)[index].sum(-1)

    def load(self, leaves: Tensor) -> None:
        """Replaces all priorities, [C]."""
        self.levels[-1][: self.capacity] = leaves.to(self.levels[-1].device)
        self._sum_above(torch.arange(0, self.capacity, FANOUT, device=leaves.device).to(self.levels[-1].device))

    def find(self, share: Tensor) -> Tensor:
        """The leaves [B] at which the running sum of priorities passes `share` [B] (0 .. 1) of the total."""
        node = torch.zeros(share.shape, dtype=torch.int64, device=share.device)
        share = share.to(torch.float64)
        almost_one = 1.0 - 1e-12  # so that rounding never steps past the last leaf with weight
        for level in self.levels:
            running = level.view(-1, FANOUT)[node].cumsum(-1)  # [B, FANOUT]
            target = share.clamp(0.0, almost_one)[:, None] * running[:, -1:]
            # The first child whose running sum exceeds the target has weight: empty leaves are never met.
            child = torch.searchsorted(running, target, right=True)
            above = running.gather(1, child)
            below = torch.where(child > 0, running.gather(1, (child - 1).clamp_(min=0)), 0.0)
            share = ((target - below) / (above - below)).squeeze(1)
            node = node * FANOUT + child.squeeze(1)
        return node


class NStep:
    """Joins n successive steps of every world into one transition."""

    def __init__(self, steps: int, gamma: float):
        self.steps, self.gamma = steps, gamma
        self.ring: dict[str, Tensor] = {}  # [n, N, ...] each
        self.count = 0

    def push(self, **step: Tensor) -> dict[str, Tensor] | None:
        """Takes one step of every world, [N, ...] each, and returns the transition begun n - 1 steps ago.

        None until n steps were taken. The worlds reset themselves, so a window may hold the end of an
        episode: what comes after it belongs to another one and is left out.
        """
        if not self.ring:
            self.ring = {name: torch.stack([value] * self.steps) for name, value in step.items()}
        for name, value in step.items():
            self.ring[name][self.count % self.steps] = value
        self.count += 1
        if self.count < self.steps:
            return None
        oldest = self.count % self.steps
        first = {name: ring[oldest] for name, ring in self.ring.items()}
        returns, next_observation = first["reward"].clone(), first["next_observation"]
        discount = self.gamma * ~first["terminated"]
        going_on = ~(first["terminated"] | first["truncated"])
        for ahead in range(1, self.steps):
            later = {name: ring[(oldest + ahead) % self.steps] for name, ring in self.ring.items()}
            returns = returns + self.gamma**ahead * later["reward"] * going_on
            mask = going_on.view(-1, *[1] * (next_observation.dim() - 1))
            next_observation = torch.where(mask, later["next_observation"], next_observation)
            discount = torch.where(going_on, self.gamma ** (ahead + 1) * ~later["terminated"], discount)
            going_on = going_on & ~(later["terminated"] | later["truncated"])
        return {
            "observations": first["observation"],
            "actions": first["action"],
            "returns": returns,
            "next_observations": next_observation,
            "discount": discount,
        }


class ReplayBuffer:
    """The last C transitions of N worlds, sampled uniformly or by priority (Schaul et al. 2016)."""

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        device: torch.device | str,
        n_step: int = 1,
        gamma: float = 0.99,
        priority_exponent: float | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        """Allocates the ring.

        Args:
            capacity: transitions to keep, rounded down to whole steps of all worlds.
            num_envs: worlds.
            observation_shape: shape of one observation.
            device: where the worlds live.
            n_step: rewards in a return.
            gamma: discount per step.
            priority_exponent: how strongly errors count, 0 (not) .. 1 (in proportion); None: uniform.
            dtype: of observations.
        """
        if n_step < 1:
            raise ValueError(f"n_step must be at least 1, got {n_step}")
        if capacity < num_envs:
            raise ValueError(f"a buffer of {capacity} transitions is too small for one step of {num_envs} worlds")
        self.rows, self.num_envs, self.device = capacity // num_envs, num_envs, torch.device(device)
        self.capacity = self.rows * num_envs

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(self.capacity, *shape, dtype=dtype, device=self.device)

        self.data = {
            "observations": room(*observation_shape, dtype=dtype),
            "actions": room(dtype=torch.int64),
            "returns": room(),
            "next_observations": room(*observation_shape, dtype=dtype),
            "discount": room(),
        }
        self.n_step = NStep(n_step, gamma)
        self.written = 0  # rows ever written
        self.priority_exponent = priority_exponent
        self.tree = None if priority_exponent is None else SumTree(self.capacity, self.device)
        self.highest = torch.ones((), dtype=torch.float64, device=self.device)

    def __len__(self) -> int:
        return min(self.written, self.rows) * self.num_envs

    def add(
        self,
        observation: Tensor,
        action: Tensor,
        reward: Tensor,
        next_observation: Tensor,
        terminated: Tensor,
        truncated: Tensor,
    ) -> None:
        """Adds one step of every world, [N, ...] each; `next_observation` is the one before any reset."""
        transition = self.n_step.push(
            observation=observation,
            action=action,
            reward=reward.float(),
            next_observation=next_observation,
            terminated=terminated,
            truncated=truncated,
        )
        if transition is None:
            return
        start = self.written % self.rows * self.num_envs
        for name, value in transition.items():
            self.data[name][start : start + self.num_envs] = value
        if self.tree is not None:
            # New transitions take the highest priority met so far, so that each is likely to be seen once.
            index = torch.arange(start, start + self.num_envs, device=self.device)
            self.tree.set(index, self.highest.expand(self.num_envs))
        self.written += 1

    def sample(self, batch_size: int, generator: torch.Generator, beta: float = 1.0) -> Batch:
        """Draws transitions, with replacement.

        Args:
            batch_size: how many.
            generator: on the buffer's device.
            beta: share of the bias of prioritised sampling that the weights take back, 0 .. 1.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay buffer")
        if self.tree is None:
            index = torch.randint(len(self), (batch_size,), generator=generator, device=self.device)
            weight = torch.ones(batch_size, device=self.device)
        else:
            draw = torch.rand(batch_size, generator=generator, dtype=torch.float64, device=self.device)
            # One draw from each of B equal slices of the total: same odds, less variance.
            share = (torch.arange(batch_size, device=self.device) + draw) / batch_size
            index = self.tree.find(share)
            probability = self.tree.leaves[index] / self.tree.total
            weight = (probability * len(self)).pow(-beta)
            weight = (weight / weight.max()).float()
        return Batch(**{name: ring[index] for name, ring in self.data.items()}, index=index, weight=weight)

    def update_priorities(self, index: Tensor, errors: Tensor) -> None:
        """Sets priorities [B] from temporal-difference errors [B]; does nothing if sampling is uniform."""
        if self.tree is None:
            return
        priority = (errors.detach().abs().to(torch.float64) + 1e-6).pow(self.priority_exponent)
        self.highest = torch.maximum(self.highest, priority.max())
        self.tree.set(index, priority)

    def state(self) -> dict[str, Tensor]:
        """The filled part of the ring and the unfinished windows, as named tensors."""
        filled = len(self)
        state = {name: ring[:filled] for name, ring in self.data.items()}
        state |= {f"window.{name}": ring for name, ring in self.n_step.ring.items()}
        state["counts"] = torch.tensor([self.written, self.n_step.count])
        if self.tree is not None:
            state |= {"priorities": self.tree.leaves[:filled], "highest": self.highest}
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Puts back what `state` returned."""
        self.written, self.n_step.count = state["counts"].tolist()
        filled = len(self)
        for name, ring in self.data.items():
            ring[:filled] = state[name].to(self.device)
        window = {name: tensor for name, tensor in state.items() if name.startswith("window.")}
        self.n_step.ring = {name.removeprefix("window."): tensor.to(self.device) for name, tensor in window.items()}
        if self.tree is not None:
            leaves = torch.zeros(self.capacity, dtype=torch.float64, device=self.device)
            leaves[:filled] = state["priorities"].to(self.device)
            self.tree.load(leaves)
            self.highest = state["highest"].to(self.device)
