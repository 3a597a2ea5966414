"""Proximal policy optimisation (Schulman et al. 2017) on batched worlds, without leaving their device.

Read from the bottom: `train` collects a rollout, turns it into advantages with `gae` and improves the policy
with `update`, until the budget is used up.

Shapes: T steps of a rollout, N worlds, B = T * N samples, S one observation's shape.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from agents import checkpoint, networks
from agents.run import Run, linear
from agents.spaces import Spaces, flat, spaces_of

NUM_ENVS = 2048
"""Worlds for which the defaults below are meant."""


@dataclass(frozen=True)
class Config:
    """Settings of PPO. A run stops at the first of its two budgets; with neither, after 5 million steps."""

    seed: int = 0
    """Seed of the weights, the sampled actions and mini-batches; world i is reset with seed + i."""
    total_steps: int | None = None
    """Budget in environment steps, all worlds together; alone it makes a run repeatable on CPU."""
    time_limit_s: float | None = None
    """Budget in wall-clock seconds; schedules then follow the clock."""
    horizon: int = 16
    """Steps of every world per iteration."""
    gamma: float = 0.97
    """Discount per step, at the start."""
    gamma_final: float | None = None
    """Discount at the end of the budget, reached linearly in the horizon 1 / (1 - gamma); None: constant. A short
    horizon learns first to drive fast and dodge, a longer one then to avoid what ends badly later; the other way
    round, caution keeps the learner from ever seeing fast traffic."""
    gae_lambda: float = 0.6
    """Weight of longer returns in the advantage, 0 (one step) .. 1 (whole episode). Rare crashes dominate the variance
    of long returns, so less than the usual 0.95."""
    learning_rate: float = 3e-3
    """Adam's step size at the start."""
    anneal_learning_rate: bool = True
    """Whether the step size falls linearly to 0 over the budget."""
    epochs: int = 2
    """Passes over each rollout."""
    minibatch_size: int = 4096
    """Samples per gradient step, at least; rollouts are cut into equal parts."""
    clip_range: float = 0.2
    """Change of the action's probability ratio beyond which the objective is flat."""
    value_clip_range: float | None = None
    """Change of the value beyond which its loss is flat, in units of return; None: not clipped."""
    value_coef: float = 0.5
    """Weight of the value loss."""
    entropy_coef: float = 0.003
    """Weight of the entropy bonus at the start."""
    entropy_coef_final: float | None = 0.0
    """Weight of the entropy bonus at the end of the budget, reached linearly; None: constant."""
    normalize_advantage: bool = True
    """Whether advantages have mean 0 and deviation 1 in each mini-batch."""
    max_grad_norm: float = 0.5
    """Norm to which gradients are clipped."""
    target_kl: float | None = None
    """KL divergence (nats) from the rollout's policy after which an iteration's epochs stop; None: never."""
    reward_scale: float = 1.0
    """Factor on rewards before learning; logged returns are unscaled."""
    normalize_reward: bool = False
    """Whether rewards are divided by the deviation of their discounted sums before learning, for problems whose returns
    are far from 1."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    network: networks.Config = field(default_factory=networks.Config)
    """Shape of the actor and the critic."""


def check(config: Config) -> None:
    """ValueError naming a setting that cannot work."""
    for name in ("horizon", "epochs", "minibatch_size", "learning_rate", "max_grad_norm", "clip_range"):
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    for name in ("gamma", "gamma_final", "gae_lambda"):
        value = getattr(config, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in 0 .. 1, got {value}")
    if config.gamma_final is not None and max(config.gamma, config.gamma_final) == 1:
        raise ValueError("gamma and gamma_final must be below 1 where the discount changes")


def discount(config: Config, progress: float) -> float:
    """The discount at a share `progress` (0 .. 1) of the budget."""
    if config.gamma_final is None:
        return config.gamma
    return 1 - 1 / linear(1 / (1 - config.gamma), 1 / (1 - config.gamma_final), progress)


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016), [T, N] as all inputs.

    `next_values` are those of the observations before any reset. They count unless the step terminated: a
    truncated episode would have gone on. At either end the sum over later steps stops, for the next row is
    another episode.
    """
    delta = rewards + gamma * next_values * ~terminated - values
    carry = gamma * gae_lambda * ~(terminated | truncated)
    advantages = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        following = delta[t] + carry[t] * following
        advantages[t] = following
    return advantages


class RewardScale:
    """Divides rewards by the deviation of their discounted sums, over all that it was shown."""

    LIMIT = 10.0  # deviations beyond which a reward is clipped

    def __init__(self, num_envs: int, device: torch.device):
        self.sums = torch.zeros(num_envs, device=device)  # of each world's episode, discounted
        self.moments = torch.zeros(3, dtype=torch.float64, device=device)  # count, sum and sum of squares of the sums

    def __call__(self, rewards: Tensor, done: Tensor, gamma: float) -> Tensor:
        """Rewards [T, N] of steps that ended an episode where `done` [T, N]; adds them to the statistics first."""
        for reward, ends in zip(rewards, done, strict=True):
            self.sums = self.sums * gamma + reward
            seen = self.sums.double()
            self.moments += torch.stack((torch.ones_like(seen), seen, seen.square()), dim=0).sum(1)
            self.sums = self.sums * ~ends
        count, total, squares = self.moments
        variance = (squares / count - (total / count).square()).clamp(min=1e-8)
        return (rewards * variance.rsqrt().to(rewards.dtype)).clamp(-self.LIMIT, self.LIMIT)

    def state(self) -> dict[str, Tensor]:
        """What it has seen."""
        return {"sums": self.sums, "moments": self.moments}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `state` returned."""
        self.sums, self.moments = (tensors[name].to(self.sums.device) for name in ("sums", "moments"))


class Rollout(NamedTuple):
    """What the policy did and saw, filled in place by every iteration."""

    observations: Tensor  # [T, N, *S]
    inputs: Tensor  # [T, N, ...], what the network reads of them; of pictures the same memory
    final_observations: Tensor  # [T, N, *S], after the step and before any reset
    actions: Tensor  # [T, N] int64, or [T, N, A] before clipping to the Box
    log_probs: Tensor  # [T, N]
    rewards: Tensor  # [T, N]
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool

    @classmethod
    def empty(cls, horizon: int, num_envs: int, spaces: Spaces, inputs: Tensor, device: torch.device) -> "Rollout":
        """Room for `horizon` steps; `inputs` [1, ...] is what the network reads of one observation."""

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(horizon, num_envs, *shape, dtype=dtype, device=device)

        actions = room(spaces.actions) if spaces.continuous else room(dtype=torch.int64)
        seen, final = (room(*spaces.observation, dtype=spaces.dtype) for _ in range(2))
        read = seen if spaces.picture and inputs.dtype == seen.dtype else room(*inputs.shape[1:], dtype=inputs.dtype)
        return cls(seen, read, final, actions, room(), room(), room(dtype=torch.bool), room(dtype=torch.bool))


class Samples(NamedTuple):
    """A rollout as the update reads it: one row a sample."""

    inputs: Tensor  # [B, ...]
    actions: Tensor  # [B] or [B, A]
    log_probs: Tensor  # [B]
    values: Tensor  # [B]
    advantages: Tensor  # [B]
    returns: Tensor  # [B]


def minibatches(samples: Samples, size: int, generator: torch.Generator) -> list[Samples]:
    """All samples in random order, in equal parts of at least `size` (fewer if there are not that many)."""
    total = len(samples.returns)
    order = torch.randperm(total, generator=generator, device=samples.returns.device)
    # One gather an epoch: the parts are then views.
    parts = [tensor[order].chunk(max(1, total // size)) for tensor in samples]
    return [Samples(*part) for part in zip(*parts, strict=True)]


class Learner:
    """The policy, its optimizer and where the worlds stand."""

    def __init__(self, config: Config, envs: Any):
        check(config)
        self.config, self.envs, self.device = config, envs, torch.device(envs.device)
        self.spaces = spaces_of(envs)
        # Weights are drawn on the CPU, so that they are the same on every device.
        weights = torch.Generator().manual_seed(config.seed)
        self.policy = networks.ActorCritic(config.network, self.spaces, weights).to(self.device)
        self.parameters = list(self.policy.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.learning_rate, eps=1e-5, fused=True)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        nothing = torch.zeros(1, *self.spaces.observation, dtype=self.spaces.dtype, device=self.device)
        self.rollout = Rollout.empty(
            config.horizon, envs.num_envs, self.spaces, self.policy.inputs(nothing), self.device
        )
        self.observation = torch.empty(0, device=self.device)
        self.reward_scale = RewardScale(envs.num_envs, self.device) if config.normalize_reward else None

    def reset(self) -> None:
        """Starts all worlds."""
        self.observation = flat(self.envs.reset(seed=self.config.seed)[0])

    def state(self) -> dict[str, Tensor]:
        """Everything that the next iteration depends on, except the environments."""
        scale = {} if self.reward_scale is None else self.reward_scale.state()
        return {
            **checkpoint.prefixed("policy", self.policy.state_dict()),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
            **checkpoint.prefixed("reward_scale", scale),
            "generator": self.generator.get_state(),
            "observation": self.observation,
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `state` returned."""
        self.policy.load_state_dict(checkpoint.part("policy", tensors))
        checkpoint.load_optimizer(self.optimizer, checkpoint.part("optimizer", tensors))
        self.generator.set_state(tensors["generator"])
        self.observation = tensors["observation"].to(self.device)
        if self.reward_scale is not None:
            self.reward_scale.load_state(checkpoint.part("reward_scale", tensors))

    @torch.no_grad()
    def collect(self, run: Run, progress: float) -> Samples:
        """Drives every world for `horizon` steps with the current policy, `progress` (0 .. 1) into the budget."""
        rollout = self.rollout
        for t in range(self.config.horizon):
            inputs = self.policy.inputs(self.observation)
            actions, log_probs = self.policy.act(inputs, self.generator)
            rollout.observations[t], rollout.inputs[t] = self.observation, inputs
            rollout.actions[t], rollout.log_probs[t] = actions, log_probs
            observation, reward, terminated, truncated, info = self.envs.step(self.policy.bounded(actions))
            self.observation = flat(observation)
            rollout.final_observations[t] = flat(info["final_obs"])
            rollout.rewards[t], rollout.terminated[t], rollout.truncated[t] = reward, terminated, truncated
            run.record(reward, terminated, truncated, info)
        return self._samples(rollout, discount(self.config, progress))

    def _samples(self, rollout: Rollout, gamma: float) -> Samples:
        last = self.policy.inputs(self.observation)
        seen = torch.cat((rollout.inputs, last[None])).flatten(0, 1)
        # Numbers made of a picture take four times its memory, and convolutions several times that.
        size = self.config.minibatch_size if self.spaces.picture else len(seen)
        values = torch.cat([self.policy.value(part) for part in seen.split(size)])
        values = values.view(len(rollout.rewards) + 1, -1)  # [T + 1, N]
        values, next_values = values[:-1], values[1:].clone()
        # Where an episode was cut short the next row shows another one: value what was seen before the reset.
        cut = rollout.truncated
        next_values[cut] = self.policy.value(self.policy.inputs(rollout.final_observations[cut]))
        config = self.config
        rewards = rollout.rewards * config.reward_scale
        if self.reward_scale is not None:
            rewards = self.reward_scale(rewards, rollout.terminated | rollout.truncated, gamma)
        ends = (rollout.terminated, rollout.truncated)
        advantages = gae(rewards, values, next_values, *ends, gamma, config.gae_lambda)
        seen_and_done = (rollout.inputs, rollout.actions, rollout.log_probs)
        rows = (*seen_and_done, values, advantages, advantages + values)
        return Samples(*(tensor.flatten(0, 1) for tensor in rows))

    def update(self, samples: Samples, progress: float) -> dict[str, float]:
        """Improves the policy on one rollout, `progress` (0 .. 1) into the budget; returns the losses."""
        config = self.config
        final = config.entropy_coef if config.entropy_coef_final is None else config.entropy_coef_final
        entropy_coef = linear(config.entropy_coef, final, progress)
        rate = config.learning_rate
        learning_rate = linear(rate, 0.0, progress) if config.anneal_learning_rate else rate
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        sums, steps, epochs = torch.zeros(5, device=self.device), 0, 0
        while epochs < config.epochs:
            epochs += 1
            kl = torch.zeros((), device=self.device)
            parts = minibatches(samples, config.minibatch_size, self.generator)
            for batch in parts:
                loss, terms = self._loss(batch, entropy_coef)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                clip_grad_norm_(self.parameters, config.max_grad_norm)
                self.optimizer.step()
                sums += terms
                kl += terms[3]
            steps += len(parts)
            if config.target_kl is not None and kl.item() / len(parts) > config.target_kl:
                break
        # after the epochs, so that within an iteration the policy's ratios see one scale
        self.policy.standardize.update(self.rollout.observations.flatten(0, 1))
        names = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")
        metrics = dict(zip(names, (sums / steps).tolist(), strict=True))
        return metrics | {"learning_rate": learning_rate, "entropy_coef": entropy_coef, "epochs": epochs}

    def _loss(self, batch: Samples, entropy_coef: float) -> tuple[Tensor, Tensor]:
        """The loss of one mini-batch, and its terms for the log (no gradient)."""
        config, low, high = self.config, 1.0 - self.config.clip_range, 1.0 + self.config.clip_range
        log_probs, entropy, values = self.policy.evaluate(batch.inputs, batch.actions)
        advantages = batch.advantages
        if config.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_probs - batch.log_probs
        ratio = log_ratio.exp()
        policy_loss = -torch.min(ratio * advantages, ratio.clamp(low, high) * advantages).mean()
        error = (values - batch.returns).square()
        if config.value_clip_range is not None:
            limit = config.value_clip_range
            clipped = batch.values + (values - batch.values).clamp(-limit, limit)
            error = torch.max(error, (clipped - batch.returns).square())
        value_loss, entropy = 0.5 * error.mean(), entropy.mean()
        loss = policy_loss + config.value_coef * value_loss - entropy_coef * entropy
        with torch.no_grad():
            kl = (ratio - 1.0 - log_ratio).mean()  # Schulman's low-variance estimate
            clip_fraction = ((ratio - 1.0).abs() > config.clip_range).float().mean()
            return loss, torch.stack((policy_loss, value_loss, entropy, kl, clip_fraction))


def train(
    config: Config,
    envs: Any,
    run_dir: str | Path | None = None,
    resume: bool = False,
    show_progress: bool = True,
    on_iteration: Callable[[dict[str, float]], None] | None = None,
    start_from: str | Path | None = None,
) -> checkpoint.LearnedDriver:
    """Trains a policy in `envs` (same-step autoreset) and returns it as a driver.

    Args:
        config: settings.
        envs: batched environments whose tensors live on `envs.device`.
        run_dir: folder for weights, checkpoints and metrics; None writes nothing.
        resume: go on from the checkpoint in `run_dir`; on CPU, with a step budget, to the same weights as if
            never stopped.
        show_progress: whether to show the progress line.
        on_iteration: called with each iteration's metrics; may raise KeyboardInterrupt to stop.
        start_from: a run folder whose policy is trained on, in place of a new one.

    Raises:
        ValueError: a setting or space that cannot work, or a resumption that does not fit its folder.
        FileExistsError: `run_dir` holds another run.
        FileNotFoundError: nothing to resume from.
    """
    learner = Learner(config, envs)
    if start_from is not None and not resume:
        checkpoint.start_from(start_from, "ppo", learner.policy)
    description = checkpoint.describe("ppo", config, envs, learner.spaces)
    budget = (config.total_steps, config.time_limit_s)
    with Run(description, budget, envs, run_dir, resume, show_progress, on_iteration) as run:
        learner.reset()
        run.restore(learner)
        while not run.finished:
            progress = run.progress
            samples = learner.collect(run, progress)
            run.end_iteration(learner, learner.update(samples, progress))
    return checkpoint.LearnedDriver(learner.policy.eval(), description)
