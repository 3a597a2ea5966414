import numpy as np
import pytest
import torch

import sim

FAST = "highway-fast-v0"
FEATURES = ["presence", "x", "y", "vx", "vy", "heading", "cos_h", "sin_h", "cos_d", "sin_d"]
FEATURES += ["long_off", "lat_off", "ang_off"]


def observed(options=None, worlds=50, steps=8, device="cpu", precision="float64", env_id=FAST, **config):
    """Observations [steps + 1, N, K, F] of random driving, and the environment."""
    config = {"observation": {"type": "Kinematics"} | (options or {})} | config
    envs = sim.make_vec(env_id, worlds, device=device, config=config, precision=precision)
    seen = [envs.reset(seed=0)[0]]
    envs.action_space.seed(0)
    for _ in range(steps):
        seen.append(envs.step(envs.action_space.sample())[0])
    return torch.stack(seen), envs


def vehicles(envs, name):
    """One field of the other vehicles, relative to the ego [N, V - 1]."""
    field = getattr(envs.world, name)
    return field[:, 1:] - field[:, :1]


@pytest.mark.parametrize("env_id", ["highway-v0", FAST])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_default_observations(env_id, precision, device):
    seen, envs = observed(device=device, precision=precision, env_id=env_id, steps=12)
    assert seen.dtype == torch.float32 and seen.shape[2:] == envs.single_observation_space.shape == (5, 5)
    assert envs.observation_space.contains(seen[-1].cpu().numpy())
    assert seen.isfinite().all() and seen.abs().max() <= 1
    presence, rest = seen[..., 0], seen[..., 1:]
    assert ((presence == 0) | (presence == 1)).all()
    assert (presence[:, :, 0] == 1).all()  # the ego
    assert (presence.diff(dim=2) <= 0).all()  # absent rows last
    assert (rest[presence == 0] == 0).all()
    gaps = seen[:, :, 1:, 1].abs()
    present = presence[:, :, 1:] == 1
    assert (gaps.diff(dim=2)[present[:, :, 1:]] >= 0).all()  # nearest first
    for column in range(1, 5):
        assert rest[..., 0, column - 1].unique().numel() > 3, f"the ego's column {column} hardly changes"
        assert rest[..., 1:, column - 1].unique().numel() > 3, f"column {column} hardly changes"


def test_rows_are_the_nearest_vehicles_ahead(device):
    """Beside a sort of all vehicles by torch, without normalisation."""
    options = {"normalize": False, "vehicles_count": 4, "features": ["x", "y", "vx"]}
    _, envs = observed(options, device=device)
    seen = envs.observe()
    dx, dy, dv = (vehicles(envs, name) for name in ("x", "y", "speed"))
    straight = envs.world.heading.abs().max(dim=1).values == 0  # where vx is the speed
    gap = torch.where((dx > -10) & (torch.hypot(dx, dy) < 200), dx.abs(), torch.inf)
    order = gap.argsort(dim=1, stable=True)[:, :3]
    here = gap.gather(1, order).isfinite()
    for column, field in enumerate((dx, dy, dv)):
        expected = torch.where(here, field.gather(1, order), 0).float()
        rows = straight if column == 2 else slice(None)
        torch.testing.assert_close(seen[rows, 1:, column], expected[rows], rtol=0, atol=1e-4)
    assert (seen[:, 0, 0] == envs.world.x[:, 0].float()).all()


def test_see_behind(device):
    behind, ahead = ({"features": ["presence", "x"], "vehicles_count": 21, "see_behind": on} for on in (True, False))
    seen, envs = observed(behind, device=device)
    less, _ = observed(ahead, device=device)
    furthest = -10 / 200  # two car lengths, of 5 * 40 m
    assert seen[..., 1:, 1].min() < furthest * 2
    assert less[..., 1:, 1].min() >= furthest
    reach = torch.hypot(vehicles(envs, "x"), vehicles(envs, "y")) < 200
    assert torch.equal(seen[-1, :, 1:, 0].sum(dim=1).long(), reach.sum(dim=1))


def test_absolute(device):
    features = {"features": ["x", "y", "vx", "vy"], "normalize": False, "vehicles_count": 6}
    relative, _ = observed(features, device=device)
    absolute, _ = observed(features | {"absolute": True}, device=device)
    assert torch.equal(relative[..., 0, :], absolute[..., 0, :])
    present = absolute[..., 1:, 0] != 0
    difference = (absolute[..., 1:, :] - absolute[..., :1, :])[present]
    torch.testing.assert_close(relative[..., 1:, :][present], difference, rtol=0, atol=2e-3)


def test_normalisation_and_clipping(device):
    ranges = {"x": [0, 50], "vx": [-5, 5]}
    features = {"features": ["presence", "x", "y", "vx"], "features_range": ranges}
    plain, _ = observed(features | {"normalize": False}, device=device)
    free, _ = observed(features | {"clip": False}, device=device)
    clipped, _ = observed(features, device=device)
    present = plain[..., 0] == 1
    torch.testing.assert_close(free[..., 1][present], plain[..., 1][present] / 25 - 1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(free[..., 3][present], plain[..., 3][present] / 5, rtol=1e-5, atol=1e-5)
    assert torch.equal(free[..., 2], plain[..., 2])  # a feature without a range stays as it is
    assert free.abs().max() > 1
    torch.testing.assert_close(clipped[..., [1, 3]], free[..., [1, 3]].clamp(-1, 1))


def test_y_is_scaled_by_the_roads_width(device):
    scaled, _ = observed({"features": ["y"], "absolute": True}, steps=0, device=device, lanes_count=2)
    metres, _ = observed(
        {"features": ["y"], "absolute": True, "normalize": False}, steps=0, device=device, lanes_count=2
    )
    torch.testing.assert_close(scaled * 8, metres)  # two lanes of 4 m
    assert set(metres[..., 0].unique().tolist()) <= {0, 4}


@pytest.mark.parametrize("names", [["x"], FEATURES, FEATURES[::-1], ["vy", "vy", "presence"]], ids=len)
def test_columns_follow_the_features(names, device):
    options = {"normalize": False, "absolute": True}
    seen, envs = observed(options | {"features": names}, device=device)
    everything, _ = observed(options | {"features": FEATURES}, device=device)
    assert envs.single_observation_space.shape == (5, len(names))
    assert torch.equal(seen, everything[..., [FEATURES.index(name) for name in names]])


def test_angles_and_offsets_agree_with_the_state(device):
    seen, envs = observed({"features": FEATURES, "normalize": False}, device=device)
    ego = dict(zip(FEATURES, seen[-1, :, 0].T.double(), strict=True))
    heading = envs.world.heading[:, 0]
    assert heading.abs().max() > 0.01
    expected = {
        "heading": heading,
        "cos_h": heading.cos(),
        "sin_h": heading.sin(),
        "ang_off": heading,  # the road runs along x
        "long_off": envs.world.x[:, 0],
        "lat_off": envs.world.y[:, 0] - 4 * envs.world.lane[:, 0],
        "vx": envs.world.speed[:, 0] * heading.cos(),
        "vy": envs.world.speed[:, 0] * heading.sin(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(ego[name], value, rtol=1e-6, atol=1e-5)
    assert (ego["cos_d"] == 0).all() and (ego["sin_d"] == 0).all()  # no route on a highway


def test_shuffled_rows_are_the_same_vehicles(device):
    """Rows move about, all of them; the ego stays."""
    options = {"vehicles_count": 6, "see_behind": True}
    listed, _ = observed(options | {"order": "shuffled"}, steps=0, device=device, vehicles_count=5)
    ordered, _ = observed(options, steps=0, device=device, vehicles_count=5)
    assert torch.equal(listed[:, :, 0], ordered[:, :, 0])
    assert torch.equal(rows_in_order(listed), rows_in_order(ordered))
    same_place = (listed == ordered).all(dim=-1)[0, :, 1:]
    assert not same_place.all(dim=1).any() or same_place.float().mean() < 0.5
    assert all(0 < same_place[:, row].sum() < 50 for row in range(5))


def rows_in_order(seen):
    return torch.stack([world[world[:, 1].argsort()] for world in seen[0]])


@pytest.mark.parametrize("count", [1, 2, 40])
def test_any_number_of_rows(count, device):
    seen, envs = observed({"vehicles_count": count}, device=device)
    assert seen.shape[2:] == envs.single_observation_space.shape == (count, 5)
    five, _ = observed(device=device)
    common = min(count, 5)
    assert torch.equal(seen[:, :, :common], five[:, :, :common])


def test_an_empty_road(device):
    seen, _ = observed(device=device, vehicles_count=0)
    assert (seen[:, :, 0, 0] == 1).all() and (seen[:, :, 1:] == 0).all()


def test_the_space_bounds_nothing_as_in_highway_env():
    space = sim.make_vec(FAST).single_observation_space
    assert space.dtype == np.float32 and np.isinf(space.low).all() and np.isinf(space.high).all()
