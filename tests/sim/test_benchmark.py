"""The benchmark: what it prints, that a missing rival is named, and that a rival's clock is honest."""

import sys
import time

import pytest

from sim import benchmark
from sim.benchmark import Config, Timing
from sim.benchmark_report import as_markdown


class Metronome:
    """A rival of known speed that notes when it ran."""

    first_call = bytes_per_world = None
    setting = "1 world"
    log: list[str]

    def __init__(self, name, steps_per_second, log):
        self.name, self.steps_per_second, self.log = name, steps_per_second, log

    def measure(self, seconds):
        self.log.append(self.name)
        return self.steps_per_second

    def close(self):
        self.log.append(f"{self.name} closed")


def test_rivals_take_turns_and_ratios_are_taken_within_a_repeat(monkeypatch):
    log = []
    speeds = {"ours": 3000.0, "highway-env": 3.0}
    makers = lambda rival, env_id, config: [lambda: Metronome(rival, speeds[rival], log)]  # noqa: E731
    monkeypatch.setattr(benchmark, "_makers", makers)
    timings = benchmark.measure("highway-v0", Config(rivals=("ours", "highway-env"), repeats=3))
    turns = ["ours", "highway-env", "highway-env", "ours", "ours", "highway-env"]
    assert log == [*turns, "ours closed", "highway-env closed"]
    assert timings[0].ratios_to(timings[1]) == [1000.0] * 3


def test_the_fastest_setting_is_used(monkeypatch):
    log = []
    settings = [lambda n=n: Metronome(str(n), n, log) for n in (5.0, 9.0, 7.0)]
    monkeypatch.setattr(benchmark, "_makers", lambda rival, env_id, config: settings)
    (timing,) = benchmark.measure("highway-v0", Config(rivals=("ours",), repeats=1))
    assert timing.steps_per_second == [9.0]


def test_a_rival_that_is_not_installed_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    (timing,) = benchmark.measure("highway-v0", Config(rivals=("envpool",), repeats=1))
    table = as_markdown({"highway-v0": [timing]})
    assert "| highway-v0 | - | - |" in table
    assert "* highway-v0: envpool: not installed (extra `peers`" in table


def test_the_table_shows_medians_ranges_and_ratios():
    ours = Timing("ours", "2048 worlds", [200_000.0, 250_000.0, 240_000.0], bytes_per_world=3196)
    theirs = Timing("envpool", "64 worlds", [50_000.0, 50_000.0, 40_000.0])
    real = Timing("highway-env", "1 process", [50.0, 50.0, 60.0])
    one = Timing(benchmark.ONE_WORLD, "1 world", [5_000.0, 6_000.0, 6_000.0])
    table = as_markdown({"highway-fast-v0": [ours, theirs, real, one], "merge-v0": [ours]}).splitlines()
    cells = ["highway-fast-v0", "240,000", "50,000", "5.00x (4.00 to 6.00)", "50.0", "4,000x (4,000 to 5,000)"]
    cells += ["6,000", "100x (100 to 120)", "3,196"]
    assert table[2] == f"| {' | '.join(cells)} |"
    assert table[3] == "| merge-v0 | 240,000 | - | - | - | - | - | - | 3,196 |"
    assert table[1].count("|") == table[2].count("|")
    assert table[5].endswith("ours: 2048 worlds; envpool: 64 worlds; highway-env: 1 process; ours, one world: 1 world")


def test_the_real_highway_env_is_timed_by_the_wall():
    rival = benchmark.HighwayEnv("highway-fast-v0", processes=1, seed=0)
    start = time.perf_counter()
    speed = rival.measure(0.5)
    wall = time.perf_counter() - start
    rival.close()
    assert 0.5 <= wall < 5.0
    assert 1 <= speed < 10_000  # tens of steps a second; a wrong unit would be off by more


def test_an_unknown_rival_is_refused():
    with pytest.raises(ValueError, match="unknown rival 'carla'; choose from ours, envpool"):
        benchmark.measure("highway-v0", Config(rivals=("carla",)))
