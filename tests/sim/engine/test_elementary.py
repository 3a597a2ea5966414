"""The short series of single precision against NumPy in double precision, across and around their ranges."""

import numpy as np
import pytest
import torch
import warp as wp

from sim.engine import elementary
from sim.engine.spawn import DELTA_MAX, DELTA_MIN
from sim.engine.steering import MAX_SLIP

STATED = 2e-6  # what elementary.py promises in the fast range,
STATED_POWER = 4e-6  # and of powers, relative
POINTS = 200_001


@wp.kernel(enable_backward=False, module="unique")
def evaluate(at: wp.array2d(dtype=wp.float32), out: wp.array2d(dtype=wp.float32)):
    i = wp.tid()
    out[i, 0] = elementary.ratio_power(at[i, 0], at[i, 1], at[i, 2])
    out[i, 1] = elementary.arcsine(at[i, 3])
    cosine, sine = elementary.cosine_and_sine(at[i, 4])
    out[i, 2] = cosine
    out[i, 3] = sine


@pytest.fixture(scope="module")
def curves(device: torch.device) -> dict[str, np.ndarray]:
    """Arguments (as the kernel sees them, in double precision) and results."""
    rng = np.random.default_rng(15)
    at = np.empty((POINTS, 5), dtype=np.float32)
    at[:, 1] = rng.uniform(1, 40, POINTS)  # target speed [m/s]
    at[:, 0] = at[:, 1] * np.linspace(0, 2, POINTS)  # speed
    at[:, 2] = rng.uniform(DELTA_MIN, DELTA_MAX, POINTS)
    at[:, 3] = np.linspace(-1, 1, POINTS)
    at[:, 4] = np.linspace(-7, 7, POINTS)
    out = torch.empty(POINTS, 4, dtype=torch.float32, device=device)
    inputs = [wp.from_torch(torch.from_numpy(at).to(device)), wp.from_torch(out)]
    wp.launch(evaluate, dim=POINTS, inputs=inputs, device=str(device))
    wide, found = at.astype(np.float64), out.cpu().numpy().astype(np.float64)
    names = ("speed", "target", "exponent", "sine", "angle", "power", "arcsine", "cosine_of", "sine_of")
    return dict(zip(names, [*wide.T, *found.T], strict=True))


def test_powers_of_a_speed_ratio(curves: dict) -> None:
    ratio = curves["speed"] / curves["target"]
    wanted = ratio ** curves["exponent"]
    fast = np.abs((ratio - 1) / (ratio + 1)) < float(elementary.POWER_RANGE)
    assert 0.25 < fast.mean() < 0.35  # 0.74 to 1.35 of 0 to 2
    error = np.abs(curves["power"] - wanted) / np.maximum(wanted, 0.1)
    assert error[fast].max() < STATED_POWER
    assert error[~fast].max() < STATED_POWER
    assert curves["power"][0] == 0.0


def test_arcsines(curves: dict) -> None:
    error = np.abs(curves["arcsine"] - np.arcsin(curves["sine"]))
    fast = np.abs(curves["sine"]) < float(elementary.ANGLE_RANGE)
    assert error[fast].max() < STATED
    assert error[~fast].max() < STATED
    assert curves["arcsine"][[0, -1]] == pytest.approx([-np.pi / 2, np.pi / 2])


def test_cosines_and_sines(curves: dict) -> None:
    fast = np.abs(curves["angle"]) < float(elementary.ANGLE_RANGE)
    for name, function in (("cosine_of", np.cos), ("sine_of", np.sin)):
        error = np.abs(curves[name] - function(curves["angle"]))
        assert error[fast].max() < STATED
        assert error[~fast].max() < STATED


def test_the_largest_slip_is_that_of_the_largest_steering_angle() -> None:
    """highway-env clips the steering angle to 60 degrees: tan(slip) = tan(60 deg) / 2, so sin(slip) = sqrt(3 / 7)."""
    assert pytest.approx(np.sqrt(3 / 7), abs=1e-15) == MAX_SLIP
