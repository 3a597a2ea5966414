"""scripts/track_table.py: clips are recorded once, tables are printed, and mistakes are one line."""

import json
from pathlib import Path

import pytest
import torch

from perception.detection.postprocess import Detections
from perception.tracking import comparison
from perception.tracking.clips import thinned, troubled
from scripts import track_table
from scripts.track_table import Arguments


def test_clips_are_recorded_once_and_followed(tmp_path, capsys):
    arguments = Arguments(tmp_path / "clips", clips=1, seconds=1.0, json=tmp_path / "rows.json")
    assert track_table.main(arguments) == 0
    shown = capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["tracker"] for row in rows} == {"Kalman"} and len(rows) == 9
    assert f"| Kalman | {sum(row['IDF1'] for row in rows) / 9:.3f} |" in shown
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").rglob("*") if path.is_file()}
    assert track_table.main(arguments) == 0
    assert capsys.readouterr().out == shown  # the same trouble is made again
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").rglob("*") if path.is_file()}

    for options, message in (
        ({"detector": tmp_path / "gone"}, "gone"),
        ({"lstm": tmp_path / "gone"}, "gone"),
        ({"json": tmp_path / "gone" / "rows.json"}, "--json: the folder"),
        ({"clips": 2}, "has clips 1, not 2; leave that out, or take another folder"),
        ({"seconds": 2.0}, "has clip_length 15, not 30"),
        ({"split": "val"}, "holds no clips of split 'val'; its splits are test"),
    ):
        assert track_table.main(Arguments(tmp_path / "clips", **options)) == 2
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1 and message in shown.err and not shown.out


@pytest.mark.parametrize("detected", [False, True])
def test_the_truth_and_a_detector_have_troubles_and_rivals_of_their_own(tmp_path, monkeypatch, detected):
    asked = {}

    def compare(clips, ours, peers, python, seed, spoil):
        asked.update(clips=clips, peers=peers, seed=seed, spoil=spoil)
        return []

    class Nobody:
        def predict(self, images, least_score):
            return [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)) for _ in images]

    folder = tmp_path / "detector"
    folder.mkdir()
    for name in ("model.json", "model.safetensors"):
        (folder / name).write_text("x")
    monkeypatch.setattr(track_table, "compare", compare)
    monkeypatch.setattr(track_table, "load_detector", lambda path: Nobody())
    options = {"detector": folder} if detected else {}
    assert (
        track_table.main(Arguments(tmp_path / "clips", clips=1, seconds=1.0, peers=Path("py"), seed=3, **options)) == 0
    )
    assert asked["seed"] == 3 and asked["spoil"] is (thinned if detected else troubled)
    tuned = comparison.TUNED_ON_DETECTIONS if detected else comparison.TUNED_PEERS
    assert asked["peers"] == {**tuned, **comparison.PEERS}
    assert (len(asked["clips"][0].boxes) == 0) == detected
