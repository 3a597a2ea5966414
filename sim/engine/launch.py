"""Running kernels over all worlds: one slice a core on the CPU, one launch on CUDA."""

import itertools
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
import warp as wp

# Worlds per slice below which a further slice a thread costs more than it saves.
SMALLEST_SLICE = 256
# Worlds per slice below which a second thread costs more than it saves.
FEWEST_WORLDS = 16
# More slices than threads, so that a thread that was held up by another process is relieved.
SLICES_PER_THREAD = 4


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="slipstream")


class Program:
    """A fixed sequence of kernel launches over the first axis of their arrays, recorded once and run every step.

    A launch is (kernel, inputs) with one thread a world, or (kernel, inputs, threads) with so many a world: such a
    kernel asks for two thread numbers, world and thread. The last argument of each is the first world of its slice. A
    Warp CPU launch uses one core and releases the GIL, so slices run in a thread pool; all launches of one slice run in
    order on one thread. `fewest` is the number of worlds that are worth a thread of their own.
    """

    def __init__(
        self, launches: Sequence[tuple], worlds: int, device: torch.device, threads: int, fewest: int = FEWEST_WORLDS
    ) -> None:
        slices = 1
        if device.type == "cpu" and threads > 1:
            slices = min(threads * SLICES_PER_THREAD, max(worlds // SMALLEST_SLICE, min(threads, worlds // fewest), 1))
        bounds = [worlds * i // slices for i in range(slices + 1)]
        self._device = device
        self._threads = min(threads, slices)
        self._slices = [
            [
                wp.launch(
                    kernel, dim=(end - start, *threads), inputs=[*inputs, start], device=str(device), record_cmd=True
                )
                for kernel, inputs, *threads in launches
            ]
            for start, end in itertools.pairwise(bounds)
        ]

    def __call__(self) -> None:
        """Run the launches; on CUDA they follow torch's current stream."""
        if self._device.type == "cuda":
            stream = wp.stream_from_torch(torch.cuda.current_stream(self._device))
            for command in self._slices[0]:
                command.launch(stream=stream)
            return
        waiting = deque(self._slices)
        helpers = [_pool(self._threads).submit(_work_off, waiting) for _ in range(self._threads - 1)]
        _work_off(waiting)
        for helper in helpers:
            helper.result()


def _work_off(waiting: deque[list[Any]]) -> None:
    """Run slices until none is left; several threads share one queue."""
    while True:
        try:
            commands = waiting.popleft()
        except IndexError:
            return
        for command in commands:
            command.launch()
