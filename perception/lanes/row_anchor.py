"""Lane lines by row anchors: at each of some rows, which column does each lane cross, and does it at all?

Four slots, always in this order: the second and the first line to the left of the camera, the first and the second to
its right. The own lane lies between the two in the middle. A line keeps its slot all along; one that runs across the
camera's way has none. Columns are classified and the place between them is the expectation around the likeliest.
Sources: Z. Qin et al. (2020), "Ultra fast structure-aware deep lane detection" (rows, columns, existence); Z. Qin et
al. (2022), "UFLDv2" (expectation, existence of its own); X. Li et al. (2020), "Generalized focal loss" (a place between
two columns is a share of each). Unlike theirs, scores of columns come from convolutions, so it needs 0.4 M parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.blocks import Conv
from perception.data.lanes import ABSENT, rows_of
from perception.lanes.pyramid import STRIDES, Pyramid, PyramidConfig, fitted

KIND = "row-anchor"
SLOTS = ("next left", "left", "right", "next right")
"""Names of the lines -2, -1, +1 and +2 of `perception.data.lanes.ORDERS`."""
AROUND = 3
"""Columns on each side of the likeliest that its expectation takes in; a second line in the row must not pull it."""
EXISTS = 0.5
"""How likely a line must be at a row to be told."""
LEAST_POINTS = 2
"""Rows that a line must cross to be one."""
REDUCED = 8
"""Channels of the whole view from which existence is told."""


@dataclass(frozen=True)
class RowAnchorConfig(PyramidConfig):
    """The shape of a network: that of its pyramid, and more.

    Attributes:
        rows: number of row anchors, from the middle of the picture down; see `perception.data.lanes.rows_of`.
        hidden: units between the whole view and existence.
    """

    top: int = 64
    rows: int = 28
    hidden: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows < LEAST_POINTS or self.hidden < 1:
            raise ValueError(f"{self.rows} rows, {self.hidden} hidden: at least {LEAST_POINTS} rows and one hidden")
        if self.top > self.height / 2:
            raise ValueError(f"{self.top} of {self.height} rows cut off; the upper half at most")


class RowAnchor(nn.Module):
    """The network; `forward` gives logits, `predict` lanes."""

    def __init__(self, config: RowAnchorConfig):
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config)
        self.along = Conv(config.neck, config.neck)
        # One column more on each side than the features have, so that any x of the frame lies between two.
        self.columns = nn.Conv2d(config.neck, len(SLOTS), 3, padding=(1, 2))
        self.reduce = Conv(config.channels[-1], REDUCED, 1)
        cells = (config.height - config.top) // STRIDES[-1] * (config.width // STRIDES[-1])
        self.exists = nn.Sequential(
            nn.Linear(REDUCED * cells, config.hidden), nn.ReLU(), nn.Linear(config.hidden, len(SLOTS) * config.rows)
        )
        anchors = torch.tensor(rows_of(config.height, config.rows), dtype=torch.float32)
        last = (config.height - config.top) // config.finest - 1
        at = ((anchors - config.top) / config.finest - 0.5).clamp(0, last)
        low = at.floor().long().clamp(max=last - 1)
        middles = (torch.arange(config.width // config.finest + 2) - 0.5) * config.finest
        for name, value in (("anchors", anchors), ("low", low), ("share", (at - low)[:, None]), ("middles", middles)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 [B, 3, H, W] -> logits of columns [B, 4, R, K] and of existence [B, 4, R].

        Column k has its middle at x = `middles[k]` [px], row r lies at y = `anchors[r]` [px].
        """
        features, whole = self.pyramid(images)
        columns = self.columns(self.along(features))
        columns = torch.lerp(columns[:, :, self.low], columns[:, :, self.low + 1], self.share)
        exists = self.exists(self.reduce(whole).flatten(1))
        return columns, exists.reshape(-1, len(SLOTS), self.config.rows)

    def places(self, columns: Tensor) -> Tensor:
        """Logits of columns [..., K] -> x [...] [px], the expectation over the likeliest and those around it."""
        index = torch.arange(columns.shape[-1], device=columns.device)
        far = (index - columns.argmax(-1, keepdim=True)).abs() > AROUND
        return (columns.masked_fill(far, -torch.inf).softmax(-1) * self.middles).sum(-1)

    def rows(self, height: int) -> Tensor:
        """Return y [px], float32 [R], of the rows that `predict` tells x at in pictures of a height."""
        return self.anchors * (height / self.config.height)

    def predict(self, images: Tensor) -> Tensor:
        """Return x [px] where lanes cross the `rows` of height H, float32 [B, 4, R]; ABSENT where they do not.

        Args:
            images: uint8 [B, 3, H, W], RGB, of any size; stretched to that of the network. x is in their own pixels.

        Raises:
            ValueError: these are no such pictures.
        """
        inputs = fitted(images, self.config.width, self.config.height)
        with torch.no_grad():
            columns, exists = self(inputs.to(self.middles.device))
            told = exists.sigmoid() > EXISTS
            told &= told.sum(-1, keepdim=True) >= LEAST_POINTS
            x = self.places(columns) * (images.shape[3] / self.config.width)
            return torch.where(told, x.clamp(0, images.shape[3]), float(ABSENT)).to(images.device)


def row_anchor_loss(network: RowAnchor, images: Tensor, lanes: Tensor) -> dict[str, Tensor]:
    """Return the parts of the loss.

    Args:
        network: what learns.
        images: uint8 [B, 3, H, W] of its size.
        lanes: x [px] of the lines at its row anchors, float32 [B, 4, R]; ABSENT where there is none.
    """
    columns, exists = network(images)
    there = lanes != ABSENT
    existence = functional.binary_cross_entropy_with_logits(exists, there.float())
    spots = (lanes[there] - network.middles[0]) / network.config.finest
    logs = columns[there].log_softmax(-1)
    low = spots.floor().long().clamp(0, logs.shape[-1] - 2)
    share = spots - low
    beside = logs.gather(-1, torch.stack((low, low + 1), dim=-1))
    place = -((1 - share) * beside[:, 0] + share * beside[:, 1]).sum() / max(len(low), 1)
    return {"loss": place + existence, "place": place.detach(), "existence": existence.detach()}
