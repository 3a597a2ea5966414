"""The table of metrics: known scenes, and the very figures of the metrics."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from sim import render
from sim.evaluation.driver import RandomDriver
from sim.evaluation.episodes import REALS, WHOLES, Recorder
from sim.evaluation.metrics import comfort
from sim.overlays import overlay_of
from sim.overlays.metrics import MetricsTable
from sim.recording import Session, make_envs
from tests.sim.overlays.test_marks import scene


def rows(frame):
    (table,) = overlay_of(["metrics"], frame.envs)(frame, frame.world)
    return {row.label: row for row in table.rows}


def test_figures_of_a_scene_made_by_hand():
    """20 m behind a vehicle that is 10 m/s slower: 2 s to collision, 0.8 s of headway."""
    frame, *_ = scene(gap=20.0, speed=25.0, leader_speed=15.0)
    found = rows(frame)
    assert found["speed"].value == "25.0 m/s"
    assert found["TTC"].value == "2.0 s" and found["TTC"].colour == render.NEAR
    assert found["headway"].value == "0.80 s" and found["headway"].colour == render.CRITICAL
    assert found["nearest"].value == "20.0 m" and found["nearest"].colour == render.SAFE
    assert found["RSS margin"].colour == render.CRITICAL
    assert found["jerk along"].value == "-" and found["jerk along"].colour == render.DIM_TEXT  # one frame has none


def test_alone_there_is_nobody_to_be_near():
    frame, *_ = scene(gap=900.0, speed=25.0, leader_speed=25.0)
    found = rows(frame)
    assert found["TTC"].value == "-"
    frame, *_ = scene(gap=34.0, speed=25.0, leader_speed=25.0)
    assert rows(frame)["RSS margin"].value == "+4.0 m"  # 34 m where 30 m are asked for (test_marks)


def test_comfort_is_that_of_an_episode_that_ends_now():
    """The metrics' own recorder and signals, cut at the same frame."""
    config = {"action": {"type": "ContinuousAction"}, "vehicles_count": 3, "duration": 4, "policy_frequency": 3}
    config |= {"simulation_frequency": 15, "offroad_terminal": False}
    envs = make_envs("highway-fast-v0", config, "float64")
    table, session = MetricsTable(envs), Session(RandomDriver(), envs, 6)
    shown = {}
    for frame in session.frames():
        table.note(frame)
        shown[frame.index] = table.figures(frame, frame.world)
    trace = session.trace()
    recorder = Recorder(envs)
    envs.reset(seed=[6])
    recorder.begin()
    for action in trace.actions:
        recorder.step(torch.as_tensor(action)[None])
        recorder.frames += envs.frames_per_step
        recorder.rewards.append(torch.zeros(1, dtype=torch.float64))
        recorder.latency.append(0.0)
    episodes = recorder.finish([6])
    crashed = episodes.of_ego("crashed")[:, 0]
    assert not crashed.any() and len(shown) > 40
    known = 0
    for index in (12, 30, 45):
        part = {name: getattr(episodes, name)[: index + 1] for name in (*REALS, *WHOLES, "crashed", "ego")}
        cut = dataclasses.replace(episodes, **part, frames=torch.tensor([index + 1]))
        for name, signal in comfort.signals(cut).items():
            if name in ("lon_acceleration", "lat_acceleration", "lon_jerk", "lat_jerk"):
                value = float(signal[-1, 0])
                if math.isnan(value):
                    continue
                known += 1
                assert shown[index][name] == pytest.approx(value, abs=0.006), (index, name)
    assert known >= 10
    assert np.nanmax([abs(one["lat_acceleration"]) for one in shown.values()]) > 1


def test_a_blow_is_no_ride():
    envs = make_envs("highway-fast-v0", {"vehicles_count": 3}, "float64")
    table, session = MetricsTable(envs), Session(RandomDriver(), envs, 6)
    for frame in session.frames():
        if frame.index == 14:
            envs.world.crashed[0, int(envs.world.ego[0, 0])] = True
        table.note(frame)
        figures = table.figures(frame, frame.world)
        if frame.index == 13:
            assert "lat_jerk" in figures
        if frame.index == 14:
            assert "lat_jerk" not in figures and np.isfinite(figures["speed"])
            break
