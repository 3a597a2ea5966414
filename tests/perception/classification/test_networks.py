import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from perception.classification.backbones import UnevenConv2d
from perception.classification.networks import (
    NETWORKS,
    NetworkConfig,
    build,
    facts_of,
    fill_backbone,
    imagenet_config,
    load_classifier,
)
from perception.model_folder import ModelFacts, save_model
from perception.shipped_weights import torchvision_names

CLASSES = ("one", "two", "three")


def small(network, channels=3, side=32, **more):
    torch.manual_seed(0)
    return build(NetworkConfig(network, CLASSES, channels, side, side, **more)).eval()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_and_floats_give_the_same_logits(network, channels):
    model = small(network, channels)
    images = torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        logits = model(images)
        assert torch.allclose(logits, model(images / 255.0), atol=1e-5)
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("network", NETWORKS)
def test_no_activation_works_in_place_or_twice(network):
    model = small(network)
    used = []
    for name, module in model.named_modules():
        assert not getattr(module, "inplace", False), name
        if not list(module.children()):
            module.register_forward_hook(lambda _m, _i, _o, name=name: used.append(name))
    model(torch.rand(1, 3, 32, 32))
    assert len(used) == len(set(used))


def test_normalisation_is_inside():
    plain = small("plain", mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))
    images = torch.tensor([0.3, 0.8, 0.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert torch.allclose(plain.prepared(images)[0, :, 0, 0], torch.tensor([1.0, 2.0, -2.0]))


def test_small_networks_are_small():
    counts = {name: sum(weight.numel() for weight in small(name, 1, 28).parameters()) for name in ("plain", "resnet")}
    assert counts["plain"] < 500_000
    assert counts["resnet"] < 200_000


def test_frozen_stages_learn_nothing_and_keep_their_means():
    model = small("resnet")
    model.freeze(2)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("features.0.", "features.1.")) for name in changed)
    assert "features.2.0.first.1.running_mean" in changed
    assert "head.2.weight" in changed
    model.freeze(0)
    assert model.features[0].training
    assert all(weight.requires_grad for weight in model.parameters())


def test_mobilenet_v2_is_torchvisions():
    ours = small("mobilenet-v2")
    theirs = torchvision.models.mobilenet_v2(weights=None, num_classes=3).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):  # else the running means would be zeros and ones in both
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    weights = torchvision_names({name: one for name, one in ours.state_dict().items() if name[:5] != "head."})
    missing = theirs.load_state_dict(weights, strict=False)
    assert set(missing.missing_keys) == {"classifier.1.weight", "classifier.1.bias"}
    assert not missing.unexpected_keys
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.features(images), theirs.features(images))


def test_efficientnet_lite0_names_the_real_pictures():
    """Foolbox ships 20 ImageNet pictures with their labels in the names; 19 were right when this was written."""
    names = tuple(map(str, range(1000)))
    config = imagenet_config("efficientnet-lite0")
    model = build(NetworkConfig("efficientnet-lite0", names, 3, 224, 224, **config)).eval()
    fill_backbone(model)
    folder = Path(str(importlib.metadata.distribution("foolbox").locate_file("foolbox/data")))
    paths = sorted(folder.glob("imagenet_*.jpg"))
    assert len(paths) == 20
    pictures = [torch.from_numpy(np.array(Image.open(path).convert("RGB"))) for path in paths]
    with torch.no_grad():
        answers = torch.stack([model(one.permute(2, 0, 1)[None]).argmax() for one in pictures])
    wanted = torch.tensor([int(path.stem.split("_")[-1]) for path in paths])
    assert (answers == wanted).sum() >= 18


def test_uneven_padding_puts_the_greater_part_right_and_below():
    convolution = UnevenConv2d(1, 1, 3, 2, bias=False)
    nn.init.constant_(convolution.weight, 1.0)
    counted = convolution(torch.ones(1, 1, 4, 4)).detach()
    assert counted[0, 0].tolist() == [[9, 6], [6, 4]]
    assert convolution(torch.ones(1, 1, 5, 5))[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_a_folder_gives_the_same_classifier_back(tmp_path):
    model = small("resnet", 1, 28)
    save_model(tmp_path, facts_of(model.config, {"data": "none"}), model.state_dict())
    images = torch.rand(2, 1, 28, 28)
    again = load_classifier(tmp_path)
    assert again.config == model.config
    assert not again.training
    with torch.no_grad():
        assert torch.equal(model(images), again(images))


def test_another_models_folder_is_refused(tmp_path):
    save_model(tmp_path / "a", ModelFacts("one-stage", ("car",), {}), {"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="of kind 'one-stage'; expected 'classifier'"):
        load_classifier(tmp_path / "a")
    save_model(tmp_path / "b", ModelFacts("classifier", CLASSES, {"network": "plain", "depth": 3}), {})
    with pytest.raises(ValueError, match="no classifier that this version knows"):
        load_classifier(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "vgg"}, "network is 'vgg'; it must be one of plain, resnet"),
        ({"channels": 4}, "4 channels"),
        ({"classes": ("a", "a")}, "different names"),
        ({"height": 4}, "32 x 4 px"),
    ],
)
def test_wrong_configs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**{"network": "plain", "classes": CLASSES, "channels": 3, "height": 32, "width": 32} | change)


def test_wrong_pictures_are_refused():
    with pytest.raises(ValueError, match=r"expected \[B, 3, H, W\]"):
        small("plain")(torch.rand(2, 1, 32, 32))


def test_weights_are_shipped_for_backbones_alone():
    with pytest.raises(ValueError, match="no package ships weights of 'plain'"):
        fill_backbone(small("plain"))
