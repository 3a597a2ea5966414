import itertools
import math

import numpy as np
import pytest
import torch
import warp as wp

import sim
from sim.engine.state import CAR, PRECISIONS, ROW
from sim.engine.state_hash import DERIVED, UNHASHED_ROW, StateHash
from sim.world import Kind, Sizes, World
from tests.sim.small_worlds import actions_of

IDS = ["highway-fast-v0", "intersection-v0", "parking-v0", "racetrack-v0"]
GAINS = [f"gain_{i}" for i in range(5)]


def hash_of(world):
    return StateHash(world)().tolist()


def make(id, num_envs, precision="float32", device="cpu", threads=1, config=None):
    return sim.make_vec(
        id,
        num_envs=num_envs,
        device=device,
        precision=precision,
        config=config,
        autoreset_mode="Disabled",
        threads=threads,
    )


def drive(envs, seeds, steps, by_frames=False):
    """Hashes after the reset and after each step, [steps + 1][N]; a seed's actions are its own."""
    envs.reset(seed=list(seeds))
    state_hash = StateHash(envs.world, envs._threads)
    space, found = envs.single_action_space, [state_hash().tolist()]
    for step in range(steps):
        if hasattr(space, "n"):
            actions = actions_of(seeds, steps)[step] % int(space.n)
        else:
            rows = [np.random.default_rng(seed).uniform(-1, 1, (steps, *space.shape))[step] for seed in seeds]
            actions = torch.tensor(np.array(rows), dtype=torch.float32)
        actions = actions.to(envs.device)
        list(envs.frames(actions)) if by_frames else envs.step(actions)
        found.append(state_hash().tolist())
    return found


@pytest.fixture(scope="module")
def driven():
    """Eight worlds of traffic that have driven a few steps."""
    envs = make("highway-fast-v0", 8)
    drive(envs, range(8), 3)
    return envs.world


@pytest.fixture(params=["float32", "float64"])
def one(request):
    """One world by hand: two vehicles and an obstacle in five slots."""
    sizes = Sizes(vehicles=5, egos=1, route=4)
    world = World.allocate(1, sizes, torch.device("cpu"), request.param)
    world.count[0], world.objects[0], world.steps[0], world.time[0] = 3, 1, 15, 1.0
    world.rng[0] = torch.arange(5) * 12345678901234567
    for slot, kind in enumerate([Kind.MDP, Kind.LINEAR, Kind.OBSTACLE]):
        world.kind[0, slot], world.number[0, slot], world.impact_rank[0, slot] = kind, slot, -1
        for name, wanted in CAR.items():
            if wanted == "real":
                getattr(world, name)[0, slot] = 0.5 + sum(name.encode()) % 97 + 100 * slot
    world.route_size[0, 1] = 3
    world.route_edge[0, 1] = torch.arange(4)
    return world


def copies(world, number):
    return world.select(torch.zeros(number, dtype=torch.int64))


def flip(world, index, name, slot, bit=0):
    """Turns one bit of one field of a vehicle of one world over."""
    value = getattr(world, name)
    if value.dtype == torch.bool:
        value[index, slot] = ~value[index, slot]
    else:
        words = value.view({4: torch.int32, 8: torch.int64}[value.element_size()])
        words[index, slot] ^= 1 << bit


@pytest.mark.parametrize("name", [name for name in CAR if name not in DERIVED])
def test_the_last_bit_of_any_field_of_any_vehicle_counts(one, name):
    if name.startswith("impact"):
        one.impact_rank[0] = 0
    elif name in GAINS:
        one.kind[0] = Kind.LINEAR
    elif name in ("lateral_speed", "yaw_rate"):
        one.kind[0] = Kind.BICYCLE
    worlds = copies(one, 4)
    for slot in range(3):
        flip(worlds, slot, name, slot)
    assert len(set(hash_of(worlds))) == 4


@pytest.mark.parametrize("name", [name for name in ROW if name not in (*UNHASHED_ROW, "time")])
def test_the_clock_and_the_counts_count(one, name):
    other = one.clone()
    getattr(other, name)[0] += -1 if name in ("count", "objects") else 1
    assert hash_of(other) != hash_of(one)


@pytest.mark.parametrize(("name", "place"), [("rng", 0), ("rng", 4), ("ego", 0), ("goal", 0), ("lanes_seen", 0)])
def test_the_stream_and_the_egos_count(one, name, place):
    other = one.clone()
    getattr(other, name)[0, place] += 1
    assert hash_of(other) != hash_of(one)


def test_time_counts(one):
    other = one.clone()
    other.time[0] = math.nextafter(1.0, 2.0)
    assert hash_of(other) != hash_of(one)


def test_of_a_route_the_steps_to_come_count(one):
    before = hash_of(one)
    for step, counts in enumerate([True, True, True, False]):
        other = one.clone()
        other.route_lane[0, 1, step] += 1
        assert (hash_of(other) != before) is counts
    one.route_head[0, 1] = 1
    before = hash_of(one)
    one.route_edge[0, 1, 0] += 1
    assert hash_of(one) == before


def test_what_follows_from_other_fields_or_is_never_read_does_not_count(one):
    before = hash_of(one)
    for name in DERIVED:
        getattr(one, name)[0] += 1
    for name in UNHASHED_ROW:
        getattr(one, name)[0] += 1
    for name in ("order", "ahead", "predicted"):
        getattr(one, name)[0] += 1
    for name in ("impact_x", "impact_y", "lateral_speed", "yaw_rate"):
        getattr(one, name)[0] += 1
    for name in GAINS:
        getattr(one, name)[0, ::2] += 1  # of the MDP vehicle and the obstacle
    assert hash_of(one) == before


def test_empty_slots_do_not_count(one):
    before = hash_of(one)
    for name in CAR:
        if getattr(one, name).dtype != torch.bool:
            getattr(one, name)[0, 3:] += 7
    one.kind[0, 3:] = Kind.ABSENT
    one.route_edge[0, 3:] += 1
    assert hash_of(one) == before
    wider = World.allocate(1, Sizes(vehicles=9, egos=1, route=6), torch.device("cpu"), one.precision)
    for name, value in one.fields().items():
        getattr(wider, name)[tuple(slice(size) for size in value.shape)] = value
    assert hash_of(wider) == before


def test_both_zeros_are_one_number_and_all_nans_one(one):
    one.speed[0, 0] = 0.0
    zero = hash_of(one)
    one.speed[0, 0] = -0.0
    assert math.copysign(1, float(one.speed[0, 0])) == -1
    assert hash_of(one) == zero
    one.speed[0, 0] = math.nan
    nan = hash_of(one)
    assert nan != zero
    words = one.speed.view(torch.int32 if one.precision == "float32" else torch.int64)
    words[0, 0] ^= 5
    assert math.isnan(one.speed[0, 0])
    assert hash_of(one) == nan
    words[0, 0] |= torch.iinfo(words.dtype).min  # the sign
    assert hash_of(one) == nan
    one.speed[0, 0] = math.inf
    assert hash_of(one) not in (zero, nan)


def test_two_vehicles_that_change_places_make_another_state(one):
    other = one.clone()
    other.buffers["cars"][0, :2] = one.buffers["cars"][0, [1, 0]]
    assert hash_of(other) != hash_of(one)


def test_any_flipped_bit_changes_half_of_the_hash():
    """Means over many flips: every bit of the hash follows every bit of the state, near enough."""
    world = World.allocate(1, Sizes(vehicles=2), torch.device("cpu"), "float32")
    world.count[0], world.kind[0] = 2, Kind.IDM
    world.speed[0] = 20.0
    places = list(itertools.product(("speed", "timer", "lane", "number"), range(2), range(31)))
    worlds = copies(world, len(places) + 1)
    for index, place in enumerate(places):
        flip(worlds, index, *place)
    *hashes, before = hash_of(worlds)
    changed = [(value ^ before) & (2**64 - 1) for value in hashes]
    counts = [value.bit_count() for value in changed]
    assert 30 < np.mean(counts) < 34
    assert min(counts) > 8
    each = [np.mean([value >> bit & 1 for value in changed]) for bit in range(64)]
    assert min(each) > 0.3 and max(each) < 0.7


@pytest.mark.parametrize("id", IDS)
def test_a_hash_depends_neither_on_the_batch_nor_on_the_threads_nor_on_episodes_before(id, device):
    seeds = [*range(40, 75), 5]
    envs = make(id, 36, device=device, threads=3)
    together = drive(envs, seeds, 6)
    assert len({value for row in together for value in row}) == 36 * 7
    again = drive(envs, seeds[::-1], 6, by_frames=True)  # in worlds where others have driven
    assert [row[::-1] for row in again] == together
    alone = drive(make(id, 1, device=device), [5], 6)
    assert [row[:1] for row in again] == alone


def test_equal_worlds_are_equal_and_driven_ones_are_not(driven):
    first = hash_of(driven)
    assert hash_of(driven.clone()) == first
    assert hash_of(driven.select(torch.tensor([3, 1]))) == [first[3], first[1]]
    assert len(set(first)) == 8


def test_both_precisions_have_hashes_of_their_own():
    one, other = (hash_of_reset(precision) for precision in PRECISIONS)
    assert one != other


def hash_of_reset(precision):
    envs = make("highway-fast-v0", 1, precision)
    envs.reset(seed=1)
    return hash_of(envs.world)


def test_the_hash_of_a_state_is_part_of_the_format_of_traces(one):
    """A change here needs a new `sim.recording.traces.SCHEMA`: older traces would no longer replay."""
    known = {"float32": 0xE05084A93483D0C6, "float64": 0x2760DF96B254818C}
    assert hash_of(one)[0] % 2**64 == known[one.precision]


def test_the_kernel_writes_unsigned_words(driven):
    hashes = StateHash(driven)()
    assert hashes.dtype == torch.int64 and hashes.shape == (8,)
    assert wp.from_torch(hashes, dtype=wp.uint64).numpy().dtype == np.uint64
