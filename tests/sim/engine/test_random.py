"""NumPy's own Generator is the oracle of every draw."""

import numpy as np
import pytest
import torch
import warp as wp

from sim.engine import random as device_random
from sim.engine.ziggurat import ziggurat_table

SEEDS = [0, 1, 12345, 2**31, 2**40 + 7, 987654321012345678]
DRAWS = 20_000


@wp.kernel(enable_backward=False)
def mixed_draws(
    rng: wp.array2d(dtype=wp.uint64), layers: wp.array2d(dtype=wp.float64), out: wp.array2d(dtype=wp.float64)
):
    i = wp.tid()
    for k in range(out.shape[1]):
        which = k % 6
        if which == 0:
            out[i, k] = device_random.random(rng, i)
        elif which == 1:
            out[i, k] = wp.float64(device_random.integers(rng, i, 0, 4))
        elif which == 2:
            out[i, k] = device_random.uniform(rng, i, wp.float64(21.0), wp.float64(24.0))
        elif which == 3:
            out[i, k] = device_random.standard_normal(rng, i, layers)
        elif which == 4:
            first, second = device_random.choose_two(rng, i, 4)
            out[i, k] = wp.float64(first * 10 + second)
        else:
            # a range near 2**31 makes Lemire's rejection happen often
            out[i, k] = wp.float64(device_random.integers(rng, i, 0, 1431655766))


def numpy_draws(seed: int) -> list[float]:
    generator = np.random.default_rng(seed)
    values = []
    for k in range(DRAWS):
        which = k % 6
        if which == 0:
            values.append(generator.random())
        elif which == 1:
            values.append(float(generator.choice(4)))
        elif which == 2:
            values.append(generator.uniform(21.0, 24.0))
        elif which == 3:
            values.append(generator.normal())
        elif which == 4:
            first, second = generator.choice(range(4), size=2, replace=False)
            values.append(float(first * 10 + second))
        else:
            values.append(float(generator.integers(0, 1431655766)))
    return values


@pytest.fixture(scope="module")
def drawn(device: torch.device) -> np.ndarray:
    rng = torch.from_numpy(device_random.seeded_streams(SEEDS)).to(device)
    layers = torch.from_numpy(ziggurat_table()).to(device)
    out = torch.empty(len(SEEDS), DRAWS, dtype=torch.float64, device=device)
    wp.launch(
        mixed_draws,
        dim=len(SEEDS),
        inputs=[wp.from_torch(rng, dtype=wp.uint64), wp.from_torch(layers), wp.from_torch(out)],
        device=str(device),
    )
    return out.cpu().numpy()


@pytest.mark.parametrize("row", range(len(SEEDS)))
def test_every_draw_is_numpys(drawn: np.ndarray, row: int) -> None:
    # The exponential and logarithm of the ziggurat's tail may differ in the last bit, nothing else.
    expected = np.array(numpy_draws(SEEDS[row]))
    exact = drawn[row] == expected
    np.testing.assert_allclose(drawn[row], expected, rtol=1e-15, atol=0)
    assert exact.mean() > 0.9999
