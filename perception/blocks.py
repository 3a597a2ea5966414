"""The convolution blocks that the detector and the lane networks are built from."""

from __future__ import annotations

from torch import Tensor, nn


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU; never in place and never used twice, so that hooks work."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )


class Residual(nn.Module):
    """A residual block that narrows to half its channels in between."""

    def __init__(self, channels: int):
        super().__init__()
        self.narrow = Conv(channels, channels // 2)
        self.widen = nn.Sequential(nn.Conv2d(channels // 2, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        self.out = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Features [B, channels, H, W] -> the same shape."""
        return self.out(inputs + self.widen(self.narrow(inputs)))
