"""A run's bookkeeping: episode statistics by hand, budgets, schedules and interrupts."""

import dataclasses
import time

import pytest
import torch

from agents import networks, ppo
from agents.run import EpisodeStatistics, linear
from tests.agents.identity import IdentityEnvs

SHORT = ppo.Config(minibatch_size=64, network=networks.Config(hidden=(8,)))


def record(statistics, reward, terminated=(0, 0), truncated=(0, 0), **info):
    device = statistics.returns.device
    flags = (torch.tensor(flag, device=device).bool() for flag in (terminated, truncated))
    statistics.record(torch.tensor(reward, device=device), *flags, info)


def test_episode_statistics_by_hand(device):
    """World 0: 1 + 2, crashed on step 2; then 4 + 8, cut on step 4. World 1: 1 + 1 + 1, off the road on step 3."""
    statistics = EpisodeStatistics(2, device)
    no, first = (torch.tensor(flags, device=device) for flags in ([False, False], [True, False]))
    speed = torch.tensor([10.0, 30.0], device=device)
    record(statistics, [1.0, 1.0], final_info={"crashed": no, "speed": speed})
    record(statistics, [2.0, 1.0], terminated=(1, 0), final_info={"crashed": first, "speed": speed + 10})
    record(statistics, [4.0, 1.0], terminated=(0, 1), final_info={"crashed": no, "speed": speed})
    record(statistics, [8.0, 5.0], truncated=(1, 0), final_info={"crashed": no, "speed": speed})
    row = statistics.read()
    assert row["episode_return"] == pytest.approx((3 + 12 + 3) / 3)
    assert row["episode_length"] == pytest.approx((2 + 2 + 3) / 3)
    assert row["crash_rate"] == pytest.approx(1 / 3)
    assert row["speed"] == pytest.approx((20 + 30 + 20 + 20) / 4)
    record(statistics, [1.0, 2.0], truncated=(0, 1))  # world 1: 5 + 2
    assert statistics.read()["episode_return"] == pytest.approx((18 + 7) / 4)


def test_successes_are_counted_where_they_are_told(device):
    """World 0 ends twice, once with success; world 1's success in the middle of its episode counts for nothing."""
    statistics = EpisodeStatistics(2, device)
    for ends, success in (((1, 0), (True, True)), ((1, 1), (False, False))):
        told = torch.tensor(success, device=device)
        record(statistics, [1.0, 1.0], terminated=ends, final_info={"is_success": told})
    assert statistics.read()["success_rate"] == pytest.approx(1 / 3)
    egos = torch.tensor([[True, False], [True, True]], device=device)
    record(statistics, [1.0, 1.0], terminated=(1, 1), final_info={"is_success": egos})
    assert statistics.read()["success_rate"] == pytest.approx(2 / 5)
    assert "success_rate" not in EpisodeStatistics(2, device).read()


def test_the_window_forgets_old_episodes():
    """50 episodes of return 1, then 100 of return 3: the first 50 are no longer needed."""
    statistics = EpisodeStatistics(50, torch.device("cpu"))
    ends, no = torch.ones(50, dtype=torch.bool), torch.zeros(50, dtype=torch.bool)
    means = []
    for reward in (1.0, 3.0, 3.0):
        statistics.record(torch.full((50,), reward), ends, no, {})
        means.append(statistics.read()["episode_return"])
    assert means == [1, 2, 3]


def test_before_the_first_episode_ends_there_is_no_mean():
    assert EpisodeStatistics(2, torch.device("cpu")).read()["episode_return"] != 0


def test_linear_is_clipped_at_both_ends():
    assert [linear(2.0, 4.0, fraction) for fraction in (-1, 0, 0.25, 1, 3)] == [2, 2, 2.5, 4, 4]


def test_a_time_limit_is_kept():
    rows: list[dict[str, float]] = []
    started = time.perf_counter()
    config = dataclasses.replace(SHORT, time_limit_s=0.4, learning_rate=1e-3)
    ppo.train(config, IdentityEnvs(8), show_progress=False, on_iteration=rows.append)
    assert time.perf_counter() - started < 2.0  # a busy machine may be late, but not by an iteration of 0.01 s
    rates = [row["learning_rate"] for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.9e-3
    assert rates[-1] < 0.6e-3


def test_the_first_of_two_budgets_ends_the_run():
    rows: list[dict[str, float]] = []
    config = dataclasses.replace(SHORT, time_limit_s=600.0, total_steps=2 * 16 * 8)
    ppo.train(config, IdentityEnvs(8), show_progress=False, on_iteration=rows.append)
    assert [row["steps"] for row in rows] == [128, 256]


def test_the_progress_line_shows_speed_return_and_crashes(capsys):
    config = dataclasses.replace(SHORT, total_steps=2 * 16 * 8)
    ppo.train(config, IdentityEnvs(8))
    line = capsys.readouterr().err
    assert all(word in line for word in ("100%", "steps/s", "return", "crashes"))
