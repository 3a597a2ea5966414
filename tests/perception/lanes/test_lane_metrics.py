"""Lane metrics: closed forms, and other ways to the same numbers."""

import itertools
import math

import numpy as np
import pytest
from shapely.geometry import LineString, box

from perception.data.lanes import ABSENT, rows_of
from perception.lanes.lane_metrics import LaneLedger, OwnLane, lanes_of, overlaps, tusimple

SIZE = (320, 192)
ROWS = np.array(rows_of(192))
EXACT = np.arange(100.0, 190.0, 10.0)


def upright(*places, rows=ROWS):
    return np.array([np.full(len(rows), float(x)) for x in places])


def random_lanes(generator, count, rows=ROWS):
    """Slanted, slightly bent lanes; some stop early or begin late, some leave the frame."""
    lanes = []
    for _ in range(count):
        down = (rows - rows[0]) / (rows[-1] - rows[0])
        x = generator.uniform(60, 260) + generator.uniform(-200, 200) * down + generator.uniform(-20, 20) * down**2
        x[: generator.integers(0, 8)] = ABSENT
        x[len(x) - generator.integers(0, 8) :] = ABSENT
        lanes.append(np.where((x < 0) | (x > 320), ABSENT, x))
    return lanes_of(np.array(lanes).reshape(count, len(rows)))


# TuSimple's accuracy


def judged(found, truth, rows, width):
    """TuSimple's scores by its published definition, lane by lane and row by row in plain Python."""
    if len(found) > len(truth) + 2 or not len(found):
        return 0.0, 0.0, 1.0
    best = []
    for real in truth:
        points = [(y, x) for y, x in zip(rows, real, strict=True) if x >= 0]
        slope = np.polyfit(*zip(*points, strict=True), 1)[0]
        limit = 20 * width / 1280 / math.cos(math.atan(slope))
        shares = []
        for told in found:
            right = 0
            for x, z in zip(told, real, strict=True):
                right += abs((x if x >= 0 else -100) - (z if z >= 0 else -100)) < limit
            shares.append(right / len(rows))
        best.append(max(shares))
    matched = sum(one >= 0.85 for one in best)
    return sum(best) / len(best), (len(found) - matched) / len(found), 1 - matched / len(best)


@pytest.mark.parametrize(("shift", "accuracy"), [(0.0, 1.0), (4.9, 1.0), (-4.9, 1.0), (5.1, 0.0)])
def test_a_point_of_an_upright_lane_is_right_within_a_64th_of_the_width(shift, accuracy):
    missed = 1.0 - accuracy
    assert tusimple(upright(100 + shift), upright(100), ROWS, 320) == (accuracy, missed, missed)


@pytest.mark.parametrize(("shift", "accuracy"), [(7.0, 1.0), (7.1, 0.0)])
def test_a_lane_at_45_degrees_may_be_off_by_the_root_of_two_more(shift, accuracy):
    slanted = 20 + EXACT[None]
    assert tusimple(slanted + shift, slanted, EXACT, 320)[0] == accuracy


def test_rows_without_a_point_are_right_where_the_truth_has_none():
    truth = upright(100, rows=EXACT)
    truth[0, :3] = ABSENT  # three of nine rows
    found = truth.copy()
    found[0, 3:5] = ABSENT
    found[0, 0] = 100
    assert tusimple(found, truth, EXACT, 320)[0] == pytest.approx(6 / 9)


def test_a_lane_is_found_from_85_of_100_rows_on():
    rows = np.arange(100.0)
    truth = upright(100, rows=rows)
    for wrong, missed in ((15, 0.0), (16, 1.0)):
        found = truth.copy()
        found[0, :wrong] = 200
        assert tusimple(found, truth, rows, 320) == (pytest.approx(1 - wrong / 100), missed, missed)


def test_too_many_lanes_and_none():
    truth = upright(100)
    assert tusimple(upright(100, 20, 300), truth, ROWS, 320) == (1.0, pytest.approx(2 / 3), 0.0)
    assert tusimple(upright(100, 20, 60, 300), truth, ROWS, 320) == (0.0, 0.0, 1.0)
    assert tusimple(truth[:0], truth, ROWS, 320) == (0.0, 0.0, 1.0)
    for count in (0, 5):
        with pytest.raises(ValueError, match=f"{count} true lanes"):
            tusimple(truth, upright(*range(0, 50 * count, 50)), ROWS, 320)


def test_tusimple_agrees_with_its_definition_on_random_lanes():
    generator = np.random.default_rng(0)
    partly = 0
    for _ in range(300):
        truth = random_lanes(generator, generator.integers(1, 5))
        noisy = truth + generator.normal(0, 4, truth.shape) * (truth != ABSENT)
        found = np.concatenate([noisy[generator.random(len(truth)) < 0.8], random_lanes(generator, 1)])
        if len(truth):
            scores = tusimple(found, truth, ROWS, 320)
            assert scores == pytest.approx(judged(found, truth, ROWS, 320))
            partly += 0 < scores[0] < 1
    assert partly > 200


# CULane's F1


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0, 3.5, 5.0])
def test_overlap_of_two_upright_lines_is_that_of_two_bars(shift):
    wide = 30 / 1640 * 320
    found = overlaps(upright(100 + shift), upright(100), ROWS, SIZE)
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx((wide - shift) / (wide + shift), abs=0.03)


def test_overlaps_agree_with_exact_areas():
    generator = np.random.default_rng(1)
    frame = box(0, 0, *SIZE)

    def area(lane):
        points = [(x, y) for x, y in zip(lane, ROWS, strict=True) if x != ABSENT]
        return LineString(points).buffer(15 / 1640 * 320, cap_style="round").intersection(frame)

    compared = []
    for _ in range(30):
        truth = random_lanes(generator, 3)
        found = np.where(truth == ABSENT, ABSENT, np.clip(truth + generator.normal(0, 2), 0, 320))
        for row, told in zip(overlaps(found, truth, ROWS, SIZE), found, strict=True):
            for value, real in zip(row, truth, strict=True):
                one, other = area(told), area(real)
                compared.append((value, one.intersection(other).area / one.union(other).area))
    mine, exact = np.array(compared).T
    assert np.abs(mine - exact).max() < 0.06 and abs(np.mean(mine - exact)) < 0.01
    assert (exact > 0.3).sum() > 40


def test_matches_are_the_best_there_are():
    """The greatest total overlap, by trying every assignment."""
    ledger = LaneLedger(ROWS, SIZE)
    generator = np.random.default_rng(2)
    hits = np.zeros(10)
    for _ in range(25):
        real = random_lanes(generator, 1)
        real = np.concatenate([np.where(real == ABSENT, ABSENT, real + 4 * i) for i in range(3)])  # they overlap
        told = real[generator.permutation(len(real))]
        shift = generator.normal(0, 2, (len(told), 1)) + generator.choice([0, 4])
        told = np.where(told == ABSENT, ABSENT, told + shift)
        ledger.add(told[None], real[None])
        overlap = overlaps(lanes_of(told), lanes_of(real), ROWS, SIZE)
        orders = itertools.permutations(range(len(real)))
        best = max(([overlap[i, j] for i, j in enumerate(order)] for order in orders), key=sum)
        hits += [(np.array(best) > limit / 100).sum() for limit in range(50, 100, 5)]
    assert ledger.hits.tolist() == hits.tolist() and 0 < hits[5] < hits[0]


def test_f1_counts_lanes_over_all_pictures():
    ledger = LaneLedger(ROWS, SIZE)
    nothing = np.full((1, 4, len(ROWS)), ABSENT)
    ledger.add(upright(40, 120, 200, 280)[None], upright(40, 120, 200)[None])  # one too many
    ledger.add(nothing, upright(160)[None])  # one missed
    ledger.add(nothing, nothing)
    scores = ledger.summary()
    assert (scores["precision_50"], scores["recall_50"]) == (3 / 4, 3 / 4)
    assert scores["f1_50"] == scores["f1_75"] == scores["mf1"] == pytest.approx(0.75)
    assert scores["tusimple_accuracy"] == 0.5 and scores["tusimple_fp"] == 0.125 and scores["tusimple_fn"] == 0.5
    assert (scores["pictures"], scores["lanes"]) == (3, 4)


def test_mean_f1_of_a_shifted_lane_is_the_share_of_thresholds_below_its_overlap():
    shift = 30 / 1640 * 320 / 7  # an overlap of (1 - 1/7) / (1 + 1/7) = 0.75, somewhat less as drawn
    ledger = LaneLedger(ROWS, SIZE)
    ledger.add(upright(100 + 1.1 * shift)[None], upright(100)[None])
    scores = ledger.summary()
    assert (scores["f1_50"], scores["f1_75"], scores["mf1"]) == (1.0, 0.0, 0.5)


def test_a_lane_of_one_point_is_none():
    one = np.full((1, 1, len(ROWS)), ABSENT, dtype=float)
    one[0, 0, 5] = 100
    ledger = LaneLedger(ROWS, SIZE)
    ledger.add(one, one)
    assert (ledger.found, ledger.true) == (0, 0) and math.isnan(ledger.summary()["f1_50"])


def test_scores_do_not_depend_on_the_size_of_the_pictures_or_the_order_of_lanes():
    generator = np.random.default_rng(3)
    small, large = LaneLedger(ROWS, SIZE), LaneLedger(ROWS * 4, (1280, 768))
    for _ in range(20):
        truth = random_lanes(generator, 4)
        found = np.where(truth == ABSENT, ABSENT, truth + generator.normal(0, 3, truth.shape))
        small.add(found[None], truth[None])
        grown = [np.where(lanes == ABSENT, ABSENT, lanes * 4) for lanes in (found[::-1], truth)]
        large.add(*(lanes[None] for lanes in grown))
    assert large.summary() == pytest.approx(small.summary(), abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 28), (2, 4, 28)])
def test_lanes_at_other_rows_or_of_other_pictures_are_refused(shape):
    with pytest.raises(ValueError, match="28 rows"):
        LaneLedger(ROWS, SIZE).add(np.zeros(shape), np.zeros((1, 4, 28)))


def test_the_own_lane_is_scored_in_its_slots():
    truth = upright(20, 100, 220, 300)[None]
    found = truth + np.array([50.0, 2.0, -4.0, 50.0])[None, :, None]
    own = OwnLane()
    own.add(found, truth)
    own.add(np.full_like(found, ABSENT), truth)
    scores = own.summary()
    assert scores == {"own_error_px": 3.0, "own_error_px_p90": 4.0, "own_found": 0.5}
    assert math.isnan(OwnLane().summary()["own_error_px"])
