"""How long models take: competitors in turns, medians and 90th percentiles, and whether anything else ran meanwhile.

Competitors run one after the other in an order drawn anew for every round, so that what the machine does in between
meets them all alike. What comes first in a process (memory, caches, code made on the first call) is not counted.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

WARM_UP, RUNS = 20, 100
"""Calls of each competitor that are not counted, and that are, at least."""
QUIET = 0.05
"""Share of the cores that other processes may take before figures say so."""
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Timing:
    """How long the calls of a competitor took.

    Attributes:
        median, p90, least: [s], p90 the 90th percentile. runs: calls that were counted.
    """

    median: float
    p90: float
    least: float
    runs: int


@dataclass(frozen=True)
class Measured:
    """Timings taken in one go.

    Attributes:
        timings: by competitor.
        load: average load of the machine before they began (1 minute); with it what this process itself did before.
        others: share of the cores that other processes took meanwhile, 0..1; None where the system does not say.
        threads: that torch used.
    """

    timings: dict[str, Timing]
    load: float
    others: float | None
    threads: int

    @property
    def quiet(self) -> bool:
        """Whether nothing else took a share worth speaking of."""
        return self.others is not None and self.others <= QUIET


def measure(
    competitors: Mapping[str, Callable[[int], Any]],
    runs: int = RUNS,
    warm_up: int = WARM_UP,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[], None] | None = None,
) -> Measured:
    """Return how long calls of each competitor take.

    Args:
        competitors: functions by name, called with the number of the round, from 0 on.
        runs: of each that are counted.
        warm_up: of each that come before.
        seed: of the order.
        clock: returns the time [s].
        progress: called after every round.

    Raises:
        ValueError: there are no competitors, or fewer runs than 1.
    """
    if not competitors or runs < 1 or warm_up < 0:
        raise ValueError(f"{len(competitors)} competitors, {runs} runs after {warm_up}: there is nothing to measure")
    order, draw = list(competitors), random.Random(seed)
    taken: dict[str, list[float]] = {name: [] for name in order}
    load, before = os.getloadavg()[0], _busy()
    for turn in range(warm_up + runs):
        draw.shuffle(order)
        for name in order:
            start = clock()
            competitors[name](turn)
            took = clock() - start
            if turn >= warm_up:
                taken[name].append(took)
        if progress:
            progress()
    timings = {
        name: Timing(float(np.median(times)), float(np.percentile(times, 90)), min(times), len(times))
        for name, times in taken.items()
    }
    return Measured(timings, load, _others(before, _busy()), torch.get_num_threads())


def pin(threads: int) -> None:
    """Let torch and what it calls use so many threads; child processes inherit it.

    Raises:
        ValueError: fewer than one.
    """
    if threads < 1:
        raise ValueError(f"{threads} threads; at least 1 is needed")
    for name in POOLS:
        os.environ[name] = str(threads)
    torch.set_num_threads(threads)


def size_of(network: nn.Module, call: Callable[[], Any]) -> tuple[int, int]:
    """Return a network's parameters, and the floating-point operations of a call (an addition and a multiplication: 2).

    torch counts what convolutions and matrix products take, nothing else.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return sum(value.numel() for value in network.parameters()), counter.get_total_flops()


def peak_memory(module: str, arguments: Sequence[str], folder: Path | None = None) -> int:
    """Return what a program of ours prints at its end: bytes that it needed, in a fresh process; see `growth`.

    Args:
        module: name of the program, as for `python -m`.
        arguments: of it.
        folder: where it runs.

    Raises:
        ChildProcessError: it failed.
    """
    command = [sys.executable, "-m", module, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if run.returncode:
        raise ChildProcessError(f"{module} failed: {(run.stderr.strip() or 'no message').splitlines()[-1]}")
    return int(run.stdout.split()[-1])


def growth(work: Callable[[], Any]) -> int:
    """Return by how many bytes this process grew at most while `work` ran, over what it held before.

    Raises:
        OSError: the system does not say (Linux does).
    """
    # Not ru_maxrss: a process inherits its parent's, however much that was.
    before = _status("VmRSS")
    work()
    return max(_status("VmHWM") - before, 0)


def _status(name: str) -> int:
    """A field of this process's memory [bytes]."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the system does not say {name}")


def _busy() -> tuple[float, float, float] | None:
    """Core seconds that all processes took since the machine began, those of this one, and the time [s]."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _wait, interrupt, soft, steal = (int(field) for field in fields[:8])
    ticks = user + nice + system + interrupt + soft + steal  # stolen: by other machines on the same host
    return ticks / os.sysconf("SC_CLK_TCK"), time.process_time(), time.monotonic()


def _others(before: tuple[float, float, float] | None, after: tuple[float, float, float] | None) -> float | None:
    """Share of the machine's cores that other processes took between two moments."""
    if before is None or after is None or after[2] <= before[2]:
        return None
    others = (after[0] - before[0]) - (after[1] - before[1])
    return min(max(others / ((after[2] - before[2]) * (os.cpu_count() or 1)), 0.0), 1.0)
