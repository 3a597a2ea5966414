"""scripts/train_motion.py: it leaves a model that tracks, goes on where it was, and mistakes are one line."""

import csv

from perception.tracking.lstm_motion import LstmMotion
from scripts import train_motion
from scripts.train_motion import Arguments


def test_a_model_is_trained_and_gone_on_with(tmp_path, capsys):
    small = {"clips": 8, "seconds": 1.0, "steps": 40}
    assert train_motion.main(Arguments(tmp_path / "motion", **small)) == 0
    assert "motion: learned from 8 clips" in capsys.readouterr().out
    assert LstmMotion.load(tmp_path / "motion").frame.tolist() == [320, 192]
    with open(tmp_path / "motion" / "metrics.csv", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert train_motion.main(Arguments(tmp_path / "motion", **small)) == 0  # there is nothing left to do

    for options, message in (
        ({"out": tmp_path / "motion", "steps": 50}, "other steps"),
        ({"out": tmp_path / "x", "clips": 0}, "0 clips of 1 s; both must be above 0"),
        ({"out": tmp_path / "x", "threads": 0}, "--threads is 0"),
        ({"out": tmp_path / "x", "drivers": ("nobody",)}, "nobody"),
    ):
        assert train_motion.main(Arguments(**(small | options))) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
