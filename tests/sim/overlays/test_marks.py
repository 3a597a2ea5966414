"""Overlays over scenes made by hand, where the figures are known."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from sim.evaluation.driver import IdleDriver
from sim.overlays import overlay_of, snapshot
from sim.recording import camera, make_envs, record_episode, replay
from sim.recording.replay import Frame, Moment, poses
from sim.render import CRITICAL, NEAR, SAFE, SEEN, Hud, Mark, Renderer

LANES = {"lanes_count": 3, "vehicles_count": 2}


def scene(config=LANES, *, gap, speed, leader_speed, offset=0.0, id="highway-fast-v0"):
    """The ego on its lane at `speed` [m/s] and one vehicle `gap` m in front of its bumper; the rest far away."""
    envs = make_envs(id, config, "float64")
    envs.reset(seed=1)
    world = envs.world
    ego = int(world.ego[0, 0])
    other = next(slot for slot in range(2) if slot != ego)
    world.x[0] += 5000.0 * torch.arange(1, world.x.shape[1] + 1)
    world.heading[0], world.cos_heading[0], world.sin_heading[0] = 0.0, 1.0, 0.0
    world.x[0, ego], world.y[0, ego], world.speed[0, ego] = 200.0, 4.0, speed
    world.x[0, other], world.y[0, other], world.speed[0, other] = 205.0 + gap, 4.0 + offset, leader_speed
    world.lane[0, :2] = 1
    frame = Frame(envs, 0.0, Hud(), 0, envs.observe(), poses(world))
    return frame, ego, other


def drawn(name, frame, moment):
    return overlay_of([name], frame.envs)(frame, moment)


@pytest.mark.parametrize(
    ("gap", "closing", "label", "colour"),
    [(20.0, 10.0, "2.0 s", NEAR), (10.0, 10.0, "1.0 s", CRITICAL), (40.0, 10.0, None, None), (10.0, -5.0, None, None)],
)
def test_a_time_to_collision_is_gap_over_closing_speed(gap, closing, label, colour):
    frame, *_ = scene(gap=gap, speed=25.0, leader_speed=25.0 - closing)
    marks = drawn("ttc", frame, frame.world)
    assert [mark.label for mark in marks if mark.label] == ([label] if label else [])
    assert {mark.colour for mark in marks} == ({colour} if colour else set())
    if label:
        line = next(mark for mark in marks if not mark.label)
        np.testing.assert_allclose(line.points, [[200, 4], [205 + gap, 4]])


def test_beside_each_other_nobody_collides():
    frame, *_ = scene(gap=20.0, speed=25.0, leader_speed=15.0, offset=4.0)
    assert drawn("ttc", frame, frame.world) == []


def test_rss_tells_what_is_missing_of_the_safe_distance():
    """25 m/s behind 25 m/s needs 30 m with the parameters dense-traffic (evaluation.md 3.3): 20 m lack 10."""
    frame, *_ = scene(gap=20.0, speed=25.0, leader_speed=25.0)
    box, label = drawn("rss", frame, frame.world)
    assert box.colour == label.colour == CRITICAL
    assert label.label == "RSS -10.0 m"
    np.testing.assert_allclose(box.points.mean(0), [225.0, 4.0])
    frame, *_ = scene(gap=34.0, speed=25.0, leader_speed=25.0)
    box, label = drawn("rss", frame, frame.world)
    assert box.colour == SAFE and label.label == "RSS +4.0 m"
    frame, *_ = scene(gap=200.0, speed=25.0, leader_speed=25.0)
    assert drawn("rss", frame, frame.world) == []


KINEMATICS = {"type": "Kinematics", "vehicles_count": 5, "features": ["presence", "x", "y", "vx", "vy"]}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"absolute": True, "normalize": False},
        {"normalize": False},
        {"features_range": {"x": [-100, 100], "y": [-100, 100], "vx": [-20, 20], "vy": [-20, 20]}},
        {"features": ["x", "y"]},
        {"features": ["presence", "x", "y", "cos_h", "sin_h"]},
    ],
)
def test_what_a_table_holds_is_drawn_where_the_vehicles_are(options):
    config = LANES | {"observation": KINEMATICS | options}
    frame, _, other = scene(config, gap=30.0, speed=25.0, leader_speed=20.0)
    envs, world = frame.envs, frame.world
    world.heading[0, other], world.cos_heading[0, other], world.sin_heading[0, other] = (
        0.1,
        math.cos(0.1),
        math.sin(0.1),
    )
    frame = Frame(envs, 0.0, Hud(), 0, envs.observe(), poses(envs.world))
    (mark,) = drawn("seen", frame, frame.world)
    np.testing.assert_allclose(mark.points.mean(0), [235.0, 4.0], atol=1e-3)
    ahead = mark.points[:2].mean(0) - mark.points[2:].mean(0)
    if options.get("features") != ["x", "y"]:
        assert math.atan2(ahead[1], ahead[0]) == pytest.approx(0.1, abs=1e-4)


def test_what_was_seen_is_carried_on_at_its_velocity():
    frame, *_ = scene(LANES | {"observation": KINEMATICS}, gap=30.0, speed=25.0, leader_speed=20.0)
    later = dataclasses.replace(frame, age=0.8)
    (mark,) = drawn("seen", later, later.world)
    np.testing.assert_allclose(mark.points.mean(0), [235.0 + 0.8 * 20, 4.0], atol=1e-3)
    (mark,) = drawn("seen", later, Moment(later.world, {"lag": 0.05}))
    np.testing.assert_allclose(mark.points.mean(0), [235.0 + 0.75 * 20, 4.0], atol=1e-3)


def test_what_was_seen_does_not_follow_what_happened_since():
    frame, *_ = scene(LANES | {"observation": KINEMATICS}, gap=30.0, speed=25.0, leader_speed=20.0)
    frame.world.x[0] += 50
    (mark,) = drawn("seen", frame, frame.world)
    np.testing.assert_allclose(mark.points.mean(0), [235.0, 4.0], atol=1e-3)


def test_lidar_beams_end_where_they_met_something():
    config = LANES | {"observation": {"type": "LidarObservation", "cells": 8, "maximum_range": 40}}
    frame, *_ = scene(config, gap=20.0, speed=25.0, leader_speed=20.0)
    beams = drawn("seen", frame, frame.world)
    assert [beam.colour for beam in beams] == [SEEN] + [SAFE] * 7
    np.testing.assert_allclose(beams[0].points, [[200, 4], [222.5, 4]], atol=1e-3)  # the rear of the other vehicle
    np.testing.assert_allclose(beams[2].points[1], [200, 44], atol=1e-3)


def test_taken_cells_of_a_grid_are_outlined():
    grid = {"type": "OccupancyGrid", "grid_size": [[-50, 50], [-10, 10]], "grid_step": [10, 5]}
    grid["features"] = ["presence", "on_road"]
    frame, *_ = scene(LANES | {"observation": grid}, gap=17.0, speed=25.0, leader_speed=20.0)
    middles = sorted(tuple(mark.points.mean(0)) for mark in drawn("seen", frame, frame.world))
    np.testing.assert_allclose(middles, [[205.0, 6.5], [225.0, 6.5]])  # the ego at (200, 4), the other 22 m ahead


def test_the_snapshot_is_the_moment():
    frame, ego, _ = scene(gap=30.0, speed=25.0, leader_speed=20.0)
    episodes = snapshot(frame.envs, frame.world)
    assert episodes.x.shape == (1, 1, frame.world.x.shape[1])
    assert int(episodes.ego[0, 0]) == ego
    assert float(episodes.facts.gap[0, 0]) == pytest.approx(30.0)
    assert bool(episodes.counts.all())


@pytest.mark.parametrize("names", [["ttc", "nonsense"], [""]])
def test_an_unknown_overlay_is_one_line(names):
    with pytest.raises(ValueError, match=r"unknown overlay '\w*'; there are ttc, rss, seen"):
        overlay_of(names, None)


def test_an_observation_that_cannot_be_drawn_is_told_before_the_film():
    envs = make_envs("highway-fast-v0", {"observation": {"type": "TimeToCollision"}}, "float32")
    with pytest.raises(ValueError, match="cannot draw this TimeToCollision: it draws Kinematics with x and y"):
        overlay_of(["seen"], envs)
    overlay_of(["ttc", "rss"], envs)


def test_overlays_over_a_whole_episode_change_the_pictures():
    envs = make_envs("highway-fast-v0", {"vehicles_count": 20, "duration": 3}, "float32")
    trace = record_episode(IdleDriver(), envs, 0)
    overlay, renderer = overlay_of(["ttc", "rss", "seen"], envs), camera(envs)
    differing = 0
    for frame in replay(trace, envs):
        plain = renderer.draw(frame.world, 0, frame.hud)
        differing += (renderer.draw(frame.world, 0, frame.hud, overlay(frame, frame.world)) != plain).any()
    assert differing > 10


def test_marks_are_drawn_in_their_colour_at_their_place():
    frame, *_ = scene(gap=60.0, speed=25.0, leader_speed=20.0)
    renderer = Renderer(frame.envs.network, 400, 200, 4.0, (0.5, 0.5))
    box = np.array([(210.0, -6.0), (220.0, -6.0), (220.0, -2.0), (210.0, -2.0)])
    filled = renderer.draw(frame.world, 0, None, [Mark(box, (250, 0, 250), width=0)])
    assert filled[100 - 32, 200 + 60].tolist() == [250, 0, 250]
    outlined = renderer.draw(frame.world, 0, None, [Mark(box, (250, 0, 250))])
    assert outlined[100 - 32, 200 + 60].tolist() != [250, 0, 250]
    assert outlined[100 - 32, 200 + 40].tolist() == [250, 0, 250]
    line = renderer.draw(frame.world, 0, None, [Mark(box[[0, 2]], (250, 0, 250), closed=False)])
    assert line[100 - 32, 200 + 60].tolist() == [250, 0, 250]
    labelled = renderer.draw(frame.world, 0, None, [Mark(box[:1], (250, 250, 250), label="1.0 s")])
    assert (labelled[100 - 46 : 100 - 34, 200 + 30 : 200 + 50] > 240).all(-1).any()
