"""A 64-bit fingerprint of each world: equal states have equal hashes, whatever the batch, the position or the threads.

What is hashed is what decides the episode from here on and nothing else: the clock, the random stream, the egos, and
of each thing in use its motion, commands, intentions and route, by their bits and in slot order. Left out are empty
slots, padding, scratch, values that follow from hashed ones (`DERIVED`) and parameters that a driver of its kind never
reads. Two deliberate exceptions to "by their bits": -0.0 counts as 0.0 (they are equal numbers, and which of the two a
sum of zeros gives differs between compilers) and all NaNs count as one (their payload says nothing).

Each thing is mixed on a chain of its own, so that the processor works on several at once. A step of a chain is
h = (h ^ word) * odd, then h ^= h >> 32: for a given word one-to-one in h, for a given h one-to-one in the word. So two
states that differ in a single word never collide; others do with a chance of about 2^-64.
"""

from typing import Any

import torch
import warp as wp

from sim.engine.launch import Program
from sim.engine.state import Kind

DERIVED = ("cos_heading", "sin_heading", "s", "lateral", "rank")
"""Fields of a vehicle that follow from hashed ones, or hold something during a step only."""
UNHASHED_ROW = ("missed", "episode")
"""Fields of a world that say nothing about what happens next: a world that `missed` something is refused at the reset,
and the name of the episode decides what its sensors' noise looks like, not how it is driven."""

SEED = wp.constant(wp.uint64(0x9E3779B97F4A7C15))  # 2^64 over the golden ratio
ODD = wp.constant(wp.uint64(0xD6E8FEB86659FD93))  # a multiplier that mixes well (Rrmxmx, Evensen 2018)
HALF = wp.constant(wp.uint64(32))
NAN_32 = wp.constant(wp.uint64(0x7FC00000))  # the quiet NaNs without a payload
NAN_64 = wp.constant(wp.uint64(0x7FF8000000000000))


@wp.func
def fold(h: wp.uint64, word: wp.uint64):
    """One step of a chain."""
    mixed = (h ^ word) * ODD
    return mixed ^ (mixed >> HALF)


@wp.func
def bits(x: wp.float32):
    """The bits of a number, one pattern for both zeros and one for all NaNs."""
    if x == wp.float32(0.0):
        return wp.uint64(0)
    if x != x:
        return NAN_32
    return wp.uint64(wp.cast(x, wp.uint32))


@wp.func
def bits(x: wp.float64):  # noqa: F811  Warp picks by the type
    """The same in double precision."""
    if x == wp.float64(0.0):
        return wp.uint64(0)
    if x != x:
        return NAN_64
    return wp.cast(x, wp.uint64)


@wp.func
def fold_reals(h: wp.uint64, a: wp.float32, b: wp.float32):
    """Two numbers in one step."""
    return fold(h, bits(a) | (bits(b) << HALF))


@wp.func
def fold_reals(h: wp.uint64, a: wp.float64, b: wp.float64):  # noqa: F811
    """Two numbers in two steps."""
    return fold(fold(h, bits(a)), bits(b))


@wp.func
def fold_integers(h: wp.uint64, a: wp.int32, b: wp.int32):
    """Two whole numbers in one step."""
    return fold(h, wp.uint64(wp.uint32(a)) | (wp.uint64(wp.uint32(b)) << HALF))


@wp.func
def hash_thing(world: Any, w: int, v: int):
    """The chain of one vehicle or object."""
    kind = world.cars[w, v].kind
    h = SEED
    h = fold_reals(h, world.cars[w, v].x, world.cars[w, v].y)
    h = fold_reals(h, world.cars[w, v].speed, world.cars[w, v].heading)
    h = fold_reals(h, world.cars[w, v].acceleration, world.cars[w, v].slip)
    h = fold_reals(h, world.cars[w, v].target_speed, world.cars[w, v].timer)
    h = fold_reals(h, world.cars[w, v].delta, world.cars[w, v].steering)
    h = fold_reals(h, world.cars[w, v].length, world.cars[w, v].width)
    h = fold_integers(h, world.cars[w, v].lane, world.cars[w, v].target_lane)
    flags = int(world.cars[w, v].crashed) + 2 * int(world.cars[w, v].checks_collisions)
    flags = flags + 4 * int(world.cars[w, v].changes_lanes) + 8 * int(world.cars[w, v].yields)
    h = fold_integers(h, kind + 256 * flags, world.cars[w, v].number)
    head = world.cars[w, v].route_head
    size = world.cars[w, v].route_size
    h = fold_integers(h, head, size)
    for step in range(head, size):
        h = fold_integers(h, world.route_edge[w, v, step], world.route_lane[w, v, step])
    if world.cars[w, v].impact_rank >= 0:  # else the push is an old one
        h = fold(h, wp.uint64(world.cars[w, v].impact_rank))
        h = fold_reals(h, world.cars[w, v].impact_x, world.cars[w, v].impact_y)
    if kind == Kind.BICYCLE:
        h = fold_reals(h, world.cars[w, v].lateral_speed, world.cars[w, v].yaw_rate)
    if kind >= Kind.LINEAR and kind <= Kind.DEFENSIVE:  # others never set them
        h = fold_reals(h, world.cars[w, v].gain_0, world.cars[w, v].gain_1)
        h = fold_reals(h, world.cars[w, v].gain_2, world.cars[w, v].gain_3)
        h = fold_reals(h, world.cars[w, v].gain_4, world.cars[w, v].gain_4)
    return h


@wp.kernel(enable_backward=False, module="unique")
def hash_states(world: Any, out: wp.array(dtype=wp.uint64), first: int):
    """Write the hash of each world."""
    w = first + wp.tid()
    h = fold(SEED, bits(world.rows[w].time))
    h = fold_integers(h, world.rows[w].steps, world.rows[w].placed)
    h = fold_integers(h, world.rows[w].count, world.rows[w].objects)
    h = fold_integers(h, world.rows[w].tracked_lane, world.ego.shape[1])
    for agent in range(world.ego.shape[1]):
        h = fold_integers(h, world.ego[w, agent], world.goal[w, agent])
        h = fold(h, wp.uint64(world.lanes_seen[w, agent]))
    for word in range(world.rng.shape[1]):
        h = fold(h, world.rng[w, word])
    for v in range(world.rows[w].count):
        h = fold(h, hash_thing(world, w, v))
    out[w] = h


class StateHash:
    """Hashes the worlds of a batch, as they are when it is called.

    Args:
        world: a `World`; its tensors must stay where they are (kernels and `copy_from` keep them).
        threads: of the CPU to use; the result does not depend on it.
    """

    def __init__(self, world: Any, threads: int = 1) -> None:
        self._hashes = torch.zeros(world.num_worlds, dtype=torch.int64, device=world.device)
        launch = (hash_states, [world.struct(), wp.from_torch(self._hashes, dtype=wp.uint64)])
        self._program = Program([launch], world.num_worlds, world.device, threads)

    def __call__(self) -> torch.Tensor:
        """Return int64 [N], the bits of the hashes (torch knows little about uint64); a fresh tensor each time."""
        self._program()
        return self._hashes.clone()
