import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perception.cameras import FRONT
from perception.data.driving import Source
from perception.data.stream import FrameStream, StreamSettings
from perception.lanes import drawing, evaluation, models
from perception.lanes.models import load_lane_model
from scripts.train_lanes import Arguments, main


def one_road(split, batch_size, seed=0, lines=True, classes=True, threads=None):
    """As `lane_stream`, of one environment, which takes less time to build than ten."""
    sources = (Source("highway-fast-v0"),)
    settings = StreamSettings(
        split, sources, cameras=(FRONT,), batch_size=batch_size, seed=seed, lanes=lines, semantic=classes
    )
    return FrameStream(settings, threads=threads)


def test_a_network_is_trained_judged_and_drawn(tmp_path, capsys, monkeypatch):
    for module in (drawing, evaluation, models):
        monkeypatch.setattr(module, "lane_stream", one_road)
    monkeypatch.setattr(evaluation, "LEARNT_BATCHES", 1)
    out = tmp_path / "run"
    given = {"out": out, "steps": 2, "batch": 2, "threads": 1, "batches": 1}
    assert main(Arguments(**given)) == 0
    printed = capsys.readouterr().out
    assert "val: tusimple_accuracy" in printed and "test, no picture: tusimple_accuracy" in printed
    stored = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert list(stored) == ["val", "val, no picture", "test", "test, no picture"]
    assert stored["test"]["pictures"] == 20
    weights = load_lane_model(out).state_dict()
    assert main(Arguments(**given | {"evaluate_only": True, "network": "segmentation", "batches": 0})) == 2
    assert "kind 'row-anchor'; expected 'segmentation'" in capsys.readouterr().err
    assert main(Arguments(**given | {"batch": 3})) == 2
    assert "holds another training: other batch" in capsys.readouterr().err
    sheet = tmp_path / "sheet.png"
    assert main(Arguments(**given | {"evaluate_only": True, "sheet": sheet, "batches": 0})) == 0
    assert all(bool((load_lane_model(out).state_dict()[name] == weights[name]).all()) for name in weights)
    with Image.open(sheet) as image:
        assert len(np.unique(np.array(image)[::8, ::8].reshape(-1, 3), axis=0)) > 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "unet"}, "must be one of row-anchor, segmentation"),
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch_size is 0"),
        ({"evaluate_only": True}, "holds no model"),
        ({"time_limit_s": -1.0}, "time_limit_s is -1.0"),
        ({"threads": 0}, "--threads is 0"),
        ({"batches": -1}, "--batches is -1"),
        ({"sheet": Path("nowhere/a.png")}, "--sheet is nowhere/a.png; it must be a .png in a folder that exists"),
        ({"sheet": Path("a.xyz")}, "--sheet is a.xyz"),
    ],
)
def test_wrong_arguments_are_one_clear_line(tmp_path, capsys, change, message):
    assert main(Arguments(**{"out": tmp_path / "run", "steps": 1, "threads": 1} | change)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
