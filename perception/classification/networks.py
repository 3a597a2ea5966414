"""Classifiers small enough for two cores: the classic plain CNN and a ResNet; the shipped backbones join them.

Every classifier takes pictures as they are, uint8 or float in 0..1: what a backbone wants of them (size, colours,
normalisation) happens inside, so that nobody can forget it and an attack's budget is in pixels. No activation works in
place or is used twice, so that hooks see what they should.
Sources: K. He et al. (2016), "Deep residual learning for image recognition", section 4.2 (the nets for small pictures).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.classification import backbones
from perception.model_folder import ModelFacts, load_facts, load_weights
from perception.shipped_weights import EFFICIENTNET_LITE0, MOBILENET_V2, load_shipped, our_names

KIND = "classifier"
NETWORKS = ("plain", "resnet", "mobilenet-v2", "efficientnet-lite0")
SHIPPED = ("mobilenet-v2", "efficientnet-lite0")
"""Networks whose backbone a registry package ships, trained on ImageNet."""
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class NetworkConfig:
    """What a classifier is built from.

    Attributes:
        network: one of `NETWORKS`.
        classes: names, of labels 0, 1, ...
        channels, height, width: of the pictures.
        mean, std: of each channel in 0..1, subtracted and divided by; one for all, or one each. A shipped backbone has
            its own.
        resolution: to which pictures are scaled inside [px], for backbones trained on large ones; None leaves them.
        dropout: share of the features that training leaves out before a linear layer.
    """

    network: str
    classes: tuple[str, ...]
    channels: int
    height: int
    width: int
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    resolution: int | None = None
    dropout: float = 0.25

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}; it must be one of {', '.join(NETWORKS)}")
        if self.channels not in (1, 3):
            raise ValueError(f"pictures of {self.channels} channels; a classifier takes 1 or 3")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes are {self.classes!r}; they must be different names, at least two")
        if min(self.height, self.width) < 8:
            raise ValueError(f"pictures of {self.width} x {self.height} px; both must be at least 8")


class Classifier(nn.Module):
    """Normalisation, then `features` stage by stage, then `head`.

    Args:
        config: what it is built from.
        features: stages in order; the first `frozen` of them can be kept from learning.
        head: features -> logits.
        channels: that the first stage takes; a grey picture is repeated for a backbone of colours.
    """

    def __init__(self, config: NetworkConfig, features: nn.Sequential, head: nn.Module, channels: int):
        super().__init__()
        self.config, self.features, self.head, self.inputs = config, features, head, channels
        self.frozen = 0
        self.register_buffer("mean", torch.tensor(config.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [B, C, H, W], uint8 or float in 0..1 -> logits [B, classes]."""
        return self.head(self.features(self.prepared(images)))

    def prepared(self, images: Tensor) -> Tensor:
        """Pictures as the first stage wants them."""
        if images.ndim != 4 or images.shape[1] != self.config.channels:
            shape = tuple(images.shape)
            raise ValueError(f"pictures of shape {shape}; expected [B, {self.config.channels}, H, W]")
        scaled = images if images.is_floating_point() else images.float() / 255.0
        if self.config.resolution is not None:
            size = (self.config.resolution, self.config.resolution)
            scaled = functional.interpolate(scaled, size=size, mode="bilinear", align_corners=False)
        return (scaled.expand(-1, self.inputs, -1, -1) - self.mean) / self.std

    def freeze(self, stages: int) -> None:
        """Keep the first stages from learning, their running means of batches included; the rest learns."""
        if not 0 <= stages <= len(self.features):
            raise ValueError(f"{stages} stages to freeze; the backbone has {len(self.features)}")
        self.frozen = stages
        for i, stage in enumerate(self.features):
            stage.requires_grad_(i >= stages)
        self.train(self.training)

    def train(self, mode: bool = True) -> Classifier:
        """Set the mode of all but the frozen stages, which stay as in use."""
        super().train(mode)
        for stage in self.features[: self.frozen]:
            stage.eval()
        return self


class _Block(nn.Module):
    """A residual block; where the size changes, the shortcut is a convolution of 1 x 1."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        straight = [] if same else [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Sequential(*straight)
        self.out = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.shortcut(inputs) + self.second(self.first(inputs)))


def _plain(config: NetworkConfig) -> Classifier:
    features = nn.Sequential(
        nn.Sequential(nn.Conv2d(config.channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    )
    side = (config.resolution, config.resolution) if config.resolution else (config.height, config.width)
    head = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(config.dropout),
        nn.Linear(64 * (side[0] // 4) * (side[1] // 4), 128),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(128, len(config.classes)),
    )
    return Classifier(config, features, head, config.channels)


def _resnet(config: NetworkConfig) -> Classifier:
    widths = (16, 32, 64)
    stem = nn.Sequential(
        nn.Conv2d(config.channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
    )
    stages, inputs = [stem], widths[0]
    for i, width in enumerate(widths):
        stages.append(nn.Sequential(_Block(inputs, width, 2 if i else 1), _Block(width, width, 1)))
        inputs = width
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, len(config.classes)))
    return Classifier(config, nn.Sequential(*stages), head, config.channels)


def _shipped(config: NetworkConfig) -> Classifier:
    features = backbones.mobilenet_v2() if config.network == "mobilenet-v2" else backbones.efficientnet_lite0()
    head = nn.Sequential(backbones.PooledDropout(config.dropout), nn.Linear(backbones.WIDTH, len(config.classes)))
    return Classifier(config, features, head, 3)


def build(config: NetworkConfig) -> Classifier:
    """Return a classifier of random weights; torch's generator decides them."""
    classifier = {"plain": _plain, "resnet": _resnet}.get(config.network, _shipped)(config)
    # On processors convolutions of few channels are up to a third faster with the channels last.
    return classifier.to(memory_format=torch.channels_last)


def fill_backbone(classifier: Classifier) -> None:
    """Give a classifier's backbone the weights that a package ships; its head stays unless it is ImageNet's.

    Raises:
        ValueError: no package ships this network's. ModuleNotFoundError, FileNotFoundError: it is not installed.
    """
    network = classifier.config.network
    if network not in SHIPPED:
        raise ValueError(f"no package ships weights of {network!r}; of {' and '.join(SHIPPED)}, yes")
    weights = load_shipped(MOBILENET_V2) if network == "mobilenet-v2" else our_names(load_shipped(EFFICIENTNET_LITE0))
    if len(classifier.config.classes) != IMAGENET_CLASSES or "head.1.weight" not in weights:
        weights = {name: value for name, value in weights.items() if name.startswith("features.")}
    wanted = {name for name in classifier.state_dict() if not name.startswith("head.")} | weights.keys()
    if wanted != weights.keys():
        raise ValueError(f"the shipped weights lack {sorted(wanted - weights.keys())[0]}")
    classifier.load_state_dict(weights, strict=False)


def imagenet_config(network: str, resolution: int = 224) -> dict[str, Any]:
    """Return the normalisation that a shipped backbone was trained with, for `NetworkConfig`.

    Sources: torchvision's transforms for MobileNetV2; `(x - 127) / 128` of 0..255 in TensorFlow's EfficientNet-Lite.
    """
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if network == "efficientnet-lite0":
        mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    return {"mean": mean, "std": std, "resolution": resolution}


def load_classifier(folder: Path) -> Classifier:
    """Return the classifier in a model folder, ready for use.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is another model's; see `perception.model_folder`.
    """
    facts = load_facts(folder, KIND)
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.network.items()}
    try:
        config = NetworkConfig(**known)
    except TypeError as error:
        raise ValueError(f"{folder} holds no classifier that this version knows: {error}") from error
    classifier = build(config)
    load_weights(folder, classifier)
    return classifier.eval()


def facts_of(config: NetworkConfig, training: dict[str, Any]) -> ModelFacts:
    """Return what a classifier is, for its folder."""
    return ModelFacts(KIND, config.classes, asdict(config), training)
