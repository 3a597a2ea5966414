"""The last few pictures of a sensor as one tensor, so that a network sees motion.

As in highway-env's GrayscaleObservation: black where the episode has had fewer pictures, the newest last.
"""

from typing import Any

import torch
import warp as wp

CUDA_THREADS = 256  # a world; on the CPU one thread shifts a world's pictures


@wp.kernel(enable_backward=False, module="unique")
def shift(mask: wp.array(dtype=wp.bool), frame: int, threads: int, out: wp.array2d(dtype=Any), first: int):
    """Move the pictures of `frame` words each in `out` `[N, words]` one place to the front; the last one stays."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    for moved in range(out.shape[1] // frame - 1):
        i = k
        while i < frame:  # a thread has its own places in all pictures
            out[w, moved * frame + i] = out[w, (moved + 1) * frame + i]
            i = i + threads


@wp.kernel(enable_backward=False, module="unique")
def blacken(mask: wp.array(dtype=wp.bool), threads: int, out: wp.array2d(dtype=Any), first: int):
    """Write zeros over `out` `[N, words]`."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    i = k
    while i < out.shape[1]:
        out[w, i] = out.dtype(0)
        i = i + threads


@wp.kernel(enable_backward=False, module="unique")
def insert(
    mask: wp.array(dtype=wp.bool),
    threads: int,
    picture: wp.array2d(dtype=Any),
    out: wp.array2d(dtype=Any),
    first: int,
):
    """Write `picture` `[N, frame]` over the end of `out` `[N, words]`."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    start = out.shape[1] - picture.shape[1]
    i = k
    while i < picture.shape[1]:
        out[w, start + i] = picture[w, i]
        i = i + threads


class FrameStack:
    """The last `frames` pictures of N worlds, uint8 `[N, frames * channels, rows, columns]`.

    The stack is the observation itself, so whoever saves and loads that has all of it.

    Args:
        shape: channels, rows and columns of a picture.
        frames: how many are kept, at least 1.
        worlds: N.
        device: where the tensor lives.

    Attributes:
        tensor: the stack.
        newest: a view of its last picture, `[N, channels, rows, columns]`, for a renderer to write.
    """

    def __init__(self, shape: tuple[int, int, int], frames: int, worlds: int, device: torch.device) -> None:
        channels, rows, columns = shape
        self.tensor = torch.zeros(worlds, frames * channels, rows, columns, dtype=torch.uint8, device=device)
        self.newest = self.tensor[:, -channels:]
        size = channels * rows * columns
        self._word = 8 if size % 8 == 0 else 1  # bytes moved at once
        self._frame = size // self._word
        self._words = wp.from_torch(self._as_words(self.tensor))
        self._threads = CUDA_THREADS if device.type == "cuda" else 1

    def _as_words(self, tensor: torch.Tensor) -> torch.Tensor:
        rows = tensor.view(len(tensor), -1)
        return rows.view(torch.int64) if self._word == 8 else rows

    def begin_launches(self, mask: Any) -> list[tuple]:
        """Return the launches that blacken the stacks of the worlds of `mask`: an episode begins."""
        return [(blacken, [mask, self._threads, self._words], self._threads)]

    def launches(self, mask: Any, picture: torch.Tensor | None = None) -> list[tuple]:
        """Return the launches that make room for a picture, the oldest goes.

        Either a renderer writes `newest` next, or `picture` (contiguous, uint8, shaped like it) is copied there.
        """
        made = []
        if self._words.shape[1] > self._frame:
            made = [(shift, [mask, self._frame, self._threads, self._words], self._threads)]
        if picture is not None:
            words = wp.from_torch(self._as_words(picture))
            made.append((insert, [mask, self._threads, words, self._words], self._threads))
        return made
