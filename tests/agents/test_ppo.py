"""PPO: advantages by hand, mini-batches, and what it learns."""

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from agents import networks, ppo
from tests.agents.identity import GoalEnvs, IdentityEnvs

SMALL = ppo.Config(
    total_steps=32_768,
    minibatch_size=256,
    learning_rate=3e-3,
    entropy_coef=0.0,
    gamma=0.8,
    network=networks.Config(hidden=(32,)),
)
SHORT = dataclasses.replace(SMALL, total_steps=4 * 16 * 8)  # four iterations of eight worlds


def weights(driver) -> dict[str, torch.Tensor]:
    return driver.policy.state_dict()


def equal(one, other) -> bool:
    return all(torch.equal(weights(one)[name], weights(other)[name]) for name in weights(one))


def test_advantages_by_hand():
    """gamma = lambda = 1/2, so that later errors count a quarter each step. Four worlds, all with

        rewards 1 2 3 4, values 2 4 6 8, and after the last step a state worth 16.

    World 0 never ends. Errors r + V'/2 - V: 1 + 2 - 2 = 1; 2 + 3 - 4 = 1; 3 + 4 - 6 = 1; 4 + 8 - 8 = 4.
        Backwards: 4; 1 + 4/4 = 2; 1 + 2/4 = 1.5; 1 + 1.5/4 = 1.375.
    World 1 is truncated on step 1 in a state worth 10: its error is 2 + 5 - 4 = 3, and nothing later counts:
        4; 2; 3; 1 + 3/4 = 1.75.
    World 2 terminates on step 1: error 2 - 4 = -2, whatever the next state:
        4; 2; -2; 1 - 2/4 = 0.5.
    World 3 does both at once, which is a termination.
    """
    column = torch.ones(4)
    rewards = torch.outer(torch.tensor([1.0, 2, 3, 4]), column)
    values = torch.outer(torch.tensor([2.0, 4, 6, 8]), column)
    next_values = torch.outer(torch.tensor([4.0, 6, 8, 16]), column)
    next_values[1, 1:] = 10
    terminated, truncated = torch.zeros(2, 4, 4, dtype=torch.bool)
    truncated[1, [1, 3]] = True
    terminated[1, [2, 3]] = True
    advantages = ppo.gae(rewards, values, next_values, terminated, truncated, 0.5, 0.5)
    expected = [[1.375, 1.5, 2, 4], [1.75, 3, 2, 4], [0.5, -2, 2, 4], [0.5, -2, 2, 4]]
    assert advantages.T.tolist() == expected


class CountingEnvs(gymnasium.vector.VectorEnv):
    """Observation: 100 times the episode plus the step. Two steps an episode; world 0 is cut, world 1 terminates."""

    def __init__(self, device: torch.device):
        self.num_envs, self.device = 2, device
        self.single_observation_space = gymnasium.spaces.Box(0, 1e6, (1,), np.float32)
        self.single_action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None):
        self.count = 0.0
        return self._rows(0.0), {}

    def _rows(self, value: float) -> torch.Tensor:
        return torch.full((2, 1), value, device=self.device)

    def step(self, actions: torch.Tensor):
        self.count += 1
        final = self._rows(self.count)
        ends = self.count % 100 == 2
        if ends:
            self.count += 98
        truncated = torch.tensor([ends, False], device=self.device)
        reward = torch.tensor([3.0, 3.0], device=self.device)
        info = {"final_obs": final}
        return self._rows(self.count), reward, truncated.flip(0), truncated, info


def test_a_cut_episode_is_valued_by_what_was_seen_before_the_reset(device, monkeypatch):
    """lambda = 0, gamma = 1/2, V(observation) = the number in it, reward 3: returns are 3 + V'/2.

    Observations 0, 1 | 100, 101 | 200 end in 1, 2 | 101, 102 | 201. World 0 is cut at 2 and 102, world 1 terminates.
    """
    envs = CountingEnvs(device)
    learner = ppo.Learner(ppo.Config(horizon=5, gamma=0.5, gae_lambda=0.0), envs)
    monkeypatch.setattr(learner.policy, "inputs", lambda observation: observation)  # neither scaled nor clipped
    monkeypatch.setattr(learner.policy, "value", lambda observation: observation[:, 0])
    learner.reset()

    class Silent:
        def record(self, *_):
            pass

    samples = learner.collect(Silent(), progress=0.0)
    assert samples.values.view(5, 2)[:, 0].tolist() == [0, 1, 100, 101, 200]
    assert samples.returns.view(5, 2)[:, 0].tolist() == [3.5, 4, 53.5, 54, 103.5]
    assert samples.returns.view(5, 2)[:, 1].tolist() == [3.5, 3, 53.5, 3, 103.5]


def test_scaled_rewards_forget_their_unit(device):
    """Rewards of deviation 1000, each an episode of its own: scaled, their deviation is 1, whatever the unit."""
    rewards = 1000 * torch.randn(50, 400, generator=torch.Generator().manual_seed(0)).to(device)
    ends = torch.ones(50, 400, dtype=torch.bool, device=device)
    scaled = ppo.RewardScale(400, device)(rewards, ends, 0.9)
    assert scaled.std().item() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(ppo.RewardScale(400, device)(rewards / 1e6, ends, 0.9), scaled, rtol=1e-4, atol=1e-5)
    assert ppo.RewardScale(400, device)(torch.zeros(3, 400, device=device), ends[:3], 0.9).abs().max() == 0


def test_scaled_rewards_have_discounted_sums_of_deviation_one(device):
    """Endless noise of variance 1 discounted by 0.8 sums to the variance 1 / (1 - 0.64) = 2.78."""
    rewards = torch.randn(400, 200, generator=torch.Generator().manual_seed(0)).to(device)
    scaled = ppo.RewardScale(200, device)(rewards, torch.zeros(400, 200, dtype=torch.bool, device=device), 0.8)
    assert scaled.var().item() == pytest.approx(0.36, rel=0.05)


def test_minibatches_hold_every_sample_once_with_its_fields_together(device):
    number = torch.arange(1000, device=device)
    fields = [number.float() + 0.25 * i for i in range(6)]
    fields[0] = fields[0][:, None, None].expand(1000, 5, 5)
    fields[1] = number
    parts = ppo.minibatches(ppo.Samples(*fields), 300, torch.Generator(device).manual_seed(0))
    assert [len(part.returns) for part in parts] == [334, 334, 332]
    seen = torch.cat([part.actions for part in parts])
    assert seen.sort().values.tolist() == list(range(1000))
    assert not torch.equal(seen, number)
    for part in parts:
        assert torch.equal(part.inputs, fields[0][part.actions])
        for i, field in enumerate(part[2:], start=2):
            assert torch.equal(field, part.actions + 0.25 * i)


@pytest.mark.parametrize("shared", [False, True])
def test_it_learns_to_say_what_it_sees(shared, device):
    network = networks.Config(hidden=(32,), shared=shared)
    config = dataclasses.replace(SMALL, network=network)
    driver = ppo.train(config, IdentityEnvs(64, device=device), show_progress=False)
    assert driver.act(torch.eye(4)).tolist() == [0, 1, 2, 3]


def test_it_learns_from_observations_of_several_parts(device):
    driver = ppo.train(SMALL, GoalEnvs(64, device=device), show_progress=False)
    nothing, goals = torch.zeros(4, 4), torch.eye(4)
    seen = {"observation": nothing, "achieved_goal": nothing, "desired_goal": goals}
    assert driver.act(seen).tolist() == [0, 1, 2, 3]
    assert driver.act({name: part.double().numpy() for name, part in seen.items()}).tolist() == [0, 1, 2, 3]


def test_it_learns_from_a_grid(device):
    """The symbol is the corner of the grid in which something stands."""

    class Grid(IdentityEnvs):
        def __init__(self):
            super().__init__(64, device=device)
            self.single_observation_space = gymnasium.spaces.Box(0, 1, (1, 8, 8), np.float32)

        def _observation(self) -> torch.Tensor:
            grid = torch.zeros(self.num_envs, 1, 8, 8, device=self.device)
            grid[torch.arange(self.num_envs), 0, self.symbol // 2 * 7, self.symbol % 2 * 7] = 1.0
            return grid

    driver = ppo.train(SMALL, envs := Grid(), show_progress=False)
    assert type(driver.policy.actor_torso) is networks.CnnTorso
    envs.symbol = torch.arange(64, device=device) % 4
    assert torch.equal(driver.act(envs._observation()), envs.symbol)


def test_it_learns_a_continuous_action(device):
    config = dataclasses.replace(SMALL, total_steps=65_536)
    driver = ppo.train(config, IdentityEnvs(64, continuous=True, device=device), show_progress=False)
    seen = torch.linspace(-1, 1, 9)[:, None]
    assert (driver.act(seen).cpu() - seen).abs().max() < 0.2


def test_attention_learns_on_rows(device):
    """The ego row is empty; the one present vehicle's second column says which action is right."""

    class Rows(IdentityEnvs):
        def __init__(self):
            super().__init__(64, size=2, device=device)
            self.config = {"observation": {"type": "Kinematics", "features": ["presence", "x"]}}
            self.single_observation_space = gymnasium.spaces.Box(-1, 1, (3, 2), np.float32)

        def _observation(self) -> torch.Tensor:
            rows = torch.zeros(self.num_envs, 3, 2, device=self.device)
            rows[:, 1, 0] = 1
            rows[:, 1, 1] = 2.0 * self.symbol - 1
            rows[:, 2, 1] = 1 - 2.0 * self.symbol  # a lie, but absent
            return rows

    config = dataclasses.replace(SMALL, network=networks.Config(torso="attention", hidden=(16,)))
    driver = ppo.train(config, envs := Rows(), show_progress=False)
    envs.symbol = torch.arange(64, device=device) % 2
    assert torch.equal(driver.act(envs._observation()), envs.symbol)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    one = ppo.train(SHORT, IdentityEnvs(8), show_progress=False)
    same = ppo.train(SHORT, IdentityEnvs(8), show_progress=False)
    other = ppo.train(dataclasses.replace(SHORT, seed=1), IdentityEnvs(8), show_progress=False)
    assert equal(one, same)
    assert not equal(one, other)


@pytest.mark.parametrize("continuous", [False, True])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, continuous):
    short = dataclasses.replace(SHORT, normalize_reward=continuous)
    whole = ppo.train(short, IdentityEnvs(8, continuous=continuous), show_progress=False)

    def stop_after_two(metrics: dict[str, float]) -> None:
        if metrics["steps"] == 2 * 16 * 8:
            raise KeyboardInterrupt

    envs = IdentityEnvs(8, continuous=continuous)
    half = ppo.train(short, envs, tmp_path / "run", show_progress=False, on_iteration=stop_after_two)
    assert not equal(half, whole)
    envs = IdentityEnvs(8, continuous=continuous)
    resumed = ppo.train(short, envs, tmp_path / "run", resume=True, show_progress=False)
    assert equal(resumed, whole)


def test_schedules_follow_the_budget():
    """Four iterations, judged at their start: 0, 1/4, 1/2, 3/4 of the way."""
    rows: list[dict[str, float]] = []
    config = dataclasses.replace(SHORT, learning_rate=1e-3, entropy_coef=0.4, entropy_coef_final=0.0)
    ppo.train(config, IdentityEnvs(8), show_progress=False, on_iteration=rows.append)
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [row["entropy_coef"] for row in rows] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert [row["epochs"] for row in rows] == [config.epochs] * 4


def test_the_discount_lengthens_its_horizon_linearly():
    """From 5 steps (0.8) to 20 (0.95): half way 12.5, a discount of 0.92."""
    config = ppo.Config(gamma=0.8, gamma_final=0.95)
    assert [ppo.discount(config, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 0.92, 0.95])
    assert ppo.discount(ppo.Config(gamma=0.8), 0.5) == 0.8


def test_a_large_divergence_ends_the_epochs():
    rows: list[dict[str, float]] = []
    config = dataclasses.replace(SHORT, epochs=4, learning_rate=0.03, target_kl=1e-3, value_clip_range=0.2)
    ppo.train(config, IdentityEnvs(8), show_progress=False, on_iteration=rows.append)
    assert max(row["epochs"] for row in rows) < 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon must be positive"),
        ({"gamma": 1.5}, "gamma must lie in 0 .. 1"),
        ({"total_steps": 0}, "total_steps must be positive"),
        ({"time_limit_s": -1.0}, "time_limit_s must be positive"),
    ],
)
def test_impossible_settings_are_refused_before_any_work(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        ppo.train(dataclasses.replace(SHORT, **changes), IdentityEnvs(8), tmp_path / "run")
    assert not (tmp_path / "run").exists()
