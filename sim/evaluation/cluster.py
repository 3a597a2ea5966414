"""Chunks of work sharded over a Ray cluster: any machine may die in the middle, and nothing is lost or changed by it.

Results are put back into the order of the chunks, and each depends on its chunk alone; so a report made of them is the
one that a single process makes. Ray is an extra (`pip install "slipstream[cluster]"`) and is imported only here, when
it is used. Ray moves functions, arguments and results between its own processes as it sees fit; nothing of that
reaches a file of ours. Every machine of a cluster needs the same installation and sees the same files under the same
paths (run folders, scenario files).
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch

from sim.provenance import usable_cores
from sim.registry import LOADED_FILES, load_scenarios

RETRIES = 2
"""How often a chunk is tried again after its worker or machine died."""
CONNECT_SECONDS = 10.0
"""How long a cluster may take to answer."""
LOCAL_STORE_BYTES = 2**29
"""Shared memory of a cluster started here; what does not fit is spilled to disk."""

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class LostChunk:
    """A chunk whose worker died at every attempt; each of its cases counts as an error with this message."""

    message: str

    def __str__(self) -> str:
        return self.message


def run_chunks(
    function: Function,
    chunks: Sequence[Any],
    address: str | None = None,
    on_result: Callable[[int, Any], None] | None = None,
    retries: int = RETRIES,
    gpus: float = 0.0,
) -> list[Any]:
    """Returns `function(chunk)` of each chunk in their order, computed by the workers of a Ray cluster.

    Args:
        function: a module's function, or a `functools.partial` of one, with plain arguments; it runs on one core.
        chunks: what it is called with: plain data.
        address: of a running cluster, "HOST:PORT" or "ray://HOST:PORT", or "auto" for the one this machine is part of;
            None starts one on this machine and stops it at the end. A connection that exists already is used.
        on_result: called as `on_result(index, result)` when a result arrives, in any order.
        retries: how often a chunk is tried again after its worker or machine died; then it is a `LostChunk`.
        gpus: that each chunk needs.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: the address is none.
        ConnectionError: no cluster answers at the address.
        Exception: whatever the function raises, as it would here; the other chunks are cancelled.
    """
    results: list[Any] = [None] * len(chunks)
    for index, result in arriving(function, chunks, address, retries, gpus):
        results[index] = result
        if on_result is not None:
            on_result(index, result)
    return results


def arriving(
    function: Function,
    chunks: Sequence[Any],
    address: str | None = None,
    retries: int = RETRIES,
    gpus: float = 0.0,
) -> Iterator[tuple[int, Any]]:
    """Yields (index of the chunk, result) as results arrive; arguments and errors as of `run_chunks`.

    What still runs when the caller stops (Ctrl-C, an exception, a closed generator) is cancelled.
    """
    ray = _imported()
    if not chunks:
        return
    with _connected(ray, address):
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_on_one_core)
        shared, files = ray.put(function), list(LOADED_FILES)
        waiting = {remote.remote(shared, chunk, files): index for index, chunk in enumerate(chunks)}
        tried = Counter(range(len(chunks)))
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=1)
                index = waiting.pop(done[0])
                try:
                    result = ray.get(done[0])
                except ray.exceptions.RayTaskError as error:  # the function raised, and would again
                    raise error.cause or error from error
                except ray.exceptions.RayError as error:  # its worker, its machine or the way back died
                    if tried[index] <= retries:
                        tried[index] += 1
                        waiting[remote.remote(shared, chunks[index], files)] = index
                        continue
                    cause = str(error).strip().splitlines()[0]
                    result = LostChunk(f"{type(error).__name__}: lost {tried[index]} times: {cause}")
                yield index, result
        finally:
            for left in waiting:
                ray.cancel(left, force=True)


def _on_one_core(function: Function, chunk: Any, scenario_files: Sequence[str]) -> Any:
    """What a worker runs: one thread, so that as many chunks as there are cores do not disturb each other.

    The files of scenarios that were loaded where the chunks come from are loaded first, once a worker.
    """
    torch.set_num_threads(1)
    for file in scenario_files:
        if file not in LOADED_FILES:
            load_scenarios(file)
    return function(chunk)


def _imported() -> Any:
    """Returns Ray, quiet and without its reports home."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Keeps CUDA_VISIBLE_DEVICES as it is in workers that asked for no GPU, and Ray from warning about it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        message = 'a cluster needs Ray, which is not installed: pip install "slipstream[cluster]"'
        raise ModuleNotFoundError(message, name=error.name) from error
    return ray


@contextmanager
def session(address: str | None = None) -> Iterator[None]:
    """Holds one connection for several calls of `run_chunks` and `arriving`; arguments and errors as of `run_chunks`.

    Without it each call starts a cluster of its own where `address` is None.
    """
    with _connected(_imported(), address):
        yield


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to the cluster, closed at the end if it was opened here."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        _require_answer(address)
    else:
        options |= {
            "num_cpus": len(usable_cores()), "include_dashboard": False, "object_store_memory": LOCAL_STORE_BYTES,
        }  # fmt: skip
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConnectionError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raises ConnectionError if nothing listens at the address: Ray itself would try for many minutes."""
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("", "ray") or not parts.hostname or not port:
        raise ValueError(f"a cluster's address is HOST:PORT, ray://HOST:PORT or auto, not {address!r}")
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"no Ray cluster at {address}: {error}") from error
