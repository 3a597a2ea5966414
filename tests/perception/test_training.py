"""The training loop: it goes on where it was killed, and stops where numbers end."""

import csv
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from perception.model_folder import ModelFacts
from perception.training import BAD_BATCH, CHECKPOINT, METRICS, Training, TrainingSettings

FACTS = ModelFacts("line", ("y",), {"inputs": 3})


class Points:
    """Batches of a plane's points; the position says which."""

    def __init__(self, poison=None):
        self.position, self.poison = 0, poison

    def __next__(self):
        generator = torch.Generator().manual_seed(self.position)
        x = torch.randn(16, 3, generator=generator)
        if self.position == self.poison:
            x[0, 0] = torch.nan
        self.position += 1
        return {"x": x, "y": x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3}

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 1))


def loss(model, batch):
    error = (model(batch["x"]) - batch["y"]).square().mean()
    return {"error": error.detach(), "loss": error}


def training(folder, steps=60, points=None, model=None, **changes):
    settings = TrainingSettings(**({"steps": steps, "rate": 0.05, "warm_up": 5} | changes))
    return Training(model or network(), FACTS, loss, points or Points(), folder, settings)


def test_it_learns_and_leaves_a_model(tmp_path):
    run = training(tmp_path / "a")
    run.run(progress=False)
    with open(tmp_path / "a" / METRICS, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["error"]) < 0.5  # the variance of what it is to tell is 5.25
    assert 0 < float(rows[-1]["rate"]) < 1e-4 < float(rows[0]["rate"]) < 0.05
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "model.json", "model.safetensors", CHECKPOINT, METRICS,
    }  # fmt: skip


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    """Dropout, moments, averages, position and rate included: bit for bit."""
    whole = training(tmp_path / "whole")
    whole.run(progress=False)
    killed = training(tmp_path / "killed")
    update = Training._update

    def kill(self, batch, rate):
        if self.step == 25:
            self.save()
            raise KeyboardInterrupt
        return update(self, batch, rate)

    monkeypatch.setattr(Training, "_update", kill)
    with pytest.raises(KeyboardInterrupt):
        killed.run(progress=False)
    monkeypatch.undo()
    torch.manual_seed(99)
    again = training(tmp_path / "killed", model=nn.Sequential(*network()))
    assert again.step == 25
    again.run(progress=False)
    one, other = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_one_killed_before_its_first_checkpoint_goes_on(tmp_path, monkeypatch):
    training(tmp_path / "whole").run(progress=False)
    killed = training(tmp_path / "killed")
    update = Training._update

    def kill(self, batch, rate):
        if self.step == 45:
            raise SystemExit  # nothing is saved
        return update(self, batch, rate)

    monkeypatch.setattr(Training, "_update", kill)
    with pytest.raises(SystemExit):
        killed.run(progress=False)
    monkeypatch.undo()
    again = training(tmp_path / "killed")
    assert again.step == 0
    again.run(progress=False)
    with open(tmp_path / "killed" / METRICS, encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [20, 40, 60]  # each once
    one, other = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "killed"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_ctrl_c_ends_with_a_checkpoint_after_a_whole_step(tmp_path):
    class Pressed(Points):
        def __next__(self):
            if self.position == 9:
                signal.raise_signal(signal.SIGINT)
            return super().__next__()

    before = signal.getsignal(signal.SIGINT)
    run = training(tmp_path / "a", points=Pressed())
    with pytest.raises(KeyboardInterrupt):
        run.run(progress=False)
    assert 0 < run.step < 60 and training(tmp_path / "a").step == run.step
    assert signal.getsignal(signal.SIGINT) == before


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path):
    def poisoned(model, batch):
        error = loss(model, batch)["loss"]
        if run.step < 7:
            return {"loss": error}
        # 0, with no derivative there.
        return {"loss": error + sum((weight * 0).abs().sum() for weight in model.parameters()).sqrt()}

    run = training(tmp_path / "a")
    run.loss = poisoned
    with pytest.raises(FloatingPointError, match=f"the gradient is nan at step 7; its batch is in .*{BAD_BATCH}"):
        run.run(progress=False)
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_batch(tmp_path):
    run = training(tmp_path / "a", points=Points(poison=7))
    with pytest.raises(FloatingPointError, match=f"at step 7; its batch is in .*{BAD_BATCH}"):
        run.run(progress=False)
    with np.load(tmp_path / "a" / BAD_BATCH) as kept:
        assert kept["batch.x"].shape == (16, 3) and np.isnan(kept["batch.x"][0, 0])


def test_a_time_limit_ends_it(tmp_path):
    run = training(tmp_path / "a", steps=10**6, time_limit_s=0.5)
    run.run(progress=False)
    assert 0 < run.step < 10**6 and (tmp_path / "a" / "model.safetensors").is_file()


def test_other_folders_are_refused(tmp_path):
    training(tmp_path / "a", steps=10).run(progress=False)
    with pytest.raises(FileExistsError, match="other rate"):
        training(tmp_path / "a", steps=10, rate=0.01)
    with pytest.raises(FileExistsError, match="other network"):
        training(tmp_path / "a", steps=10, model=nn.Linear(3, 1))
    with pytest.raises(FileExistsError, match="other batch"):
        other = ModelFacts("line", ("y",), {"inputs": 3}, {"recipe": {"batch": 2}})
        Training(network(), other, loss, Points(), tmp_path / "a", TrainingSettings(10, rate=0.05, warm_up=5))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        training(tmp_path / "b")


def test_a_damaged_checkpoint_is_named(tmp_path):
    training(tmp_path / "a", steps=10).run(progress=False)
    path = tmp_path / "a" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{CHECKPOINT} can't be read: .*; delete the folder to begin anew"):
        training(tmp_path / "a", steps=10)


@pytest.mark.parametrize("change", [{"steps": 0}, {"rate": -1.0}, {"time_limit_s": 0.0}, {"averaging": 1.0}])
def test_impossible_settings(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingSettings(**({"steps": 5} | change))


def test_an_error_of_the_batches_arrives(tmp_path):
    class Broken(Points):
        def __next__(self):
            raise RuntimeError("no more pictures")

    with pytest.raises(RuntimeError, match="no more pictures"):
        training(tmp_path / "a", points=Broken()).run(progress=False)
