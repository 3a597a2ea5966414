from types import SimpleNamespace

import numpy as np
import torch

from sim.evaluation.metrics.steps import EpisodeMetrics


def world(x, y, speed, lane, crashed, device, ego=0):
    """Two worlds with two vehicles each; the ego stands in slot `ego`, the other slot is full of nonsense."""

    def column(values, nonsense):
        values = torch.as_tensor(values, device=device)
        other = torch.full_like(values, nonsense)
        return torch.stack([values, other] if ego == 0 else [other, values], dim=1)

    return SimpleNamespace(
        x=column(x, 1e9),
        y=column(y, -1e9),
        speed=column(speed, 1e9),
        lane=column(lane, 77),
        crashed=column(crashed, True),
        ego=torch.full((2, 1), ego, device=device),
    )


def test_a_hand_worked_pair_of_episodes(device):
    alive = torch.tensor([True, True], device=device)
    start = world([0.0, 10.0], [0.0, 4.0], [20.0, 25.0], [0, 1], [False, False], device)
    metrics = EpisodeMetrics(start)
    after = world([3.0, 10.0], [4.0, 0.0], [22.0, 30.0], [1, 1], [False, True], device)
    metrics.update(after, torch.tensor([0.5, 0.25], device=device), alive)
    # The second world has ended: what it does now must not count, however wild.
    alive = torch.tensor([True, False], device=device)
    after = world([8.0, torch.nan], [16.0, 0.0], [26.0, torch.nan], [0, 2], [False, False], device)
    metrics.update(after, torch.tensor([1.0, torch.nan], device=device), alive)
    got = metrics.finish()
    np.testing.assert_allclose(got["return"], [1.5, 0.25])
    np.testing.assert_array_equal(got["length"], [2, 1])
    np.testing.assert_array_equal(got["crashed"], [0, 1])
    np.testing.assert_allclose(got["speed"], [24.0, 30.0])
    np.testing.assert_allclose(got["distance"], [5.0 + 13.0, 4.0])
    np.testing.assert_array_equal(got["lane_changes"], [2, 0])


def test_the_ego_is_found_in_any_slot_and_a_crash_counts_once(device):
    alive = torch.ones(2, dtype=torch.bool, device=device)
    metrics = EpisodeMetrics(world([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0, 0], [False, False], device, ego=1))
    for step in (1, 2):
        state = world([2.0 * step, 0.0], [0.0, 0.0], [2.0, 0.0], [0, 0], [True, False], device, ego=1)
        metrics.update(state, torch.zeros(2, device=device), alive)
    got = metrics.finish()
    np.testing.assert_array_equal(got["crashed"], [1, 0])
    np.testing.assert_allclose(got["distance"], [4.0, 0.0])


def test_live_state_that_changes_in_place_is_not_aliased(device):
    state = world([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0, 0], [False, False], device)
    metrics = EpisodeMetrics(state)
    state.x += 7.0
    state.lane += 1
    metrics.update(state, torch.zeros(2, device=device), torch.ones(2, dtype=torch.bool, device=device))
    np.testing.assert_allclose(metrics.finish()["distance"], [7.0, 7.0])
    np.testing.assert_array_equal(metrics.finish()["lane_changes"], [1, 1])


def test_passing_to_the_next_road_is_no_lane_change(device):
    """Lanes 0 and 1 are one road, 2 and 3 the next: 0 to 1 is a change, 1 to 3 is not, 3 to 2 is."""
    alive = torch.ones(2, dtype=torch.bool, device=device)
    roads = torch.tensor([0, 0, 1, 1], device=device)
    state = world([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0, 0], [False, False], device)
    metrics = EpisodeMetrics(state, roads)
    for lane, other in ((1, 0), (3, 2), (2, 2)):
        state.lane = torch.tensor([[lane, 0], [other, 0]], dtype=torch.int32, device=device)
        metrics.update(state, torch.zeros(2, device=device), alive)
    np.testing.assert_array_equal(metrics.finish()["lane_changes"], [2, 0])


def test_the_crash_of_any_driven_ego_counts(device):
    alive = torch.ones(2, dtype=torch.bool, device=device)
    state = world([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0, 0], [False, False], device)
    state.ego = torch.tensor([[0, 1], [0, 1]], device=device)
    state.crashed = torch.tensor([[False, True], [False, False]], device=device)
    for egos, expected in ((1, [0, 0]), (2, [1, 0])):
        metrics = EpisodeMetrics(state, egos=egos)
        metrics.update(state, torch.zeros(2, device=device), alive)
        np.testing.assert_array_equal(metrics.finish()["crashed"], expected)


def test_success_is_what_was_told_last_before_the_end(device):
    state = world([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0, 0], [False, False], device)
    metrics = EpisodeMetrics(state)
    steps = (([True, False], [True, True]), ([False, True], [True, True]), ([True, True], [False, True]))
    for success, alive in steps:
        flags = (torch.tensor(flag, device=device) for flag in (alive, success))
        metrics.update(state, torch.zeros(2, device=device), *flags)
    np.testing.assert_array_equal(metrics.finish()["success"], [0, 1])
    assert "success" not in EpisodeMetrics(state).finish()
