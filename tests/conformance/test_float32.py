"""float32 drives like float64, which is highway-env: the same seeds and actions, compared over many episodes."""

import numpy as np
import pytest
import torch

import sim
from sim.scenarios import SCENARIOS

LONGEST = 300  # steps; some ids never end by themselves
FEW = ("merge-v0", "roundabout-v0", "intersection-v1", "racetrack-v0", "parking-v0", "u-turn-v1")
DEVIATIONS = 3.3  # of a mean difference: one chance in a thousand for each figure of each id
NEGLIGIBLE = 1e-4  # relative; where all episodes are equal but for rounding


def driven(env_id: str, worlds: int, precision: str, device: torch.device) -> dict[str, np.ndarray]:
    """Return, length, crash and mean speed of the first episode of each seed, `[N]` each, under random actions."""
    envs = sim.make_vec(env_id, worlds, precision=precision, device=device, autoreset_mode="Disabled")
    envs.action_space.seed(0)
    envs.reset(seed=0)
    assert envs.world.x.dtype == getattr(torch, precision)
    figures = {name: np.zeros(worlds) for name in ("return", "length", "crashed", "distance")}
    going = np.ones(worlds, dtype=bool)
    for _ in range(LONGEST):
        _, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        if reward.ndim > 1:  # one an agent
            reward, terminated = reward.sum(1), terminated.any(1)
        figures["return"] += going * reward.cpu().numpy()
        figures["length"] += going
        figures["distance"] += going * info["speed"].cpu().numpy()
        figures["crashed"] = np.where(going, info["crashed"].cpu().numpy(), figures["crashed"])
        going &= ~(terminated | truncated).cpu().numpy()
        if not going.any():
            break
    figures["speed"] = figures.pop("distance") / figures["length"]
    return figures


def assert_alike(env_id: str, worlds: int, device: torch.device) -> None:
    single, double = (driven(env_id, worlds, precision, device) for precision in ("float32", "float64"))
    for name, wanted in double.items():
        apart = single[name] - wanted
        bound = DEVIATIONS * apart.std(ddof=1) / np.sqrt(worlds) + NEGLIGIBLE * np.abs(wanted).mean()
        assert abs(apart.mean()) <= bound, f"{name}: {single[name].mean():.5g} in float32, {wanted.mean():.5g} in 64"


@pytest.mark.parametrize("env_id", FEW)
def test_float32_is_statistically_the_same(env_id: str, device: torch.device) -> None:
    assert_alike(env_id, 100, device)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", SCENARIOS)
def test_float32_is_statistically_the_same_over_a_thousand_seeds(env_id: str, device: torch.device) -> None:
    assert_alike(env_id, 1000, device)
