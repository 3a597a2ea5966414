"""Corrupted pictures in five severities: the small-image set of the common-corruptions benchmark, as torch operations.

    random = CountedRandom(seed, STREAM, episode_seeds=range(len(images)))
    worse = corrupt(images, "fog", 3, random, step=torch.zeros(len(images), dtype=torch.int64))

Random numbers are looked up by case and step (`sim.evaluation.counted_random`), so a picture is corrupted the same way
in any batch. Figures: D. Hendrycks and T. Dietterich (2019), "Benchmarking neural network robustness to common
corruptions and perturbations", their CIFAR-10-C. Left out are its frost (which pastes photographs), snow, elastic and
spatter.

Shapes: B pictures, C channels (1 or 3), H by W pixels, values in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sim.evaluation.counted_random import CountedRandom

SEVERITIES = (1, 2, 3, 4, 5)
STREAM = 61
"""Of the random numbers of corruptions."""

GAUSSIAN_NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)  # sigma
SHOT_NOISE = (500, 250, 100, 75, 50)  # photons of a white pixel
IMPULSE_NOISE = (0.01, 0.02, 0.03, 0.05, 0.07)  # share of values that become 0 or 1
SPECKLE_NOISE = (0.06, 0.1, 0.12, 0.16, 0.2)  # sigma, times the value
GAUSSIAN_BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)  # sigma [px]
DEFOCUS_BLUR = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))  # radius, sigma [px]
GLASS_BLUR = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))  # sigma [px], how often pixels are swapped
MOTION_BLUR = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))  # radius, sigma [px]
MOTION_ANGLE = math.radians(45)
# Pictures that are added, each a hundredth larger than the one before: as many as np.arange(1, 1.06, 0.01) has, ...
ZOOM_BLUR = (7, 12, 16, 21, 26)
FOG = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))  # amount, decay from one scale to the next
BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)  # added to the value of HSV
SATURATE = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))  # factor of the saturation of HSV, and addend
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # factor
JPEG = (80, 65, 58, 50, 40)  # quality
PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)  # share of the side that is left
TRUNCATE = 4.0
"""Sigmas after which a Gaussian ends, as in SciPy."""


class Numbers:
    """The random numbers of one step of B cases, in the shape of the pictures."""

    def __init__(self, random: CountedRandom, step: Tensor, shape: torch.Size):
        self._random, self._step, self._shape = random, step, shape

    def uniform(self, *shape: int, member: int = 0) -> Tensor:
        """Evenly spread over [0, 1), float32 [B, *shape]; of the pictures' shape where none is given."""
        wanted = shape or tuple(self._shape[1:])
        found = self._random.uniform(self._step, math.prod(wanted), member)
        return found.float().clamp(max=1 - 2**-24).reshape(-1, *wanted)

    def normal(self) -> Tensor:
        """Standard normal numbers, float32 of the pictures' shape."""
        return self._random.normal(self._step, math.prod(self._shape[1:])).float().reshape(self._shape)


def gaussian_noise(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Add the same noise to dark and bright."""
    return images + GAUSSIAN_NOISE[severity - 1] * numbers.normal()


def shot_noise(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Count photons: Poisson's law."""
    photons = SHOT_NOISE[severity - 1]
    return poisson_quantile(numbers.uniform(), images * photons) / photons


def impulse_noise(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Put out or light up single values."""
    share = IMPULSE_NOISE[severity - 1]
    lot = numbers.uniform()
    return torch.where(lot < share / 2, 0.0, torch.where(lot < share, 1.0, images))


def speckle_noise(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Add noise in proportion to the value."""
    return images + images * SPECKLE_NOISE[severity - 1] * numbers.normal()


def gaussian_blur(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Blur evenly."""
    return blurred(images, GAUSSIAN_BLUR[severity - 1])


def defocus_blur(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Blur by a disc, as a lens out of focus does."""
    radius, sigma = DEFOCUS_BLUR[severity - 1]
    span = torch.arange(-8, 9, device=images.device, dtype=images.dtype)
    disc = (span**2 + span[:, None] ** 2 <= radius**2).to(images.dtype)
    disc = _separable((disc / disc.sum())[None, None], _gaussian(sigma, 1, images), "reflect")
    channels = images.shape[1]
    padded = functional.pad(images, (8, 8, 8, 8), "reflect") if min(images.shape[2:]) > 8 else _edges(images, 8)
    return functional.conv2d(padded, disc.expand(channels, 1, -1, -1), groups=channels)


def glass_blur(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Blur, give each pixel the colour of a neighbour 0 or 1 above and 0 or 1 to the left, blur.

    The source means to swap pixels from the lower right on, but its swap of NumPy views only copies; so did the
    published pictures come about, and so it is here. The two uppermost rows and leftmost columns stay.
    """
    sigma, rounds = GLASS_BLUR[severity - 1]
    picture = blurred(images, sigma)
    height, width = images.shape[2:]
    row, column = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    moves = (row > 1) & (column > 1)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    for turn in range(rounds):
        up, left = ((numbers.uniform(2, height, width, member=turn) * 2).long() * moves).unbind(1)
        picture = picture.movedim(1, -1)[each, row - up, column - left].movedim(-1, 1)
    return blurred(picture, sigma)


def motion_blur(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Smear in one direction, up to 45 degrees from level; a Gaussian from its middle on, as in ImageMagick."""
    radius, sigma = MOTION_BLUR[severity - 1]
    angle = (2 * numbers.uniform(1)[:, 0] - 1) * MOTION_ANGLE
    reach = torch.arange(2 * radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-(reach**2) / (2 * sigma**2))
    height, width = images.shape[2:]
    each = torch.arange(len(images), device=images.device)[:, None, None]
    smeared = torch.zeros_like(images)
    for along, weight in zip(reach, weights / weights.sum(), strict=True):
        down, right = (along * angle.sin()).round().long(), (along * angle.cos()).round().long()
        rows = (torch.arange(height, device=images.device) + down[:, None]).clamp(0, height - 1)[:, :, None]
        columns = (torch.arange(width, device=images.device) + right[:, None]).clamp(0, width - 1)[:, None, :]
        smeared += weight * images.movedim(1, -1)[each, rows, columns].movedim(-1, 1)
    return smeared


def zoom_blur(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Move towards the scene while the shutter is open."""
    count = ZOOM_BLUR[severity - 1]
    height, width = images.shape[2:]
    y = torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype)
    x = torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).expand(len(images), -1, -1, -1)
    total = images.clone()
    for i in range(count):
        total += functional.grid_sample(images, grid / (1 + 0.01 * i), align_corners=True, padding_mode="border")
    return total / (count + 1)


def fog(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Lay patches of white over the picture, then scale its brightest value back."""
    amount, decay = FOG[severity - 1]
    height, width = images.shape[2:]
    side = 1 << max(5, math.ceil(math.log2(max(height, width))))
    plasma = plasma_fractal(side, decay, numbers)[:, None, :height, :width]
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + amount * plasma) * brightest / (brightest + amount)


def brightness(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Add to the value, hue and saturation staying."""
    value = images.amax(1, keepdim=True)
    brighter = (value + BRIGHTNESS[severity - 1]).clamp(max=1)
    return torch.where(value > 0, images / value.clamp(min=1e-12) * brighter, brighter)


def saturate(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Change the saturation, hue and value staying; grey pictures have none and stay, where nothing is added."""
    if images.shape[1] == 1:
        return images.clone()
    factor, addend = SATURATE[severity - 1]
    value, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    before = torch.where(value > 0, (value - least) / value.clamp(min=1e-12), 0.0)
    after = (before * factor + addend).clamp(0, 1)
    # In a hue, a channel lies between value and value * (1 - saturation) at a place that stays; grey counts as red.
    span = (value - least).clamp(min=1e-12)
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    place = torch.where(before > 0, (value - images) / span, red)
    return value * (1 - after * place)


def contrast(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Draw all values towards their channel's mean."""
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * CONTRAST[severity - 1] + mean


def pixelate(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Average over larger pixels."""
    share = PIXELATE[severity - 1]
    down = [_boxes(size, int(size * share), images) for size in images.shape[2:]]
    up = [_boxes(int(size * share), size, images) for size in images.shape[2:]]
    rows, columns = (larger @ smaller for smaller, larger in zip(down, up, strict=True))
    return rows @ images @ columns.T


def jpeg_compression(images: Tensor, severity: int, numbers: Numbers) -> Tensor:
    """Store as JPEG, 8 bits, colours at half the resolution, and read again; on the host."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG[severity - 1]]
    stored = (images * 255).round().byte().cpu().numpy()
    read = np.empty_like(stored)
    for i, picture in enumerate(stored):
        # OpenCV's colours are BGR.
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[::-1].transpose(1, 2, 0)), options)
        read[i] = np.atleast_3d(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)).transpose(2, 0, 1)[::-1]
    return torch.from_numpy(read).to(images.device).to(images.dtype) / 255


Corruption = Callable[[Tensor, int, Numbers], Tensor]
CORRUPTIONS: dict[str, Corruption] = {
    one.__name__: one
    for one in (
        gaussian_noise, shot_noise, impulse_noise, speckle_noise,
        gaussian_blur, defocus_blur, glass_blur, motion_blur, zoom_blur,
        fog, brightness, saturate, contrast, pixelate, jpeg_compression,
    )
}  # fmt: skip


def corrupt(images: Tensor, name: str, severity: int, random: CountedRandom, step: Tensor) -> Tensor:
    """Return corrupted pictures, float32 [B, C, H, W] in 0..1.

    Args:
        images: float32 [B, C, H, W] in 0..1, C 1 or 3.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        random: numbers of the B cases, on the pictures' device.
        step: of each case, int64 [B].

    Raises:
        ValueError: no such corruption or severity, or pictures of another kind.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption {name!r} is unknown; it must be one of {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}; it must be one of 1 to 5")
    if not images.is_floating_point() or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"pictures are {images.dtype} {tuple(images.shape)}; expected floats [B, 1 or 3, H, W]")
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"pictures lie in {float(images.min()):.3f} to {float(images.max()):.3f}; expected 0 to 1")
    return CORRUPTIONS[name](images, severity, Numbers(random, step, images.shape)).clamp(0, 1)


def poisson_quantile(share: Tensor, mean: Tensor) -> Tensor:
    """Return the least count k of which P(X <= k) > share, X of Poisson's law; float32 of the same shape.

    Looked up in a table of all counts where few means differ, as in pictures of 8 bits; else by bisection. Both by the
    regularised gamma function, in float64.
    """
    share, mean = share.double(), mean.double()
    means, row = mean.unique(return_inverse=True)
    if len(means) <= 256:
        counts = torch.arange(int(means.max() + 12 * means.max().sqrt() + 21), device=mean.device, dtype=mean.dtype)
        chances = torch.special.gammaincc(counts + 1, means[:, None].clamp(min=1e-300)).clamp(max=1.0)
        # One rising sequence: each mean's chances, in 0..1, after those of the one before.
        places = torch.arange(len(means), device=mean.device, dtype=mean.dtype)[:, None]
        found = torch.searchsorted((chances + 2 * places).flatten(), share + 2 * row, right=True)
        return (found - row * len(counts)).float()
    low = torch.full_like(mean, -1.0)
    high = (mean + 12 * mean.sqrt() + 20).ceil()
    while bool((high - low > 1).any()):
        middle = ((low + high) / 2).floor()
        enough = torch.special.gammaincc(middle + 1, mean.clamp(min=1e-300)) > share
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high.float()


def plasma_fractal(side: int, decay: float, numbers: Numbers) -> Tensor:
    """Return clouds in 0..1, float32 [B, side, side], by the diamond-square algorithm; `side` is a power of two.

    The height that a step adds is even in +-wibble squared, wibble falling by `decay` from one scale to the next, and
    the map joins itself at its edges, both as in the source.
    """
    chances = numbers.uniform(side, side, member=1).double() * 2 - 1
    heights = torch.zeros_like(chances)
    step, wibble = side, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        square = corners + corners.roll(-1, 1)
        square = square + square.roll(-1, 2)
        heights[:, half::step, half::step] = square / 4 + wibble**2 * chances[:, half::step, half::step]
        middles = heights[:, half::step, half::step]
        top = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        left = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, ::step, half::step] = top / 4 + wibble**2 * chances[:, ::step, half::step]
        heights[:, half::step, ::step] = left / 4 + wibble**2 * chances[:, half::step, ::step]
        step, wibble = half, wibble / decay
    heights = heights - heights.amin((1, 2), keepdim=True)
    return (heights / heights.amax((1, 2), keepdim=True)).float()


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return pictures blurred by a Gaussian [px]; beyond the edge they go on as at the edge."""
    return _separable(images, _gaussian(sigma, int(TRUNCATE * sigma + 0.5), images), "replicate")


def _gaussian(sigma: float, reach: int, like: Tensor) -> Tensor:
    span = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    weights = torch.exp(-(span**2) / (2 * sigma**2))
    return weights / weights.sum()


def _separable(images: Tensor, kernel: Tensor, edge: str) -> Tensor:
    reach, channels = len(kernel) // 2, images.shape[1]
    if reach == 0:
        return images.clone()
    padded = functional.pad(images, (reach, reach, reach, reach), edge)
    down = functional.conv2d(padded, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return functional.conv2d(down, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _edges(images: Tensor, reach: int) -> Tensor:
    return functional.pad(images, (reach, reach, reach, reach), "replicate")


def _boxes(before: int, after: int, like: Tensor) -> Tensor:
    """Which old pixels each new one averages, [after, before]: those whose middle lies in it, as Pillow's BOX does."""
    middles = (torch.arange(after, dtype=torch.float64) + 0.5) * before / after
    places = (torch.arange(before) + 0.5 - middles[:, None]) / max(before / after, 1.0)
    inside = ((places > -0.5) & (places <= 0.5)).double()
    return (inside / inside.sum(1, keepdim=True)).to(like.device, like.dtype)
