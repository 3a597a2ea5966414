import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter

from sim.evaluation.metrics import signals


def ragged(seed: int = 0, frames: int = 60, columns: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(frames, columns)).cumsum(0)
    last = rng.integers(25, frames, columns)
    values[np.arange(frames)[:, None] > last] = 1e6
    return torch.from_numpy(values), torch.from_numpy(last)


@pytest.mark.parametrize(("dt", "seconds"), [(0.2, 0.8), (0.1, 0.8), (1 / 15, 0.8), (1 / 15, 1.5), (0.2, 1.5)])
def test_derivative_is_scipys(dt, seconds):
    values, last = ragged()
    found = signals.derivative(values, last, dt, seconds)
    size = signals.window(seconds, dt)
    for n, end in enumerate(last.tolist()):
        expected = savgol_filter(values[: end + 1, n].numpy(), size, 2, deriv=1, delta=dt)
        np.testing.assert_allclose(found[: end + 1, n].numpy(), expected, atol=1e-9)
        assert found[end + 1 :, n].isnan().all()


@pytest.mark.parametrize("dt", [0.2, 0.1, 1 / 15, 0.01])
def test_windows_are_in_seconds(dt):
    for seconds in (0.8, 1.5):
        size = signals.window(seconds, dt)
        assert size % 2 == 1
        assert abs((size - 1) * dt - seconds) <= dt + 1e-9


def test_a_column_shorter_than_the_window_has_no_derivative():
    values = torch.zeros(40, 2, dtype=torch.float64)
    found = signals.derivative(values, torch.tensor([7, 8]), 0.1, 0.8)  # a window is nine frames
    assert found[:, 0].isnan().all()
    assert (found[:9, 1] == 0).all()
    assert signals.derivative(values[:8], torch.tensor([7, 7]), 0.1, 0.8).isnan().all()


@pytest.mark.parametrize("share", [0.95, 0.8, 1.0])
def test_percentile_is_numpys(share):
    values, last = ragged(1, frames=90)
    mask = (torch.arange(90)[:, None] <= last) & (values > -2)
    mask[:, 3] = False
    found = signals.percentile(values, mask, share).numpy()
    for n in range(values.shape[1]):
        if n == 3:
            assert np.isnan(found[n])
        else:
            expected = np.percentile(values[:, n][mask[:, n]].numpy(), 100 * share)
            assert found[n] == pytest.approx(expected, abs=1e-12)


def test_columns_do_not_know_of_each_other():
    values, last = ragged(2, columns=37)
    mask = torch.arange(len(values))[:, None] <= last
    for n in range(37):
        one = slice(n, n + 1)
        for whole, alone in (
            (signals.total(values, mask), signals.total(values[:, one], mask[:, one])),
            (signals.percentile(values, mask, 0.95), signals.percentile(values[:, one], mask[:, one], 0.95)),
            (signals.worst(values, mask)[0], signals.worst(values[:, one], mask[:, one])[0]),
            (
                signals.derivative(values, last, 0.1, 0.8)[last.min()],
                signals.derivative(values[:, one], last[one], 0.1, 0.8)[last.min()],
            ),
        ):
            assert whole[n] == alone[0]


def test_longest_run_is_the_longest():
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.random((40, 50)) < 0.7)
    mask[:, 0], mask[:, 1] = True, False
    length, begin = signals.longest_run(mask)
    for n in range(50):
        row = "".join("x" if value else " " for value in mask[:, n].tolist())
        longest = max(map(len, row.split(" ")))
        assert length[n] == longest
        assert row[begin[n] : begin[n] + longest] == "x" * longest


def test_unwrapped_follows_a_turning_angle():
    angle = torch.linspace(0, 20, 100, dtype=torch.float64)[:, None]
    jumping = torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
    torch.testing.assert_close(signals.unwrapped(jumping), angle)
    assert signals.wrapped(angle).abs().max() <= torch.pi


def test_worst_and_first_take_the_first_of_equals():
    values = torch.tensor([[1.0, 5.0], [3.0, 9.0], [3.0, 9.0]])
    mask = torch.tensor([[True, True], [True, False], [True, False]])
    top, frame = signals.worst(values, mask)
    assert (top.tolist(), frame.tolist()) == ([3.0, 5.0], [1, 0])
    assert signals.first_frame(values > 2).tolist() == [1, 0]
    assert signals.first_frame(values > 10).tolist() == [-1, -1]
