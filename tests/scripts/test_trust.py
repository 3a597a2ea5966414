import dataclasses
import functools
import json

import pytest
import torch
from PIL import Image

from perception.classification.datasets import DataSet, Labelled
from perception.classification.networks import NetworkConfig, build, facts_of
from perception.model_folder import ModelFacts, save_model
from perception.trust import classifier_trust, detector_trials, detector_trust
from perception.trust.robustness import corrupted_precision
from scripts import trust
from scripts.trust import Arguments, main
from sim.sensors.looks.domains import HELD_OUT
from tests.perception.trust.small_detector import rectangles, small_detector

SMALL = {"pictures": 6, "attacked": 4, "explained": 3, "epsilons": (8.0,), "steps": 2}


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Two untrained classifiers and made pictures: the package with the digits is no dependency."""
    torch.manual_seed(0)
    few = Labelled(torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8), torch.arange(20) % 10)
    monkeypatch.setattr(trust, "load_data", lambda name: DataSet(name, tuple("0123456789"), few, few))
    config = NetworkConfig("plain", tuple("0123456789"), 1, 28, 28)
    for name in ("one", "other"):
        classifier = build(config)
        save_model(tmp_path / name, facts_of(config, {"recipe": {"data": "mnist-5k"}}), classifier.state_dict())
    return tmp_path


def test_a_classifier_gets_its_tables_and_a_second_run_makes_nothing_anew(digits, capsys, monkeypatch):
    arguments = Arguments(digits / "one", digits / "out", digits / "other", **SMALL)
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for text in ("### Corruptions: errors in %, 6 pictures", "| fog |", "mCE", "### Attacks", "| 8/255 |", "occlusion"):
        assert text in printed
    assert "Held-out domains" not in printed
    assert set(json.loads((digits / "out/trust.json").read_text("utf-8"))["sections"]) == {
        "corruptions", "attacks", "explanations",
    }  # fmt: skip
    with Image.open(digits / "out/maps.png") as sheet:
        assert sheet.height > 3 * 128
    monkeypatch.setattr(classifier_trust, "attack_report", None)
    assert main(dataclasses.replace(arguments, only=("attacks",))) == 0
    assert "### Attacks" in capsys.readouterr().out


def test_a_detector_gets_its_tables(tmp_path, capsys, monkeypatch):
    network = small_detector().network
    facts = ModelFacts("one-stage", network.config.classes, dataclasses.asdict(network.config))
    save_model(tmp_path / "model", facts, network.state_dict())
    few = functools.partial(corrupted_precision, names=("fog", "contrast"))
    monkeypatch.setattr(detector_trials, "corrupted_precision", few)
    asked = []
    monkeypatch.setattr(
        detector_trust, "drawn_trial", lambda domains, count, seed: (asked.append(domains), rectangles(count, seed))[1]
    )
    assert main(Arguments(tmp_path / "model", tmp_path / "out", **SMALL)) == 0
    printed = capsys.readouterr().out
    assert asked[:5] == [("clear",), *((name,) for name in HELD_OUT)]
    assert set(asked[5:]) == {("clear",)}
    for text in ("| snow | 100.0 |", "AP in %, 6 clear pictures", "AP50 in %, 4 pictures", "Explanations, 3 pictures"):
        assert text in printed
    with Image.open(tmp_path / "out/maps.png") as sheet:
        assert sheet.width > 6 * 320


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"only": ("blur",)}, "part 'blur'"),
        ({"only": ("domains",)}, "unknown ClassifierTrust part 'domains'"),
        ({"pictures": -9990}, "--pictures is -9990; it must be at least 1"),
        ({"attacked": 0}, "--attacked is 0"),
        ({"explained": 0}, "--explained is 0"),
        ({"threads": 0}, "--threads is 0"),
        ({"epsilons": (8.0, 4.0)}, "they must rise"),
        ({"model": "nowhere"}, "holds no model"),
    ],
)
def test_wrong_arguments_are_one_clear_line(digits, capsys, change, message):
    given = {"model": digits / "one", "out": digits / "out"} | change
    given["model"] = digits / given["model"]
    assert main(Arguments(**given)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_classifier_of_other_classes_is_no_baseline(digits, capsys):
    config = NetworkConfig("plain", ("a", "b"), 1, 28, 28)
    save_model(digits / "two", facts_of(config, {"recipe": {"data": "mnist-5k"}}), build(config).state_dict())
    assert main(Arguments(digits / "one", digits / "out", digits / "two")) == 2
    assert "different classes" in capsys.readouterr().err
