import pytest
import torch
from torchvision.ops import box_iou

from perception.detection.detector import OneStageDetector
from perception.detection.learning import CLASSES
from perception.detection.losses import BOX_WEIGHT, detection_loss
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.trust.attacks import AttackSettings, attack_report, pgd
from perception.trust.detector_attacks import DetectorTarget, cell_score, found_objects, with_gradients
from perception.trust.detector_trials import Trial
from tests.perception.trust.small_detector import rectangles, small_detector


@pytest.fixture(scope="module")
def attacked():
    trial = rectangles(6, seed=2)
    return DetectorTarget(small_detector(), trial), trial.images.float() / 255.0


def test_on_clean_pictures_the_loss_is_that_of_training(attacked):
    target, images = attacked
    with torch.no_grad():
        found = target.loss(images)
        for i, image in enumerate(target.trial.images):
            parts = detection_loss(target.detector.network, image[None], target.trial.lessons[i : i + 1])
            total = target.asked.scores[i].sum().clamp(min=1.0)
            wanted = (parts["score"] + BOX_WEIGHT * parts["box"]) * total
            torch.testing.assert_close(found[i], wanted, rtol=1e-4, atol=1e-5)


def test_cells_of_ignored_objects_are_left_alone(attacked):
    target, images = attacked
    ignoring = [dict(lesson) | {"ignore": torch.ones(1, dtype=torch.bool)} for lesson in target.trial.lessons]
    aside = DetectorTarget(target.detector, Trial(target.trial.images, ignoring, target.trial.truths))
    assert aside.asked.ignored.any(1).all()
    assert not aside.asked.positive.any()
    moved = images.requires_grad_(True)
    slope = torch.autograd.grad(aside.loss(moved).sum(), moved)[0]
    images.requires_grad_(False)
    boxes = torch.cat([lesson["boxes"] for lesson in ignoring]).long()
    inside = torch.stack(
        [one[:, y0:y1, x0:x1].abs().mean() for one, (x0, y0, x1, y1) in zip(slope, boxes, strict=True)]
    )
    before = torch.autograd.grad(target.loss(images.requires_grad_(True)).sum(), images)[0]
    images.requires_grad_(False)
    asked = torch.stack(
        [one[:, y0:y1, x0:x1].abs().mean() for one, (x0, y0, x1, y1) in zip(before, boxes, strict=True)]
    )
    assert (inside < 0.5 * asked).all()


def test_what_is_asked_does_not_change_with_the_attack(attacked):
    target, images = attacked
    before = target.asked.scores.clone()
    made = pgd(target, images, 0.1, steps=3)
    with torch.no_grad():
        assert (target.loss(made) > 1.5 * target.loss(images)).all()
    assert torch.equal(target.asked.scores, before)


def test_pictures_with_nothing_in_them_have_a_loss_too():
    trial = rectangles(2, seed=3)
    nothing = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "ignore": torch.zeros(0, dtype=torch.bool),
    }
    target = DetectorTarget(small_detector(), Trial(trial.images, [nothing, nothing], trial.truths))
    with torch.no_grad():
        assert (target.loss(trial.images.float() / 255.0) > 0).all()


def test_controls_hold_on_a_trained_detector(attacked):
    target, images = attacked
    report = attack_report(target, images, AttackSettings((8 / 255, 24 / 255), steps=8))
    assert report.clean > 0.9
    assert report.rows[-1].noise > 0.8 > 0.6 > report.rows[-1].pgd
    assert all(report.controls.values()), report.controls


def test_found_objects_are_the_largest_ones_and_a_cell_of_theirs():
    detector, trial = small_detector(), rectangles(4, seed=4)
    lessons = [dict(lesson) for lesson in trial.lessons]
    tiny = torch.tensor([[5.0, 5.0, 9.0, 9.0]])
    lessons[0]["boxes"] = torch.cat((tiny, lessons[0]["boxes"]))
    lessons[0]["labels"] = torch.tensor([2, 1])
    lessons[0]["ignore"] = torch.zeros(2, dtype=torch.bool)
    lessons[1]["ignore"] = torch.ones(1, dtype=torch.bool)
    found = found_objects(detector, Trial(trial.images, lessons, trial.truths), most=2)
    assert found.picture.tolist() == [0, 2]
    assert torch.equal(found.boxes, torch.cat([trial.lessons[i]["boxes"] for i in (0, 2)]))
    assert found.labels.tolist() == [0, 0]
    centers = detector.network.centers[found.cells]
    assert ((centers > found.boxes[:, :2]) & (centers < found.boxes[:, 2:])).all()
    images = trial.images[found.picture].float() / 255.0
    with torch.no_grad():
        chances = cell_score(detector.network, found.cells, found.labels, chance=True)(images)
        twice = cell_score(detector.network, found.cells, found.labels)(torch.cat((images, images)))
    assert (chances > 0.3).all()
    # Beside one as large and surer, the cell is still the object's own.
    both = trial.images[:1].clone()
    faint = rectangles(6, seed=7)
    moved = next(
        i for i in (0, 2, 4) if not bool((box_iou(faint.lessons[i]["boxes"], trial.lessons[0]["boxes"]) > 0).any())
    )
    x0, y0, x1, y1 = faint.lessons[moved]["boxes"][0].long().tolist()
    both[:, :, y0:y1, x0:x1] = faint.images[moved, :, y0:y1, x0:x1]
    for box in (faint.lessons[moved]["boxes"], trial.lessons[0]["boxes"]):
        lesson = dict(trial.lessons[0]) | {"boxes": box}
        one = found_objects(detector, Trial(both, [lesson], trial.truths[:1]), most=1)
        center = detector.network.centers[one.cells[0]]
        assert bool(((center > box[0, :2]) & (center < box[0, 2:])).all())
    torch.testing.assert_close(twice.sigmoid(), chances.repeat(2))


def test_a_detector_that_finds_nothing_is_said_so():
    torch.manual_seed(0)
    blind = OneStageDetector(OneStage(OneStageConfig(CLASSES, channels=(4, 4, 4, 4, 4), blocks=(1, 1, 1, 1), neck=4)))
    with pytest.raises(ValueError, match="the largest object in none of 2 pictures"):
        found_objects(blind, rectangles(2, seed=4), most=2)


class Other:
    kind = "ssdlite"


def test_detectors_without_gradients_or_of_other_pictures_are_refused():
    with pytest.raises(ValueError, match="gradients of a 'one-stage' detector; this one is 'ssdlite'"):
        with_gradients(Other())
    small = OneStageDetector(OneStage(OneStageConfig(CLASSES, 64, 64)))
    with pytest.raises(ValueError, match=r"size are \(64, 64\); attacks and explanations need \(320, 192\)"):
        with_gradients(small)
    with pytest.raises(ValueError, match="classes are"):
        with_gradients(OneStageDetector(OneStage(OneStageConfig(("car",)))))
    assert with_gradients(small_detector()) is small_detector()
