"""Deep Q-learning (Mnih et al. 2015) on batched worlds, without leaving their device.

Four switches: double (van Hasselt et al. 2016), dueling (Wang et al. 2016), n-step returns, and prioritised
replay (Schaul et al. 2016). Read from the bottom: `train` drives the worlds with `explore` and learns with
`update`.

Shapes: N worlds, B samples of a batch, A actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from agents import checkpoint, networks
from agents.replay_buffer import Batch, ReplayBuffer
from agents.run import Run, linear
from agents.spaces import flat, spaces_of

NUM_ENVS = 256
"""Worlds for which the defaults below are meant."""


@dataclass(frozen=True)
class Config:
    """Settings of DQN. A run stops at the first of its two budgets; with neither, after 5 million steps."""

    seed: int = 0
    """Seed of the weights, exploration and replay; world i is reset with seed + i."""
    total_steps: int | None = None
    """Budget in environment steps, all worlds together; alone it makes a run repeatable on CPU."""
    time_limit_s: float | None = None
    """Budget in wall-clock seconds; schedules then follow the clock."""
    horizon: int = 16
    """Steps of every world per iteration (the unit of logging and checkpoints)."""
    updates_per_step: int = 2
    """Gradient steps after each step of all worlds."""
    batch_size: int = 512
    """Samples per gradient step."""
    buffer_size: int = 200_000
    """Transitions kept for replay."""
    learning_starts: int = 5_000
    """Transitions in the buffer before the first gradient step."""
    gamma: float = 0.97
    """Discount per step."""
    learning_rate: float = 5e-4
    """Adam's step size at the start."""
    anneal_learning_rate: bool = True
    """Whether the step size falls linearly to 0 over the budget."""
    target_update_every: int = 200
    """Gradient steps between copies of the network to its target."""
    epsilon_start: float = 1.0
    """Share of random actions at the start."""
    epsilon_final: float = 0.02
    """Share of random actions once exploration is over."""
    exploration_fraction: float = 0.3
    """Share of the budget over which the share of random actions falls linearly."""
    double: bool = True
    """Whether the network picks the next action that its target values."""
    dueling: bool = True
    """Whether the network splits into state value and advantages."""
    n_step: int = 3
    """Rewards in a return before the target network takes over."""
    prioritised: bool = True
    """Whether samples are drawn by their last error rather than uniformly."""
    priority_exponent: float = 0.6
    """How strongly errors count, 0 (not) .. 1 (in proportion)."""
    priority_beta_start: float = 0.4
    """Share of the sampling bias corrected at the start; rises linearly to 1 over the budget."""
    max_grad_norm: float = 10.0
    """Norm to which gradients are clipped."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    network: networks.Config = field(default_factory=lambda: networks.Config(activation="relu"))
    """Shape of the Q-network."""


def check(config: Config) -> None:
    """ValueError naming a setting that cannot work."""
    positive = ("horizon", "updates_per_step", "batch_size", "learning_rate", "target_update_every", "n_step")
    for name in positive:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    for name in ("gamma", "epsilon_start", "epsilon_final", "exploration_fraction", "priority_exponent"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must lie in 0 .. 1, got {getattr(config, name)}")
    if config.learning_starts > config.buffer_size:
        raise ValueError(f"learning_starts={config.learning_starts} exceeds buffer_size={config.buffer_size}")


def epsilon(config: Config, progress: float) -> float:
    """Share of random actions, `progress` (0 .. 1) of the way through the budget."""
    explored = progress / config.exploration_fraction if config.exploration_fraction else 1.0
    return linear(config.epsilon_start, config.epsilon_final, explored)


def targets(returns: Tensor, discount: Tensor, target_values: Tensor, online_values: Tensor | None) -> Tensor:
    """What the value of the action taken should be, [B].

    Args:
        returns: [B], the rewards up to the next observation.
        discount: [B], of the next observation's value; 0 if the episode terminated (not if it was truncated).
        target_values: [B, A], the target network's values of the next observation.
        online_values: [B, A], the network's own values of it, which pick the action (double), or None.
    """
    chooser = target_values if online_values is None else online_values
    best = chooser.argmax(-1, keepdim=True)
    return returns + discount * target_values.gather(-1, best).squeeze(-1)


class Learner:
    """The Q-network, its target and optimizer, the replay buffer and where the worlds stand."""

    def __init__(self, config: Config, envs: Any):
        check(config)
        self.config, self.envs, self.device = config, envs, torch.device(envs.device)
        self.spaces = spaces_of(envs)
        # Weights are drawn on the CPU, so that they are the same on every device.
        nets = [
            networks.QNetwork(
                config.network, self.spaces, torch.Generator().manual_seed(config.seed), config.dueling
            ).to(self.device)
            for _ in range(2)
        ]
        self.policy, self.target = nets[0], nets[1].requires_grad_(False)
        self.parameters = list(self.policy.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.learning_rate, eps=1e-5, fused=True)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self.buffer = ReplayBuffer(
            config.buffer_size,
            envs.num_envs,
            self.spaces.observation,
            self.device,
            config.n_step,
            config.gamma,
            config.priority_exponent if config.prioritised else None,
            self.spaces.dtype,
        )
        self.updates = 0
        self.observation = torch.empty(0, device=self.device)

    def reset(self) -> None:
        """Starts all worlds."""
        self.observation = flat(self.envs.reset(seed=self.config.seed)[0])

    def state(self) -> dict[str, Tensor]:
        """Everything that the next iteration depends on, except the environments."""
        return {
            **checkpoint.prefixed("policy", self.policy.state_dict()),
            **checkpoint.prefixed("target", self.target.state_dict()),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
            **checkpoint.prefixed("buffer", self.buffer.state()),
            "generator": self.generator.get_state(),
            "observation": self.observation,
            "updates": torch.tensor(self.updates),
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `state` returned."""
        self.policy.load_state_dict(checkpoint.part("policy", tensors))
        self.target.load_state_dict(checkpoint.part("target", tensors))
        checkpoint.load_optimizer(self.optimizer, checkpoint.part("optimizer", tensors))
        self.buffer.load_state(checkpoint.part("buffer", tensors))
        self.generator.set_state(tensors["generator"])
        self.observation = tensors["observation"].to(self.device)
        self.updates = int(tensors["updates"])

    @torch.no_grad()
    def explore(self, run: Run, share: float) -> None:
        """Drives every world one step, a `share` of them at random, and remembers what happened."""
        observation = self.observation
        if self.updates == 0:  # later the scale must hold, for the network and its target
            self.policy.standardize.update(observation)
            self.target.standardize.load_state_dict(self.policy.standardize.state_dict())
        chance = torch.rand(len(observation), generator=self.generator, device=self.device)
        random = torch.randint(self.spaces.actions, chance.shape, generator=self.generator, device=self.device)
        actions = torch.where(chance < share, random, self.policy.greedy(observation))
        following, reward, terminated, truncated, info = self.envs.step(actions)
        self.observation = flat(following)
        self.buffer.add(observation, actions, reward, flat(info["final_obs"]), terminated, truncated)
        run.record(reward, terminated, truncated, info)

    def update(self, progress: float) -> Tensor:
        """One gradient step; returns loss, mean value and mean error of the batch, [3]."""
        config = self.config
        beta = linear(config.priority_beta_start, 1.0, progress)
        batch = self.buffer.sample(config.batch_size, self.generator, beta)
        values = self.policy(batch.observations).gather(-1, batch.actions[:, None]).squeeze(-1)
        goal = self._targets(batch)
        loss = (batch.weight * functional.smooth_l1_loss(values, goal, reduction="none")).mean()  # Huber
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(self.parameters, config.max_grad_norm)
        self.optimizer.step()
        error = values.detach() - goal
        self.buffer.update_priorities(batch.index, error)
        self.updates += 1
        if self.updates % config.target_update_every == 0:
            self.target.load_state_dict(self.policy.state_dict())
        return torch.stack((loss.detach(), values.detach().mean(), error.abs().mean()))

    @torch.no_grad()
    def _targets(self, batch: Batch) -> Tensor:
        online = self.policy(batch.next_observations) if self.config.double else None
        return targets(batch.returns, batch.discount, self.target(batch.next_observations), online)

    def iterate(self, run: Run) -> dict[str, float]:
        """Drives and learns for `horizon` steps of every world; returns the losses."""
        config = self.config
        sums, updates, share, rate = torch.zeros(3, device=self.device), 0, 0.0, 0.0
        for _ in range(config.horizon):
            progress = run.progress
            share = epsilon(config, progress)
            rate = config.learning_rate
            rate = linear(rate, 0.0, progress) if config.anneal_learning_rate else rate
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.explore(run, share)
            if len(self.buffer) >= config.learning_starts:
                for _ in range(config.updates_per_step):
                    sums += self.update(progress)
                updates += config.updates_per_step
        means = (sums / max(updates, 1)).tolist()
        metrics = dict(zip(("loss", "value", "td_error"), means, strict=True))
        return metrics | {"learning_rate": rate, "epsilon": share, "updates": self.updates}


def train(
    config: Config,
    envs: Any,
    run_dir: str | Path | None = None,
    resume: bool = False,
    show_progress: bool = True,
    on_iteration: Callable[[dict[str, float]], None] | None = None,
    start_from: str | Path | None = None,
) -> checkpoint.LearnedDriver:
    """Trains a policy in `envs` (same-step autoreset, discrete actions) and returns it as a driver.

    Arguments and errors are those of `agents.ppo.train`.
    """
    learner = Learner(config, envs)
    if start_from is not None and not resume:
        checkpoint.start_from(start_from, "dqn", learner.policy, learner.target)
    description = checkpoint.describe("dqn", config, envs, learner.spaces)
    budget = (config.total_steps, config.time_limit_s)
    with Run(description, budget, envs, run_dir, resume, show_progress, on_iteration) as run:
        learner.reset()
        run.restore(learner)
        while not run.finished:
            run.end_iteration(learner, learner.iterate(run))
    return checkpoint.LearnedDriver(learner.policy.eval(), description)
