"""What a one-stage detector is trained to minimise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from perception.detection.assignment import Assignment, assign
from perception.detection.one_stage import OneStage

BOX_WEIGHT, BIN_WEIGHT = 2.0, 0.5
FOCUS = 2.0
"""Power by which what is already right counts less (quality focal loss)."""


def detection_loss(network: OneStage, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the parts of the loss and their weighted sum, "loss".

    Args:
        network: in training mode.
        images: uint8 [B, 3, H, W].
        targets: of each picture `boxes` float32 [K, 4] [px], `labels` int64 [K] from 1 and `ignore` bool [K].

    Source: X. Li et al. (2020), "Generalized focal loss".
    """
    scores, bins = network(images)
    boxes = network.boxes(bins)
    with torch.no_grad():
        given = [
            assign(
                picture.sigmoid(), box, network.centers, network.strides, target["boxes"], target["labels"] - 1,
                target["ignore"],
            )
            for picture, box, target in zip(scores, boxes.detach(), targets, strict=True)
        ]  # fmt: skip
        wanted = torch.stack(
            [_wanted(one, target, scores.shape[2]) for one, target in zip(given, targets, strict=True)]
        )
        ignored = torch.stack([one.ignored for one in given])
        positive = torch.stack([one.positive for one in given])
        weight = wanted.amax(-1)[positive]
        total = wanted.sum().clamp(min=1.0)
    chance = scores.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    entropy = entropy * (chance - wanted).abs().pow(FOCUS) * ~ignored[..., None]
    parts = {"score": entropy.sum() / total}
    if bool(positive.any()):
        goal = torch.cat(
            [target["boxes"][one.object[one.positive]] for one, target in zip(given, targets, strict=True)]
        )
        parts["box"] = (generalized_box_iou_loss(boxes[positive], goal) * weight).sum() / total
        parts["bins"] = (_bin_loss(network, bins[positive], goal, positive) * weight).sum() / total
    else:
        parts["box"] = parts["bins"] = (bins * 0.0).sum()
    parts["loss"] = parts["score"] + BOX_WEIGHT * parts["box"] + BIN_WEIGHT * parts["bins"]
    return parts


def _wanted(given: Assignment, target: dict[str, Tensor], classes: int) -> Tensor:
    """The scores that the cells of a picture should give, [A, C]."""
    scores = torch.zeros(len(given.positive), classes, device=given.quality.device)
    if len(target["labels"]):
        rows = given.positive.nonzero()[:, 0]
        scores[rows, target["labels"][given.object[rows]] - 1] = given.quality[rows]
    return scores


def _bin_loss(network: OneStage, bins: Tensor, goal: Tensor, positive: Tensor) -> Tensor:
    """Cross entropy with the two bins around each true distance, mean over the sides: [P]."""
    cell = positive.nonzero()[:, 1]
    centers, strides = network.centers[cell], network.strides[cell]
    distance = torch.cat((centers - goal[:, :2], goal[:, 2:] - centers), dim=-1) / strides[:, None]
    last = network.config.bins - 1
    distance = distance.clamp(0, last - 0.01)
    low = distance.long()
    share = distance - low
    logs = bins.log_softmax(-1)
    below = logs.gather(-1, low[..., None])[..., 0] * (1 - share)
    above = logs.gather(-1, low[..., None] + 1)[..., 0] * share
    return -(below + above).mean(-1)
