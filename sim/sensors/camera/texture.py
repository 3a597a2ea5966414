"""Grain for surfaces: a small table of smooth noise that repeats, looked up by place in the world."""

import numpy as np
import torch
import warp as wp

from sim.engine import HOT

SIDE = 128  # entries along each axis before the table repeats; a power of two
_MASK = wp.constant(SIDE - 1)


def grain(device: str | torch.device) -> wp.array:
    """Return the table, row by row, float32 `[SIDE * SIDE]` evenly spread over [-1, 1): always the same."""
    index = np.arange(SIDE * SIDE, dtype=np.uint64)
    x = (index + 1) * np.uint64(0x9E3779B97F4A7C15)  # splitmix64, as in `noise.py`
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    values = (x >> np.uint64(40)).astype(np.float32) / 2**23 - 1
    return wp.array(values, dtype=wp.float32, device=str(device))


@wp.func(inline=HOT)
def grain_at(table: wp.array(dtype=wp.float32), x: wp.float32, y: wp.float32) -> wp.float32:
    """Return the table's value between its entries at (x, y), which are in entries."""
    low_x = wp.floor(x)
    low_y = wp.floor(y)
    u = x - low_x
    v = y - low_y
    row = int(low_y)
    i = (row & _MASK) * SIDE
    k = ((row + 1) & _MASK) * SIDE
    j = int(low_x) & _MASK
    m = (j + 1) & _MASK
    upper = table[i + j] + u * (table[i + m] - table[i + j])
    lower = table[k + j] + u * (table[k + m] - table[k + j])
    return upper + v * (lower - upper)
