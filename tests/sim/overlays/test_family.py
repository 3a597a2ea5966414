"""Every id is drawn with every overlay that means something there; what means nothing says so."""

import numpy as np
import pytest

from sim.evaluation.driver import RandomDriver
from sim.overlays import OVERLAYS, overlay_of
from sim.recording import Session, camera, make_envs
from sim.recording.film import draw
from sim.render import Mark
from sim.render.panels import GAP, draw_panels
from sim.render.pen import Pen
from sim.scenarios import SCENARIOS

WITHOUT_MAP = {id for id in SCENARIOS if id.startswith("parking")}


def meaningful(envs):
    """Names of the overlays, and what the others say."""
    names, refused = [], {}
    for name in OVERLAYS:
        try:
            overlay_of([name], envs)
            names.append(name)
        except ValueError as error:
            refused[name] = str(error)
    return names, refused


@pytest.mark.parametrize("id", SCENARIOS)
def test_each_id_is_drawn_with_all_that_means_something(id, monkeypatch):
    envs = make_envs(id, None, "float64")
    names, refused = meaningful(envs)
    assert {"ttc", "rss", "trail", "metrics", "scale"} <= set(names)
    assert ("minimap" in refused) == (id in WITHOUT_MAP)
    for name, words in refused.items():
        assert f"overlay '{name}'" in words and "\n" not in words
    overlay, view, places = overlay_of(names, envs), camera(envs, names), []

    def noted(pen: Pen, *args):
        places.append((draw_panels(pen, *args), args[2:], pen.size))

    monkeypatch.setattr("sim.render.renderer.draw_panels", noted)
    session = Session(RandomDriver(), envs, 3, "random")
    for frame in session.frames():
        overlay.note(frame)
        last = frame
        if frame.index == 12:
            break
    picture = draw(view, last, last.world, overlay)
    plain = view.draw(last.world, 0, last.hud)
    assert picture.shape == plain.shape and (picture != plain).any(axis=2).mean() > 0.01
    ((panels, (above, below), (width, height)),) = places[:1]
    assert len(panels) >= 2
    for one in panels:
        assert one.left >= GAP and one.right <= width - GAP
        assert one.top >= above + GAP and one.bottom <= height - below - GAP
    drawings = overlay(last, last.world)
    trails = [one for one in drawings if isinstance(one, Mark) and one.under]
    ego = int(last.world.ego[0, 0])
    here = [float(last.world.x[0, ego]), float(last.world.y[0, ego])]
    if abs(float(last.world.speed[0, ego])) > 1:
        assert min(np.hypot(*(mark.points - here).T).min() for mark in trails) < 1e-6  # the ego's ends at the ego


@pytest.mark.parametrize("id", ["highway-v0", "intersection-v0"])
def test_a_picture_with_all_panels_shows_the_same_road(id):
    """Room is made for panels, above or beside: what was seen before is seen still."""
    envs = make_envs(id, None, "float64")
    envs.reset(seed=1)
    plain, roomy = (camera(envs, names) for names in ((), ("metrics", "camera", "minimap")))
    small, large = plain.draw(envs.world).astype(int), roomy.draw(envs.world).astype(int)
    top = large.shape[0] - small.shape[0]
    left = round(roomy.centering[0] * large.shape[1] - plain.centering[0] * small.shape[1])
    part = large[top : top + small.shape[0], left : left + small.shape[1]]
    assert np.abs(part - small).mean() < 1
