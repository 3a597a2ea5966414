"""Insets of what the driver saw hold the pixels of its observation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sim import render
from sim.evaluation.driver import IdleDriver
from sim.overlays import overlay_of
from sim.overlays.frames import SEMANTIC_COLOURS, painted, pictures_of
from sim.recording import Session, camera, make_envs
from sim.recording.film import draw
from sim.sensors.classes import Semantic
from tests.sim.render.test_panels import find

GRAYSCALE = {
    "type": "GrayscaleObservation",
    "observation_shape": (96, 48),
    "stack_size": 3,
    "weights": [0.2989, 0.5870, 0.1140],
    "scaling": 1.75,
}
CASES = {
    "grayscale": (GRAYSCALE, ["seen: grayscale"]),
    "camera": ({"type": "Camera", "width": 64, "height": 48, "stack": 2}, ["seen: front"]),
    "surround": (
        {"type": "Camera", "width": 64, "height": 48, "cameras": "surround", "channels": "semantic"},
        [f"seen: {name} semantic" for name in ("front", "right", "rear", "left")],
    ),
    "depth": ({"type": "Camera", "width": 64, "height": 48, "channels": "depth"}, ["seen: front depth"]),
    "bird's eye": ({"type": "BirdsEye", "width": 60, "height": 40}, ["seen: bird's eye"]),
    "classes": (
        {"type": "BirdsEye", "width": 60, "height": 40, "channels": ["road", "ego", "speed"]},
        ["seen: bird's eye, classes", "seen: bird's eye, speed"],
    ),
}


def driven(config, frames=7):
    envs = make_envs("highway-fast-v0", {"observation": config, "vehicles_count": 8}, "float32")
    session = Session(IdleDriver(), envs, 3)
    for frame in session.frames():
        if frame.index == frames:
            return envs, frame
    raise AssertionError("the episode is over")


def expected(name, pixels):
    """What each inset must show, from the observation alone."""
    if name == "grayscale":
        return [np.stack([pixels[-1].T] * 3, -1)]
    if name in ("camera", "bird's eye"):
        return [pixels[-3:].transpose(1, 2, 0)]
    if name == "surround":
        table = np.array([SEMANTIC_COLOURS[Semantic(i)] for i in range(len(Semantic))], np.uint8)
        return [table[one] for one in pixels]
    if name == "depth":
        return [np.stack([pixels[0]] * 3, -1)]
    return [None, np.stack([pixels[2]] * 3, -1)]


@pytest.mark.parametrize("name", CASES)
def test_insets_are_the_pixels_of_the_observation_that_the_driver_acted_on(name):
    config, titles = CASES[name]
    envs, frame = driven(config)
    pixels = frame.observation[0].numpy()
    overlay = overlay_of(["camera"], envs)
    insets = overlay(frame, frame.world)
    assert sorted(inset.title for inset in insets) == sorted(titles)
    picture = draw(camera(envs, ["camera"]), frame, frame.world, overlay)
    for inset, image in zip(insets, expected(name, pixels), strict=True):
        if image is not None:
            factor = min(inset.room[0] // image.shape[1], inset.room[1] // image.shape[0])
            assert len(find(picture, image.repeat(factor, axis=0).repeat(factor, axis=1))) == 1
    assert pixels.std() > 1  # it saw something


def test_channels_are_painted_over_each_other():
    road, ego = np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8)
    road[0], ego[0, 1], road[1, 2] = 255, 255, 51
    image = painted({"ego": ego, "road": road}).astype(int)
    assert (image[0, 0] == render.ASPHALT).all() and (image[0, 1] == render.EGO).all()
    assert (image[1, 0] == render.GRASS).all()
    mixed = 0.8 * np.array(render.GRASS) + 0.2 * np.array(render.ASPHALT)
    np.testing.assert_allclose(image[1, 2], mixed, atol=1)


def test_pictures_of_an_unknown_kind_are_shown_in_threes():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
    shown = list(pictures_of(SimpleNamespace(), pixels))
    assert [title for title, _ in shown] == ["seen: SimpleNamespace"] * 2
    np.testing.assert_array_equal(shown[1][1], pixels[3:].transpose(1, 2, 0))
    assert len(list(pictures_of(SimpleNamespace(), pixels[:2]))) == 2


def test_an_observation_of_ones_own_can_be_shown():
    """Anything uint8 [channels, H, W] is a picture."""
    kind = SimpleNamespace(space=spaces.Box(0, 255, (3, 8, 9), np.uint8))
    overlay = overlay_of(["camera"], SimpleNamespace(observation_type=kind))
    pixels = torch.randint(0, 256, (1, 3, 8, 9), dtype=torch.uint8)
    frame = SimpleNamespace(envs=SimpleNamespace(observation_type=kind), observation=pixels)
    (inset,) = overlay(frame, None)
    np.testing.assert_array_equal(inset.image, pixels[0].numpy().transpose(1, 2, 0))


@pytest.mark.parametrize("id", ["highway-fast-v0", "parking-v0", "racetrack-v0", "intersection-multi-agent-v0"])
def test_features_are_no_pictures(id):
    with pytest.raises(ValueError, match=r"the overlay 'camera' shows the pictures that a driver sees; \w+ has none"):
        overlay_of(["camera"], make_envs(id, None, "float32"))
