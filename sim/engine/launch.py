"""Running kernels over all worlds: one slice a core on the CPU, one launch on CUDA."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
import warp as wp

# Worlds per slice below which a second thread costs more than it saves.
SMALLEST_SLICE = 16


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="slipstream")


def available_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Program:
    """A fixed sequence of kernel launches over the first axis of their arrays, recorded once and run every step.

    Each kernel's last argument is the first world of its slice. A Warp CPU launch uses one core and releases the GIL,
    so slices run in a thread pool; all launches of one slice run in order on one thread.
    """

    def __init__(self, launches: Sequence[tuple[Any, Sequence[Any]]], worlds: int, device: torch.device, threads: int):
        slices = min(threads, max(1, worlds // SMALLEST_SLICE)) if device.type == "cpu" else 1
        bounds = [worlds * i // slices for i in range(slices + 1)]
        self._device = device
        self._threads = slices
        self._slices = [
            [
                wp.launch(kernel, dim=end - start, inputs=[*inputs, start], device=str(device), record_cmd=True)
                for kernel, inputs in launches
            ]
            for start, end in zip(bounds, bounds[1:], strict=False)
        ]

    def __call__(self) -> None:
        """Run the launches; on CUDA they follow torch's current stream."""
        if self._device.type == "cuda":
            stream = wp.stream_from_torch(torch.cuda.current_stream(self._device))
            _run(self._slices[0], lambda command: command.launch(stream=stream))
        elif self._threads == 1:
            _run(self._slices[0], _launch)
        else:
            pool = _pool(self._threads)
            others = [pool.submit(_run, commands, _launch) for commands in self._slices[1:]]
            _run(self._slices[0], _launch)
            for other in others:
                other.result()


def _launch(command: Any) -> None:
    command.launch()


def _run(commands: Sequence[Any], launch: Callable[[Any], None]) -> None:
    for command in commands:
        launch(command)
