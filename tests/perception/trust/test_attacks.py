"""Attacks against foolbox, and against models on which their controls must fail."""

import warnings

import pytest
import torch
from torch import nn

from perception.detection.one_stage import OneStage, OneStageConfig
from perception.trust.attacks import ClassifierTarget, DetectorTarget, attack_report, fgsm, noise, pgd
from tests.perception.trust.small_net import spots, trained

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # foolbox 3.3.4 asks SciPy by names that are going
    import foolbox

EPS = 8 / 255


@pytest.fixture(scope="module")
def victim():
    images, labels = spots(48, seed=5)
    return ClassifierTarget(trained(), labels), images


def test_fgsm_is_foolboxs(victim):
    target, images = victim
    model = foolbox.PyTorchModel(target.model, bounds=(0, 1))
    _, wanted, broken = foolbox.attacks.FGSM(random_start=False)(model, images, target.labels, epsilons=EPS)
    found = fgsm(target, images, EPS)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert torch.equal(target.broken(found), broken)


@pytest.mark.parametrize("steps", [1, 7])
def test_pgd_from_the_picture_itself_is_foolboxs(victim, steps):
    target, images = victim
    model = foolbox.PyTorchModel(target.model, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=steps, random_start=False)
    _, wanted, _ = attack(model, images, target.labels, epsilons=EPS)
    torch.testing.assert_close(pgd(target, images, EPS, steps, 0.01), wanted, rtol=0, atol=1e-6)


def test_restarts_only_help_and_broken_pictures_stay_broken(victim):
    target, images = victim
    counts = []
    for restarts in (1, 4):
        made = pgd(target, images, 0.1, 3, None, restarts, torch.Generator().manual_seed(0))
        counts.append(int(target.broken(made).sum()))
    assert counts[1] >= counts[0]


def test_starts_depend_on_the_generator_alone(victim):
    target, images = victim
    made = [pgd(target, images, EPS, 2, None, 1, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_an_attack_leaves_the_model_as_it_was(victim):
    target, images = victim
    before = {name: value.clone() for name, value in target.model.state_dict().items()}
    for weight in target.model.parameters():
        weight.grad = None
    pgd(target, images, EPS, 2)
    assert all(torch.equal(value, before[name]) for name, value in target.model.state_dict().items())
    assert all(weight.grad is None for weight in target.model.parameters())
    assert not images.requires_grad


def test_controls_hold_on_a_trained_net():
    images, labels = spots(48, seed=5)
    report = attack_report(trained(), images, labels, (0.02, 0.05, 0.2), other=trained(seed=1))
    assert report.clean > 0.9
    assert report.rows[-1].pgd < 0.2 < report.rows[-1].noise
    assert len(report.controls) == 7
    assert all(report.controls.values()), report.controls


class Masked(nn.Module):
    """Rounds the pictures to a few colours: the same answers, but no gradient."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model((images * 16).round() / 16)


class NotInside(nn.Module):
    """A model that saturates: its loss has hardly any gradient, so that one step leads nowhere."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images) * 1e4


def test_masked_gradients_are_found_out():
    images, labels = spots(48, seed=5)
    for model in (Masked(trained()), NotInside(trained())):
        report = attack_report(model.eval(), images, labels, (0.05, 0.2))
        assert not report.controls["a large budget breaks it"]


def test_a_detectors_loss_rises_more_by_attack_than_by_noise():
    torch.manual_seed(0)
    network = OneStage(OneStageConfig(("car", "lorry"), 64, 64, (4, 8, 8, 8, 8), (1, 1, 1, 1), 8, 4)).eval()
    images = torch.rand(3, 3, 64, 64)
    targets = [
        {
            "boxes": torch.tensor([[10.0, 12.0, 40.0, 44.0]] * (i % 2)).reshape(-1, 4),
            "labels": torch.ones(i % 2, dtype=torch.int64),
            "ignore": torch.zeros(i % 2, dtype=torch.bool),
        }
        for i in range(1, 4)
    ]
    target = DetectorTarget(network, targets)
    with torch.no_grad():
        clean, alone = target.loss(images), DetectorTarget(network, targets[1:2]).loss(images[1:2])
        noisy = target.loss(noise(images, EPS, torch.Generator().manual_seed(0)))
    assert torch.allclose(clean[1:2], alone)  # each picture by itself
    stepped = fgsm(target, images, EPS)
    moved = pgd(target, images, EPS, steps=5)
    with torch.no_grad():
        assert (target.loss(stepped) > noisy).all()
        assert (target.loss(moved) > noisy).all()
    assert ((moved - images).abs() <= EPS + 1e-6).all()


def test_pictures_a_hair_outside_are_cut_not_refused(victim):
    target, images = victim
    edge = images.clone()
    edge[0, 0, 0, 0] = -2.98e-8
    assert fgsm(target, edge, EPS).min() >= 0


@pytest.mark.parametrize(
    ("change", "eps", "message"),
    [
        (lambda images: (images - 0.5) / 0.25, EPS, "an attack needs 0 to 1"),
        (lambda images: images * 255, EPS, "an attack needs 0 to 1"),
        (lambda images: (images * 255).byte(), EPS, "needs floats in 0..1"),
        (lambda images: images, -0.1, "eps is -0.1"),
        (lambda images: images * float("nan"), EPS, "an attack needs 0 to 1"),
    ],
)
def test_wrong_pictures_are_refused(victim, change, eps, message):
    target, images = victim
    with pytest.raises(ValueError, match=message):
        fgsm(target, change(images), eps)


def test_wrong_settings_are_refused(victim):
    target, images = victim
    with pytest.raises(ValueError, match="restarts need a generator"):
        pgd(target, images, EPS, restarts=2)
    with pytest.raises(ValueError, match="must rise"):
        attack_report(target.model, images, target.labels, (0.1, 0.05))
    model = trained()
    model.train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            attack_report(model, images, target.labels, (0.1,))
    finally:
        model.eval()
