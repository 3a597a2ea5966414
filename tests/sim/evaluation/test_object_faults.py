import pytest
import torch

from tests.sim.evaluation.fault_scenes import HIGHWAY, Watcher, ready, shown, worlds


def test_observation_noise_has_its_deviation_and_leaves_presence_and_empty_rows_alone():
    config = HIGHWAY | {"observation": {"type": "Kinematics", "vehicles_count": 20, "clip": False}}
    envs = worlds("highway-fast-v0", 64, config)
    ((before, after),) = shown(envs, "observation_noise", 0.05, range(64))
    there = before[:, :, 0] > 0.5
    assert torch.equal(before[:, :, 0], after[:, :, 0])
    assert torch.equal(before[~there], after[~there]) and (~there).any()
    noise = (after - before)[there][:, 1:]
    assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert abs(noise.mean()) < 5 * 0.05 / noise.numel() ** 0.5
    assert torch.linalg.matrix_norm(torch.corrcoef(noise.T) - torch.eye(4), ord=torch.inf) < 0.4


def test_a_greater_severity_is_more_of_the_same_noise():
    envs = worlds("highway-fast-v0", 4, {"observation": {"type": "Kinematics", "clip": False}})
    noise = []
    for severity in (0.1, 0.2):
        ((before, after),) = shown(envs, "observation_noise", severity, range(4))
        noise.append((after - before).double())
    assert torch.allclose(2 * noise[0], noise[1], atol=1e-6) and noise[0].abs().max() > 0.1


def test_other_seeds_of_the_fault_are_other_noise():
    envs = worlds("highway-fast-v0", 2, HIGHWAY)
    ((_, one),) = shown(envs, "observation_noise", 0.1, [0, 1])
    ((_, same),) = shown(envs, "observation_noise", 0.1, [0, 1])
    ((_, other),) = shown(envs, "observation_noise", 0.1, [0, 1], seed=1)
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_clipped_observations_stay_clipped():
    ((_, after),) = shown(worlds("highway-fast-v0", 8, HIGHWAY), "observation_noise", 5.0, range(8))
    assert after.abs().max() == 1


@pytest.mark.parametrize(("fault", "columns"), [("position_noise", (1, 2)), ("speed_noise", (3, 4))])
def test_noise_in_si_units_is_the_same_however_the_observation_is_scaled(fault, columns):
    """Half the width of what [-1, 1] stands for, by hand: y by default spans the road's three lanes of 4 m, twice."""
    layout = {"type": "Kinematics", "vehicles_count": 8, "clip": False, "features": ["presence", "x", "y", "vx", "vy"]}
    ranges = {"x": [-100, 50], "y": [-10, 10], "vx": [-20, 20], "vy": [-5, 40]}
    halves = [
        ({"normalize": False}, (1, 1, 1, 1)),
        ({}, (200, 12, 80, 80)),
        ({"absolute": True}, (200, 12, 80, 80)),
        ({"features_range": ranges}, (75, 10, 20, 22.5)),
    ]
    found = []
    for options, half in halves:
        envs = worlds("highway-v0", 32, {"lanes_count": 3, "vehicles_count": 6, "observation": layout | options})
        ((before, after),) = shown(envs, fault, 2.0, range(32))
        assert torch.equal(before[:, 0], after[:, 0])  # the ego knows where it is
        there = before[:, :, 0] > 0.5
        assert torch.equal(before[~there], after[~there]) and (~there).any()
        change = (after - before)[:, 1:][there[:, 1:]].double()
        for column in {0, 1, 2, 3, 4} - set(columns):
            assert change[:, column].abs().max() == 0
        found.append(torch.stack([change[:, column] * half[column - 1] for column in columns]))
    assert found[0].std() == pytest.approx(2.0, rel=0.15)
    assert abs(torch.corrcoef(found[0])[0, 1]) < 0.35
    for other in found[1:]:
        assert torch.allclose(other, found[0], atol=1e-3)


def test_the_goal_of_parking_is_known_and_the_car_is_not():
    ((before, after),) = shown_parking("position_noise", 1.5)
    assert torch.equal(after["desired_goal"], before["desired_goal"])
    assert torch.equal(after["achieved_goal"], after["observation"])
    noise = (after["observation"] - before["observation"]) * 100  # m: positions are scaled by 100
    assert noise[:, :2].std() == pytest.approx(1.5, rel=0.2)
    assert noise[:, 2:].abs().max() == 0
    ((before, after),) = shown_parking("observation_noise", 0.1)
    assert torch.equal(after["desired_goal"], before["desired_goal"])
    assert (after["observation"] - before["observation"]).std() == pytest.approx(0.1, rel=0.2)


def shown_parking(fault, severity):
    driver, observation = ready(worlds("parking-v0", 64), fault, severity, range(64))
    driver.act(observation)
    return [(observation, driver.driver.seen[-1])]


def test_every_agent_has_noise_of_its_own():
    envs = worlds("intersection-multi-agent-v0", 4, {"controlled_vehicles": 2})
    driver, observation = ready(envs, "observation_noise", 0.01, range(4), make=Pair)
    driver.act(observation)
    one, other = (seen - clean for seen, clean in zip(driver.driver.seen[-1], observation, strict=True))
    assert one.abs().max() > 0 and not torch.allclose(one[:, 0], other[:, 0], atol=1e-4)


class Pair(Watcher):
    def act(self, observation):
        return torch.stack([super().act(observation)] * 2, dim=1)


def test_missed_objects_vanish_at_their_rate_and_return():
    config = HIGHWAY | {"vehicles_count": 30}
    pairs = shown(worlds("highway-fast-v0", 64, config), "missed_objects", 0.3, range(64), steps=5)
    before, after = (torch.stack(part) for part in zip(*pairs, strict=True))
    there = before[:, :, 1:, 0] > 0.5
    gone = (after[:, :, 1:] == 0).all(-1) & there
    assert torch.equal(before[:, :, 0], after[:, :, 0])  # the ego's row
    assert torch.equal(before[:, :, 1:][~gone], after[:, :, 1:][~gone])
    assert gone.sum() / there.sum() == pytest.approx(0.3, abs=5 * (0.21 / there.sum().item()) ** 0.5)
    assert (gone[:-1] & ~gone[1:]).any() and (gone[:-1] & gone[1:]).any()


def test_what_a_mild_fault_misses_a_severe_one_misses_too():
    envs = worlds("highway-fast-v0", 16, HIGHWAY)
    gone = []
    for severity in (0.2, 0.6):
        ((before, after),) = shown(envs, "missed_objects", severity, range(16))
        gone.append((after != before).any(-1))
    assert gone[0].any() and (gone[1] | ~gone[0]).all() and (gone[1] & ~gone[0]).any()


@pytest.mark.parametrize("absolute", [False, True])
def test_false_objects_stand_on_lanes_near_by_and_drive_as_vehicles_do(absolute):
    layout = {"type": "Kinematics", "vehicles_count": 12, "normalize": False, "absolute": absolute}
    layout["features"] = ["presence", "x", "y", "vx", "vy", "heading", "cos_h", "sin_h"]
    envs = worlds("highway-fast-v0", 64, {"vehicles_count": 3, "observation": layout})
    ((before, after),) = shown(envs, "false_objects", 1.0, range(64))
    free = before[:, :, 0] < 0.5
    free[:, -1] = True
    assert torch.equal(before[~free], after[~free])
    ego, new = before[:, :1], after - 0
    offset = new[:, :, 1:5] - (ego[:, :, 1:5] if absolute else 0)
    assert (new[free][:, 0] == 1).all()
    x, y, vx, vy = offset[free].T
    assert x.min() > -10.01 and x.max() < 100.01 and (x.max() - x.min()) > 80
    assert torch.allclose(y.abs(), torch.where(y.abs() > 2, 4.0, 0.0), atol=1e-3)  # m: lanes are 4 m wide
    assert (y.abs() < 0.1).any() and (y > 2).any() and (y < -2).any()
    assert (x[y.abs() < 0.1] > 9.99).all()  # not inside the ego
    assert vx.abs().max() < 5.01 and vx.std() > 1 and vy.abs().max() < 1e-3
    assert (new[free][:, 5] == 0).all() and (new[free][:, 6] == 1).all() and (new[free][:, 7] == 0).all()


def test_a_false_object_goes_the_egos_way_wherever_that_is():
    """In a junction the ego comes from the south and goes north: y falls."""
    envs = worlds("intersection-v0", 16)
    ((before, after),) = shown(envs, "false_objects", 1.0, range(16))
    last = after[:, -1]
    features = envs.config["observation"]["features"]
    assert features[5:] == ["cos_h", "sin_h"]
    assert torch.allclose(last[:, 5:], before[:, 0, 5:], atol=1e-6)
    ahead = last[:, 2] - before[:, 0, 2]  # y, scaled to [-1, 1]
    assert (ahead.clamp(-1, 1) < 0.11).all() and (ahead < -0.2).any()


def test_a_full_table_loses_its_farthest_vehicle_to_a_false_one():
    envs = worlds("highway-fast-v0", 32)
    ((before, after),) = shown(envs, "false_objects", 0.5, range(32))
    full = (before[:, :, 0] > 0.5).all(1)
    assert full.all()
    changed = (before != after).any(-1)
    assert not changed[:, :-1].any()
    assert 6 <= changed[:, -1].sum() <= 26  # 3.5 standard deviations around 16
