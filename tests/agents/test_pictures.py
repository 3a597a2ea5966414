"""Pictures stay bytes from the simulator to the network, and both learners learn from them."""

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch

from agents import dqn, networks, ppo
from agents.spaces import Spaces, flat, spaces_of, stored_spaces
from tests.agents.identity import IdentityEnvs

PICTURE = Spaces((2, 32, 16), None, 4, False, picture=True)
LEARNERS = {
    ppo: ppo.Config(
        total_steps=16384,
        horizon=16,
        minibatch_size=256,
        learning_rate=3e-3,
        gamma=0.8,
        network=networks.Config(hidden=(32,)),
    ),
    dqn: dqn.Config(
        total_steps=8192,
        learning_starts=256,
        buffer_size=4096,
        batch_size=64,
        learning_rate=3e-3,
        gamma=0.8,
        target_update_every=20,
        network=networks.Config(hidden=(32,)),
    ),
}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Pictures(IdentityEnvs):
    """The symbol is the quarter of a picture in which something bright stands, the same in both of its bytes."""

    def __init__(self, device="cpu"):
        super().__init__(64, device=device)
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (2, 32, 16), np.uint8)

    def _observation(self) -> torch.Tensor:
        picture = torch.full((self.num_envs, 2, 32, 16), 100, dtype=torch.uint8, device=self.device)
        for world, symbol in enumerate(self.symbol.tolist()):
            picture[world, :, symbol // 2 * 16 + 6 :, symbol % 2 * 8 + 2 :][:, :4, :4] = 255
        return picture


@pytest.mark.parametrize(
    ("shape", "dtype", "kept"),
    [
        ((2, 32, 16), np.uint8, True),
        ((1, 16, 16), np.uint8, True),
        ((4, 11, 11), np.uint8, False),  # an OccupancyGrid as an image
        ((2, 32, 16), np.float32, False),
        ((32, 16), np.uint8, False),
    ],
)
def test_what_counts_as_a_picture(shape, dtype, kept):
    envs = IdentityEnvs(2)
    envs.single_observation_space = gymnasium.spaces.Box(0, 255, shape, dtype)
    spaces = spaces_of(envs)
    assert spaces.picture is kept
    wanted = torch.uint8 if kept else torch.float32
    assert spaces.dtype is wanted
    array = np.ones((3, *shape), dtype=dtype)
    assert flat(array).dtype is wanted and flat(torch.from_numpy(array)).dtype is wanted
    torso = networks.ActorCritic(networks.Config(), spaces, seeded()).actor_torso
    assert isinstance(torso, networks.PixelTorso) is kept
    assert stored_spaces(dataclasses.asdict(spaces)) == spaces


def test_a_run_from_before_there_were_pictures_still_loads():
    stored = dataclasses.asdict(Spaces((5, 5), 0, 5, False))
    del stored["picture"]
    assert stored_spaces(stored).picture is False


def test_two_pictures_in_a_tuple_are_one_row_of_numbers():
    seen = (torch.full((2, 1, 16, 16), 3, dtype=torch.uint8), torch.ones(2, 4))
    assert flat(seen).dtype is torch.float32 and flat(seen).shape == (2, 260)


def test_the_first_convolution_by_hand():
    """One output of the first layer is a weighted sum of the 8 x 8 pixels around it, white counting as 1."""
    torso = networks.PixelTorso(networks.Config(), PICTURE, seeded())
    picture = torch.randint(256, (1, 2, 32, 16), dtype=torch.uint8, generator=seeded())
    seen = []
    torso.convolutions[0].register_forward_hook(lambda _, __, output: seen.append(output))
    assert torso(picture).shape == (1, networks.Config().hidden[-1])
    around = picture[0, :, 4 * 3 - 2 : 4 * 3 + 6, 4 * 1 - 2 : 4 * 1 + 6].double().numpy() / 255
    weights = torso.convolutions[0].weight[5].detach().double().numpy()
    assert seen[0].shape == (1, 16, 8, 4)
    assert seen[0][0, 5, 3, 1].item() == pytest.approx((around * weights).sum(), abs=1e-5)


def test_a_rollout_of_pictures_holds_them_once_as_bytes(device):
    learner = ppo.Learner(LEARNERS[ppo], Pictures(device))
    rollout = learner.rollout
    assert rollout.observations.dtype is torch.uint8 and rollout.final_observations.dtype is torch.uint8
    assert rollout.inputs.data_ptr() == rollout.observations.data_ptr()
    assert not list(learner.policy.standardize.buffers())


def test_a_replay_buffer_of_pictures_holds_bytes(device):
    learner = dqn.Learner(LEARNERS[dqn], Pictures(device))
    assert learner.buffer.data["observations"].dtype is torch.uint8
    assert learner.buffer.data["next_observations"].dtype is torch.uint8


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda module: module.__name__)
def test_it_learns_from_pictures(learner, device):
    driver = learner.train(LEARNERS[learner], envs := Pictures(device), show_progress=False)
    envs.symbol = torch.arange(64, device=device) % 4
    assert torch.equal(driver.act(envs._observation()), envs.symbol)


def test_another_torso_reads_pictures_as_numbers(device):
    config = dataclasses.replace(LEARNERS[ppo], network=networks.Config(torso="cnn", hidden=(32,)), total_steps=4096)
    driver = ppo.train(config, envs := Pictures(device), show_progress=False)
    assert driver.act(envs.reset(seed=1)[0]).shape == (64,)


def test_a_picture_too_small_for_the_torso_is_refused():
    with pytest.raises(ValueError, match="too small for this torso"):
        networks.PixelTorso(networks.Config(), Spaces((1, 6, 6), None, 3, False), seeded())
