"""How a script ends: with its exit code, or with one line that says what is wrong, and 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

import torch

P = ParamSpec("P")
MISTAKES = (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError)
"""What the user, the files or the machine got wrong; anything else is a defect of ours and keeps its traceback."""
INTERRUPTED = 130
"""What shells make of Ctrl-C."""


def command(main: Callable[P, int | None]) -> Callable[P, int]:
    """Return a script's main function, whose mistakes become one line on stderr and exit code 2 (interrupted: 130)."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except MISTAKES as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED

    return run


def use_threads(count: int | None) -> None:
    """Give torch so many threads of the processor; None leaves one a core.

    Raises:
        ValueError: below 1.
    """
    if count is not None and count < 1:
        raise ValueError(f"--threads is {count}; it must be at least 1")
    torch.set_num_threads(count or torch.get_num_threads())
