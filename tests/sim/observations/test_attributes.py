"""AttributesObservation beside highway-env's lane-keeping-v0: whole episodes, noise and all."""

import gymnasium
import highway_env  # noqa: F401 - registers the ids
import numpy as np
import pytest
import torch

import sim

LANE_KEEPING = "lane-keeping-v0"
ALL = {"type": "AttributesObservation", "attributes": ["state", "derivative", "reference_state"]}
SHUFFLED = {"type": "Kinematics", "order": "shuffled"}  # draws when it observes, not when its space is asked for
CONFIGS = {
    "default": {},
    "order": {"observation": ALL | {"attributes": ["derivative", "state"]}},
    "no draws": {"observation": ALL | {"attributes": ["reference_state"]}},
    "twice": {"observation": ALL | {"attributes": ["state", "derivative", "state"]}},
    "noise": {"state_noise": 0, "derivative_noise": 1.5},
    "frequencies": {"simulation_frequency": 20, "policy_frequency": 5},
    "both axes": {"action": {"type": "ContinuousAction", "dynamical": True, "steering_range": [-2, 2]}},
    "discrete": {"action": {"type": "DiscreteAction", "dynamical": True, "longitudinal": False}},
    "tuple": {
        "observation": {
            "type": "TupleObservation",
            "observation_configs": [SHUFFLED, ALL, ALL | {"attributes": ["state"]}, SHUFFLED],
        }
    },
    "nested": {
        "observation": {
            "type": "TupleObservation",
            "observation_configs": [{"type": "MultiAgentObservation", "observation_config": ALL}, ALL],
        }
    },
}


def actions(space, seed, steps):
    rng = np.random.default_rng(seed)
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=steps)
    return rng.uniform(-1, 1, size=(steps, *space.shape)).astype(np.float32)


def real_episode(config, seed, steps):
    """highway-env's observations of an episode, of a reset that goes on with the same stream, and the space."""
    env = gymnasium.make(LANE_KEEPING, config=config, disable_env_checker=True).unwrapped
    seen = [env.reset(seed=seed)[0]]
    seen += [env.step(action)[0] for action in actions(env.action_space, seed, steps)]
    return [*seen, env.reset()[0]], env.observation_space


def our_episodes(config, seeds, steps, device):
    """The same of ours, all seeds in one batch."""
    envs = sim.make_vec(
        LANE_KEEPING, len(seeds), device=device, config=config, precision="float64", autoreset_mode="Disabled"
    )
    chosen = np.stack([actions(envs.single_action_space, seed, steps) for seed in seeds], axis=1)
    seen = [envs.reset(seed=list(seeds))[0]]
    seen += [envs.step(torch.from_numpy(action).to(device))[0] for action in chosen]
    return [*seen, envs.reset()[0]], envs.single_observation_space


def assert_equal(found, expected, world):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other, world)
        return
    one = found[world].cpu().numpy()
    assert one.dtype == expected.dtype and one.shape == expected.shape
    np.testing.assert_allclose(one, expected, rtol=0, atol=1e-11 if one.dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_attributes_equal_highway_envs(config, device):
    seeds, steps = (0, 1, 2), 200 if config == {} else 60
    found, space = our_episodes(config, seeds, steps, device)
    for world, seed in enumerate(seeds):
        expected, real_space = real_episode(config, seed, steps)
        assert space == real_space
        assert_equal(found, expected, world)


def test_the_noise_is_drawn_anew_at_each_step(device):
    envs = sim.make_vec(LANE_KEEPING, 200, device=device, config={"state_noise": 0.5}, precision="float64")
    seen, _ = envs.reset(seed=0)
    y = seen["state"][:, 0, 0]
    assert y.min() > y.mean() - 0.6 and y.max() < y.mean() + 0.6 and y.std() > 0.2
    again = envs.observe()["state"][:, 0, 0]
    assert (again != y).all()


def test_unfit_environments_and_options_are_refused():
    def make(env_id=LANE_KEEPING, **config):
        return sim.make_vec(env_id, config=config)

    with pytest.raises(ValueError, match="lane-keeping-v0"):
        make("highway-fast-v0", observation=ALL)
    for action in ({"type": "ContinuousAction"}, {"type": "DiscreteMetaAction"}):
        with pytest.raises(ValueError, match="dynamical"):
            make(action=action)
    with pytest.raises(ValueError, match="'derivative'"):
        make(observation=ALL | {"attributes": ["derivatve"]})
    with pytest.raises(ValueError, match="'attributes'"):
        make(observation={"type": "AttributesObservation", "attribute": ["state"]})
    for names in (None, [], "state"):
        with pytest.raises(ValueError, match="attributes"):
            make(observation={"type": "AttributesObservation", "attributes": names})
