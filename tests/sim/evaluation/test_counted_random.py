import numpy as np
import torch
from scipy import stats

from sim.evaluation.counted_random import GOLDEN, CountedRandom, mixed


def test_the_mixer_is_splitmix64():
    """Outputs of the published C program for seed 1234567."""
    step = GOLDEN - (1 << 64)
    states = torch.tensor([1234567]) + step * torch.arange(1, 6)
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    assert [int(number) % (1 << 64) for number in mixed(states)] == published


def test_numbers_have_the_distributions_they_are_named_after():
    draws, steps = CountedRandom(3, 1, range(200)), torch.full((200,), 7)
    uniform = draws.uniform(steps, 500).flatten().numpy()
    assert uniform.min() >= 0 and uniform.max() < 1
    counts = np.histogram(uniform, 20, (0, 1))[0]
    assert abs(counts - 5000).max() < 5 * np.sqrt(5000)
    normal = draws.normal(steps, 500, member=1).flatten().numpy()
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(uniform, normal)[0, 1]) < 0.02  # two members


def test_a_number_belongs_to_episode_and_step_alone():
    together = CountedRandom(0, 2, [5, 8, 10**30]).normal(torch.tensor([3, 0, 9]), 40)
    alone = CountedRandom(0, 2, [8]).normal(torch.tensor([0]), 3)
    assert torch.equal(together[1, :3], alone[0])
    for seed, stream, step, member in ((1, 2, 0, 0), (0, 3, 0, 0), (0, 2, 1, 0), (0, 2, 0, 1)):
        other = CountedRandom(seed, stream, [8]).normal(torch.tensor([step]), 3, member)
        assert not torch.isin(other, alone).any()
