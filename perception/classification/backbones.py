"""MobileNetV2 and EfficientNet-Lite0 without their classifiers, as stages whose names fit the shipped weights.

Sources: M. Sandler et al. (2018), "MobileNetV2", table 2; TensorFlow's EfficientNet-Lite0, which is EfficientNet-B0
(M. Tan and Q. Le, 2019, table 1) without squeeze-and-excitation and with ReLU6.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

WIDTH = 1280
"""Channels of the last stage of both."""
# Of each group of blocks: widening, channels, how many, stride of the first, kernel.
MOBILENET_V2_BLOCKS = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 32, 3, 2, 3),
    (6, 64, 4, 2, 3),
    (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
)
EFFICIENTNET_LITE0_BLOCKS = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


@dataclass(frozen=True)
class Habits:
    """In what the framework that trained a backbone differs: epsilon and momentum of normalisation, and padding."""

    epsilon: float
    momentum: float
    uneven: bool


TORCH = Habits(1e-5, 0.1, False)
TENSORFLOW = Habits(1e-3, 0.01, True)


class UnevenConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": of an odd number of pixels the greater part right and below."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]."""
        sides = []
        for size, kernel, stride in zip(inputs.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(inputs, sides))


class PooledDropout(nn.Module):
    """The mean over each channel, some left out in training: [B, C, H, W] -> [B, C]."""

    def __init__(self, share: float):
        super().__init__()
        self.dropout = nn.Dropout(share)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.dropout(inputs.mean((2, 3)))


class InvertedResidual(nn.Module):
    """Widens, filters each channel, narrows; what came in is added where the size stays."""

    def __init__(self, inputs: int, outputs: int, widening: int, stride: int, kernel: int, habits: Habits):
        super().__init__()
        width = inputs * widening
        layers = _convolution(inputs, width, 1, 1, 1, habits, True) if widening > 1 else []
        layers += _convolution(width, width, kernel, stride, width, habits, True)
        layers += _convolution(width, outputs, 1, 1, 1, habits, False)
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.conv(inputs) if self.adds else self.conv(inputs)


def mobilenet_v2() -> nn.Sequential:
    """Return the 19 stages, [B, 3, H, W] -> [B, 1280, H / 32, W / 32]."""
    return _stages(MOBILENET_V2_BLOCKS, TORCH)


def efficientnet_lite0() -> nn.Sequential:
    """Return the 18 stages, [B, 3, H, W] -> [B, 1280, H / 32, W / 32]."""
    return _stages(EFFICIENTNET_LITE0_BLOCKS, TENSORFLOW)


def _stages(groups: tuple[tuple[int, int, int, int, int], ...], habits: Habits) -> nn.Sequential:
    stages: list[nn.Module] = [nn.Sequential(*_convolution(3, 32, 3, 2, 1, habits, True))]
    inputs = 32
    for widening, outputs, count, stride, kernel in groups:
        for i in range(count):
            stages.append(InvertedResidual(inputs, outputs, widening, 1 if i else stride, kernel, habits))
            inputs = outputs
    return nn.Sequential(*stages, nn.Sequential(*_convolution(inputs, WIDTH, 1, 1, 1, habits, True)))


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int, habits: Habits, activated: bool
) -> list[nn.Module]:
    if habits.uneven and stride > 1:
        convolution: nn.Module = UnevenConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    else:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [convolution, nn.BatchNorm2d(outputs, eps=habits.epsilon, momentum=habits.momentum)]
    return [*layers, nn.ReLU6()] if activated else layers
