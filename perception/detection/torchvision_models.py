"""torchvision's detectors made for our pictures: Faster R-CNN, SSDlite and FCOS, with backbones to be fine-tuned.

What differs from torchvision's own recipes, and why:

* pictures are uint8 of one size, so nothing is rescaled inside (torchvision would resize each to 800 px and more);
* anchors fit boxes of 6 to 190 px, and pyramids are narrow: they were made for large pictures and 256 channels;
* batch normalisation learns: torchvision freezes it, which suits two pictures a batch and weights of the same data;
* objects that are not asked for ("ignore") teach nothing: anchors and proposals inside them count neither as found nor
  as background. torchvision knows no such objects and would teach that they are background.

Sources: S. Ren et al. (2015), "Faster R-CNN"; T.-Y. Lin et al. (2017), "Feature pyramid networks"; M. Sandler et al.
(2018), "MobileNetV2" (SSDlite); Z. Tian et al. (2019), "FCOS".
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FCOS, FasterRCNN
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, nms

from perception.classification import backbones
from perception.detection.detector import predict_letterboxed, stored_config
from perception.detection.postprocess import LEAST_SCORE, MOST, OVERLAP, Detections
from perception.model_folder import ModelFacts
from perception.shipped_weights import EFFICIENTNET_LITE0, MOBILENET_V2, load_shipped, our_names

# Of each network, its backbones; the first is the one without being asked.
PYRAMIDS = ("mobilenet-v2", "efficientnet-lite0", "mobilenet-v3", "resnet18", "resnet34")
BACKBONES = {"faster-rcnn": PYRAMIDS, "ssdlite": ("mobilenet-v3",), "fcos": PYRAMIDS}
SHIPPED = ("mobilenet-v2", "efficientnet-lite0")
"""Backbones that start from ImageNet's weights, which registry packages ship; the others start from nothing."""
COVERED = 0.5
"""Share of an anchor or proposal inside objects not asked for from which on it teaches nothing."""
CERTAIN = 20.0
"""Logit of what is as good as certain: its loss and gradient vanish."""
ANCHOR_SIZES = ((9.0, 16.0, 26.0), (36.0, 52.0, 72.0), (96.0, 135.0, 190.0))
"""Roots of the anchors' areas [px] at strides 8, 16 and 32: half our boxes are below 16 px, 90 % below 64 px."""
ANCHOR_SHAPES = (0.5, 1.0, 1.7)
"""Heights of anchors over their widths: 80 % of our boxes lie between 0.4 and 1.7."""
SSD_SCALES = (0.06, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
"""Sizes of SSDlite's boxes as shares of the picture's sides, level by level; COCO's would begin at 0.2."""


@dataclass(frozen=True)
class PeerConfig:
    """What a network is built from.

    Attributes:
        network: "faster-rcnn", "ssdlite" or "fcos".
        classes: names, of labels 1, 2, ...
        backbone: one of `BACKBONES[network]`; "" takes the first.
        width, height: of the pictures [px], multiples of 32.
        channels: of the pyramid (SSDlite has none).
        frozen: stages of a shipped backbone that keep ImageNet's weights; a stem and the stages up to stride 4 are 4 of
            MobileNetV2's. They cost most of the time and are the most general.
    """

    network: str
    classes: tuple[str, ...]
    backbone: str = ""
    width: int = 320
    height: int = 192
    channels: int = 64
    frozen: int = 0

    def __post_init__(self) -> None:
        if self.network not in BACKBONES:
            raise ValueError(f"network is {self.network!r}; it must be one of {', '.join(BACKBONES)}")
        known = BACKBONES[self.network]
        if not self.backbone:
            object.__setattr__(self, "backbone", known[0])
        if self.backbone not in known:
            raise ValueError(f"backbone is {self.backbone!r}; {self.network} takes {', '.join(known)}")
        if self.frozen and (self.network == "ssdlite" or self.backbone not in SHIPPED or not 0 < self.frozen < 12):
            raise ValueError(
                f"{self.frozen} frozen stages; a shipped backbone ({', '.join(SHIPPED)}) may have up to 11"
            )
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes are {self.classes!r}; they must be different names, at least one")
        if min(self.width, self.height) < 64 or self.width % 32 or self.height % 32:
            raise ValueError(f"pictures of {self.width} x {self.height} px: both must be multiples of 32 from 64 on")


def build_peer(config: PeerConfig, shipped: bool = False) -> nn.Module:
    """Return a network; torch's generator decides its weights.

    In training mode it takes uint8 [B, 3, H, W] and targets (see `peer_loss`) and gives losses by name, in evaluation
    mode it takes pictures and gives torchvision's dicts.

    Args:
        config: what to build.
        shipped: give the backbone ImageNet's weights, where a package ships them.

    Raises:
        ModuleNotFoundError, FileNotFoundError: the package with the weights is not installed.
    """
    if config.network == "ssdlite":
        return _ssdlite(config)
    model = (_faster_rcnn if config.network == "faster-rcnn" else _fcos)(config)
    if shipped and config.backbone in SHIPPED:
        weights = load_shipped(MOBILENET_V2) if config.backbone == "mobilenet-v2" else None
        weights = weights or our_names(load_shipped(EFFICIENTNET_LITE0))
        body = model.backbone.body
        named = {name.removeprefix("features."): value for name, value in weights.items()}
        body.load_state_dict({name: named[name] for name in body.state_dict()})
    return model


def peer_config(facts: ModelFacts) -> PeerConfig:
    """Return what a stored network is built from; ValueError where that cannot be read."""
    return stored_config(facts, PeerConfig)


def peer_loss(network: nn.Module, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the parts of the loss by torchvision's names and their sum, "loss".

    Args:
        network: of `build_peer`, in training mode.
        images: uint8 [B, 3, H, W].
        targets: of each picture `boxes` float32 [K, 4] [px], `labels` int64 [K] from 1 and `ignore` bool [K].
    """
    prepared = []
    for target in targets:
        real = (target["boxes"][:, 2:] > target["boxes"][:, :2]).all(-1)
        asked = real & ~target["ignore"]
        prepared.append(
            {
                "boxes": target["boxes"][asked],
                "labels": target["labels"][asked] - _first(network),
                "ignored": target["boxes"][real & target["ignore"]],
            }
        )
    parts = dict(network(images, prepared))
    return parts | {"loss": torch.stack(list(parts.values())).sum()}


def _first(network: nn.Module) -> int:
    """By how much labels are lower inside: FCOS has no background, so it counts classes from 0."""
    return int(isinstance(network, FCOS))


def covered(boxes: Tensor, ignored: Tensor) -> Tensor:
    """Which boxes [A, 4] lie by more than half in one of the ignored [K, 4]: bool [A]."""
    if len(ignored) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    low = torch.maximum(boxes[:, None, :2], ignored[:, :2])
    high = torch.minimum(boxes[:, None, 2:], ignored[:, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6).prod(-1)
    return ((high - low).clamp(min=0).prod(-1) > COVERED * area[:, None]).any(1)


class PeerDetector:
    """One of torchvision's networks as a `Detector`; it is put into evaluation mode."""

    def __init__(self, network: nn.Module, config: PeerConfig) -> None:
        self.network, self.kind, self.classes = network.eval(), config.network, config.classes
        self.size = config.width, config.height

    def predict(self, images: Tensor, least_score: float = LEAST_SCORE) -> list[Detections]:
        """See `perception.detection.detector.Detector.predict`."""
        scorer = self.network.roi_heads if self.kind == "faster-rcnn" else self.network
        scorer.score_thresh = least_score

        def found(inputs: Tensor) -> list[Detections]:
            more = _first(self.network)
            return [_distinct(one["boxes"], one["scores"], one["labels"] + more) for one in self.network(inputs)]

        return predict_letterboxed(images, self.size, next(self.network.parameters()).device, found)


def _distinct(boxes: Tensor, scores: Tensor, labels: Tensor) -> Detections:
    """As `postprocess.suppress`: a thing is one thing. torchvision lets it be one of each class."""
    kept = nms(boxes, scores, OVERLAP)
    return Detections(boxes[kept], scores[kept], labels[kept])


class _Normalised(nn.Module):
    """In the place of torchvision's transform: a batch of one size is shifted and scaled, never resized."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as MobileNetV2 saw it
        if backbone == "efficientnet-lite0":
            mean, std = (127 / 255,) * 3, (128 / 255,) * 3
        self.register_buffer("mean", 255.0 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        """uint8 [B, 3, H, W] -> the same as floats, and the targets as they are."""
        return ImageList(self.scaled(images), [tuple(images.shape[2:])] * len(images)), targets

    def scaled(self, images: Tensor) -> Tensor:
        """The pictures alone: a list with a size for each would fix their number in an exported network."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def postprocess(self, found: list[dict[str, Tensor]], *_: Any) -> list[dict[str, Tensor]]:
        """Boxes are in the pixels that came in."""
        return found


class _Pyramid(nn.Module):
    """A backbone and a feature pyramid with normalisation; levels are named by their stride."""

    def __init__(self, config: PeerConfig, strides: tuple[int, ...]) -> None:
        super().__init__()
        body, stages = _body(config.backbone)
        channels = config.channels
        self.body = IntermediateLayerGetter(body, {stages[stride][0]: str(stride) for stride in strides})
        widths = [stages[stride][1] for stride in strides]
        self.fpn = FeaturePyramidNetwork(widths, channels, norm_layer=nn.BatchNorm2d)
        self.out_channels = channels
        self.frozen = list(self.body.values())[: config.frozen]
        for stage in self.frozen:
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> _Pyramid:
        """Set the mode of all but the frozen stages, which stay as in use."""
        super().train(mode)
        for stage in self.frozen:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """[B, 3, H, W] -> [B, channels, H / stride, W / stride] of each stride."""
        return self.fpn(self.body(images))


def _body(name: str) -> tuple[nn.Module, dict[int, tuple[str, int]]]:
    """A backbone, and of each stride the last layer there and its channels."""
    if name == "mobilenet-v2":
        return backbones.mobilenet_v2(), {4: ("3", 24), 8: ("6", 32), 16: ("13", 96), 32: ("17", 320)}
    if name == "efficientnet-lite0":
        return backbones.efficientnet_lite0(), {4: ("3", 24), 8: ("5", 40), 16: ("11", 112), 32: ("16", 320)}
    if name == "mobilenet-v3":
        body = torchvision.models.mobilenet_v3_large(weights=None, reduced_tail=True).features
        return body, {4: ("3", 24), 8: ("6", 40), 16: ("12", 112), 32: ("15", 80)}
    body = {"resnet18": torchvision.models.resnet18, "resnet34": torchvision.models.resnet34}[name](weights=None)
    return body, {4: ("layer1", 64), 8: ("layer2", 128), 16: ("layer3", 256), 32: ("layer4", 512)}


class _ProposalNetwork(RegionProposalNetwork):
    """torchvision's, but anchors on objects not asked for are no background; the finest level is RoIAlign's alone."""

    def forward(self, images: ImageList, features: dict[str, Tensor], targets: Any = None) -> Any:
        """See torchvision."""
        return super().forward(images, OrderedDict(list(features.items())[1:]), targets)

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
        """See torchvision; -1 is what its sampler leaves out."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & covered(anchor, target["ignored"])] = -1.0
        return labels, boxes


class _BoxHeads(RoIHeads):
    """torchvision's, but proposals on objects not asked for are no background."""

    def select_training_samples(self, proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> Any:
        """See torchvision."""
        self.ignored = [target["ignored"] for target in targets]
        return super().select_training_samples(proposals, targets)

    def assign_targets_to_proposals(self, proposals: list[Tensor], boxes: list[Tensor], labels: list[Tensor]) -> Any:
        """See torchvision; -1 is what its sampler leaves out."""
        matched, given = super().assign_targets_to_proposals(proposals, boxes, labels)
        for label, proposal, ignored in zip(given, proposals, self.ignored, strict=True):
            label[(label == 0) & covered(proposal, ignored)] = -1
        return matched, given


def _faster_rcnn(config: PeerConfig) -> FasterRCNN:
    strides = (4, 8, 16, 32)
    pyramid = _Pyramid(config, strides)
    anchors = AnchorGenerator(ANCHOR_SIZES, (ANCHOR_SHAPES,) * 3)
    model = FasterRCNN(
        pyramid,
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=600,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=100,
        rpn_fg_iou_thresh=0.6,
        rpn_batch_size_per_image=128,
        box_roi_pool=MultiScaleRoIAlign(["4", "8", "16", "32"], 7, 2, canonical_scale=64, canonical_level=4),
        box_head=TwoMLPHead(config.channels * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, len(config.classes) + 1),  # 0 is background
        box_batch_size_per_image=48,
        box_positive_fraction=0.5,
        box_nms_thresh=OVERLAP,
        box_detections_per_img=MOST,
    )
    # torchvision builds these itself; the classes are swapped, not copied, so its settings stay where they are.
    model.rpn.__class__, model.roi_heads.__class__ = _ProposalNetwork, _BoxHeads
    model.transform = _Normalised(config.backbone)
    return model


class _Ssd(SSD):
    """torchvision's, but boxes on objects not asked for are no background."""

    def compute_loss(
        self, targets: list[dict[str, Tensor]], head: dict[str, Tensor], anchors: list[Tensor], matched: list[Tensor]
    ) -> dict[str, Tensor]:
        """See torchvision."""
        certain = torch.zeros(head["cls_logits"].shape[-1], device=head["cls_logits"].device)
        certain[0] = CERTAIN
        return super().compute_loss(targets, _silenced(head, targets, anchors, matched, certain), anchors, matched)


class _FcosHead(FCOSHead):
    """torchvision's, but points on objects not asked for are no background."""

    def compute_loss(
        self, targets: list[dict[str, Tensor]], head: dict[str, Tensor], anchors: list[Tensor], matched: list[Tensor]
    ) -> dict[str, Tensor]:
        """See torchvision."""
        certain = torch.full((head["cls_logits"].shape[-1],), -CERTAIN, device=head["cls_logits"].device)
        return super().compute_loss(targets, _silenced(head, targets, anchors, matched, certain), anchors, matched)


def _silenced(
    head: dict[str, Tensor],
    targets: list[dict[str, Tensor]],
    anchors: list[Tensor],
    matched: list[Tensor],
    certain: Tensor,
) -> dict[str, Tensor]:
    """What a head says, but sure of background where that would be wrong to teach: no loss and no gradient."""
    silent = torch.stack(
        [
            (match < 0) & covered(anchor, target["ignored"])
            for match, anchor, target in zip(matched, anchors, targets, strict=True)
        ]
    )
    return head | {"cls_logits": torch.where(silent[..., None], certain, head["cls_logits"])}


def _ssdlite(config: PeerConfig) -> SSD:
    """As `torchvision.models.detection.ssdlite320_mobilenet_v3_large` but for the size and the scales of the boxes."""
    labels = len(config.classes) + 1  # 0 is background
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    body = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm, reduced_tail=True)
    backbone = _mobilenet_extractor(body, 6, norm)
    anchors = DefaultBoxGenerator([[2, 3] for _ in SSD_SCALES[1:]], scales=list(SSD_SCALES))
    size = config.width, config.height
    widths = retrieve_out_channels(backbone, size)
    head = SSDLiteHead(widths, anchors.num_anchors_per_location(), labels, norm)
    model = _Ssd(
        backbone, anchors, size, labels, head=head, nms_thresh=OVERLAP, detections_per_img=MOST, topk_candidates=300
    )
    model.transform = _Normalised(config.backbone)
    return model


def _fcos(config: PeerConfig) -> FCOS:
    pyramid = _Pyramid(config, (8, 16, 32))
    anchors = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
    labels = len(config.classes)
    head = _FcosHead(config.channels, 1, labels, num_convs=2)
    model = FCOS(
        pyramid, labels, anchor_generator=anchors, head=head, nms_thresh=OVERLAP, detections_per_img=MOST,
        topk_candidates=300,
    )  # fmt: skip
    model.transform = _Normalised(config.backbone)
    return model
