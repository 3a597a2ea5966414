"""Signals of many episodes at once: derivatives, totals, runs of frames and percentiles, each column on its own.

A signal is a tensor [T, N] of which column n holds from frame 0 to frame `last[n]`; later rows may hold anything.
Every result of a column depends on that column alone, to the last bit: no operation here changes the order of its
additions with the number of columns. (Torch's own transcendental functions round the last few numbers of a tensor in
another way than the rest; so they are only used in float64, far below what a report shows.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes

ORDER = 2  # of the polynomials of a Savitzky-Golay filter


def total(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the sums over frames, float64 [N], of values [T, N] where `mask` is true.

    By a running sum: `Tensor.sum` adds up the last columns of a batch in another order than the first ones.
    """
    values = values.to(torch.float64)
    if mask is not None:
        values = torch.where(mask, values, 0.0)
    return values.cumsum(0)[-1]


def way(episodes: Episodes) -> Tensor:
    """Return how far the ego's middle moves from frame to frame [m], float64 [T - 1, N]."""
    x, y = (episodes.of_ego(name).to(torch.float64) for name in ("x", "y"))
    return length(x[1:] - x[:-1], y[1:] - y[:-1])


def length(x: Tensor, y: Tensor) -> Tensor:
    """Return the length of vectors; unlike `torch.hypot`, rounded alike wherever in a tensor they stand."""
    return (x * x + y * y).sqrt()


def seconds(frames: Tensor, dt: float) -> Tensor:
    """Return how long numbers of frames last [s], float64: an integer times a float would be float32."""
    return frames.to(torch.float64) * dt


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Return how many of the frames of a mask [T, N] are in another one too, float64 [N]; 0 of none."""
    return (part & whole).sum(0).to(torch.float64) / whole.sum(0).clamp(min=1)


def worst(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest value [N] over the frames of `mask` [T, N] and the first frame that has it.

    -inf at frame 0 where there is none.
    """
    held = torch.where(mask, values, -torch.inf)
    top = held.amax(0)
    return top, (held == top).to(torch.uint8).argmax(0)


def worst_event(value: Tensor, column: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return the largest of values [E] in each column [N] and which event has it first; -inf and -1 without events.

    Args:
        value: of each event.
        column: in which it happened, int64 [E].
        columns: N.
    """
    top = torch.full((columns,), -torch.inf, dtype=value.dtype, device=value.device)
    top.scatter_reduce_(0, column, value, "amax")
    held = (value == top[column]) & (value > -torch.inf)
    which = torch.arange(len(value), device=value.device)
    first = torch.full((columns,), len(value), device=value.device)
    first.scatter_reduce_(0, column[held], which[held], "amin")
    return top, torch.where(first < len(value), first, -1)


def picked(values: Tensor, which: Tensor) -> Tensor:
    """Return the values, int64 [N], of events [E] by their indices [N]; -1 for -1."""
    if not len(values):
        return torch.full_like(which, -1)
    return torch.where(which >= 0, values[which.clamp(min=0)].long(), -1)


def first_frame(mask: Tensor) -> Tensor:
    """Return the first frame [N] at which `mask` [T, N] is true, -1 for never."""
    first = mask.to(torch.uint8).argmax(0)
    return torch.where(mask.any(0), first, -1)


def unwrapped(angle: Tensor) -> Tensor:
    """Return angles [T, N] [rad] without jumps of a whole turn, starting from the first, float64."""
    angle = angle.to(torch.float64)
    step = angle[1:] - angle[:-1]
    step = step - 2 * torch.pi * torch.round(step / (2 * torch.pi))
    return torch.cat([angle[:1], angle[:1] + step.cumsum(0)])


def wrapped(angle: Tensor) -> Tensor:
    """Return angles [rad] brought into [-pi, pi]."""
    return angle - 2 * torch.pi * torch.round(angle / (2 * torch.pi))


def longest_run(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many frames the longest unbroken run of `mask` [T, N] has, [N], and at which frame it begins."""
    frames = torch.arange(len(mask), device=mask.device)[:, None]
    broken = torch.where(mask, -1, frames).cummax(0).values  # the last frame before the run
    length, end = (frames - broken).max(0)
    return length, end - length + 1


def window(seconds: float, dt: float) -> int:
    """Return the odd number of frames that spans `seconds` best, at least three."""
    return 2 * max(round(seconds / (2 * dt)), 1) + 1


def derivative(values: Tensor, last: Tensor, dt: float, seconds: float) -> Tensor:
    """Return the first derivative [T, N] of a signal by a Savitzky-Golay filter of order 2.

    The first and last half window of a column take the parabola through its first and last whole window, as
    `scipy.signal.savgol_filter` does with mode="interp". NaN after `last`, and all over where a column is shorter
    than the window.

    Args:
        values: float64 [T, N].
        last: last frame of each column, int64 [N].
        dt: of a frame [s].
        seconds: of the window (see `window`), so that the filter does not depend on the frame rate.

    Source: A. Savitzky, M. Golay (1964), "Smoothing and differentiation of data by simplified least squares".
    """
    size = window(seconds, dt)
    half = size // 2
    if len(values) < size:
        return torch.full_like(values, torch.nan)
    weights = _weights(half) / dt  # [size, size]: row i gives the derivative at place i of a window
    result = torch.full_like(values, torch.nan)
    inner = result[half : len(values) - half]
    inner.zero_()
    for k in range(1, half + 1):  # the weights in the middle are antisymmetric
        ahead = values[half + k : len(values) - half + k]
        behind = values[half - k : len(values) - half - k]
        inner.add_(ahead - behind, alpha=float(weights[half, half + k]))
    result[:half] = _combined(weights[:half], values[:size])
    rows = (last - 2 * half).clamp(min=0) + torch.arange(size, device=values.device)[:, None]
    ends = _combined(weights[half + 1 :], values.gather(0, rows))
    result.scatter_(0, rows[half + 1 :], ends)
    frames = torch.arange(len(values), device=values.device)[:, None]
    return torch.where((frames <= last) & (last >= size - 1), result, torch.nan)


def _weights(half: int) -> np.ndarray:
    """Weights [size, size] of the slope, by frame, at each place of a window, of its least-squares parabola."""
    place = np.arange(-half, half + 1.0)
    fit = np.linalg.pinv(place[:, None] ** np.arange(ORDER + 1))  # [3, size]
    return fit[1] + 2 * place[:, None] * fit[2]


def _combined(weights: np.ndarray, values: Tensor) -> Tensor:
    """Weighted sums [M, N] of rows [K, N], added one after the other; weights [M, K]."""
    table = torch.from_numpy(weights).to(values.device)
    result = torch.zeros(len(weights), values.shape[1], dtype=values.dtype, device=values.device)
    for k in range(len(values)):
        result.addcmul_(table[:, k : k + 1], values[k])
    return result


def percentile(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return a percentile [N] of the values [T, N] of `mask`, linear between the two nearest, NaN where there is none.

    Only for shares near 1: the values above it are sorted, no others.
    """
    count = mask.sum(0)
    most = int((len(values) - 1) * (1 - share)) + 2
    held = torch.where(mask, values, -torch.inf).T.contiguous()
    top = held.topk(min(most, len(values)), dim=1).values
    place = (count - 1).clamp(min=0).to(torch.float64) * (1 - share)  # counted from the top
    low = place.floor().long()
    above, below = (top.gather(1, i.clamp(max=top.shape[1] - 1)[:, None])[:, 0] for i in (low, low + 1))
    part = place - low
    return torch.where(count > 0, torch.where(part > 0, above + (below - above) * part, above), torch.nan)
