"""Device code: Warp kernels over torch tensors, one thread a world, the same source on CPU and CUDA."""

import os

import torch
import warp as wp

# For `wp.func(inline=...)` of functions that run rarely. Where there is CUDA they are compiled out of line: with all
# inlined, NVRTC needs many minutes for the kernel of a step, so 20 s. The CPU code is faster with all of it inlined.
# SLIPSTREAM_OUTLINE=1 asks for the same without a GPU (to compile for one ahead of time).
# HOT is for a function that must not become a call on the CPU, because a call copies its struct arguments.
HOT = None if torch.cuda.is_available() or os.environ.get("SLIPSTREAM_OUTLINE") == "1" else True
COLD = False if torch.cuda.is_available() or os.environ.get("SLIPSTREAM_OUTLINE") == "1" else None


def _start_warp() -> None:
    """Initialise Warp; without a CUDA device its C++ side would print a warning into every program's error output."""
    wp.config.log_level = wp.LOG_ERROR  # no banner
    if torch.cuda.is_available():
        wp.init()
        return
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


_start_warp()
