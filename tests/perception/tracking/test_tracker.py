"""The tracker follows, keeps its streams apart, and its filter is the textbook's."""

import numpy as np
import pytest
import torch

from perception.detection.postprocess import Detections
from perception.tracking.association import assign, common_shift, overlaps
from perception.tracking.byte_tracker import Tracker, TrackerSettings
from perception.tracking.kalman import KalmanMotion, KalmanSettings
from perception.tracking.metrics import overlaps as reference_overlaps
from perception.tracking.tracks import to_corners, to_middle


def seen(*boxes, scores=None, labels=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    scores = torch.ones(len(boxes)) if scores is None else torch.tensor(scores)
    labels = torch.ones(len(boxes), dtype=torch.int64) if labels is None else torch.tensor(labels)
    return Detections(boxes, scores, labels)


def box(x, y=50.0, width=20.0, height=15.0):
    return [x, y, x + width, y + height]


def test_the_filter_is_the_textbook_s():
    """The 8 x 8 Kalman filter with matrices, over uneven gaps, and the noise read from its definition."""
    settings = KalmanSettings(detector=0.04, pixels=0.7, velocity=1.5, acceleration=0.8, growth=0.3)
    motion, random = KalmanMotion(settings), np.random.default_rng(0)
    boxes = random.uniform([100, 80, 30, 20], [120, 90, 40, 30], (3, 4))
    states = motion.start(torch.tensor(boxes))

    def noise(box):
        return np.diag((0.04 * np.array([box[2], box[3], box[2], box[3]])) ** 2 + 0.7**2)

    def start(box):
        speeds = (1.5 * np.array([box[2], box[3], box[2], box[3]])) ** 2
        return np.concatenate([box, np.zeros(4)]), np.block(
            [[noise(box), np.zeros((4, 4))], [np.zeros((4, 4)), np.diag(speeds)]]
        )

    references = [start(box) for box in boxes]
    measure = np.eye(4, 8)
    for dt in (1 / 15, 0.4, 1.3, 0.0, 0.2):
        seen_at = boxes + random.normal(size=boxes.shape)
        states = motion.update(motion.predict(states, torch.full((3,), dt, dtype=torch.float64)), torch.tensor(seen_at))
        for k, (mean, cov) in enumerate(references):
            w, h = mean[2], mean[3]
            density = np.array([0.8 * w, 0.8 * h, 0.3 * w, 0.3 * h]) ** 2
            step = np.kron([[1, dt], [0, 1]], np.eye(4))
            mean = step @ mean
            cov = step @ cov @ step.T + np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.diag(density))
            gain = cov @ measure.T @ np.linalg.inv(measure @ cov @ measure.T + noise(seen_at[k]))
            references[k] = mean + gain @ (seen_at[k] - measure @ mean), (np.eye(8) - gain @ measure) @ cov
    for k, (mean, cov) in enumerate(references):
        assert motion.boxes(states)[k].numpy() == pytest.approx(mean[:4], rel=1e-9)
        assert motion.velocities(states)[k].numpy() == pytest.approx(mean[4:], rel=1e-9)
        assert motion.variances(states)[k].numpy() == pytest.approx(np.diag(cov)[:4], rel=1e-9)


def test_one_gap_is_several():
    """With a box that keeps its size, a second is ten tenths: the covariance is the integral's, not a step's."""
    motion = KalmanMotion()
    states = motion.start(torch.tensor([[100.0, 50, 20, 15]], dtype=torch.float64))
    once = motion.predict(states, torch.ones(1, dtype=torch.float64))
    tenth = torch.full((1,), 0.1, dtype=torch.float64)
    for _ in range(10):
        states = motion.predict(states, tenth)
    assert torch.allclose(once, states, rtol=1e-12)


def test_a_lost_car_is_found_where_it_must_be():
    tracker = Tracker(frame_rate=10)
    for step in range(10):
        tracks = tracker.update([seen(box(10.0 + 4 * step))])
    assert tracks.number.tolist() == [1]
    assert tracks.velocities[0, 0] == pytest.approx(40, rel=0.05)  # 4 px in a tenth of a second
    spread = [float(tracks.covariances[0, 0, 0])]
    for step in range(10):
        tracks = tracker.update([seen()])
        spread.append(float(tracks.covariances[0, 0, 0]))
        assert tracks.detection.tolist() == [-1] and tracks.unseen[0] == pytest.approx(0.1 * (step + 1))
    assert spread == sorted(spread) and len(set(spread)) == 11  # less and less sure
    tracks = tracker.update([seen(box(10.0 + 4 * 20))])
    assert tracks.number.tolist() == [1] and tracks.detection.tolist() == [0]
    assert tracks.boxes[0].tolist() == pytest.approx(box(90.0), abs=1)
    assert float(tracks.covariances[0, 0, 0]) < spread[-1] and tracks.ages.tolist() == [21]


def test_a_track_ends_after_the_time_it_may_be_lost():
    tracker = Tracker(frame_rate=10, settings=TrackerSettings(lost=0.5))
    tracker.update([seen(box(10))])
    counts = [len(tracker.update([seen()])) for _ in range(7)]
    assert counts == [1, 1, 1, 1, 1, 0, 0]
    assert tracker.update([seen(box(10))]).number.tolist() == []  # seen once: not told yet
    assert tracker.update([seen(box(10))]).number.tolist() == [2]  # and a new identity


def test_uncertain_detections_keep_tracks_but_begin_none():
    tracker = Tracker()
    tracker.update([seen(box(10))])
    tracks = tracker.update([seen(box(10), box(200), scores=[0.2, 0.2])])
    assert tracks.number.tolist() == [1] and tracks.detection.tolist() == [0]
    assert tracks.scores.tolist() == pytest.approx([0.2])
    tracks = tracker.update([seen(box(10), box(200), scores=[0.05, 0.2])])
    assert tracks.detection.tolist() == [-1]


@pytest.mark.parametrize(("missed", "found"), [(1, 0), (2, -1)])
def test_uncertain_detections_are_for_tracks_seen_a_moment_ago(missed, found):
    tracker = Tracker(frame_rate=10, settings=TrackerSettings(recent=0.2))
    tracker.update([seen(box(10))])
    for _ in range(missed):
        tracker.update([seen()])
    tracks = tracker.update([seen(box(10), scores=[0.2])])
    assert tracks.number.tolist() == [1] and tracks.detection.tolist() == [found]


def test_what_is_certain_enough_to_go_on_may_be_too_little_to_begin():
    tracker = Tracker(settings=TrackerSettings(certain=0.4, begin=0.7))
    for score in (0.69, 0.71):
        for _ in range(3):
            tracks = tracker.update([seen(box(10), box(100), scores=[1.0, score])])
        assert len(tracks) == (1 if score < 0.7 else 2)


def test_numbers_are_given_in_order_and_never_twice():
    tracker = Tracker()
    tracker.update([seen(box(0), box(100))])
    for place in (200, 300):
        for _ in range(2):
            tracks = tracker.update([seen(box(0), box(100), box(float(place)))])
    assert tracks.number.tolist() == [1, 2, 3, 4]
    assert tracks.detection.tolist() == [0, 1, -1, 2]


def test_labels_may_be_told_apart():
    for same, numbers in ((False, [1]), (True, [1, 2])):
        tracker = Tracker(settings=TrackerSettings(same_label=same, confirm=1))
        tracker.update([seen(box(10), labels=[1])])
        tracks = tracker.update([seen(box(10), labels=[2])])
        assert tracks.number.tolist() == numbers
        assert tracks.labels.tolist() == ([2] if not same else [1, 2])


def drawn(streams, frames, seed=0):
    """Detections of streams with moving, missed and false boxes."""
    random = np.random.default_rng(seed)
    clips = []
    for _ in range(streams):
        place, speed = random.uniform(0, 250, (6, 2)), random.normal(0, 3, (6, 2))
        size, clip = random.uniform(12, 40, (6, 2)), []
        for _ in range(frames):
            place = place + speed
            noisy = np.concatenate([place, place + size], 1) + random.normal(0, 1, (6, 4))
            noisy = np.concatenate([noisy, np.tile(random.uniform(0, 200, (1, 2)), 2) + np.array([0, 0, 20, 20])])
            kept = random.random(7) < 0.85
            clip.append(seen(*noisy[kept].tolist(), scores=random.uniform(0.2, 1, kept.sum()).tolist()))
        clips.append(clip)
    return clips


def followed(clips, **options):
    """What is told of each stream, frame by frame, as plain rows."""
    tracker = Tracker(streams=len(clips), **options)
    told = [[] for _ in clips]
    for frame in range(len(clips[0])):
        tracks = tracker.update([clip[frame] for clip in clips])
        for stream in range(len(clips)):
            mine = tracks.where(tracks.stream == stream)
            told[stream].append((mine.number.tolist(), mine.boxes.tolist(), mine.covariances.tolist()))
    return told


def test_streams_do_not_know_of_each_other():
    clips = drawn(7, 25)
    together = followed(clips)
    assert together == followed(clips)
    assert [followed([clip])[0] for clip in clips] == together  # bit for bit
    assert followed(clips[::-1])[::-1] == together
    assert max(len(numbers) for numbers, *_ in together[0]) > 3


def test_a_restart_touches_its_stream_alone():
    clips = drawn(3, 20)
    whole, tracker = followed(clips), Tracker(streams=3)
    later = followed([clips[1][10:]])[0]
    for frame in range(20):
        restart = torch.tensor([False, frame == 10, False])
        tracks = tracker.update([clip[frame] for clip in clips], restart=restart)
        for stream in range(3):
            mine = tracks.where(tracks.stream == stream)
            expected = later[frame - 10] if stream == 1 and frame >= 10 else whole[stream][frame]
            assert (mine.number.tolist(), mine.boxes.tolist(), mine.covariances.tolist()) == expected


def test_a_frame_that_never_came_is_only_time():
    tracker, other = Tracker(streams=2, frame_rate=10), Tracker(frame_rate=10)
    cars = [seen(box(10.0 + 5 * k)) for k in range(6)]
    for k, car in enumerate(cars):
        arrived = torch.tensor([True, k != 3])
        tracks = tracker.update([car, car if k != 3 else seen(box(99))], arrived=arrived)
        if k != 3:
            alone = other.update([car], elapsed=0.2 if k == 4 else 0.1)
        else:
            assert tracks.detection.tolist() == [0, -1]
    mine = tracks.where(tracks.stream == 1)
    assert torch.allclose(mine.boxes, alone.boxes, atol=0.05) and mine.number.tolist() == alone.number.tolist() == [1]


def test_a_new_track_survives_a_frame_that_never_came():
    tracker = Tracker()
    tracker.update([seen()])
    for arrived in (True, False, True):
        tracks = tracker.update([seen(box(10))], arrived=torch.tensor([arrived]))
    assert tracks.number.tolist() == [1]


def test_assignment_is_the_best_there_is():
    random = np.random.default_rng(0)
    for _ in range(200):
        shape = random.integers(0, 5, 2)
        similarity = torch.tensor(random.uniform(0.1, 1, (1, *shape)))
        allowed = torch.tensor(random.random((1, *shape)) < 0.5)
        matched = assign(similarity, allowed)[0].tolist()
        assert best(similarity[0].numpy(), allowed[0].numpy()) == pytest.approx(
            sum(float(similarity[0, t, d]) for t, d in enumerate(matched) if d >= 0)
        )
        taken = [d for d in matched if d >= 0]
        assert len(set(taken)) == len(taken) and all(allowed[0, t, d] for t, d in enumerate(matched) if d >= 0)


def best(similarity, allowed, row=0, used=()):
    """The highest sum, by trying everything."""
    if row == len(similarity):
        return 0.0
    sums = [best(similarity, allowed, row + 1, used)]
    for column in range(similarity.shape[1]):
        if allowed[row, column] and column not in used:
            sums.append(similarity[row, column] + best(similarity, allowed, row + 1, (*used, column)))
    return max(sums)


def test_overlaps_and_corners():
    random = np.random.default_rng(1)
    first, second = (np.sort(random.uniform(0, 100, (n, 2, 2)), 1).reshape(n, 4) for n in (5, 7))
    ours = overlaps(torch.tensor(first)[None], torch.tensor(second)[None])[0].numpy()
    assert ours == pytest.approx(reference_overlaps(first, second)) and ours.max() > 0.1
    assert torch.equal(to_corners(to_middle(torch.tensor([[1.0, 2, 5, 10]]))), torch.tensor([[1.0, 2, 5, 10]]))


def corners(rows):
    return torch.tensor(rows, dtype=torch.float64)[None]


def test_a_shift_common_to_all_is_found():
    tracks = corners([box(20.0), box(80.0), box(130.0, y=70), box(200.0)])
    used = torch.ones(1, 4, dtype=torch.bool)
    moved = tracks + torch.tensor([31.0, -4, 31, -4])
    found = torch.cat([moved[:, [2, 0, 3]], corners([box(5.0, y=150)])], 1)  # one is missed, one is false
    assert common_shift(tracks, used, found, used, 0.5).tolist() == [[31, -4]]
    assert common_shift(tracks, used, found, used, 3.5).tolist() == [[0, 0]]  # they are three
    alone = torch.tensor([[True, False, False, False]])
    assert common_shift(tracks, alone, found, used, 0.5).tolist() == [[0, 0]]
    one_moves = torch.cat([tracks[:, :3], moved[:, 3:]], 1)
    assert common_shift(tracks, used, one_moves, used, 0.5).tolist() == [[0, 0]]  # a thing of its own will
    two_move = torch.cat([tracks[:, :2], moved[:, 2:], tracks[:, :1] + 100], 1)
    five = torch.cat([tracks, tracks[:, :1] + 100], 1)
    all_five = torch.ones(1, 5, dtype=torch.bool)
    nearly = two_move + torch.tensor([1.0, 0, 1, 0])
    assert common_shift(five, all_five, nearly, all_five, 0.5).tolist() == [
        [0, 0]
    ]  # three fit nearly as well as they are
    assert common_shift(tracks[:, :0], used[:, :0], found, used, 0.5).tolist() == [[0, 0]]


def test_a_turn_is_read_from_the_tracks_seen_last():
    """Four cars are hidden when the camera turns; the three that are there show it, and the four move along."""
    tracker, hidden, there = Tracker(), [10.0, 50, 90, 130], [160.0, 215, 250]
    for _ in range(4):
        tracker.update([seen(*[box(place) for place in hidden], *[box(place, y=100) for place in there])])
    for _ in range(4):
        tracker.update([seen(*[box(place, y=100) for place in there])])
    for _ in range(2):
        tracks = tracker.update([seen(*[box(place + 40, y=100) for place in there])])
    assert tracks.number.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert tracks.boxes[:4, 0].tolist() == pytest.approx([50, 90, 130, 170], abs=1)


def test_where_a_car_was_last_seen_turns_with_the_camera():
    """One drives, is hidden and brakes; meanwhile the camera turns, as three others show."""
    tracker, others = Tracker(frame_rate=10), [[20.0, 100.0], [75.0, 100.0], [110.0, 100.0]]
    for step in range(8):
        tracker.update([seen(box(10.0 + 6 * step), *[box(*place) for place in others])])
    for step in range(6):
        tracker.update([seen(*[box(x + (40 if step > 2 else 0), y) for x, y in others])])
    tracks = tracker.update([seen(box(52.0 + 40), *[box(x + 40, y) for x, y in others])])
    assert tracks.number.tolist() == [1, 2, 3, 4] and tracks.detection.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("turn", [0.5, float("inf")])
def test_a_turn_of_the_camera_loses_nothing(turn):
    """All cars jump by more than their width, to where another one was; each is known again, and so is a hidden one."""
    tracker, places = Tracker(settings=TrackerSettings(turn=turn)), [20.0, 60.0, 100.0, 140.0]
    for _ in range(5):
        before = tracker.update([seen(*[box(place) for place in places])])
    tracker.update([seen(*[box(place + 40) for place in places[:3]])])
    after = tracker.update([seen(*[box(place + 40) for place in places])])
    kept = after.number.tolist() == before.number.tolist() and after.detection.tolist() == [0, 1, 2, 3]
    assert kept == (turn < 1)
    if kept:
        assert after.velocities[:, 0].abs().max() < 1  # a turn is no speed


def test_a_car_that_did_not_go_on_is_known_where_it_was_last_seen():
    """It drove, was hidden and braked: the filter expects it far ahead."""
    for overlap, numbers in ((0.1, [1]), (1.1, [1, 2])):
        tracker = Tracker(frame_rate=10, settings=TrackerSettings(last_overlap=overlap))
        for step in range(8):
            tracker.update([seen(box(10.0 + 6 * step))])
        for _ in range(8):
            tracker.update([seen()])
        for _ in range(2):
            tracks = tracker.update([seen(box(60.0))])
        assert tracks.number.tolist() == numbers


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Tracker(streams=0), "streams >= 1"),
        (lambda: Tracker(motion="particle"), "unknown motion 'particle'; known are kalman, lstm"),
        (lambda: Tracker(motion="lstm"), "needs the folder of its weights"),
        (lambda: Tracker(weights="x"), "has no weights"),
        (lambda: TrackerSettings(confirm=0), "confirm is 0; it must be a number of at least 1"),
        (lambda: TrackerSettings(lost=float("nan")), "lost is nan"),
        (lambda: KalmanSettings(detector=0), "detector is 0; it must be a number above 0"),
        (lambda: Tracker().update([seen(), seen()]), "detections of 2 streams; this tracker follows 1"),
        (lambda: Tracker().update([seen()], elapsed=-1.0), "elapsed is -1.0"),
        (lambda: Tracker().update([seen()], elapsed=torch.zeros(3)), r"elapsed has the shape \(3,\)"),
        (lambda: Tracker().update([seen([0, 0, float("inf"), 1])]), "a detected box is not finite"),
        (lambda: Tracker().update([seen()], restart=torch.ones(1)), "restart is torch.float32"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_frame_that_is_refused_changes_nothing():
    tracker, other = Tracker(), Tracker()
    for one in (tracker, other):
        one.update([seen(box(10))])
    with pytest.raises(ValueError, match="not finite"):
        tracker.update([seen(box(float("nan")))], restart=torch.tensor([True]))
    assert tracker.update([seen(box(10))]).number.tolist() == other.update([seen(box(10))]).number.tolist() == [1]
