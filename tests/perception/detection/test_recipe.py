"""Training detectors: the documented recipe, and that a training which was killed goes on to the same weights."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perception.cameras import FRONT, SURROUND
from perception.detection import recipe as module
from perception.detection.detector import load_detector
from perception.detection.recipe import Recipe, lessons_of, train
from perception.training import BAD_BATCH, Training
from tests.perception.detection.small_folders import write_coco


def small(data, network="one-stage", **more):
    backbone = "" if network == "one-stage" else "mobilenet-v3"
    options = {"steps": 4, "batch": 4, "width": 64, "height": 64} | more
    return Recipe(network, backbone, data=data, **options)


def test_the_usual_recipe_sees_the_front_and_all_around():
    lessons, classes = lessons_of(Recipe())
    front, around = (stream.settings for stream in lessons.streams)
    assert (front.batch_size, front.cameras, front.frames, front.seed, front.split) == (10, (FRONT,), 6, 0, "train")
    assert (around.batch_size, around.cameras, around.frames, around.seed) == (2, SURROUND[1:], 6, 1)
    assert classes[:2] == ("car", "van")
    front, around = (stream.settings for stream in lessons_of(Recipe(batch=8, seed=3))[0].streams)
    assert (front.batch_size, around.batch_size, front.seed, around.seed) == (5, 1, 6, 7)
    assert lessons_of(Recipe(width=160, height=96))[0].streams[0].settings.cameras[0].width == 160


@pytest.mark.parametrize("network", ["one-stage", "ssdlite"])
def test_a_killed_training_goes_on_to_the_same_weights(network, tmp_path, monkeypatch):
    data = write_coco(tmp_path / "data")
    train(small(data, network), tmp_path / "whole", progress=False)
    update = Training._update

    def kill(self, batch, rate):
        if self.step == 2:
            self.save()
            raise KeyboardInterrupt
        return update(self, batch, rate)

    monkeypatch.setattr(Training, "_update", kill)
    with pytest.raises(KeyboardInterrupt):
        train(small(data, network), tmp_path / "killed", progress=False)
    monkeypatch.setattr(Training, "_update", update)
    train(small(data, network), tmp_path / "killed", progress=False)
    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(value, killed[name]) for name, value in whole.items())
    told = json.loads((tmp_path / "killed/model.json").read_text())["training"]
    assert told["pictures"] == 16 and told["steps"] == 4 and told["recipe"]["data"] == data
    assert told["seconds"] > 0 and told["cpu_s"] > 0
    assert load_detector(tmp_path / "killed").classes == ("bar", "post")
    # With another recipe, or another network, it is another training.
    for other, what in (({"rate": 1e-4}, "rate"), ({"seed": 4}, "seed"), ({"batch": 5}, "batch")):
        with pytest.raises(FileExistsError, match=f"holds another training: other {what}; choose"):
            train(small(data, network, **other), tmp_path / "killed", progress=False)
    with pytest.raises(FileExistsError, match="other kind, network"):
        train(small(data, "fcos"), tmp_path / "killed", progress=False)
    with pytest.raises(FileExistsError, match="other classes"):
        train(small(write_coco(tmp_path / "b", names=("bar", "pole")), network), tmp_path / "killed", progress=False)


def test_a_loss_that_is_no_number_stops_with_the_batch_kept(tmp_path, monkeypatch):
    data = write_coco(tmp_path / "data")
    loss = module.detection_loss
    seen = []

    def poisoned(network, images, targets):
        seen.append(images)
        parts = loss(network, images, targets)
        return parts | {"loss": parts["loss"] * (torch.nan if len(seen) == 3 else 1.0)}

    monkeypatch.setattr(module, "detection_loss", poisoned)
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 2; its batch is in .*nan_batch\.npz"):
        train(small(data), tmp_path / "run", progress=False)
    with np.load(tmp_path / "run" / BAD_BATCH) as kept:
        assert np.array_equal(kept["batch.images"], seen[-1].numpy())
        assert "batch.targets.0.boxes" in kept


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"network": "yolo"}, "network is 'yolo'; it must be one of one-stage, faster-rcnn, ssdlite, fcos"),
        ({"backbone": "resnet18"}, "one-stage has a backbone of its own"),
        ({"network": "fcos", "backbone": "resnet18", "scratch": True}, "starts from scratch anyway"),
        ({"batch": 3}, "batch is 3; it must be at least 4"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)
