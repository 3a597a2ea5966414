"""Driving frame by frame gives the frames and the trace of a drive in one go, cut off wherever somebody stops."""

import dataclasses

import numpy as np
import pytest

from sim.evaluation.driver import RandomDriver
from sim.recording import Session, make_envs, record_episode, replay

SHORT = {"vehicles_count": 5, "duration": 5}


@pytest.fixture(scope="module")
def envs():
    return make_envs("highway-fast-v0", SHORT, "float64")


def seen(frame):
    world = frame.world
    hud = dataclasses.replace(frame.hud, scores=None)
    place = (world.x[0].tolist(), world.heading[0].tolist())
    return frame.time, frame.index, round(frame.age, 9), hud, place, np.asarray(frame.observation).tolist()


def test_frames_are_those_of_the_replay(envs):
    session = Session(RandomDriver(), envs, 4, "random")
    driven = [(seen(frame), frame.decided.tolist()) for frame in session.frames()]
    trace = session.trace()
    replayed = [(seen(frame), frame.decided.tolist()) for frame in replay(trace, envs)]
    first, rest = driven[0], driven[1:]
    assert rest == replayed[1:]
    # Right after the reset a session has not decided yet; the replay knows what will be.
    assert first[0][:3] == replayed[0][0][:3] and first[0][4:] == replayed[0][0][4:]
    whole = record_episode(RandomDriver(), envs, 4, "random")
    for name in ("actions", "rewards", "terminated", "truncated", "hashes"):
        np.testing.assert_array_equal(getattr(trace, name), getattr(whole, name))
    assert trace.case == whole.case


@pytest.mark.parametrize("full", [False, True])
def test_an_episode_may_be_left_in_the_middle_of_a_step(envs, full, tmp_path):
    session = Session(RandomDriver(), envs, 4, "random", full)
    with pytest.raises(ValueError, match="nothing was driven"):
        session.trace()
    for frame in session.frames():
        if frame.index == 13:  # two steps of five frames, and three frames
            break
    trace = session.trace()
    trace.save(tmp_path / "cut.npz")
    assert len(trace.actions) == 2 and len(trace.hashes) == 3
    assert trace.truncated.tolist() == [False, True] and not trace.terminated.any()
    assert (trace.states is None) == (not full)
    if full:
        assert len(trace.states) == 11
    assert [frame.index for frame in replay(trace, envs)] == [*range(11), 10]
