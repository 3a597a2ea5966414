"""torchvision's detectors: what is not asked for teaches nothing, what is frozen stays, and they learn."""

import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from perception.detection import torchvision_models
from perception.detection.torchvision_models import (
    BACKBONES,
    PeerConfig,
    PeerDetector,
    build_peer,
    covered,
    peer_loss,
)
from perception.shipped_weights import EFFICIENTNET_LITE0, MOBILENET_V2, load_shipped, our_names

CLASSES = ("bar", "post")
LEFT, RIGHT = [4.0, 8.0, 28.0, 56.0], [36.0, 8.0, 60.0, 56.0]


def small(network, backbone="mobilenet-v3", **more):
    torch.manual_seed(2)
    return build_peer(PeerConfig(network, CLASSES, backbone, 64, 64, channels=32, **more))


def target(*ignore):
    """Two things side by side, the one left and the one right."""
    return {"boxes": torch.tensor([LEFT, RIGHT]), "labels": torch.tensor([1, 2]), "ignore": torch.tensor(ignore)}


def test_covered_means_more_than_half_inside():
    ignored = torch.tensor([[10.0, 10, 20, 20], [40, 40, 60, 60]])
    boxes = torch.tensor([[10.0, 10, 20, 20], [12, 12, 14, 14], [10, 16, 20, 26], [10, 14, 20, 24], [0, 0, 100, 100]])
    assert covered(boxes, ignored).tolist() == [True, True, False, True, False]
    assert covered(boxes, torch.zeros(0, 4)).tolist() == [False] * 5


def test_proposals_on_what_is_not_asked_for_are_no_background():
    model = small("faster-rcnn").train()
    given = [{"boxes": torch.tensor([LEFT]), "labels": torch.tensor([1]), "ignored": torch.tensor([RIGHT])}]
    anchors = torch.tensor([LEFT, RIGHT, [40.0, 20, 56, 40], [28, 56, 36, 64]])
    assert model.rpn.assign_targets_to_anchors([anchors], given)[0][0].tolist() == [1, -1, -1, 0]
    model.roi_heads.ignored = [torch.tensor([RIGHT])]
    labels = model.roi_heads.assign_targets_to_proposals([anchors], [torch.tensor([LEFT])], [torch.tensor([1])])[1]
    assert labels[0].tolist() == [1, -1, -1, 0]
    # The heads are told of each batch anew.
    boxes = [torch.tensor([[1.0, 1, 9, 9]])]
    model.roi_heads.select_training_samples(boxes, [given[0] | {"ignored": torch.zeros(0, 4)}])
    assert len(model.roi_heads.ignored[0]) == 0


@pytest.mark.parametrize("network", ["ssdlite", "fcos"])
def test_points_on_what_is_not_asked_for_have_no_gradient(network):
    """Nothing that is said there counts, while the same things said elsewhere do."""
    model = small(network).train()
    asked, ignored = torch.tensor([LEFT]), torch.tensor([RIGHT])
    images, targets = torch.zeros(2, 3, 64, 64), [{"boxes": asked, "labels": torch.tensor([1]), "ignored": ignored}] * 2
    features = list(model.backbone(images).values())
    anchors = model.anchor_generator(ImageList(images, [(64, 64)] * 2), features)
    silent = covered(anchors[0], ignored)
    head = {name: value.detach() for name, value in model.head(features).items()}
    head["cls_logits"][:, silent, 1] = 8.0  # sure of a thing there: the hardest background, if it were that
    head["cls_logits"].requires_grad_()
    if network == "ssdlite":
        matched = [torch.full((len(anchors[0]),), -1)] * 2
        matched[0][3] = 0
        loss = model.compute_loss(targets, head, anchors, matched)["classification"]
    else:
        counts = [feature.shape[2] * feature.shape[3] for feature in features]
        loss = model.compute_loss(targets, head, anchors, counts)["classification"]
    loss.backward()
    felt = head["cls_logits"].grad[0].abs().sum(-1)
    assert silent.sum() > 1 and felt[silent].max() == 0.0
    assert (felt[~silent] > 0).sum() > 2


@pytest.mark.parametrize("network", list(BACKBONES))
def test_they_learn_a_picture_by_heart(network):
    """The bar is asked for; the post is ignored and the empty picture has nothing in it."""
    model = small(network).train()
    images = torch.full((4, 3, 64, 64), 60, dtype=torch.uint8)
    images[::2, :, 8:56, 4:28] = 250
    images[0, 0, 8:56, 36:60] = 255
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "ignore": torch.zeros(0) > 0}
    targets = [target(False, True), nothing] * 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(12):
        parts = peer_loss(model, images, targets)
        assert parts["loss"].item() == pytest.approx(
            sum(value.item() for name, value in parts.items() if name != "loss")
        )
        losses.append(parts["loss"].item())
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


def test_boxes_without_width_or_height_teach_nothing():
    model = small("fcos").train()
    given = target(False, False)
    given["boxes"][1, 2] = given["boxes"][1, 0]
    assert torch.isfinite(peer_loss(model, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), [given])["loss"])


def test_frozen_stages_stay_and_the_others_learn():
    model = small("faster-rcnn", "mobilenet-v2", frozen=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    peer_loss(model, images, [target(False, False)] * 2)["loss"].backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    stages = {int(name.split(".")[2]) for name in changed if name.startswith("backbone.body.")}
    assert stages == set(range(4, 18))


@pytest.mark.parametrize("backbone, last", [("mobilenet-v2", 17), ("efficientnet-lite0", 16)])
def test_shipped_weights_are_in_the_backbone(backbone, last, monkeypatch):
    config = PeerConfig("fcos", CLASSES, backbone, 64, 64)
    if backbone == "mobilenet-v2":  # the package that ships them is no dependency
        torch.manual_seed(1)
        stored = {f"features.{name}": value for name, value in build_peer(config).backbone.body.state_dict().items()}
        monkeypatch.setattr(torchvision_models, "load_shipped", {MOBILENET_V2: stored}.__getitem__)
    else:
        stored = our_names(load_shipped(EFFICIENTNET_LITE0))
    torch.manual_seed(0)
    body = build_peer(config, shipped=True).backbone.body.state_dict()
    assert f"{last}.conv.0.0.weight" in body or f"{last}.conv.0.weight" in body
    assert all(torch.equal(value, stored[f"features.{name}"]) for name, value in body.items())
    torch.manual_seed(0)
    assert not torch.equal(build_peer(config).backbone.body.state_dict()["0.0.weight"], body["0.0.weight"])


@pytest.mark.parametrize("backbone", BACKBONES["faster-rcnn"])
def test_every_backbone_gives_levels_at_its_strides(backbone):
    model = small("faster-rcnn", backbone).eval()
    images, _ = model.transform(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8))
    assert images.tensors.shape == (1, 3, 64, 64) and images.image_sizes == [(64, 64)]  # nothing is resized
    levels = model.backbone(images.tensors)
    assert {stride: level.shape[2] for stride, level in levels.items()} == {"4": 16, "8": 8, "16": 4, "32": 2}


def test_a_thing_is_found_once_whatever_its_classes():
    config = PeerConfig("ssdlite", CLASSES, "mobilenet-v3", 64, 64)
    detector = PeerDetector(build_peer(config), config)
    box = torch.tensor([LEFT, LEFT, RIGHT])
    found = {"boxes": box, "scores": torch.tensor([0.9, 0.8, 0.7]), "labels": torch.tensor([1, 2, 2])}
    detector.network.forward = lambda images: [found]
    (kept,) = detector.predict(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert kept.boxes.tolist() == [LEFT, RIGHT] and kept.labels.tolist() == [1, 2]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"network": "detr"}, "network is 'detr'; it must be one of faster-rcnn, ssdlite, fcos"),
        ({"backbone": "vgg"}, "backbone is 'vgg'; faster-rcnn takes mobilenet-v2, efficientnet-lite0"),
        ({"network": "ssdlite", "backbone": "resnet18"}, "ssdlite takes mobilenet-v3"),
        ({"classes": ("a", "a")}, "different names"),
        ({"width": 100}, "multiples of 32"),
        ({"frozen": 3, "backbone": "resnet18"}, "3 frozen stages; a shipped backbone"),
    ],
)
def test_what_cannot_be_built_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        PeerConfig(**({"network": "faster-rcnn", "classes": CLASSES} | changes))
