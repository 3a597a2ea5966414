import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC, HerReplayBuffer
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

import sim
from sim.sb3 import VecEnv

FAST = "highway-fast-v0"
TINY = {"net_arch": [16]}


def test_ppo_learns_on_it(device):
    env = VecEnv(FAST, num_envs=8, device=device)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, policy_kwargs=TINY, seed=0, device="cpu")
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(512)
    assert model.num_timesteps == 512
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    assert 0 < np.mean([episode["r"] for episode in model.ep_info_buffer]) < 30


def test_ppo_learns_continuous_actions(device):
    env = VecEnv(FAST, num_envs=4, device=device, config={"action": {"type": "ContinuousAction"}})
    PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, policy_kwargs=TINY, seed=0, device="cpu").learn(128)


def test_dqn_learns_on_it(device):
    env = VecEnv(FAST, num_envs=4, device=device)
    options = {"learning_starts": 40, "train_freq": 4, "buffer_size": 1000, "policy_kwargs": TINY, "device": "cpu"}
    model = DQN("MlpPolicy", env, seed=0, **options)
    model.learn(400)
    assert model.num_timesteps == 400 and model.replay_buffer.full is False and model.replay_buffer.pos == 100
    dones = model.replay_buffer.dones[:100]
    assert dones.any() and model.replay_buffer.rewards[:100].max() <= 1


def test_policies_are_evaluated_on_it(device):
    env = VecEnv(FAST, num_envs=4, device=device)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, policy_kwargs=TINY, device="cpu")
    rewards, lengths = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True)
    assert len(rewards) == 6 and all(1 <= length <= 30 for length in lengths)


def test_sb3_wrappers_stand_around_it(device):
    env = VecNormalize(VecEnv(FAST, num_envs=3, device=device))
    assert env.reset().shape == (3, 5, 5)
    for _ in range(3):
        env.step(np.array([1, 1, 1]))


@pytest.mark.parametrize("config", [{"duration": 4}, {"duration": 1, "vehicles_density": 8, "ego_spacing": 0.1}])
def test_episodes_as_the_vector_environment_plays_them(config, device):
    """Return, length, ends and last observation of each episode, beside worlds that are reset by hand."""
    n = 40
    env = VecEnv(FAST, num_envs=n, device=device, config=config)
    plain = sim.make_vec(FAST, n, device=device, config=config, autoreset_mode="Disabled")
    env.seed(6)
    observation = env.reset()
    assert observation.dtype == np.float32 and observation.shape == (n, 5, 5)
    assert np.array_equal(observation, plain.reset(seed=6)[0].cpu().numpy())
    returns, lengths, kinds = np.zeros(n), np.zeros(n, dtype=int), set()
    rng = np.random.default_rng(0)
    for _ in range(9):
        actions = rng.integers(5, size=n)
        observation, rewards, done, infos = env.step(actions)
        expected, reward, terminated, truncated, info = plain.step(actions)
        assert rewards.dtype == np.float32 and np.array_equal(rewards, reward.cpu().numpy())
        assert done.dtype == bool and np.array_equal(done, (terminated | truncated).cpu().numpy())
        returns += rewards
        lengths += 1
        for i in range(n):
            if not done[i]:
                assert infos[i] == {}
                continue
            assert np.array_equal(infos[i]["terminal_observation"], expected[i].cpu().numpy())
            assert infos[i]["TimeLimit.truncated"] is bool(truncated[i] and not terminated[i])
            assert infos[i]["crashed"] is bool(info["crashed"][i])
            assert infos[i]["episode"]["r"] == pytest.approx(returns[i])
            assert infos[i]["episode"]["l"] == lengths[i] and infos[i]["episode"]["t"] >= 0
            kinds.add((bool(terminated[i]), bool(truncated[i])))
        returns[done], lengths[done] = 0, 0
        if done.any():
            expected = plain.reset(options={"reset_mask": torch.from_numpy(done)})[0]
        assert np.array_equal(observation, expected.cpu().numpy())
    assert len(kinds) >= 2


def test_a_seed_holds_for_one_reset(device):
    env = VecEnv(FAST, num_envs=2, device=device)
    env.seed(3)
    first, second = env.reset(), env.reset()
    env.seed(3)
    assert np.array_equal(first, env.reset())
    assert np.array_equal(second, env.reset())
    assert not np.array_equal(first, second)


def test_spaces_and_attributes(device):
    env = VecEnv(FAST, num_envs=2, device=device, config={"lanes_count": 2})
    assert env.num_envs == 2 and env.action_space.n == 5 and env.observation_space.shape == (5, 5)
    assert [config["lanes_count"] for config in env.get_attr("config")] == [2, 2]
    assert len(env.get_attr("id", indices=0)) == 1
    with pytest.raises(NotImplementedError, match="share one config"):
        env.set_attr("config", {})
    with pytest.raises(NotImplementedError, match="rows of tensors"):
        env.env_method("reset")
    with pytest.raises(NotImplementedError, match="highway-fast-v0 sets no goals"):
        env.env_method("compute_reward", np.zeros((1, 6)), np.zeros((1, 6)), [{}])


@pytest.mark.parametrize("id", ["intersection-multi-agent-v0", "intersection-multi-agent-v1"])
def test_several_agents_are_refused(id):
    with pytest.raises(ValueError, match=f"no Tuple spaces: {id} has the observation space"):
        VecEnv(id)


def parked(**options):
    """Hindsight on parking-v0, as highway-env's own documentation sets it up but smaller."""
    env = VecEnv("parking-v0", num_envs=4, config={"duration": 3}, **options)
    model = SAC(
        "MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, replay_buffer_kwargs={"n_sampled_goal": 4},
        learning_starts=80, batch_size=32, buffer_size=1000, policy_kwargs=TINY, seed=0, device="cpu",
    )  # fmt: skip
    return env, model


def test_sac_learns_to_park_with_hindsight(device):
    env, model = parked(device=device)
    assert env.observation_space["desired_goal"].dtype == np.float64
    before = [parameter.clone() for parameter in model.actor.parameters()]
    model.learn(200)
    assert model.num_timesteps == 200
    assert any(not torch.equal(a, b) for a, b in zip(before, model.actor.parameters(), strict=True))
    assert len(model.ep_success_buffer) == len(model.ep_info_buffer) > 0


def test_rewards_of_other_goals_are_highway_envs(device):
    """Of random goals, and of those of a step, where nothing crashed, the step's own reward."""
    import gymnasium
    import highway_env  # noqa: F401  registers the ids

    weights = {"reward_weights": [1, 0.5, 0.1, 0, 0.02, 0.02]}
    real = gymnasium.make("parking-v0", config=weights).unwrapped
    env = VecEnv("parking-v0", num_envs=3, device=device, config=weights, precision="float64")
    rng = np.random.default_rng(0)
    achieved, desired = rng.normal(size=(2, 50, 6))
    [rewards] = env.env_method("compute_reward", achieved, desired, [{}] * 50, indices=[0])
    np.testing.assert_allclose(rewards, [real.compute_reward(a, d, {}) for a, d in zip(achieved, desired, strict=True)])
    env.seed(3)
    env.reset()
    observation, rewards, _, infos = env.step(rng.uniform(-1, 1, size=(3, 2)).astype(np.float32))
    [again] = env.env_method("compute_reward", observation["achieved_goal"], observation["desired_goal"], infos)[:1]
    np.testing.assert_allclose(again, rewards, atol=1e-6)


def test_the_last_observation_and_success_of_dicts(device):
    env = VecEnv("parking-v0", num_envs=2, device=device, config={"duration": 0.2, "success_goal_reward": 100})
    env.seed(0)
    env.reset()
    observation, _, done, infos = env.step(np.zeros((2, 2), np.float32))
    assert done.all()
    for i in range(2):
        last = infos[i]["terminal_observation"]
        assert infos[i]["is_success"] is True and infos[i]["TimeLimit.truncated"] is False
        assert last["observation"].shape == (6,) and last["observation"].dtype == np.float64
        assert not np.array_equal(last["desired_goal"], observation["desired_goal"][i])
