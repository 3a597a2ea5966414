"""What an answer rests on: saliency, SmoothGrad, Grad-CAM, integrated gradients, occlusion; and tests of such maps.

An explained thing is a function `score` from pictures [B, C, H, W] to a number each, [B]: see `class_score`. For a DQN
explain an action's advantage, Q(a) - mean Q, for PPO the log probability of the action: `score` can be any of these.
Maps are [B, H, W].
Sources: K. Simonyan et al. (2014); D. Smilkov et al. (2017), "SmoothGrad"; R. Selvaraju et al. (2017), "Grad-CAM";
R. Draelos et al. (2020), "Use HiResCAM instead of Grad-CAM"; M. Sundararajan et al. (2017), "Axiomatic
attribution"; M. Zeiler and R. Fergus (2014) for occlusion; V. Petsiuk et al. (2018), "RISE", for insertion and
deletion; J. Zhang et al. (2018) for the pointing game; J. Adebayo et al. (2018), "Sanity checks for saliency maps".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Score = Callable[[Tensor], Tensor]
Explanation = Callable[[nn.Module], Tensor]


def class_score(model: nn.Module, labels: Tensor) -> Score:
    """Return the function that gives each picture the logit of its label, int64 [B]."""

    def score(images: Tensor) -> Tensor:
        # Methods that change a picture many times pass whole copies of the batch, one after the other.
        wanted = labels.repeat(len(images) // len(labels))
        return model(images).gather(1, wanted[:, None])[:, 0]

    return score


def class_chance(model: nn.Module, labels: Tensor) -> Score:
    """Return the function that gives each picture the probability of its label, int64 [B]."""

    def score(images: Tensor) -> Tensor:
        wanted = labels.repeat(len(images) // len(labels))
        return model(images).softmax(1).gather(1, wanted[:, None])[:, 0]

    return score


def gradient(score: Score, images: Tensor) -> Tensor:
    """Return the derivative of each score by its picture's values, [B, C, H, W]; the model's own gradients stay."""
    images = images.detach().requires_grad_(True)
    return torch.autograd.grad(score(images).sum(), images)[0]


def saliency(score: Score, images: Tensor) -> Tensor:
    """Return the greatest absolute derivative over the channels, [B, H, W]."""
    return gradient(score, images).abs().amax(1)


def smooth_grad(
    score: Score, images: Tensor, generator: torch.Generator, samples: int = 25, sigma: float = 0.15
) -> Tensor:
    """Return saliency averaged over pictures with noise, [B, H, W].

    Args:
        score: what is explained.
        images: [B, C, H, W] in 0..1.
        generator: of the noise, on the host.
        samples: noisy pictures.
        sigma: of the noise, as a share of each picture's range.
    """
    extent = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    total = torch.zeros_like(images[:, 0])
    for _ in range(samples):
        drawn = torch.randn(images.shape, generator=generator).to(images)
        total += saliency(score, images + sigma * extent * drawn)
    return total / samples


def grad_cam(score: Score, images: Tensor, layer: nn.Module, local: bool = False) -> Tensor:
    """Return where a layer's channels speak for the score, [B, H, W], 0 and more; scaled up to the pictures.

    Args:
        score: what is explained.
        images: [B, C, H, W] in 0..1.
        layer: a module of the model that gives [B, channels, h, w] once for each picture.
        local: weigh each place of a channel by its own derivative (HiResCAM) and not by the channel's mean one: for a
            score that rests on one place, such as a single detection, of which the mean says nothing.

    Raises:
        ValueError: the layer was not used, was used twice, or gives something else.
    """
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        with torch.enable_grad():
            total = score(images.detach().requires_grad_(True)).sum()
    finally:
        handle.remove()
    if len(seen) != 1 or not isinstance(seen[0], Tensor) or seen[0].ndim != 4:
        raise ValueError(f"Grad-CAM needs a layer that gives [B, C, h, w] once; this one was used {len(seen)} times")
    slope = torch.autograd.grad(total, seen[0])[0]
    weights = slope if local else slope.mean((2, 3), keepdim=True)
    coarse = (weights * seen[0].detach()).sum(1, keepdim=True).relu()
    return functional.interpolate(coarse, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


@dataclass(frozen=True)
class IntegratedGradients:
    """Attributions [B, C, H, W] and by how much their sum misses score(picture) - score(baseline), [B]."""

    attributions: Tensor
    gap: Tensor

    @property
    def map(self) -> Tensor:
        """Summed over the channels, [B, H, W], signed."""
        return self.attributions.sum(1)


def integrated_gradients(
    score: Score, images: Tensor, baseline: Tensor | float = 0.0, steps: int = 50
) -> IntegratedGradients:
    """Return how each value contributes on the straight way from a baseline to the picture.

    Args:
        score: what is explained.
        images: [B, C, H, W] in 0..1.
        baseline: where the way begins, [B, C, H, W] or one value for all: black.
        steps: of the midpoint rule; more of them close the gap.
    """
    begin = torch.as_tensor(baseline, dtype=images.dtype, device=images.device).expand_as(images)
    total = torch.zeros_like(images)
    for i in range(steps):
        total += gradient(score, begin + (i + 0.5) / steps * (images - begin))
    attributions = (images - begin) * total / steps
    with torch.no_grad():
        gap = attributions.sum((1, 2, 3)) - (score(images) - score(begin))
    return IntegratedGradients(attributions, gap)


@torch.no_grad()
def occlusion(score: Score, images: Tensor, window: int = 4, stride: int = 2, fill: float = 0.0) -> Tensor:
    """Return by how much the score falls where a window is filled, averaged over the windows on a pixel, [B, H, W].

    Args:
        score: what is explained.
        images: [B, C, H, W] in 0..1.
        window: its side [px].
        stride: its step [px].
        fill: value that covers what is below.
    """
    height, width = images.shape[2:]
    if not 1 <= stride <= window <= min(height, width):
        raise ValueError(
            f"window {window} and stride {stride}: 1 <= stride <= window <= {min(height, width)} px is needed"
        )
    before = score(images)
    total, count = torch.zeros_like(images[:, 0]), torch.zeros_like(images[:, 0])
    for top in _starts(height, window, stride):
        for left in _starts(width, window, stride):
            covered = images.clone()
            covered[:, :, top : top + window, left : left + window] = fill
            total[:, top : top + window, left : left + window] += (before - score(covered))[:, None, None]
            count[:, top : top + window, left : left + window] += 1
    return total / count


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin; the last one ends at the edge."""
    return [*range(0, size - window, stride), size - window]


@torch.no_grad()
def insertion_deletion(
    score: Score, images: Tensor, maps: Tensor, steps: int = 28, fill: float | Tensor = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the areas under the score while pixels are put in, and taken out, the most important first; each [B].

    A good map has a great insertion and a small deletion area. Scores should be probabilities: `class_chance`.

    Args:
        score: what is explained.
        images: [B, C, H, W] in 0..1.
        maps: [B, H, W], greater where it matters.
        steps: parts in which the pixels are put in; the area is by the trapezoid rule.
        fill: what stands where a pixel is not: one value, or pictures such as blurred ones.
    """
    pixels = maps[0].numel()
    rank = maps.flatten(1).argsort(1, descending=True).argsort(1).view_as(maps)
    empty = torch.as_tensor(fill, dtype=images.dtype, device=images.device).expand_as(images)
    inserted, deleted = [], []
    for i in range(steps + 1):
        among_first = (rank < round(pixels * i / steps))[:, None]
        inserted.append(score(torch.where(among_first, images, empty)))
        deleted.append(score(torch.where(among_first, empty, images)))
    return tuple(torch.trapezoid(torch.stack(one), dx=1 / steps, dim=0) for one in (inserted, deleted))


def pointing_game(maps: Tensor, boxes: Tensor) -> Tensor:
    """Return whether each map's greatest value lies in its box, bool [B].

    Args:
        maps: [B, H, W].
        boxes: [B, 4], x0, y0, x1, y1 [px]; the pixel in column j has its middle at j + 0.5.
    """
    peak = maps.flatten(1).argmax(1)
    x, y = peak % maps.shape[2] + 0.5, peak // maps.shape[2] + 0.5
    return (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rank correlation of each pair of maps, float64 [B]; equal values share their mean rank.

    A map of equal values everywhere correlates with none: 0.
    """
    ranks = [_mean_ranks(one.flatten(1)) for one in (first, second)]
    a, b = (one - one.mean(1, keepdim=True) for one in ranks)
    spread = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(spread > 0, (a * b).sum(1) / spread.clamp(min=1e-300), 0.0)


def _mean_ranks(values: Tensor) -> Tensor:
    ranks = []
    for row in values:
        _, place, count = row.unique(return_inverse=True, return_counts=True)
        last = count.cumsum(0).double()
        ranks.append((last - (count - 1) / 2.0)[place])
    return torch.stack(ranks)


@dataclass(frozen=True)
class Randomised:
    """Up to which layer, from the output on, weights were random, and the mean rank correlation with the true map."""

    layer: str
    correlation: float


def parameter_randomisation(
    model: nn.Module, explain: Explanation, seed: int = 0, looks: int | None = None, unused: Sequence[str] = ()
) -> list[Randomised]:
    """Make the layers of a model random one after the other, from the output to the input, and see what maps become.

    An explanation of the model must change: a correlation that stays near 1 says that the map shows the picture and not
    what the model made of it. The model gets its weights back.

    Args:
        model: in the mode of use.
        explain: returns the maps [B, H, W] of a model.
        seed: of the random weights.
        looks: after how many layers, evenly spread from the first to the last, maps are looked at; all without.
        unused: names of layers that the explained score does not rest on; they stay.
    """
    layers = [(name, one) for name, one in model.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    layers = [(name, one) for name, one in reversed(layers) if name not in unused]
    count = len(layers) if looks is None else min(looks, len(layers))
    looked_at = {round(place * (len(layers) - 1) / max(count - 1, 1)) for place in range(count)}
    with _restored(model):
        true = explain(model).abs()
        found = []
        generator = torch.Generator().manual_seed(seed)
        for number, (name, layer) in enumerate(layers):
            with torch.no_grad():
                for weight in layer.parameters(recurse=False):
                    # As great as they were, so that the activations behind them stay in their range.
                    drawn = torch.randn(weight.shape, generator=generator).to(weight)
                    weight.copy_(drawn * weight.square().mean().sqrt())
            if number in looked_at:
                correlation = rank_correlation(true, explain(model).abs()).mean()
                found.append(Randomised(name, float(correlation)))
    return found


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(kept)
