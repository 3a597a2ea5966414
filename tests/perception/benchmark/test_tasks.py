"""What the benchmark measures is what stands in the model's folder, on the test set, with as many calls as asked."""

import gzip
import struct

import numpy as np
import pytest
import torch

from perception.benchmark.run import Config, run
from perception.benchmark.tasks import tracking
from perception.classification.datasets import load_data
from perception.classification.networks import load_classifier
from perception.classification.scores import score
from scripts.train_classifier import Arguments, main


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def classifier(tmp_path):
    """A plain network trained for a moment on pictures as bright as their labels say, of which tests are darker."""
    for start, count, step in (("train", 60, 25), ("t10k", 40, 21)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.repeat(labels * step, 784).astype(np.uint8)
        for what, shape, values in (("images-idx3", (count, 28, 28), images), ("labels-idx1", (count,), labels)):
            head = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
            (tmp_path / f"{start}-{what}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    data = f"fashion-mnist:{tmp_path}"
    assert main(Arguments(tmp_path / "run", data, steps=200, batch=16, threads=1)) == 0
    return tmp_path / "run" / "seed-0", data


def test_a_classifier_is_scored_on_its_test_pictures(classifier, threads):
    folder, data = classifier
    found = run(
        Config(models=str(folder), tasks="classification", test_pictures=40, timed=3, threads=1), lambda _: None
    )
    (row,) = found["classification"]["rows"]
    test = load_data(data).test
    wanted = score(load_classifier(folder), test.images, test.labels)
    assert row["data"] == data and row["scores"]["count"] == 40
    assert row["scores"]["top1"] == pytest.approx(wanted.top1) and wanted.top1 > 0.2
    timings = found["classification"]["timings"]
    assert all(one["runs"] == 3 for some in timings.values() for one in some["timings"].values()) and timings
    assert "detection" not in found and "lanes" not in found


def test_trackers_are_scored_and_timed(threads):
    found = tracking([], 1, 2.0, None, lambda _: None, runs=3)
    assert {row["tracker"] for row in found["rows"]} == {"Kalman"} and len(found["rows"]) == 9
    assert all(0 < row["IDF1"] <= 1 for row in found["rows"])
    assert found["timings"]["update"]["timings"]["Kalman"]["runs"] == 3
