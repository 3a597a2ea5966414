"""Boxes become places: closed forms of the camera, and errors that are as large as they say."""

import math

import numpy as np
import pytest
import torch

from perception.bodies import outlines_of
from perception.cameras import FRONT, HEIGHT, LEFT, REAR, SURROUND, WIDTH
from perception.detection.learning import CLASSES
from perception.fusion import mahalanobis
from perception.ground_plane import BoxErrors, Viewpoints, first_guess, fit_places, ground_under

POSE = (310.0, -42.0, 0.4)
OUTLINES = outlines_of(CLASSES)
CAR, TRUCK, OBSTACLE = (CLASSES.index(name) + 1 for name in ("car", "truck", "obstacle"))


def view(camera, count=1, pose=POSE):
    """What the stack is told of a camera that really is where it is mounted."""
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    place = np.array([*pose[:2], 0]) + turn @ np.array([camera.x, camera.y, camera.z])
    as_tensor = [torch.from_numpy(one).expand(count, *one.shape) for one in (place, camera.axes() @ turn.T)]
    return Viewpoints(*as_tensor, torch.full((count,), camera.focal, dtype=torch.float64), (WIDTH, HEIGHT))


def world_place(ahead, right, pose=POSE):
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    return np.array([pose[0] + cosine * ahead - sine * right, pose[1] + sine * ahead + cosine * right])


def box_of(camera, label, place, heading, scale=(1.0, 1.0, 1.0), pose=POSE):
    """The box around a body, cut to the picture, by the camera's own projection in NumPy."""
    points = OUTLINES.points[label].numpy() * scale
    cosine, sine = math.cos(heading), math.sin(heading)
    x = place[0] + points[:, 0] * cosine - points[:, 1] * sine
    y = place[1] + points[:, 0] * sine + points[:, 1] * cosine
    pixels, depth = camera.project(np.stack([x, y, points[:, 2]], -1), pose)
    assert (depth > 0.1).all()
    low, high = pixels.min(0).clip(0, (WIDTH, HEIGHT)), pixels.max(0).clip(0, (WIDTH, HEIGHT))
    return np.concatenate([low, high])


def fitted(camera, boxes, labels, headings, errors=None):
    boxes = torch.from_numpy(np.stack(boxes))
    seen_from = view(camera, len(boxes))
    return fit_places(boxes, torch.tensor(labels), torch.tensor(headings), OUTLINES, seen_from, errors)


def test_the_ground_under_a_pixel_is_the_cameras():
    pixels = np.random.default_rng(0).uniform([0, 0], [WIDTH, HEIGHT], (60, 2))
    for camera in SURROUND:
        expected = camera.to_ground(pixels, POSE)
        found = ground_under(torch.from_numpy(pixels), view(camera, 60)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("camera", "ahead", "right", "turned", "label", "off"),
    [
        (FRONT, 12.0, 0.0, 0.0, CAR, 0.01),
        (FRONT, 40.0, 4.0, 0.0, CAR, 0.01),
        (FRONT, 25.0, -4.0, math.pi, TRUCK, 0.01),  # oncoming
        (FRONT, 30.0, 8.0, 0.0, OBSTACLE, 0.01),
        (LEFT, 3.0, -6.0, 0.0, CAR, 0.01),
        (REAR, -15.0, 4.0, 0.0, CAR, 0.01),
        (FRONT, 7.5, 3.5, 0.0, CAR, 0.1),  # its right end and its foot are outside the picture
    ],
)
def test_a_box_says_where_its_thing_stands(camera, ahead, right, turned, label, off):
    place, heading = world_place(ahead, right), POSE[2] + turned
    found = fitted(camera, [box_of(camera, label, place, heading)], [label], [heading])
    np.testing.assert_allclose(found.place[0].numpy(), place, atol=off)
    assert float(found.misfit[0]) < 1e-3


def test_the_first_guess_is_near():
    """So that ten steps lead from it to the place; the test above would not tell how near it was."""
    for ahead in (8.0, 20.0, 60.0):
        place = world_place(ahead, 2.0)
        box = torch.from_numpy(box_of(FRONT, CAR, place, POSE[2]))[None]
        guess = first_guess(box, torch.tensor([CAR]), OUTLINES, view(FRONT))[0].numpy()
        assert np.linalg.norm(guess - place) < 0.25 * ahead


def test_errors_are_as_large_as_they_say():
    """Boxes with errors as given, of bodies of the class's sizes: squared errors in deviations are nearly chi-squared.

    Not quite: which corner is the outermost changes with the heading, which a straight line through the best fit does
    not know; and the prior on the heading is a cautious one.
    """
    rng, errors = np.random.default_rng(3), BoxErrors(pixels=0.8, share=1e-3, range_share=1e-4, bearing=1e-5)
    boxes, places = [], []
    for _ in range(400):
        place = world_place(rng.uniform(10, 45), rng.uniform(-4, 4))
        scale = np.exp(rng.normal(size=3) * OUTLINES.spread[CAR].numpy())
        boxes.append(box_of(FRONT, CAR, place, POSE[2] + rng.normal() * 0.05, scale) + rng.normal(size=4) * 0.8)
        places.append(place)
    found = fitted(FRONT, boxes, [CAR] * 400, [POSE[2]] * 400, errors)
    far = mahalanobis(found.place - torch.from_numpy(np.stack(places)), found.covariance)
    assert 1.0 < float(far.median()) < 1.8  # of chi-squared, two degrees: 1.39
    assert 1.4 < float(far.mean()) < 2.8  # 2
    assert float((far > 9.21).double().mean()) < 0.04  # 0.01


def test_what_the_picture_cuts_aside_is_less_sure():
    """A car that the left edge cuts: how high it reaches is not trusted; of one in the middle nothing changes."""
    spreads = {}
    for cut in (0.0, 0.1):
        for name, right in (("cut", -6.0), ("whole", 0.0)):
            box = box_of(FRONT, CAR, world_place(9.0, right), POSE[2])
            assert (box[0] == 0) == (name == "cut")
            found = fitted(FRONT, [box], [CAR], [POSE[2]], BoxErrors(cut=cut))
            spreads[name, cut] = float(found.covariance[0].diagonal().sum())
    assert spreads["cut", 0.1] > 1.5 * spreads["cut", 0.0]
    assert spreads["whole", 0.1] == spreads["whole", 0.0]
    box = box_of(FRONT, CAR, world_place(9.0, -6.0), POSE[2])
    more, less = (fitted(FRONT, [box], [CAR], [POSE[2]], BoxErrors(cut_place=one)).covariance[0] for one in (0.7, 0.0))
    assert (more - less).flatten().tolist() == pytest.approx([0.49, 0, 0, 0.49])


def test_the_range_is_unsure_and_the_bearing_sure():
    """Along the ray the error grows with the square of the distance, across it with the distance at most."""
    spread = {}
    for ahead in (15.0, 30.0):
        found = fitted(FRONT, [box_of(FRONT, CAR, world_place(ahead, 0), POSE[2])], [CAR], [POSE[2]])
        ray = torch.tensor([math.cos(POSE[2]), math.sin(POSE[2])], dtype=torch.float64)
        aside = torch.stack([-ray[1], ray[0]])
        covariance = found.covariance[0]
        spread[ahead] = [float(one @ covariance @ one) ** 0.5 for one in (ray, aside)]
    assert spread[15.0][0] > 2 * spread[15.0][1]
    assert spread[30.0][0] > 2.2 * spread[15.0][0]
    assert spread[30.0][1] < 2.5 * spread[15.0][1]


def test_a_place_does_not_depend_on_the_others():
    """Bit for bit, in any company."""
    boxes = [box_of(FRONT, CAR, world_place(10 + 3 * k, 2.0 - k / 3), POSE[2]) for k in range(9)]
    together = fitted(FRONT, boxes, [CAR] * 9, [POSE[2]] * 9)
    for k in (0, 4, 8):
        alone = fitted(FRONT, boxes[k : k + 1], [CAR], [POSE[2]])
        assert torch.equal(alone.place[0], together.place[k])
        assert torch.equal(alone.covariance[0], together.covariance[k])


def test_unknown_classes_are_refused():
    with pytest.raises(ValueError, match="giraffe"):
        outlines_of(("car", "giraffe"))
