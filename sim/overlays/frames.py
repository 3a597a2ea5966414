"""The frames that a driver sees, as pictures inside the picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sim.observations.birdseye import BirdsEyeObservation
from sim.observations.camera import CHANNELS, CameraObservation
from sim.observations.grayscale import GrayscaleObservation
from sim.overlays.base import first_leaf, first_observation
from sim.recording.replay import Frame
from sim.render import ASPHALT, EGO, GRASS, LANDMARK, OBSTACLE, PAINT, SHOULDER, TRAFFIC, Inset
from sim.sensors.classes import Semantic

SEMANTIC_COLOURS = {
    Semantic.SKY: (150, 190, 230),
    Semantic.GRASS: GRASS,
    Semantic.SHOULDER: SHOULDER,
    Semantic.ROAD: ASPHALT,
    Semantic.MARKING: PAINT,
    Semantic.CAR: TRAFFIC[0],
    Semantic.VAN: (150, 110, 220),
    Semantic.TRUCK: (222, 120, 70),
    Semantic.MOTORCYCLE: (230, 90, 170),
    Semantic.OBSTACLE: OBSTACLE,
    Semantic.GOAL: LANDMARK,
}
CHANNEL_COLOURS = {
    "road": ASPHALT,
    "marking": PAINT,
    "vehicles": TRAFFIC[0],
    "obstacles": OBSTACLE,
    "goals": LANDMARK,
    "ego": EGO,
}
"""Of the channels of a bird's-eye picture that hold shares of a pixel, in the order in which they are painted."""
ROOMS = {1: (256, 192), 2: (256, 144)}
"""The greatest size of each picture where there are so many [px]; of more, `SMALL`."""
SMALL = (160, 120)


def require_frames(envs: Any) -> None:
    """Raises ValueError where the first agent does not see pictures."""
    kind = first_observation(envs)
    space = getattr(kind, "space", None)
    if getattr(space, "dtype", None) != np.uint8 or len(space.shape) != 3:
        raise ValueError(
            f"the overlay 'camera' shows the pictures that a driver sees; {type(kind).__name__} has none: it needs "
            "Camera, BirdsEye or GrayscaleObservation ('seen' draws features over the road)"
        )


def camera(frame: Frame, moment: Any) -> list[Inset]:
    """The newest picture of each camera of the first agent, as it saw them when it decided."""
    kind = first_observation(frame.envs)
    pixels = first_leaf(frame.observation)[0].cpu().numpy()
    shown = list(pictures_of(kind, pixels))
    room = ROOMS.get(len(shown), SMALL)
    return [Inset(image, title, room) for title, image in shown]


def pictures_of(kind: Any, pixels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields titles and images [H, W, 3] of an observation of pictures, the newest of a stack.

    Args:
        kind: the observation type; of one that this does not know every three channels are a picture, or each one.
        pixels: uint8 [channels, H, W]; GrayscaleObservation's are [stack, W, H], as highway-env's.
    """
    if isinstance(kind, GrayscaleObservation):
        yield "seen: grayscale", _grey(pixels[-1].T)
    elif isinstance(kind, CameraObservation):
        step = CHANNELS[kind.channels]
        for number, camera in enumerate(kind.cameras):
            first = len(pixels) - step * (len(kind.cameras) - number)
            what = "" if kind.channels == "rgb" else f" {kind.channels}"
            yield f"seen: {camera.name}{what}", _of_camera(pixels[first : first + step], kind.channels)
    elif isinstance(kind, BirdsEyeObservation):
        newest = pixels[-kind.view.shape[0] :]
        if kind.view.channels == "rgb":
            yield "seen: bird's eye", np.moveaxis(newest, 0, 2)
            return
        by_name = dict(zip(kind.view.names, newest, strict=True))
        if set(by_name) & set(CHANNEL_COLOURS):
            yield "seen: bird's eye, classes", painted(by_name)
        for name in by_name.keys() - CHANNEL_COLOURS.keys():
            yield f"seen: bird's eye, {name}", _grey(by_name[name])
    else:
        step = 3 if len(pixels) % 3 == 0 else 1
        for first in range(0, len(pixels), step):
            part = np.moveaxis(pixels[first : first + step], 0, 2)
            yield f"seen: {type(kind).__name__}", part if step == 3 else _grey(part[:, :, 0])


def _of_camera(channels: np.ndarray, what: str) -> np.ndarray:
    """An image of the channels of one camera; of depth the brighter the farther, of classes each in its colour."""
    if what == "rgb":
        return np.moveaxis(channels, 0, 2)
    if what == "depth":
        return _grey(channels[0])
    table = np.zeros((256, 3), np.uint8)
    for semantic, colour in SEMANTIC_COLOURS.items():
        table[semantic] = colour
    return table[channels[0]]


def _grey(channel: np.ndarray) -> np.ndarray:
    return np.repeat(channel[:, :, None], 3, axis=2)


def painted(channels: dict[str, np.ndarray]) -> np.ndarray:
    """Returns an image [H, W, 3] of channels [H, W] by name, each the share of a pixel of its colour, on grass."""
    shape = next(iter(channels.values())).shape
    image = np.broadcast_to(np.array(GRASS, float), (*shape, 3))
    for name, colour in CHANNEL_COLOURS.items():
        if name in channels:
            share = channels[name][:, :, None] / 255.0
            image = image * (1 - share) + np.array(colour) * share
    return np.rint(image).astype(np.uint8)
