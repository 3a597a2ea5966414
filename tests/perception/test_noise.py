"""The errors that stand for perception are as large and as lasting as they say; without them nothing is changed."""

import math
from dataclasses import replace

import pytest
import torch

import sim
from perception.noise import (
    DISTANCES,
    INVENTED,
    LOSES,
    PERFECT,
    PLACE_ALONG,
    SPEED_ALONG,
    STAYS,
    STAYS_LOST,
    NoisyWorlds,
    SceneNoise,
)  # fmt: skip
from sim.scene import Bodies, Scene, scene_from_world


def scene_of(worlds: int, ahead: float, rows: int = 4) -> Scene:
    """One thing so far ahead in each world, in a scene of some rows."""
    valid = torch.zeros(worlds, rows, dtype=torch.bool)
    valid[:, 0] = True
    columns = {name: torch.zeros(worlds, rows) for name in Bodies.__dataclass_fields__}
    columns["x"][:, 0], columns["vx"][:, 0] = ahead, 20.0
    ego = Bodies(**{name: torch.zeros(worlds) for name in columns})
    whole = torch.zeros(worlds, rows, dtype=torch.int64)
    return Scene(ego, Bodies(**columns), valid, torch.zeros_like(valid), whole + 3, whole, torch.zeros(1), None)


def real(seen: Scene) -> torch.Tensor:
    """Is the thing itself seen; an invented one may stand in its row."""
    return seen.valid[:, 0] & (seen.number[:, 0] == 3)


@pytest.mark.parametrize("node", [1, 2, 3])
def test_errors_are_as_large_and_last_as_long_as_they_say(node):
    worlds, noise = 20_000, SceneNoise(20_000, 8, seed=node)
    scene, fresh = scene_of(worlds, DISTANCES[node]), torch.ones(worlds, dtype=torch.bool)
    first, second = noise(scene, fresh), noise(scene, ~fresh)
    both = (first.tracked.x[:, 0] != DISTANCES[node]) & real(first) & real(second)
    error, later = ((one.tracked.x[both, 0] - DISTANCES[node]) / PLACE_ALONG[node] for one in (first, second))
    assert error.std().item() == pytest.approx(1, abs=0.03) and later.std().item() == pytest.approx(1, abs=0.03)
    assert (error * later).mean().item() == pytest.approx(STAYS, abs=0.03)
    speed = (first.tracked.vx[both, 0] - 20) / SPEED_ALONG[node]
    assert speed.std().item() == pytest.approx(1, abs=0.03)
    assert (error * speed).mean().item() == pytest.approx(0, abs=0.03)


def test_errors_turn_with_the_ego():
    """A whole scene turned by an angle is seen as the unturned one, turned; also what is invented."""
    worlds, angle = 2000, 0.7
    scene, fresh = scene_of(worlds, 30.0), torch.ones(worlds, dtype=torch.bool)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    seen = SceneNoise(worlds, 8, seed=1)(scene, fresh)
    around = {name: getattr(scene.tracked, name).clone() for name in Bodies.__dataclass_fields__}
    for first, second in (("x", "y"), ("vx", "vy")):
        both = torch.stack([around[first], around[second]], -1) @ turn.T
        around[first], around[second] = both[..., 0], both[..., 1]
    ego = replace(scene.ego, heading=torch.full((worlds,), angle))
    turned = SceneNoise(worlds, 8, seed=1)(replace(scene, ego=ego, tracked=Bodies(**around)), fresh)
    assert torch.equal(seen.valid, turned.valid) and bool((seen.number >= 1_000_000).any())
    for first, second in (("x", "y"), ("vx", "vy")):
        straight, bent = (
            torch.stack([getattr(one.tracked, name)[seen.valid] for name in (first, second)], -1)
            for one in (seen, turned)
        )
        assert torch.allclose(straight @ turn.T, bent, atol=1e-3)


def test_what_is_lost_stays_lost_for_a_while():
    worlds, noise = 40_000, SceneNoise(40_000, 8, seed=5)
    scene, fresh = scene_of(worlds, DISTANCES[3]), torch.ones(worlds, dtype=torch.bool)
    first = real(noise(scene, fresh))
    second = real(noise(scene, ~fresh))
    share = LOSES[3] / (LOSES[3] + 1 - STAYS_LOST[3])
    assert (~first).float().mean().item() == pytest.approx(share * (1 - PERFECT), abs=0.01)
    assert (~second[~first]).float().mean().item() == pytest.approx(STAYS_LOST[3], abs=0.03)


def test_invented_things_fill_free_rows():
    worlds, noise = 20_000, SceneNoise(20_000, 8, seed=6)
    seen = noise(scene_of(worlds, 20.0), torch.ones(worlds, dtype=torch.bool))
    invented = seen.valid & (seen.number >= 1_000_000)
    assert invented.sum().item() / worlds == pytest.approx(INVENTED * (1 - PERFECT), abs=0.01)
    assert not (seen.tracked.x[~seen.valid] != 0).any()


def envs_of(worlds: int = 6):
    return sim.make_vec("highway-fast-v0", worlds, config={"vehicles_count": 8})


def test_a_scale_of_nothing_is_the_environment():
    noisy, true = NoisyWorlds(envs_of(), 0.0), envs_of()
    assert torch.equal(noisy.reset(seed=3)[0], true.reset(seed=3)[0])
    for _ in range(12):
        actions = torch.randint(5, (6,), generator=torch.Generator().manual_seed(_))
        seen, reward, *_ends = noisy.step(actions)
        there, expected, *_ends = true.step(actions)
        assert torch.equal(seen, there) and torch.equal(reward, expected)


def test_a_stored_state_goes_on_alike():
    noisy, actions = NoisyWorlds(envs_of(), 1.0, seed=1), torch.ones(6, dtype=torch.int64)
    true = scene_from_world(noisy, 32)
    noisy.reset(seed=3)
    noisy.step(actions)
    stored = {name: value.clone() for name, value in noisy.state_dict().items()}
    ahead = [noisy.step(actions)[0] for _ in range(3)]
    again = NoisyWorlds(envs_of(), 1.0, seed=2)
    again.reset(seed=9)
    again.load_state_dict(stored)
    assert all(torch.equal(one, again.step(actions)[0]) for one in ahead)
    assert true.valid.shape == (6, 32)


def test_a_scale_below_zero_is_refused():
    with pytest.raises(ValueError, match="scale of the perception's errors is -1"):
        NoisyWorlds(envs_of(), -1)
