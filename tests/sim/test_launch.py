"""Kernels over slices of worlds: each world once, in order, whatever the number of threads."""

import threading

import numpy as np
import pytest
import torch
import warp as wp

from sim.engine import launch
from sim.engine.launch import Program


@wp.kernel(enable_backward=False)
def count_up(values: wp.array(dtype=wp.int32), step: int, first: int):
    i = first + wp.tid()
    values[i] = values[i] * 3 + step


def recorded(worlds, device, threads):
    values = torch.zeros(worlds, dtype=torch.int32, device=device)
    view = wp.from_torch(values)
    return values, Program([(count_up, [view, 1]), (count_up, [view, 2])], worlds, device, threads)


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("worlds", [1, 2, 15, 31, 32, 33, 255, 257, 1000, 4097])
def test_each_world_is_run_once_and_in_order(worlds, threads, device):
    values, program = recorded(worlds, device, threads)
    program()
    assert (values == 5).all()  # 0 * 3 + 1, then * 3 + 2
    program()
    assert (values == 5 * 9 + 5).all()


def test_many_worlds_are_spread_over_threads():
    _, few = recorded(10, torch.device("cpu"), 4)
    _, many = recorded(10_000, torch.device("cpu"), 4)
    assert len(few._slices) == 1
    assert len(many._slices) > 4
    lengths = [commands[0].bounds.shape[0] for commands in many._slices]
    assert sum(lengths) == 10_000 and max(lengths) - min(lengths) <= 1


def test_an_error_in_a_thread_is_raised(monkeypatch, device):
    if device.type == "cuda":
        device = torch.device("cpu")  # one launch there: no threads
    _, program = recorded(2000, device, 2)

    def broken(waiting):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("in a helper")

    monkeypatch.setattr(launch, "_work_off", broken)
    with pytest.raises(MemoryError, match="in a helper"):
        program()


def test_programs_of_several_threads_at_once():
    """Two environments stepped by two threads share one pool of helpers."""
    device = torch.device("cpu")
    pairs = [recorded(3000, device, 2) for _ in range(2)]

    def run(program):
        for _ in range(20):
            program()

    threads = [threading.Thread(target=run, args=(program,)) for _, program in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = 0
    for _ in range(20):
        expected = np.int64(expected * 9 + 5) & 0xFFFFFFFF
    assert all((values.numpy().astype(np.uint32) == expected).all() for values, _ in pairs)
