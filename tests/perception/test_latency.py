import os
import subprocess
import sys
from collections import Counter

import pytest
import torch
from torch import nn

from perception import latency


class Clock:
    """A clock that moves only when somebody works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def works(self, seconds):
        def call(turn):
            self.now += seconds(turn)

        return call


def test_the_median_and_the_90th_percentile_of_a_known_row_of_times_after_the_warm_up():
    clock = Clock()
    # 5 slow calls to warm up, then 101 that take 0, 1, ..., 100 s: the k-th percentile is k.
    calls = {
        "ramp": clock.works(lambda turn: 1000.0 if turn < 5 else float(turn - 5)),
        "still": clock.works(lambda _: 2),
    }
    found = latency.measure(calls, runs=101, warm_up=5, clock=clock)
    ramp = found.timings["ramp"]
    assert (ramp.median, ramp.p90, ramp.least, ramp.runs) == (50.0, 90.0, 0.0, 101)
    assert found.timings["still"] == latency.Timing(2.0, 2.0, 2.0, 101)
    assert found.threads == torch.get_num_threads()


def test_every_round_has_every_competitor_once_and_the_order_changes():
    seen = []
    calls = {name: lambda turn, name=name: seen.append((turn, name)) for name in "abc"}
    latency.measure(calls, runs=30, warm_up=10, seed=1)
    assert Counter(seen) == Counter((turn, name) for turn in range(40) for name in "abc")
    orders = Counter("".join(name for _, name in seen[3 * turn : 3 * turn + 3]) for turn in range(40))
    assert len(orders) == 6 and max(orders.values()) < 20
    again = []
    calls = {name: lambda turn, name=name: again.append((turn, name)) for name in "abc"}
    latency.measure(calls, runs=30, warm_up=10, seed=1)
    assert again == seen


def test_progress_is_told_every_round():
    told = []
    latency.measure({"a": lambda turn: None}, runs=3, warm_up=2, progress=lambda: told.append(1))
    assert len(told) == 5


@pytest.mark.parametrize(("calls", "runs"), [({}, 10), ({"a": lambda turn: None}, 0)])
def test_nothing_to_measure_is_an_error(calls, runs):
    with pytest.raises(ValueError, match="nothing to measure"):
        latency.measure(calls, runs=runs)


def test_work_of_another_process_is_seen():
    before = latency._busy()
    subprocess.run([sys.executable, "-c", "x = 0\nfor i in range(4_000_000): x += i"], check=True)
    others = latency._others(before, latency._busy())
    assert others is not None and others > latency.QUIET


def test_shares_of_the_cores_by_hand(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    # In 10 s of 4 cores all processes took 9 s, this one 5 of them: others a tenth of the cores.
    assert latency._others((100.0, 3.0, 50.0), (109.0, 8.0, 60.0)) == pytest.approx(0.1)
    assert latency._others(None, (109.0, 8.0, 60.0)) is None
    measured = latency.Measured({}, 0.0, 0.1, 1)
    assert not measured.quiet and latency.Measured({}, 0.0, 0.01, 1).quiet
    assert not latency.Measured({}, 0.0, None, 1).quiet


def test_parameters_and_operations_of_a_convolution_and_a_matrix():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 4, 10))
    parameters, flops = latency.size_of(network, lambda: network(torch.zeros(1, 3, 4, 4)))
    assert parameters == (3 * 8 * 9 + 8) + (128 * 10 + 10)
    assert flops == 2 * (4 * 4 * 8 * 3 * 9 + 128 * 10)


def test_a_process_grows_by_what_it_fills():
    """In a process of its own, as memory is measured: one that once held more has its highest point behind it."""
    work = "held = []; print(latency.growth(lambda: held.append(b'x' * 60_000_000)))"
    code = f"from perception import latency; {work}"
    grown = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 55e6 < grown < 70e6


def test_threads_are_pinned_and_children_inherit_them(monkeypatch):
    for name in latency.POOLS:
        monkeypatch.setenv(name, "7")
    before = torch.get_num_threads()
    try:
        latency.pin(1)
        assert torch.get_num_threads() == 1 and {os.environ[name] for name in latency.POOLS} == {"1"}
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="0 threads"):
        latency.pin(0)


def test_a_program_that_fails_is_named():
    with pytest.raises(ChildProcessError, match=r"no\.such\.module failed: .*No module named"):
        latency.peak_memory("no.such.module", [])
