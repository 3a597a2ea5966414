import numpy as np
import pytest
import torch

from tests.sim.sensors.pictures import spoiled

EPISODES = torch.arange(1, 61) * 15485863


def white(height=96, width=128):
    return torch.full((3, height, width), 255, dtype=torch.uint8)


@pytest.mark.parametrize("share", [0.03, 0.2, 0.55, 0.7, 0.95])
def test_exactly_the_stated_share_of_each_frame_is_hidden(share):
    out = spoiled(white(), {"occlusion": share}, ["lens"], EPISODES, cameras=2)
    hidden = (out < 100).all(dim=2)
    assert torch.equal(hidden, (out < 255).any(dim=2))
    assert float((hidden.double().mean(dim=(2, 3)) - share).abs().max()) < 0.012
    middles = [np.argwhere(frame.numpy()).mean(axis=0) for frame in hidden.flatten(0, 1)]
    if share < 0.5:
        assert np.ptp(middles, axis=0).min() > 20  # px: it is somewhere else in each episode


def test_all_can_be_hidden():
    assert bool((spoiled(white(), {"occlusion": 1.0}, ["lens"]) < 20).all())


def test_dirt_covers_about_the_stated_share_softly():
    out = spoiled(white(), {"dirt": 0.1}, ["lens"], EPISODES)[:, 0, 0].double()
    dirty = (out < 255).double().mean(dim=(1, 2))
    assert 0.06 < float(dirty.mean()) < 0.1  # blots overlap, and end at the frame
    assert float(out.diff(dim=2).abs().max()) < 160  # no hard edge
    assert 50 < float(out.min()) < 130  # mud by day
    night = spoiled(white(), {"dirt": 0.1, "ambient": 0.01, "sun": 0.0}, ["lens"], EPISODES)
    assert float(night.min()) < 50


def test_dirt_stays_through_an_episode_and_rain_does_not():
    for fields, effect, stays in (({"dirt": 0.2}, "lens", True), ({"streaks": 0.6}, "streaks", False)):
        frames = [spoiled(white() // 2, fields, [effect], steps=step) for step in (0, 1)]
        assert torch.equal(*frames) == stays
        assert not torch.equal(frames[0], white()[None, None] // 2)


def test_more_rain_is_more_streaks_that_are_upright_and_brighter_than_the_dark():
    dark = torch.full((3, 96, 128), 20, dtype=torch.uint8)
    wet = [(spoiled(dark, {"streaks": s}, ["streaks"], EPISODES)[:, 0, 1] > 20).double() for s in (0.25, 0.5, 1.0)]
    shares = [float(one.mean()) for one in wet]
    assert 0.01 < shares[0] < 0.6 * shares[1] < 0.4 * shares[2] < 0.1
    below, beside = (float((one[:, 1:] * one[:, :-1]).mean()) for one in (wet[0], wet[0].transpose(1, 2)))
    assert below > 4 * beside
    assert float(spoiled(dark, {"streaks": 1.0}, ["streaks"]).double().min()) == 20


def test_a_finer_picture_shows_the_same_rain():
    coarse, fine = (
        float(
            (spoiled(torch.zeros(3, 160 * k, 160 * k, dtype=torch.uint8), {"streaks": 0.5}, ["streaks"]) > 0)
            .double()
            .mean()
        )
        for k in (1, 4)
    )
    assert abs(fine / coarse - 1) < 0.2
