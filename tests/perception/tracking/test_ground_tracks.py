"""Things on the ground: the filter is the textbook's, its covariance honest, and worlds do not know of each other."""

import math

import numpy as np
import pytest
import torch

from perception.tracking.ground_tracks import GroundSettings, GroundTracks

NOISE = torch.eye(2, dtype=torch.float64)


def update(tracks, places, elapsed=0.1, numbers=None, covariance=NOISE, restart=None):
    """One update of one world with things measured at places."""
    place = torch.tensor(places, dtype=torch.float64).reshape(1, -1, 2)
    there = torch.ones(place.shape[:2], dtype=torch.bool)
    numbers = None if numbers is None else torch.tensor([numbers])
    return tracks.update(place, covariance.expand(*there.shape, 2, 2), there, elapsed, numbers, restart)


def test_the_filter_is_the_textbook_s():
    random = np.random.default_rng(0)
    tracks = GroundTracks(1, 3, GroundSettings(acceleration=3.0, velocity=7.0, lost=9))
    measure, reference = np.eye(2, 4), None
    for dt in (0.1, 0.4, 1.3, 0.2):
        seen = random.normal(0, 5, 2)
        root = random.normal(size=(2, 2))
        noise = root @ root.T + 0.1 * np.eye(2)
        if reference is None:
            mean, cov = np.concatenate([seen, [0, 0]]), np.diag([0, 0, 49.0, 49])
            cov[:2, :2] = noise
        else:
            step = np.kron([[1, dt], [0, 1]], np.eye(2))
            mean, cov = reference
            mean = step @ mean
            cov = step @ cov @ step.T + 9 * np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.eye(2))
            gain = cov @ measure.T @ np.linalg.inv(measure @ cov @ measure.T + noise)
            mean, cov = mean + gain @ (seen - measure @ mean), (np.eye(4) - gain @ measure) @ cov
        reference = mean, cov
        now = update(tracks, [seen.tolist()], dt, [4], torch.tensor(noise))
        assert now.state[0, 0].numpy() == pytest.approx(mean, rel=1e-9)
        assert now.covariance[0, 0].numpy() == pytest.approx(cov, rel=1e-9, abs=1e-12)
    assert now.valid.tolist() == [[True, False, False]] and now.age[0].tolist() == [4, 0, 0]


def test_the_covariance_is_honest():
    """Over many things that move as the filter believes, errors are as large as it says: chi-squared, four degrees."""
    random, worlds = np.random.default_rng(1), 4000
    tracks = GroundTracks(worlds, 1, GroundSettings(acceleration=2.0, velocity=5.0))
    velocity = random.normal(0, 5, (worlds, 2))
    place = random.normal(0, 50, (worlds, 2))
    number, there = torch.ones(worlds, 1, dtype=torch.int64), torch.ones(worlds, 1, dtype=torch.bool)
    root = np.linalg.cholesky(4 * np.array([[0.2**3 / 3, 0.2**2 / 2], [0.2**2 / 2, 0.2]]))
    for step in range(12):
        if step:
            shake = random.normal(size=(worlds, 2, 2)) @ root.T  # [..., place and velocity]
            place = place + 0.2 * velocity + shake[..., 0]
            velocity = velocity + shake[..., 1]
        seen = torch.tensor(place + random.normal(0, 0.7, place.shape))[:, None]
        now = tracks.update(seen, (0.49 * NOISE).expand(worlds, 1, 2, 2), there, 0.2, number)
    error = np.concatenate([place, velocity], 1) - now.state[:, 0].numpy()
    squared = np.einsum("ni,nij,nj->n", error, np.linalg.inv(now.covariance[:, 0].numpy()), error)
    # Mean 4, standard deviation of the mean of 4,000: sqrt(8 / 4000) = 0.045.
    assert squared.mean() == pytest.approx(4, abs=0.2)
    assert np.quantile(squared, 0.95) == pytest.approx(9.49, rel=0.08)


def test_speed_of_a_car_is_found():
    tracks = GroundTracks(1, 4)
    for step in range(20):
        now = update(tracks, [[30 + 2.5 * step, 4.0]], 0.1, [9], 0.04 * NOISE)
    assert now.number[0].tolist() == [9, 0, 0, 0] and now.age[0, 0] == 20
    assert now.state[0, 0].tolist() == pytest.approx([77.5, 4, 25, 0], abs=0.3)
    assert now.covariance[0, 0, 2, 2] < 1


def test_things_are_kept_for_a_while_and_make_room():
    tracks = GroundTracks(1, 2, GroundSettings(lost=0.25))
    now = update(tracks, [[0, 0], [10, 0], [20, 0]], 0.1, [1, 2, 3])
    assert now.number[0].tolist() == [1, 2]  # no room for the third
    now = update(tracks, [[0, 0], [20, 0]], 0.1, [1, 3])
    assert now.number[0].tolist() == [1, 2] and now.measurement[0].tolist() == [0, -1]
    assert now.unseen[0].tolist() == pytest.approx([0, 0.1])
    for _ in range(2):
        now = update(tracks, [[0, 0], [20, 0]], 0.1, [1, 3])
    assert now.number[0].tolist() == [1, 3] and now.age[0].tolist() == [4, 1]
    assert torch.equal(now.state[0, 1], torch.tensor([20.0, 0, 0, 0], dtype=torch.float64))
    now = update(tracks, [[5, 5]], 0.1, [1], restart=torch.tensor([True]))
    assert now.valid[0].tolist() == [True, False] and now.age[0, 0] == 1
    assert now.state[0, 0].tolist() == [5, 5, 0, 0]


def test_without_numbers_the_nearest_is_taken():
    tracks = GroundTracks(1, 4, GroundSettings(lost=1))
    for step in range(10):
        at = 2.0 * step
        now = update(tracks, [[50 - at, 4], [at, 0]] if step % 2 else [[at, 0], [50 - at, 4]], covariance=0.09 * NOISE)
    assert now.number[0].tolist() == [1, 2, 0, 0] and now.age[0].tolist() == [10, 10, 0, 0]
    assert now.state[0, :2, 2].tolist() == pytest.approx([20, -20], abs=1)
    now = update(tracks, [[500.0, 0]], covariance=0.09 * NOISE)
    assert now.number[0].tolist() == [1, 2, 3, 0] and now.measurement[0].tolist() == [-1, -1, 0, -1]


EAST = torch.tensor([1.0, 0.0], dtype=torch.float64)


def along_update(tracks, places, elapsed=0.2, covariance=0.01 * NOISE):
    """One update of one world whose lanes run east."""
    place = torch.tensor(places, dtype=torch.float64).reshape(1, -1, 2)
    there = torch.ones(place.shape[:2], dtype=torch.bool)
    return tracks.update(
        place,
        covariance.expand(*there.shape, 2, 2),
        there,
        elapsed,
        along=EAST.expand(1, tracks.now().valid.shape[1], 2),
    )


def test_across_a_lane_a_velocity_settles():
    """Without a measurement: on along the lane as ever; across it the velocity fades, and is never surer than it starts
    or than the process' own spread, sideways * sqrt(settle / 2)."""
    settings = GroundSettings(acceleration=1e-9, sideways=3.0, settle=0.5, velocity=4.0, lost=100.0)
    tracks = GroundTracks(1, 1, settings)
    start = torch.tensor([[[10.0, 2.0]]], dtype=torch.float64)
    there = torch.ones(1, 1, dtype=torch.bool)
    tracks.update(
        torch.zeros(1, 1, 2), NOISE.expand(1, 1, 2, 2), there, 0.0, velocity=start, along=EAST.expand(1, 1, 2)
    )
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    for _ in range(3):
        now = tracks.update(torch.zeros(1, 1, 2), NOISE.expand(1, 1, 2, 2), nothing, 0.4, along=EAST.expand(1, 1, 2))
    fading = np.exp(-1.2 / 0.5)
    assert now.state[0, 0].tolist() == pytest.approx([12.0, 2.0 * 0.5 * (1 - fading), 10.0, 2.0 * fading], rel=1e-9)
    spread, variance = 9 * 0.5 / 2, now.covariance[0, 0]
    assert variance[3, 3].item() == pytest.approx(16 * fading**2 + spread * (1 - fading**2), rel=1e-9)
    # Doob's formulas for the integral: three steps of 0.4 s are one of 1.2 s.
    place = 2 * spread * 0.5 * (1.2 - 0.5 * (1 - fading)) - spread * 0.25 * (1 - fading) ** 2
    assert variance[1, 1].item() == pytest.approx(1 + 16 * 0.25 * (1 - fading) ** 2 + place, rel=1e-9)
    assert variance[2, 2].item() == pytest.approx(16.0) and variance[0, 0].item() == pytest.approx(1 + 16 * 1.44)


def test_drawn_to_the_middle_of_a_lane_as_by_a_measurement_of_it():
    """The textbook's update with one measured number: 0 for the distance to the right of the lane."""
    tracks = GroundTracks(1, 2)
    for step in range(3):
        before = update(tracks, [[10.0 * step, 3.0 + 0.4 * step], [50.0, 9.0]], 0.5)
    heading = 0.3
    along = torch.tensor([math.cos(heading), math.sin(heading)], dtype=torch.float64).expand(1, 2, 2)
    which = torch.tensor([[True, False]])
    now = tracks.drawn(along, torch.tensor([[1.5, 9.0]], dtype=torch.float64), 0.5, which)
    right = np.array([[-math.sin(heading), math.cos(heading), 0, 0]])
    mean, cov = before.state[0, 0].numpy(), before.covariance[0, 0].numpy()
    gain = cov @ right.T / (right @ cov @ right.T + 0.25)
    assert now.state[0, 0].numpy() == pytest.approx(mean - gain[:, 0] * 1.5, rel=1e-9)
    assert now.covariance[0, 0].numpy() == pytest.approx((np.eye(4) - gain @ right) @ cov, rel=1e-9, abs=1e-12)
    assert torch.equal(now.state[0, 1], before.state[0, 1])


def test_one_place_has_one_thing():
    tracks = GroundTracks(1, 4)
    along_update(tracks, [[20.0, 0.0], [20.0, 4.0]])
    for _ in range(4):  # a second box of the first thing, too far off for the gate
        now = along_update(tracks, [[20.0, 0.0], [20.0, 4.0], [23.5, 1.0]])
    assert now.number[0].tolist() == [1, 2, 0, 0] and now.state[0, 0, :2].tolist() == pytest.approx([20, 0], abs=0.2)
    now = along_update(tracks, [[20.0, 0.0], [20.0, 4.0], [27.0, 0.0]])  # a car's length further on there is room
    assert now.valid[0].tolist() == [True, True, True, False]


def test_a_thing_that_jumps_within_its_place_stays_itself():
    """Beyond the gate, but nowhere else it could be: the same thing, and the measurement is doubted."""
    tracks = GroundTracks(1, 4)
    for _ in range(4):
        along_update(tracks, [[20.0, 0.0]])
    now = along_update(tracks, [[23.0, 0.0]])
    assert now.number[0].tolist() == [1, 0, 0, 0] and now.age[0, 0] == 5 and now.measurement[0, 0] == 0
    assert 20 < now.state[0, 0, 0] < 21


def test_things_that_run_into_each_other_are_one():
    """What is measured stays, what is only remembered makes way."""
    tracks = GroundTracks(1, 4, GroundSettings(lost=9.0))
    for step in range(6):
        now = along_update(tracks, [[40.0 - 8 * step, 0.0], [0.0, 0.0]] if step < 3 else [[0.0, 0.0]])
    assert now.number[0, now.valid[0]].tolist() == [2]


def test_worlds_do_not_know_of_each_other():
    random = np.random.default_rng(2)
    frames = [
        (
            torch.tensor(random.normal(0, 10, (6, 5, 2))),
            torch.tensor(random.random((6, 5)) < 0.7),
            torch.tensor(random.permuted(np.tile(np.arange(8), (6, 1)), axis=1)[:, :5]),
            torch.tensor(random.random(6) < 0.1),
        )
        for _ in range(15)
    ]

    def run(worlds):
        tracks = GroundTracks(len(worlds), 4)
        for place, there, number, restart in frames:
            noise = NOISE.expand(len(worlds), 5, 2, 2)
            now = tracks.update(place[worlds], noise, there[worlds], 0.3, number[worlds], restart[worlds])
        return now

    whole, reversed_ = run([0, 1, 2, 3, 4, 5]), run([5, 4, 3, 2, 1, 0])
    for world in range(6):
        alone = run([world])
        for name in ("valid", "number", "age", "state", "covariance", "unseen", "measurement"):
            assert torch.equal(getattr(alone, name)[0], getattr(whole, name)[world]), name
            assert torch.equal(getattr(reversed_, name)[5 - world], getattr(whole, name)[world]), name
    assert whole.valid.all(1).any()


def test_nothing_measured_is_only_time():
    tracks = GroundTracks(2)
    update_ = (torch.zeros(2, 0, 2), torch.zeros(2, 0, 2, 2), torch.zeros(2, 0, dtype=torch.bool), 0.1)
    assert not tracks.update(*update_).valid.any()
    assert not tracks.update(*update_, number=torch.zeros(2, 0, dtype=torch.int64)).valid.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GroundTracks(0), "worlds and things must be at least 1, got 0 and 32"),
        (lambda: GroundSettings(acceleration=-1), "acceleration is -1; it must be a number above 0"),
        (lambda: update(GroundTracks(2), [[0, 0]]), r"must be \[2, M, 2\]"),
        (lambda: update(GroundTracks(1), [[0, float("nan")]]), "is not finite"),
        (lambda: update(GroundTracks(1), [[0, 0]], -1.0), "times must be finite"),
        (lambda: update(GroundTracks(1), [[0, 0]], torch.zeros(3)), r"elapsed has the shape \(3,\)"),
        (lambda: update(GroundTracks(1), [[0, 0]], restart=torch.ones(3, dtype=torch.bool)), r"expected bool \(1,\)"),
        (lambda: update(GroundTracks(1), [[0, 0], [1, 1]], numbers=[5, 5]), "number 5 is measured twice in world 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
