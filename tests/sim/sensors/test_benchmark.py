"""The sensors' benchmark: turns, ratios, missing rivals, and rivals that really show something."""

import json

import pytest

from sim.sensors import benchmark
from sim.sensors.benchmark import Config, Timing


class Metronome:
    """A rival of known speed that notes when it ran."""

    def __init__(self, name, log, speed):
        self.name, self.log, self.speed = name, log, speed

    def measure(self, seconds):
        self.log.append(self.name)
        return self.speed

    def close(self):
        self.log.append(f"{self.name} closed")


@pytest.fixture
def log(monkeypatch):
    """What ran, with metronomes for everybody: ours at 3,000 frames/s, the others at 3."""
    log = []
    monkeypatch.setattr(benchmark, "Ours", lambda name, config, size=None: Metronome(name, log, 3000.0))
    monkeypatch.setattr(benchmark, "Processes", lambda name, count: Metronome(name, log, 3.0))
    return log


def test_rivals_take_turns_and_ratios_are_within_a_repeat(log):
    config = Config(rivals=("camera", "pybullet"), repeats=3)
    timings = benchmark.measure(config)
    turns = ["camera", "pybullet", "pybullet", "camera", "camera", "pybullet"]
    assert log == [*turns, "camera closed", "pybullet closed"]
    assert timings[0].ratios_to(timings[1]) == [1000.0] * 3
    table = benchmark.as_markdown(config, timings, [])
    assert "| 3 | 3 to 3 | 1,000.0x |" in table


def test_the_cost_of_a_pixel_counts_all_cores(log):
    timings = benchmark.measure_sizes(Config(repeats=2, cores=1))
    assert [one.pixels for one in timings] == [64 * 48, 128 * 96, 256 * 192, 512 * 384]
    one = Timing("64 x 48", "camera", pixels=1000, frames_per_second=[500.0, 1000.0, 2000.0])
    assert one.nanoseconds_a_pixel(2) == pytest.approx(2000.0)
    assert "| 64 x 48 | 1,000 | 2000 |" in benchmark.as_markdown(Config(cores=2), [], [one])


def test_a_missing_rival_is_named_with_the_extra(log, monkeypatch):
    def missing(name, count):
        raise ModuleNotFoundError("no module named 'pybullet'", name="pybullet")

    monkeypatch.setattr(benchmark, "Processes", missing)
    config = Config(rivals=("camera", "pybullet"), repeats=1)
    timings = benchmark.measure(config)
    assert "| pybullet: not installed (extra `peers`" in benchmark.as_markdown(config, timings, [])
    figures = json.loads(json.dumps(benchmark.as_json({"versions": {}}, config, timings, [])))
    assert [row["name"] for row in figures["results"]] == ["camera", "pybullet"]
    assert figures["results"][0]["median"] == 3000.0


def test_an_unknown_rival_is_refused():
    with pytest.raises(ValueError, match="unknown rival 'unreal'; choose from camera, pybullet"):
        benchmark.measure(Config(rivals=("unreal",)))


def test_the_real_viewer_is_timed_by_the_wall():
    rival = benchmark.Processes("highway-env grayscale", 1)
    speed = rival.measure(0.3)
    rival.close()
    assert 1 < speed < 5_000
    assert not rival.workers[0].is_alive()


def test_ours_looks_at_traffic(device):
    rival = benchmark.Ours("birdseye", Config(num_envs=8, device=str(device), cores=1))
    assert rival.measure(0.05) > 8
    assert (rival._look() == 240).any()  # blue of traffic
