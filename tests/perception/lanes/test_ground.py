"""The place in a lane, against lines of real roads seen from known poses."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares

import sim
from perception.cameras import FRONT
from perception.data.lanes import ABSENT, LaneLines, by_rows, rows_of
from perception.lanes.ground import PlaceLedger, place_in_lane

NOTHING = np.zeros((FRONT.height, FRONT.width), dtype=bool)


def seen(env_id, pose):
    """Lane lines by rows, from a pose on a road; the eye and axes from the definition of the camera's frame."""
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    eye = np.array([pose[0], pose[1], 0.0]) + turn.T @ np.array([FRONT.x, FRONT.y, FRONT.z])
    lines = LaneLines(sim.make_vec(env_id, 1).network).lines(eye, FRONT.axes() @ turn, FRONT.focal, NOTHING)
    return by_rows(lines, rows_of(FRONT.height))


@pytest.mark.parametrize(("offset", "heading"), [(0.0, 0.0), (0.8, 0.0), (-1.2, 0.05), (0.4, -0.1)])
def test_offset_and_heading_on_a_straight_road(offset, heading):
    place = place_in_lane(seen("highway-fast-v0", (500.0, 4.0 + offset, heading)), FRONT)
    assert place.offset == pytest.approx(offset, abs=0.01)  # the middle lane's centre is y = 4, right is +
    assert place.heading == pytest.approx(heading, abs=1e-3)
    assert place.width == pytest.approx(4.0, abs=0.01)
    assert place.curvature == pytest.approx(0.0, abs=1e-4)


def test_curvature_on_an_arc():
    """Points of two circles about one middle, projected."""
    radius, rows = 120.0, np.array(rows_of(FRONT.height), dtype=float)
    lanes = np.full((4, len(rows)), float(ABSENT))
    angles = np.linspace(0, 0.7, 2000)
    for slot, side in ((1, -2.0), (2, 2.0)):
        turn = radius - (side + 0.5)  # the vehicle is half a metre left of the middle, the road turns right
        points = np.stack([turn * np.sin(angles), radius - turn * np.cos(angles), np.zeros(2000)], axis=-1)
        pixels, depth = FRONT.project(points, (0.0, 0.0, 0.0))
        ahead = depth > 0.1
        x = np.interp(rows, pixels[ahead][::-1, 1], pixels[ahead][::-1, 0], left=ABSENT)
        lanes[slot] = np.where((x < 0) | (x > FRONT.width), ABSENT, x)
    place = place_in_lane(lanes, FRONT)
    assert place.offset == pytest.approx(-0.5, abs=0.03) and place.heading == pytest.approx(0.0, abs=0.01)
    assert 1 / place.curvature == pytest.approx(radius, rel=0.05) and place.width == pytest.approx(4.0, abs=0.05)


def test_places_are_as_sure_as_equally_uncertain_pixels_make_them():
    """Least squares over pixels, solved the long way, give the same place from noisy points."""
    lanes = seen("highway-fast-v0", (500.0, 4.5, 0.02))
    noise = np.random.default_rng(0).normal(0, 1.5, lanes.shape)
    lanes = np.where(lanes == ABSENT, ABSENT, lanes + noise)
    rows = np.array(rows_of(FRONT.height), dtype=float)

    def missed(road):
        """Sideways distances [px] of the points from two parabolas on the ground, not linear in them."""
        left, right, slope, bend = road
        found = []
        for slot, start in ((1, left), (2, right)):
            kept = (lanes[slot] >= 0) & (rows > FRONT.height / 2 + FRONT.focal * FRONT.z / (40.0 - FRONT.x))
            ahead = FRONT.x + FRONT.focal * FRONT.z / (rows[kept] - FRONT.height / 2)
            ground = np.stack([ahead, start + slope * ahead + bend * ahead**2, np.zeros(kept.sum())], axis=-1)
            found.append(FRONT.project(ground, (0.0, 0.0, 0.0))[0][:, 0] - lanes[slot][kept])
        return np.concatenate(found)

    left, right, slope, _ = least_squares(missed, (-2.0, 2.0, 0.0, 0.0)).x
    place = place_in_lane(lanes, FRONT)
    assert place.heading == pytest.approx(-math.atan(slope), abs=2e-3)
    assert place.offset == pytest.approx(-(left + right) / 2, abs=0.01)


def test_too_little_of_a_line_is_no_place():
    lanes = seen("highway-fast-v0", (500.0, 4.0, 0.0))
    assert place_in_lane(lanes, FRONT) is not None
    for slot in (1, 2):
        hidden = lanes.copy()
        hidden[slot] = ABSENT
        assert place_in_lane(hidden, FRONT) is None
    far = lanes.copy()
    far[:, 4:] = ABSENT  # only what is close to the horizon
    assert place_in_lane(far, FRONT) is None


def test_errors_of_places_are_those_of_the_poses():
    truth = np.stack([seen("highway-fast-v0", (500.0, 4.0, 0.0))] * 3)
    found = np.stack([seen("highway-fast-v0", (500.0, 4.3, -0.02)), truth[0], np.full_like(truth[0], ABSENT)])
    ledger = PlaceLedger(FRONT)
    ledger.add(found, truth)
    ledger.add(found, np.full_like(truth, ABSENT))
    scores = ledger.summary()
    assert scores["offset_error_m"] == pytest.approx(0.15, abs=0.01)  # the median of 0.3 and 0
    assert scores["heading_error_deg_p90"] == pytest.approx(0.9 * math.degrees(0.02), abs=0.05)
    assert scores["placed"] == pytest.approx(2 / 3)
    assert math.isnan(PlaceLedger(FRONT).summary()["placed"])
