"""DQN: its targets by hand, its exploration, and what it learns."""

import dataclasses

import pytest
import torch

from agents import dqn, networks
from tests.agents.identity import GoalEnvs, IdentityEnvs

SMALL = dqn.Config(
    total_steps=12_288,
    learning_starts=256,
    buffer_size=5_000,
    batch_size=128,
    learning_rate=3e-3,
    gamma=0.8,
    target_update_every=20,
    network=networks.Config(hidden=(32,), activation="relu"),
)
SHORT = dataclasses.replace(SMALL, total_steps=4 * 16 * 8, learning_starts=64, batch_size=32)
PLAIN = {"double": False, "dueling": False, "n_step": 1, "prioritised": False}


def equal(one, other) -> bool:
    one, other = one.policy.state_dict(), other.policy.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_epsilon_falls_linearly_and_stays():
    config = dqn.Config(epsilon_start=0.9, epsilon_final=0.1, exploration_fraction=0.5)
    shares = [dqn.epsilon(config, progress) for progress in (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)]
    assert shares == pytest.approx([0.9, 0.7, 0.5, 0.1, 0.1, 0.1])
    assert dqn.epsilon(dataclasses.replace(config, exploration_fraction=0.0), 0.0) == pytest.approx(0.1)


def test_a_run_explores_as_scheduled():
    """Four iterations of 16 steps; the last step of each is at 15, 31, 47 and 63 of 64."""
    rows: list[dict[str, float]] = []
    config = dataclasses.replace(SHORT, epsilon_start=1.0, epsilon_final=0.0, exploration_fraction=0.5)
    dqn.train(config, IdentityEnvs(8), show_progress=False, on_iteration=rows.append)
    assert [row["epsilon"] for row in rows] == pytest.approx([1 - 15 / 32, 1 - 31 / 32, 0, 0])


def test_all_actions_random_at_epsilon_one_and_greedy_at_zero():
    class Spy(IdentityEnvs):
        def step(self, actions):
            self.actions = actions
            return super().step(actions)

    envs = Spy(4000)
    learner = dqn.Learner(dataclasses.replace(SMALL, buffer_size=50_000), envs)
    learner.reset()

    class Silent:
        def record(self, *_):
            pass

    greedy = learner.policy.greedy(learner.observation)
    learner.explore(Silent(), 1.0)
    # 4000 uniform draws of 4: 1000 each, standard deviation 27.
    assert envs.actions.bincount(minlength=4).tolist() == pytest.approx([1000] * 4, abs=110)
    assert (envs.actions == greedy).float().mean() < 0.4
    greedy = learner.policy.greedy(learner.observation)
    learner.explore(Silent(), 0.0)
    assert torch.equal(envs.actions, greedy)


def test_targets_by_hand():
    """Three samples with return 1; the target values the next actions 2, 8, 4, the network prefers the third.

    Plain: 1 + 1/2 * 8 = 5. Double: 1 + 1/2 * 4 = 3. Discount 0 (terminated): 1. After two steps (1/4): 3, 2.
    """
    returns, discount = torch.ones(3), torch.tensor([0.5, 0.0, 0.25])
    target_values = torch.tensor([[2.0, 8.0, 4.0]] * 3)
    online_values = torch.tensor([[1.0, 0.0, 9.0]] * 3)
    assert dqn.targets(returns, discount, target_values, None).tolist() == [5, 1, 3]
    assert dqn.targets(returns, discount, target_values, online_values).tolist() == [3, 1, 2]


@pytest.mark.parametrize("switches", [{}, PLAIN], ids=["all switches on", "plain"])
def test_it_learns_to_say_what_it_sees(switches, device):
    config = dataclasses.replace(SMALL, **switches)
    driver = dqn.train(config, IdentityEnvs(32, device=device), show_progress=False)
    assert driver.act(torch.eye(4)).tolist() == [0, 1, 2, 3]


def test_it_learns_from_observations_of_several_parts(device):
    driver = dqn.train(SMALL, GoalEnvs(32, device=device), show_progress=False)
    nothing = torch.zeros(4, 4)
    seen = {"observation": nothing, "achieved_goal": nothing, "desired_goal": torch.eye(4)}
    assert driver.act(seen).tolist() == [0, 1, 2, 3]


def test_it_values_what_it_sees(device):
    """One symbol, answered right for ever: reward 1 a step for 8 steps, then truncated, not terminated.

    The value of the right answer is 1 / (1 - 0.5) = 2 at every age. Were the cut taken for an end, it would be less.
    """
    config = dataclasses.replace(SMALL, gamma=0.5, n_step=3, total_steps=8192)
    driver = dqn.train(config, IdentityEnvs(32, size=1, device=device), show_progress=False)
    value = driver.policy(torch.ones(1, 1, device=device)).item()
    assert value == pytest.approx(2.0, abs=0.02)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    one = dqn.train(SHORT, IdentityEnvs(8), show_progress=False)
    same = dqn.train(SHORT, IdentityEnvs(8), show_progress=False)
    other = dqn.train(dataclasses.replace(SHORT, seed=1), IdentityEnvs(8), show_progress=False)
    assert equal(one, same)
    assert not equal(one, other)


@pytest.mark.parametrize("switches", [{}, PLAIN], ids=["all switches on", "plain"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, switches):
    config = dataclasses.replace(SHORT, **switches)
    whole = dqn.train(config, IdentityEnvs(8), show_progress=False)

    def stop_after_two(metrics: dict[str, float]) -> None:
        if metrics["steps"] == 2 * 16 * 8:
            raise KeyboardInterrupt

    run_dir = tmp_path / "run"
    half = dqn.train(config, IdentityEnvs(8), run_dir, show_progress=False, on_iteration=stop_after_two)
    assert not equal(half, whole)
    resumed = dqn.train(config, IdentityEnvs(8), run_dir, resume=True, show_progress=False)
    assert equal(resumed, whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"epsilon_final": 1.5}, "epsilon_final must lie in 0 .. 1"),
        ({"learning_starts": 9999}, "learning_starts=9999 exceeds buffer_size=5000"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dqn.train(dataclasses.replace(SHORT, **changes), IdentityEnvs(8))


def test_continuous_actions_are_refused():
    with pytest.raises(ValueError, match="train continuous ones with ppo"):
        dqn.train(SHORT, IdentityEnvs(8, continuous=True))
