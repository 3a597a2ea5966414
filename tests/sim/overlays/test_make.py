"""Overlays on the pictures of `sim.make`, and highway-env's show_trajectories."""

import numpy as np
import pytest

import sim
from sim import render
from tests.sim.render.test_renderer import close_to


def pictures(config=None, steps=3, id="highway-fast-v0", **options):
    env = sim.make(id, config, render_mode="rgb_array", **options)
    env.reset(seed=4)
    shown = [env.render()]
    for _ in range(steps):
        env.step(1)
        shown.append(env.render())
    return env, shown


def test_show_trajectories_shows_where_everyone_was():
    env, trails = pictures({"show_trajectories": True})
    other, plain = pictures()
    assert np.array_equal(trails[0], plain[0])  # nobody has been anywhere
    assert np.array_equal(env.world.x, other.world.x)
    height, width = plain[3].shape[:2]
    column, row = round(env.config["centering_position"][0] * width), height // 2
    back = round(10.0 * env.config["scaling"])  # where the ego was 10 m ago
    before, after = (image[row - 1 : row + 2, column - back].astype(int) for image in (plain[3], trails[3]))
    assert close_to(before[1], render.ASPHALT)
    assert (after[:, 1] - before[:, 1]).max() > 15  # green
    assert (trails[3] != plain[3]).any(-1).mean() > 0.002


def test_a_reset_forgets_the_trails():
    env, _ = pictures({"show_trajectories": True})
    env.reset(seed=4)
    assert np.array_equal(env.render(), pictures(steps=0)[1][0])


def test_overlays_by_their_names():
    env, shown = pictures(overlays=["trail", "scale"], steps=1)
    assert np.array_equal(shown[1][:-60], pictures({"show_trajectories": True}, steps=1)[1][1][:-60])
    assert (shown[1][-40:-10, 10:80].min(-1) > 230).any()  # the scale bar
    changed = env.reset(seed=4, options={"config": {"lanes_count": 2}})
    assert changed is not None and env.render().shape == shown[0].shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlays": ["trails"]}, "unknown overlay 'trails'; there are ttc, rss, seen, camera, trail, plan"),
        ({"overlays": ["camera"]}, "'camera' shows the pictures that a driver sees; Kinematics has none"),
        ({"overlays": ["trail"], "render_mode": None}, "overlays are drawn on pictures: trail need a render_mode"),
        ({"overlays": ["plan"]}, "needs a driver that tells its plan"),
    ],
)
def test_overlays_that_cannot_be_drawn_are_told_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        sim.make("highway-fast-v0", **({"render_mode": "rgb_array"} | options))


def test_panels_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="a frame of 600 x 150 px has no room for the panel 'metrics'"):
        pictures(overlays=["metrics"])
    tall = {"screen_height": 300}
    _, (first, *_) = pictures(tall, overlays=["metrics"], steps=0)
    assert first.shape == (300, 600, 3)
