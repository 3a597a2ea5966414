"""Every id is drawn as highway-env draws it: the same view, and the same things in the same places."""

import numpy as np
import pytest

import sim
from sim import render
from sim.evaluation.oracle import fresh_classes, make_real
from sim.recording import camera
from sim.render import HUD_HEIGHT, Renderer
from sim.scenarios import SCENARIOS
from sim.world import Kind

SEED = 3


@pytest.fixture
def windowless(monkeypatch):
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)  # with "dummy" highway-env draws nothing


def drive(env, id, steps):
    """Resets and takes the same steps in ours and in highway-env."""
    env.reset(seed=SEED)
    actions = sim.make(id).action_space
    actions.seed(SEED)
    for _ in range(steps):
        env.step(actions.sample())
    return env


def started(id, steps=0):
    return drive(sim.make(id, render_mode="rgb_array"), id, steps)


def picture_of_highway_env(id, steps=0):
    with fresh_classes():
        env = make_real(id, {"offscreen_rendering": True}).unwrapped
        env.render_mode = "rgb_array"
        picture = drive(env, id, steps).render().astype(int)
        env.close()
    return picture


def eroded(mask, times):
    for _ in range(times):
        inside = np.zeros_like(mask)
        inside[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        mask = inside
    return mask


def far_from(colours, picture, tolerance=12):
    """Mask of the pixels of `picture` that have none of the colours."""
    return np.all([np.abs(picture - colour).max(axis=2) > tolerance for colour in colours], axis=0)


def saturated(picture):
    """Mask of highway-env's things: all else there is a shade of grey."""
    return np.ptp(picture, axis=2) > 40


@pytest.mark.parametrize("id", SCENARIOS)
def test_each_id_shows_what_highway_env_shows(id, windowless):
    ours, theirs = started(id, 2).render().astype(int), picture_of_highway_env(id, 2)
    assert ours.shape == theirs.shape
    ground = (render.GRASS, render.SHOULDER, render.ASPHALT)
    things = eroded(saturated(theirs), 1)
    assert things.sum() > 50  # the ego at least
    assert far_from(ground, ours)[things].mean() > 0.97
    # And nothing is drawn in a second place: 4 px around highway-env's things lie all that has a car's colour in ours.
    red, green, blue = np.moveaxis(ours, 2, 0)
    cars = eroded((blue - green > 25) | (red - green > 60) | (green - red > 80), 1)  # but for the frame around a goal
    elsewhere = eroded(~saturated(theirs), 4)
    assert cars.sum() > 50
    assert (cars & elsewhere).sum() < 0.01 * cars.sum()


@pytest.mark.parametrize("id", SCENARIOS)
def test_each_id_has_asphalt_on_its_lanes_and_every_thing_in_its_colour(id):
    env = started(id, 2)
    image, world, config = env.render().astype(int), env.world, env.config
    height, width = image.shape[:2]
    ego = int(world.ego[0, 0])
    x, y, heading, kind = (getattr(world, name)[0].numpy() for name in ("x", "y", "heading", "kind"))
    origin = np.array([x[ego], y[ego]])
    corner = np.array(config["centering_position"]) * (width, height)

    def colours(points):
        """Of world points [n, 2], those in the frame."""
        columns, rows = np.round((points - origin) * config["scaling"] + corner).astype(int).T
        seen = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        return image[rows[seen], columns[seen]]

    samples = [np.array(lane.position(s, 0.5)) for lane in env.network.lanes for s in np.arange(0.5, lane.length, 1.5)]
    on_lanes = colours(np.array(samples, dtype=float))
    assert len(on_lanes) > 20
    assert (np.abs(on_lanes - render.ASPHALT).max(axis=1) < 20).mean() > 0.65  # the rest is cars and crossing lines

    egos = set(world.ego[0].tolist())
    backs = np.stack([x - 0.4 * np.cos(heading), y - 0.4 * np.sin(heading)], axis=-1)  # on the roof
    roof = np.array([min(255, 1.12 * channel) for channel in render.EGO])
    for slot in np.flatnonzero(kind != Kind.ABSENT):
        for colour in colours(backs[slot : slot + 1]):
            green = np.abs(colour - roof).max() < 30
            if slot in egos:
                assert green
            elif kind[slot] == Kind.LANDMARK:
                assert np.abs(colour - render.LANDMARK).max() < 30
            elif kind[slot] == Kind.OBSTACLE:
                assert np.abs(colour - render.OBSTACLE).max() < 30
            else:
                assert not green and np.abs(colour - render.ASPHALT).max() > 20


def test_the_walls_of_the_car_park_enclose_it():
    env = started("parking-v0")
    ego = int(env.world.ego[0, 0])
    origin = np.array([float(env.world.x[0, ego]), float(env.world.y[0, ego])])
    # The camera stands so that the middle of the car park is the middle of the frame.
    centering = tuple(0.5 + origin * 8 / (640, 400))
    image = Renderer(env.network, 640, 400, 8.0, centering).draw(env.world).astype(int)
    wall = np.abs(image - render.OBSTACLE).max(axis=2) < 30
    # 70 m x 42 m, 1 m thick (highway-env's _create_walls), at 8 px/m
    for mask, edges in ((wall[200], (320 - 280, 320 + 280)), (wall[:, 320], (200 - 168, 200 + 168))):
        place = np.flatnonzero(mask)
        assert place.min() == pytest.approx(edges[0] - 4, abs=2) and place.max() == pytest.approx(edges[1] + 4, abs=2)
        assert len(place) == pytest.approx(16, abs=4)
    assert wall[200 - 168, 60:580].all() and wall[200 + 168, 60:580].all()
    assert wall[50:350, 320 - 280].all() and wall[50:350, 320 + 280].all()
    assert (np.abs(image[180:220, 100:540] - render.GRASS).max(axis=2) > 12).all()  # paved inside


@pytest.mark.parametrize("id", ["intersection-multi-agent-v0", "parking-v0", "lane-keeping-v0"])
def test_a_replay_has_the_view_of_the_id_and_room_for_writing_above_and_below(id):
    env = started(id, 1)
    plain = env.render().astype(int)
    framed = camera(env.envs).draw(env.world).astype(int)
    assert framed.shape == (plain.shape[0] + 2 * HUD_HEIGHT, *plain.shape[1:])
    assert np.abs(framed[HUD_HEIGHT:-HUD_HEIGHT] - plain).mean() < 1


@pytest.mark.parametrize("id", ["roundabout-v0", "intersection-multi-agent-v0", "parking-v0"])
def test_a_window_shows_a_road_that_is_not_straight(id, monkeypatch):
    import pygame

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = sim.make(id, render_mode="human")
    try:
        env.reset(seed=SEED)
        for _ in range(2):
            assert env.step(env.action_space.sample()) is not None
            shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
            assert shown.shape == (env.config["screen_height"], env.config["screen_width"], 3)
            assert not far_from([render.ASPHALT], shown.astype(int)).all()
            assert not far_from([render.EGO], shown.astype(int), 30).all()
    finally:
        env.close()
        pygame.display.quit()
