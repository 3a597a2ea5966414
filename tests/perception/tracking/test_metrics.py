"""MOTA, IDF1 and HOTA are TrackEval's and `trackers eval`'s, on real and on made-up sequences, and on all together."""

import json

import numpy as np
import pytest

from perception.data.mot import read_tracks
from perception.tracking.metrics import BoxTracks, count, evaluate, overlaps
from tests.perception.tracking.oracle_scores import DATA, MADE, REAL, SCORES, made

NAMES = {"TP": "CLR_TP", "FN": "CLR_FN", "FP": "CLR_FP"}
"""Ours, where TrackEval has another one."""


def sequences(kind):
    if kind == "real":
        return [(name, *(BoxTracks.read(DATA / f"{name}.{part}.txt") for part in ("gt", "test"))) for name in REAL]
    return [(name, *map(of_rows, made(seed))) for name, seed in MADE.items()]


def of_rows(rows):
    return BoxTracks(rows[:, 0], rows[:, 1], np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], 1))


@pytest.mark.parametrize("oracle", ["trackeval 1.3.0", "trackers 2.6.1"])
@pytest.mark.parametrize("kind", ["real", "made"])
def test_scores_are_the_oracles(kind, oracle):
    expected = json.loads(SCORES.read_text())[kind][oracle]
    ours = evaluate(sequences(kind))
    assert list(ours) == list(expected) and len(ours) > 2
    for name, scores in ours.items():
        theirs = {key: expected[name][NAMES.get(key, key)] for key in scores}
        assert scores == pytest.approx(theirs, abs=1e-6), name
    # The sequences must hold every kind of mistake, or equality would say little.
    assert all(expected["COMBINED"][key] > 3 for key in ("CLR_FN", "CLR_FP", "IDSW", "Frag", "IDFP"))


def test_the_real_files_hold_what_their_authors_say():
    # py-motmetrics' README prints these for its two sample sequences: IDs, MT, PT, ML, FP, FN, IDs, FM.
    scores = evaluate(sequences("real"))
    columns = ("MT", "PT", "ML", "FP", "FN", "IDSW", "Frag")
    assert [scores["TUD-Campus"][key] for key in columns] == [1, 6, 1, 13, 150, 7, 7]
    assert [scores["TUD-Stadtmitte"][key] for key in columns] == [5, 4, 1, 45, 452, 7, 6]


def test_combined_adds_counts():
    (_, one, found), (_, other, _) = sequences("real")
    nothing = BoxTracks(np.zeros(0), np.zeros(0), np.zeros((0, 4)))
    both = evaluate([("found", one, found), ("missed", other, nothing)])
    # Averages of ratios would give half of the first; boxes are what counts.
    assert both["COMBINED"]["MOTA"] == pytest.approx(both["found"]["MOTA"] * len(one) / (len(one) + len(other)))
    assert both["missed"]["MOTA"] == both["missed"]["IDF1"] == both["missed"]["HOTA"] == 0
    assert both["missed"]["ML"] == 10 and both["missed"]["LocA"] == 1


def test_perfect_and_swapped_tracks():
    frame = np.repeat(np.arange(10), 2)
    track = np.tile([1, 2], 10)
    boxes = np.stack([track * 50.0, np.zeros(20), track * 50.0 + 20, np.full(20, 20.0)], 1)
    truth = BoxTracks(frame, track, boxes)
    perfect = count(truth, BoxTracks(frame, track + 7, boxes)).scores()
    assert all(perfect[key] == 1 for key in ("MOTA", "MOTP", "IDF1", "HOTA", "DetA", "AssA", "LocA"))
    # Identities change hands halfway: every box is found, half of them by the wrong one.
    swapped = count(truth, BoxTracks(frame, np.where(frame < 5, track, 3 - track), boxes)).scores()
    assert (swapped["IDSW"], swapped["MOTA"], swapped["IDF1"], swapped["Frag"]) == (2, 0.9, 0.5, 0)
    # Each true positive shares 5 of 15 frames with its track: AssA 1/3.
    assert swapped["AssA"] == pytest.approx(1 / 3) and swapped["HOTA"] == pytest.approx(3**-0.5)


def test_a_pair_is_kept_while_it_overlaps_enough():
    # In the second frame the other track fits better, but the first one still overlaps by 0.6.
    truth = BoxTracks([1, 2], [1, 1], [[0, 0, 10, 10], [0, 0, 10, 10]])
    found = BoxTracks([1, 2, 2], [5, 5, 6], [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 10]])
    scores = count(truth, found).scores()
    assert (scores["IDSW"], scores["FP"], scores["MOTP"]) == (0, 1, pytest.approx(0.8))


def test_rows_that_do_not_count_are_left_out(tmp_path):
    (tmp_path / "gt.txt").write_text("1,1,1,1,10,10,1,1,1\n1,2,30,1,10,10,0,1,0\n")
    truth = BoxTracks.from_mot(read_tracks(tmp_path / "gt.txt"))
    assert truth.track.tolist() == [1] and truth.boxes.tolist() == [[0, 0, 10, 10]]


def test_overlap_of_empty_boxes_is_nothing():
    assert overlaps(np.zeros((1, 4)), np.array([[0.0, 0, 0, 0], [0, 0, 2, 2]])).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 1], [3, 3], np.zeros((2, 4))), "track 3 has two boxes in frame 1; one is allowed"),
        (([1], [3, 4], np.zeros((2, 4))), r"must be \[R\], \[R\] and \[R, 4\]"),
        (([1], [3], [[0, 0, np.nan, 1]]), "is not finite"),
    ],
)
def test_bad_rows_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        BoxTracks(*arguments)


def test_sequences_need_names_of_their_own():
    sequence = sequences("made")[0]
    with pytest.raises(ValueError, match="two sequences are called 'made-0'"):
        evaluate([sequence, sequence])
    with pytest.raises(ValueError, match="there is no sequence"):
        evaluate([])
