"""How scripts and long work end: with an exit code, with one line that says what is wrong, or when asked to stop."""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, ParamSpec

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


def refuse_given(arguments: Any, names: Iterable[str], why: str) -> None:
    """Raise ValueError, "--NAME {why}", if one of these fields of a dataclass has another value than its default."""
    for part in fields(arguments):
        if part.name in names and getattr(arguments, part.name) != part.default:
            raise ValueError(f"--{part.name.replace('_', '-')} {why}")


def use_threads(count: int | None) -> None:
    """Give torch so many threads of the processor; None leaves one a core.

    Raises:
        ValueError: below 1.
    """
    if count is not None and count < 1:
        raise ValueError(f"--threads is {count}; it must be at least 1")
    torch.set_num_threads(count or torch.get_num_threads())


class Interrupt:
    """Turns the first Ctrl-C or SIGTERM into a request to stop; a second one stops at once.

    Python lets only the main thread handle signals: elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
