import numpy as np
import torch
import warp as wp
from scipy import stats

from sim.evaluation.counted_random import GOLDEN, CountedRandom, mixed
from sim.sensors import noise
from sim.sensors.noise import Stream

EPISODES = torch.tensor([1, 2**62 + 5, -77], dtype=torch.int64)
COUNT = 4000


@wp.kernel(enable_backward=False, module="unique")
def draw(
    episodes: wp.array(dtype=wp.uint64),
    steps: wp.int32,
    stream: wp.int32,
    uniform: wp.array2d(dtype=wp.float32),
    normal: wp.array2d(dtype=wp.float32),
):
    w = wp.tid()
    name = noise.key(episodes[w], steps, stream)
    for i in range(uniform.shape[1]):
        uniform[w, i] = noise.uniform(name, i)
        normal[w, i] = noise.normal(name, i)


@wp.kernel(enable_backward=False, module="unique")
def quantiles(p: wp.array(dtype=wp.float32), out: wp.array(dtype=wp.float32)):
    out[wp.tid()] = noise.normal_of(p[wp.tid()])


def drawn(steps=7, stream=Stream.DIRT):
    out = [torch.zeros(len(EPISODES), COUNT) for _ in range(2)]
    episodes = wp.from_torch(EPISODES, dtype=wp.uint64)
    inputs = [episodes, steps, int(stream), *(wp.from_torch(tensor) for tensor in out)]
    wp.launch(draw, dim=len(EPISODES), inputs=inputs, device="cpu")
    return out


def test_device_and_host_draw_the_same_numbers():
    """The host's twin, whose mixer is tested against the published outputs of splitmix64."""
    host = CountedRandom(0, 0, range(len(EPISODES)))
    host.keys = mixed(EPISODES + torch.tensor(GOLDEN - (1 << 64)) * (int(Stream.DIRT) + 1))
    expected = host.uniform(torch.full((len(EPISODES),), 7), COUNT)
    uniform, _ = drawn()
    assert float((expected - uniform.double()).min()) >= 0 and float((expected - uniform.double()).max()) < 2**-24


def test_normal_numbers_are_normal():
    _, normal = drawn()
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 1e-3
    p = np.concatenate([-np.geomspace(1, 2**-23, 400)[1:] + 1, [0.0]]).astype(np.float32)
    p = np.concatenate([p, -p])
    out = torch.zeros(len(p))
    wp.launch(
        quantiles, dim=len(p), inputs=[wp.array(p, dtype=wp.float32, device="cpu"), wp.from_torch(out)], device="cpu"
    )
    expected = stats.norm.ppf((1 + p.astype(np.float64)) / 2)
    assert np.abs(out.numpy() - expected).max() < 2e-6 * np.abs(expected).max()
    assert np.isfinite(out.numpy()).all()


def test_episode_frame_and_stream_each_change_every_number():
    uniform, _ = drawn()
    assert len(uniform.unique()) > 0.998 * uniform.numel()  # of 2^24 values a few of 12,000 meet by chance
    for other, _ in (drawn(steps=8), drawn(stream=Stream.STREAKS)):
        assert float((other == uniform).float().mean()) < 1e-3
        assert abs(np.corrcoef(other.flatten(), uniform.flatten())[0, 1]) < 0.05
