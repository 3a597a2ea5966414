"""The networks: what attention may and may not see, and probabilities checked against torch's own."""

import gymnasium
import numpy as np
import pytest
import torch
from torch.nn import functional

from agents import networks
from agents.spaces import LaneColumns, Spaces, spaces_of
from tests.agents.identity import IdentityEnvs

ATTENTION = networks.Config(torso="attention", hidden=(16, 16), heads=2)
KINEMATICS = Spaces((5, 5), presence=0, actions=3, continuous=False)
STEERING = Spaces((4,), presence=None, actions=2, continuous=True, low=(-1.0, -1.0), high=(1.0, 1.0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kinematics(*present: int) -> torch.Tensor:
    """One observation [1, 5, 5] of random rows, of which those named are present."""
    observation = torch.randn(1, 5, 5, generator=seeded(1))
    observation[:, :, 0] = 0
    observation[:, list(present), 0] = 1
    return observation


def test_absent_vehicles_have_no_influence():
    torso = networks.EgoAttention(ATTENTION, KINEMATICS, seeded())
    one, other = kinematics(0, 1, 2), kinematics(0, 1, 2)
    other[:, 3:, 1:] = 7.0
    torch.testing.assert_close(torso(one), torso(other), rtol=0, atol=0)
    other[:, 2, 1:] = 7.0
    assert (torso(one) - torso(other)).abs().max() > 1e-3


def test_the_order_of_other_vehicles_does_not_matter_but_the_ego_does():
    torso = networks.EgoAttention(ATTENTION, KINEMATICS, seeded())
    observation = kinematics(0, 1, 2, 3)
    shuffled = observation[:, [0, 4, 2, 1, 3]]
    torch.testing.assert_close(torso(observation), torso(shuffled), rtol=1e-5, atol=1e-6)
    swapped = observation[:, [1, 0, 2, 3, 4]]
    assert (torso(observation) - torso(swapped)).abs().max() > 1e-3


def test_an_ego_alone_is_finite():
    torso = networks.EgoAttention(ATTENTION, KINEMATICS, seeded())
    assert torso(torch.zeros(2, 5, 5)).isfinite().all()


@pytest.mark.parametrize("torso", ["mlp", "attention"])
def test_no_observations_have_no_values(torso):
    """A rollout in which no episode was cut asks for the values of nothing."""
    config = networks.Config(torso=torso, hidden=(16, 16))
    policy = networks.ActorCritic(config, KINEMATICS, seeded())
    assert policy.value(torch.zeros(0, 5, 5)).shape == (0,)


def test_attention_equals_torch_attention_over_explicit_keys_and_values():
    torso = networks.EgoAttention(ATTENTION, KINEMATICS, seeded())
    observation = torch.cat((kinematics(0, 1, 2), kinematics(0, 3)))
    ego = torso.ego(observation[:, 0])
    rows = torch.cat((ego[:, None], torso.others(observation[:, 1:])), dim=1)

    def split(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.view(2, -1, 2, 8).transpose(1, 2)  # [B, H, K, D / H]

    attended = functional.scaled_dot_product_attention(
        split(torso.query(ego)[:, None]),
        split(torso.key(rows)),
        split(torso.value(rows)),
        attn_mask=(observation[:, :, 0] == 1)[:, None, None],
    )
    merged = attended.transpose(1, 2).reshape(2, 16)
    expected = torso.out((torso.combine(merged) + ego) / 2)
    torch.testing.assert_close(torso(observation), expected, rtol=1e-5, atol=1e-6)


def test_categorical_probabilities_are_those_of_torch():
    policy = networks.ActorCritic(networks.Config(hidden=(16,)), KINEMATICS, seeded())
    policy.actor_head.weight.data.mul_(200)  # far from uniform
    observation, actions = torch.randn(64, 5, 5), torch.randint(3, (64,))
    oracle = torch.distributions.Categorical(logits=policy.actor_head(policy.actor_torso(observation)))
    log_prob, entropy, value = policy.evaluate(observation, actions)
    torch.testing.assert_close(log_prob, oracle.log_prob(actions))
    torch.testing.assert_close(entropy, oracle.entropy())
    torch.testing.assert_close(value, policy.value(observation))
    actions, log_prob = policy.act(observation, seeded())
    torch.testing.assert_close(log_prob, oracle.log_prob(actions))
    assert torch.equal(policy.greedy(observation), oracle.probs.argmax(-1))


def test_actions_are_drawn_with_their_probabilities():
    policy = networks.ActorCritic(networks.Config(hidden=(4,)), KINEMATICS, seeded())
    policy.actor_head.weight.data.zero_()
    policy.actor_head.bias.data.copy_(torch.tensor([0.6, 0.3, 0.1]).log())
    actions, _ = policy.act(torch.zeros(20_000, 5, 5), seeded())
    shares = actions.bincount(minlength=3) / 20_000
    # Three standard deviations of a share at 20,000 draws are 0.01.
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), rtol=0, atol=0.011)


def test_gaussian_probabilities_are_those_of_torch():
    policy = networks.ActorCritic(networks.Config(hidden=(16,), shared=True), STEERING, seeded())
    policy.log_std.data.copy_(torch.tensor([-1.0, 0.5]))
    observation = torch.randn(64, 4)
    mean = policy.actor_head(policy.actor_torso(observation))
    oracle = torch.distributions.Normal(mean, torch.tensor([-1.0, 0.5]).exp())
    actions, log_prob = policy.act(observation, seeded())
    torch.testing.assert_close(log_prob, oracle.log_prob(actions).sum(-1))
    log_prob, entropy, _ = policy.evaluate(observation, actions)
    torch.testing.assert_close(log_prob, oracle.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropy, oracle.entropy().sum(-1))
    assert actions.abs().max() > 1
    assert policy.bounded(actions).abs().max() == 1


def test_dueling_values_are_a_state_value_plus_advantages_of_mean_zero():
    network = networks.QNetwork(networks.Config(hidden=(16,)), KINEMATICS, seeded(), dueling=True)
    observation = torch.randn(8, 5, 5)
    state_value = network.value(network.torso(observation)).squeeze(-1)
    torch.testing.assert_close(network(observation).mean(-1), state_value)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = networks.ActorCritic(networks.Config(), KINEMATICS, seeded(5)).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    same = networks.ActorCritic(networks.Config(), KINEMATICS, seeded(5)).state_dict()
    other = networks.ActorCritic(networks.Config(), KINEMATICS, seeded(6)).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["actor_head.weight"], other["actor_head.weight"])


def test_the_presence_column_comes_from_the_config():
    envs = IdentityEnvs(2)
    envs.single_observation_space = gymnasium.spaces.Box(-1, 1, (5, 4), np.float32)
    envs.config = {"observation": {"type": "Kinematics", "features": ["x", "y", "presence", "vx"]}}
    assert spaces_of(envs).presence == 2
    envs.config = {"observation": {"type": "Kinematics"}}
    assert spaces_of(envs).presence == 0
    envs.config = {"observation": {"type": "Kinematics", "features": ["x", "y"]}}
    assert spaces_of(envs).presence is None


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: networks.ActorCritic(ATTENTION, STEERING, seeded()), "needs .K, F. observations"),
        (
            lambda: networks.ActorCritic(networks.Config("attention", hidden=(16,), heads=3), KINEMATICS, seeded()),
            "heads=3 must divide",
        ),
        (
            lambda: networks.ActorCritic(networks.Config(hidden=()), KINEMATICS, seeded()),
            "at least one layer",
        ),
        (lambda: networks.QNetwork(networks.Config(), STEERING, seeded(), False), "needs discrete actions"),
        (lambda: networks.ActorCritic(networks.Config("cnn"), STEERING, seeded()), "needs .F, X, Y. observations"),
    ],
)
def test_impossible_networks_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_unusable_spaces_are_refused():
    envs = IdentityEnvs(2)
    envs.single_action_space = gymnasium.spaces.MultiDiscrete([2, 2])
    with pytest.raises(ValueError, match="action space must be Discrete"):
        spaces_of(envs)
    envs.single_observation_space = gymnasium.spaces.Discrete(3)
    with pytest.raises(ValueError, match="observation space must be a Box, or a Dict or Tuple"):
        spaces_of(envs)


def test_standardised_observations_have_mean_zero_and_deviation_one():
    standardize = networks.Standardize((2, 3), pooled=None)
    noise = torch.randn(5000, 2, 3, generator=seeded())
    seen = noise * torch.tensor([1.0, 0.01, 50.0]) + torch.tensor([3.0, 0.0, -20.0])
    for part in (seen[:100], seen[100:1100], seen[1100:]):
        standardize.update(part)
    torch.testing.assert_close(standardize.mean, seen.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(standardize.variance, seen.var(0, unbiased=False), rtol=1e-3, atol=1e-6)
    scaled = standardize(seen)
    torch.testing.assert_close(scaled.std(0), torch.ones(2, 3), rtol=0.01, atol=0.01)


def test_pooled_statistics_do_not_tell_the_other_rows_apart():
    standardize = networks.Standardize((4, 2), pooled="rows")
    standardize.update(torch.randn(100, 4, 2, generator=seeded()) + torch.arange(4.0)[:, None])
    row = torch.randn(1, 1, 2, generator=seeded(1)).expand(1, 4, 2)
    scaled = standardize(row)
    torch.testing.assert_close(scaled[:, 1:2].expand(1, 3, 2), scaled[:, 1:])
    assert (scaled[:, 0] - scaled[:, 1]).abs().max() > 0.1


LANES = Spaces((5, 5), 0, 5, False, lane=LaneColumns(x=1, y=2, pitch=1 / 3, absolute=False))


def test_rows_go_to_the_slots_of_their_lanes():
    """Three lanes are one unit of y apart by a third; the ego is on any of them, and y counts from it."""
    torso = networks.LaneTorso(networks.Config(torso="lanes", hidden=(8,)), LANES, seeded())
    ego, same, left, second, third = (
        [1, 0.5, 0, 0, 0],
        [1, 0.1, 0.01, 0, 0],
        [1, 0.2, -0.33, 0, 0],
        [1, 0.3, 0, 0, 0],
        [1, 0.4, 0, 0, 0],
    )
    raw = torch.tensor([[ego, same, left, second, third]])
    slots = torso.prepare(raw, raw)[0, 1:]
    assert slots.shape == (10, 5)
    # lanes from two to the left to two to the right, two ranks each
    torch.testing.assert_close(slots[2], raw[0, 2])
    torch.testing.assert_close(slots[4], raw[0, 1])
    torch.testing.assert_close(slots[5], raw[0, 3])  # the third in the lane is left out
    for empty in (0, 1, 3, 6, 7, 8, 9):
        assert slots[empty, 0] == 0 and slots[empty, 1] == torso.EMPTY_X


def test_absent_rows_fill_no_slot():
    torso = networks.LaneTorso(networks.Config(torso="lanes", hidden=(8,)), LANES, seeded())
    raw = torch.zeros(1, 5, 5)
    raw[0, 0, 0] = 1
    assert (torso.prepare(raw, raw)[0, 1:, 0] == 0).all()


def test_the_automatic_torso_reads_lanes_where_it_can():
    torsos = [networks.ActorCritic(networks.Config(), spaces, seeded()).actor_torso for spaces in (LANES, KINEMATICS)]
    assert [type(torso) for torso in torsos] == [networks.LaneTorso, networks.MlpTorso]


GRID = Spaces((2, 12, 12), presence=None, actions=3, continuous=False)


@pytest.mark.parametrize(
    ("shape", "torso"),
    [
        ((2, 12, 12), networks.CnnTorso),
        ((4, 8, 8), networks.CnnTorso),
        ((2, 7, 40), networks.MlpTorso),
        ((3, 3, 16), networks.MlpTorso),  # TimeToCollision
        ((16, 2), networks.MlpTorso),  # Lidar
        ((12,), networks.MlpTorso),  # goals
    ],
)
def test_the_automatic_torso_convolves_over_grids(shape, torso):
    policy = networks.ActorCritic(networks.Config(), Spaces(shape, None, 3, False), seeded())
    assert type(policy.actor_torso) is torso
    assert policy.greedy(torch.rand(7, *shape)).shape == (7,)
    assert policy.value(policy.inputs(torch.rand(0, *shape))).shape == (0,)


def test_convolutions_see_what_is_where():
    """The same vehicle two cells further right: the first layers see the same there, the torso as a whole does not."""
    torso = networks.CnnTorso(networks.Config(torso="cnn", hidden=(16,)), GRID, seeded())
    one, other = torch.zeros(1, 2, 12, 12), torch.zeros(1, 2, 12, 12)
    one[0, 0, 4, 4], other[0, 0, 4, 6] = 1.0, 1.0
    first = torso.convolutions[:2]
    torch.testing.assert_close(first(one)[:, :, :, 1:4], first(other)[:, :, :, 2:5])
    assert (torso(one) - torso(other)).abs().max() > 1e-3
    assert torso(one).shape == (1, 16)


def test_cells_of_a_grid_share_their_statistics():
    """Half of the cells of channel 0 are 1, and channel 1 counts 0 to 143: the means and deviations of a textbook."""
    grid = torch.zeros(4, 2, 12, 12)
    grid[:, 0, :6] = 1.0
    grid[:, 1] = torch.arange(144.0).view(12, 12)
    standardize = networks.Standardize((2, 12, 12), pooled="cells")
    standardize.update(grid)
    assert standardize.mean[0].unique().tolist() == [0.5] and standardize.mean[1].unique().tolist() == [71.5]
    torch.testing.assert_close(standardize.variance[1, 0, 0], torch.tensor((144**2 - 1) / 12))
    assert standardize(grid)[:, 0].unique().tolist() == [-1.0, 1.0]
