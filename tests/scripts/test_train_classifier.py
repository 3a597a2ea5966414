import gzip
import json
import struct

import numpy as np
import pytest

from perception.classification.networks import load_classifier
from scripts.train_classifier import Arguments, main


@pytest.fixture
def fashion(tmp_path):
    """Four idx files whose pictures are as bright as their label says."""
    for start, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.repeat(labels * 25, 784)
        for what, shape, values in (("images-idx3", (count, 28, 28), images), ("labels-idx1", (count,), labels)):
            head = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
            (tmp_path / f"{start}-{what}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return tmp_path


def test_scores_of_every_seed_are_printed_and_stored(fashion, tmp_path, capsys):
    arguments = Arguments(out=tmp_path / "run", data=f"fashion-mnist:{fashion}", steps=4, batch=8, seeds=2, threads=1)
    assert main(arguments) == 0
    assert "top-1" in capsys.readouterr().out
    stored = json.loads((tmp_path / "run/scores.json").read_text(encoding="utf-8"))
    assert len(stored["scores"]) == 2
    assert stored["scores"][0]["test"]["count"] == 20
    assert stored["recipe"]["network"] == "plain"
    assert load_classifier(tmp_path / "run/seed-1").config.height == 28


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "vgg"}, "--network must be one of plain, resnet"),
        ({"seeds": 0}, "--seeds at least 1"),
        ({"data": "coco"}, "data 'coco' is unknown"),
        ({"data": "cifar10:/nowhere"}, "/nowhere is no folder"),
        ({"share": 0.0}, "share is 0.0"),
        ({"steps": 0}, "steps 0"),
        ({"threads": 0}, "--threads is 0"),
        ({"network": "mobilenet-v2", "resolution": 0}, "resolution is 0; it must be at least 32 px"),
        ({"scratch": True}, "plain starts from nothing anyway"),
    ],
)
def test_wrong_arguments_are_one_clear_line(fashion, tmp_path, capsys, change, message):
    given = {"out": tmp_path / "run", "data": f"fashion-mnist:{fashion}", "steps": 4, "batch": 8, "threads": 1}
    assert main(Arguments(**given | change)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
