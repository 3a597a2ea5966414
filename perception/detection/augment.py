"""Changes of pictures that a detector must not mind: light, colour, veils of haze or dust, drops, blur and noise.

They are general ones: nothing is taken from the domains that are held out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GAIN, CAST, CONTRAST, SATURATION = (0.55, 1.5), (0.8, 1.25), (0.6, 1.4), (0.0, 1.6)
"""Bounds of the factors on brightness, on each colour, on the distance to the mean and to grey."""
VEIL = 0.8
"""Most that a veil covers."""
UNCHANGED, BLURRED, NOISY = 0.25, 0.25, 0.25
"""Shares of pictures that stay as they are, and of the others that are blurred and noisy."""
WET, MOST_DROPS, DROP = 0.3, 30, (0.01, 0.09)
"""Share of pictures seen through drops, how many there are at most, and bounds of their radii [picture widths]."""
NOISE = 0.08
"""Largest standard deviation of the noise, of 1."""


def changes(seed: int, position: int, purpose: int = 1) -> torch.Generator:
    """Return the generator that decides how the batch at a position is changed; of another purpose, another one."""
    # torch's generator looks at the lowest 32 bits of its seed alone.
    mixed = np.random.SeedSequence((seed, purpose, position)).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))


def turned(count: int, generator: torch.Generator) -> Tensor:
    """Draw which of `count` pictures are mirrored, int64 [K]; each is as often as not.

    By chance and not by turns: a stream's batch is ordered by source, which would always be mirrored or never.
    """
    return (torch.rand(count, generator=generator) < 0.5).nonzero()[:, 0]


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures uint8 [B, 3, H, W], most of them changed, each in its own way; the generator (CPU) decides."""
    count, _, height, width = images.shape

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(count, *shape, generator=generator)).to(images.device)

    flat = images.float().reshape(count, 3, -1) / 255.0
    gain, contrast, saturation = draw(*GAIN, 1, 1), draw(*CONTRAST, 1, 1), draw(*SATURATION, 1, 1)
    # All four are linear in the colour: one matrix and one offset.
    to_grey = torch.full((3, 3), 1 / 3, device=images.device)
    mixed = saturation * torch.eye(3, device=images.device) + (1 - saturation) * to_grey
    matrix = draw(*CAST, 3, 1) * gain * contrast * mixed
    offset = flat.mean((1, 2), keepdim=True) * gain * (1 - contrast)
    changed = torch.baddbmm(offset, matrix, flat).reshape(images.shape)
    # A veil is thickest at the horizon and above, thinner towards the car.
    horizon, near = draw(0.3, 0.6, 1, 1, 1), draw(0.0, 1.0, 1, 1, 1)
    rows = torch.arange(height, device=images.device).reshape(1, 1, -1, 1) / height
    depth = 1 - (1 - near) * ((rows - horizon) / (1 - horizon)).clamp(0, 1)
    amount = (draw(-VEIL, VEIL, 1, 1, 1)).clamp(min=0.0) * depth
    colour = (draw(0.1, 1.0, 1, 1, 1) * draw(0.7, 1.15, 3, 1, 1)).clamp(max=1.0)
    changed = torch.lerp(changed, colour.expand(-1, -1, height, width), amount.expand(-1, 3, -1, width))
    for index in (torch.rand(count, generator=generator) < WET).nonzero()[:, 0].tolist():
        changed[index] = through_drops(changed[index], generator)
    blurred = torch.rand(count, generator=generator) < BLURRED
    if bool(blurred.any()):
        chosen = blurred.to(images.device)
        changed[chosen] = functional.avg_pool2d(changed[chosen], 3, 1, 1, count_include_pad=False)
    for index in (torch.rand(count, generator=generator) < NOISY).nonzero()[:, 0].tolist():
        sigma = NOISE * float(torch.rand((), generator=generator))
        changed[index] += sigma * torch.randn(changed[index].shape, generator=generator).to(images.device)
    result = (changed * 255.0).round_().clamp_(0, 255).to(torch.uint8)
    kept = (torch.rand(count, generator=generator) < UNCHANGED).to(images.device)
    return torch.where(kept[:, None, None, None], images, result)


def through_drops(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return a picture [3, H, W] seen through elliptic drops, which show it upside down, out of focus and darker."""
    _, height, width = image.shape
    number = int(torch.randint(1, MOST_DROPS + 1, (), generator=generator))
    place, size, shape, strength = torch.rand(4, number, 2, generator=generator).to(image.device)
    low, high = DROP
    radius = width * low * (high / low) ** size[:, :1] * (0.7 + 0.6 * shape)
    x = (torch.arange(width, device=image.device) - place[:, :1] * width) / radius[:, :1]
    y = (torch.arange(height, device=image.device) - place[:, 1:] * height) / radius[:, 1:]
    inside = 1 - (x[:, None, :].square() + y[:, :, None].square())
    cover = ((4 * inside).clamp(0, 1) * (0.4 + 0.6 * strength[:, :1, None])).amax(0)
    blurred = functional.avg_pool2d(image[None].flip(2), 9, 4, 4, count_include_pad=False)
    drops = functional.interpolate(blurred, (height, width), mode="bilinear")[0] * float(0.2 + 0.8 * strength[0, 1])
    return torch.lerp(image, drops, cover.expand_as(image))
