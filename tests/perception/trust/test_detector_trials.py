import pytest
import torch

from perception.detection.learning import CLASSES
from perception.trust import detector_trials
from perception.trust.detector_trials import SEVERITIES, drawn_trial, precision, precision_under_corruption
from perception.trust.robustness import CorruptedPrecision
from tests.perception.trust.small_detector import rectangles, small_detector


def test_precision_is_of_the_pictures_that_are_given():
    trial = rectangles(5, seed=2)
    found = precision(small_detector(), trial, batch=2)
    assert found["objects"] == 5
    assert found["AP50"] > 0.9
    assert found == precision(small_detector(), trial, trial.images)
    empty = precision(small_detector(), trial, torch.full_like(trial.images, 90))
    assert empty["AP50"] < 0.1
    order = precision(small_detector(), trial, trial.images.flip(0))  # other pictures than the truth's
    assert order["AP50"] < 0.5


def test_corruption_reaches_every_picture_with_its_own_number(monkeypatch):
    monkeypatch.setattr(detector_trials, "DRAWN", 2)
    trial = rectangles(5, seed=2)
    handed = []

    def tried(tell, seed, severities, told):
        def change(images, numbers):
            handed.extend(numbers.tolist())
            return images

        assert severities == SEVERITIES
        return CorruptedPrecision(tell(change), {"fog": (tell(lambda images, _: images * 0),)})

    monkeypatch.setattr(detector_trials, "corrupted_precision", tried)
    found = precision_under_corruption(small_detector(), trial)
    assert handed == [0, 1, 2, 3, 4]
    assert found.clean == precision(small_detector(), trial)["AP"]
    assert found.corrupted["fog"][0] < found.clean


def test_drawn_pictures_are_of_the_domain_and_not_of_training_seeds(monkeypatch):
    drawn = []
    stream = detector_trials.FrameStream

    class Watched(stream):
        def __next__(self):
            batch = super().__next__()
            drawn.extend(batch.pictures)
            return batch

    monkeypatch.setattr(detector_trials, "FrameStream", Watched)
    trial = drawn_trial(("snow",), 2)
    assert trial.images.shape == (2, 3, 192, 320)
    assert len(trial.lessons) == len(trial.truths) == 2
    assert {picture.domain for picture in drawn} == {"snow"}
    assert {picture.seed % 10 for picture in drawn} == {9}
    for lesson, truth in zip(trial.lessons, trial.truths, strict=True):
        assert torch.equal(lesson["boxes"], truth["boxes"])
        assert lesson["labels"].numel() == 0 or int(lesson["labels"].max()) <= len(CLASSES)
    with pytest.raises(ValueError, match="at least 1"):
        drawn_trial(("snow",), 0)
