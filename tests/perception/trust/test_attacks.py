"""Attacks against foolbox, and against models on which their controls must fail."""

import warnings

import pytest
import torch
from torch import nn

from perception.trust import attacks
from perception.trust.attacks import (
    AttackRow,
    AttackSettings,
    ClassifierTarget,
    attack_report,
    fgsm,
    pgd,
    row_controls,
    sign_noise,
)
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


def test_of_several_starts_each_picture_keeps_its_best(victim):
    """One that breaks it, else the one with the greatest loss: of four single starts drawn in the same order."""
    target, images = victim
    generator = torch.Generator().manual_seed(0)
    single = [pgd(target, images, 0.06, 3, None, 1, generator) for _ in range(4)]
    broken, loss = (torch.stack([ask(one).double() for one in single]) for ask in (target.broken, target.loss))
    best = torch.where(broken.any(0), torch.where(broken > 0, loss, -torch.inf), loss).argmax(0)
    assert len(best.unique()) > 2  # not always the first, nor the last
    assert 0 < broken.any(0).double().mean() < 1
    made = pgd(target, images, 0.06, 3, None, 4, torch.Generator().manual_seed(0))
    assert torch.equal(made, torch.stack(single)[best, torch.arange(len(images))])


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
    other = ClassifierTarget(trained(seed=1), labels)
    target, settings = ClassifierTarget(trained(), labels), AttackSettings((0.02, 0.05, 0.2))
    report = attack_report(target, images, settings, other)
    for row in report.rows:
        assert row.transferred == target.quality(settings.strongest(other, images, row.eps))
    assert any(row.transferred > row.pgd for row in report.rows)
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
        report = attack_report(ClassifierTarget(model.eval(), labels), images, AttackSettings((0.05, 0.2)))
        assert not report.controls["a large budget breaks it"]


@pytest.mark.parametrize(
    ("figures", "control"),
    [
        # Right under noise, FGSM, PGD; losses of FGSM and PGD; right under PGD of another model: at two budgets.
        (((0.5, 0.7, 0.6, 2.0, 2.5, 0.7), (0.9, 0.5, 0.4, 2.0, 2.5, 0.5)), "noise is weaker"),
        (((0.9, 0.7, 0.6, 2.0, 2.5, 0.7), (0.9, 0.5, 0.4, 3.0, 2.5, 0.5)), "PGD is at least FGSM"),
        (((0.9, 0.5, 0.4, 2.0, 2.5, 0.7), (0.9, 0.7, 0.6, 2.0, 2.5, 0.7)), "more budget, less right"),
        (((0.9, 0.7, 0.6, 2.0, 2.5, 0.7), (0.9, 0.5, 0.4, 2.0, 2.5, 0.3)), "another model's attack is weaker"),
    ],
)
def test_each_control_sees_its_own_fault(figures, control):
    rows = [AttackRow(eps, *left) for eps, left in zip((0.1, 0.2), figures, strict=True)]
    assert [name for name, holds in row_controls(rows, 0.05).items() if not holds] == [control]
    if control != "PGD is at least FGSM":
        assert all(row_controls(rows, 0.21).values())  # within the slack


def test_without_another_model_nothing_is_said_about_it():
    assert "another model's attack is weaker" not in row_controls([AttackRow(0.1, 0.9, 0.5, 0.4, 1.0, 1.0)], 0.0)


def test_noise_changes_every_value_by_the_whole_budget():
    images = torch.full((2, 3, 20, 20), 0.5)
    change = sign_noise(images, 0.1, torch.Generator().manual_seed(0)) - images
    assert torch.allclose(change.abs(), torch.full_like(change, 0.1))
    assert abs(float(change.mean())) < 0.01
    dark = sign_noise(images * 0.0, 0.1, torch.Generator().manual_seed(0))
    assert dark.unique().tolist() == pytest.approx([0.0, 0.1])


def test_an_attack_that_leaves_its_budget_is_found_out(monkeypatch):
    images, labels = spots(12, seed=5)
    target = ClassifierTarget(trained(), labels)
    monkeypatch.setattr(attacks, "pgd", lambda victim, images, eps, *rest: (images + 2 * eps).clamp(0, 1))
    report = attack_report(target, images, AttackSettings((0.05,)))
    assert not report.controls["inside the budget"]
    assert report.controls["zero is clean"]
    monkeypatch.setattr(attacks, "pgd", lambda victim, images, eps, *rest: (images + eps + 0.01).clamp(0, 1))
    assert not attack_report(target, images, AttackSettings((0.05,))).controls["zero is clean"]


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
        AttackSettings((0.1, 0.05))
    with pytest.raises(ValueError, match="must rise"):
        AttackSettings(())
    model = trained()
    model.train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            ClassifierTarget(model, target.labels)
    finally:
        model.eval()
