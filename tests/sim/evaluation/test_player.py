import base64
import json
import zlib

import numpy as np
import pytest
import torch

from sim.engine.network import Network
from sim.evaluation.player import MOST_FRAMES, pack, pack_road
from sim.world import Kind
from tests.sim.evaluation.metrics.hand_made import Car, circle, cruise, episodes

CASE = {
    "case": "group/7",
    "status": "ok",
    "metrics": {},
    "contact_frame": None,
    "frames": {"min_ttc_2d": 30},
    "others": {"min_ttc_2d": 1},
}


def unpack(packed):
    """What the page's script reads: x, y, heading [K, T], speed [T], flags [K, T]."""
    raw, things, frames = zlib.decompress(base64.b64decode(packed["data"])), len(packed["looks"]), packed["frames"]
    words = np.frombuffer(raw, "<u2", 3 * things * frames + frames).astype(np.int64)
    planes = np.cumsum(words[: 3 * things * frames].reshape(3, things, frames), axis=2) % 65536
    speed = (np.cumsum(words[3 * things * frames :]) + 32768) % 65536 - 32768
    flags = np.frombuffer(raw, np.uint8, offset=2 * len(words)).reshape(things, frames)
    assert 2 * len(words) + flags.size == len(raw)
    x, y = (packed["origin"][k] + packed["quantum"] * planes[k] for k in range(2))
    return x, y, planes[2] * 2 * np.pi / 65536, speed / 100, np.cumsum(flags, axis=1, dtype=np.uint8)


def test_a_packed_episode_gives_its_states_back():
    made = episodes(
        [circle(20.0, 11.0, center=(37.3, -12.0)), cruise(-5.0, 4.0, 22.123, acceleration=-6.0), cruise(60.0, 4.0)]
    )
    packed = json.loads(json.dumps(pack(made, 0, CASE), allow_nan=False))
    x, y, heading, speed, flags = unpack(packed)
    assert (packed["case"], packed["dt"], packed["first"], packed["frames"]) == ("group/7", 0.1, 0, 50)
    assert packed["looks"] == ["ego", "vehicle", "vehicle"]
    assert packed["sizes"] == [[5.0, 2.0]] * 3
    assert (packed["ego"], packed["other"]) == (0, 1)
    assert packed["quantum"] <= 0.01
    for name, found in (("x", x), ("y", y)):
        np.testing.assert_allclose(found, getattr(made, name)[:, 0].T, atol=packed["quantum"] / 2 + 1e-9)
    turn = heading - made.heading[:, 0].T.numpy()
    np.testing.assert_allclose(np.angle(np.exp(1j * turn)), 0, atol=1e-4)
    np.testing.assert_allclose(speed, made.of_ego("speed")[:, 0], atol=0.0051)
    assert (flags[[0, 2]] == 1).all()
    assert set(flags[1].tolist()) == {1, 5}  # it brakes until it stands


def test_reverse_and_crash_are_told():
    made = episodes([cruise(0.0, speed=-3.0, frames=20).crashing(12), cruise(-10.0, frames=20)])
    _, _, _, speed, flags = unpack(pack(made, 0, CASE | {"contact_frame": 12, "others": {"collision": 1}}))
    assert (speed == -3.0).all()
    assert flags[0].tolist() == [1] * 12 + [3] * 8


def test_a_thing_is_followed_through_the_slots_it_moves_to():
    # The vehicle of number 1 leaves after frame 9; number 2 moves up from slot 2 to slot 1.
    path = np.arange(20) * 1.5
    made = episodes([cruise(0.0, frames=20), cruise(10.0, 4.0, frames=20), Car(40.0 + path, 8.0, speed=15.0)])
    for name in ("x", "y", "number", "kind"):
        tensor = getattr(made, name)
        tensor[10:, 0, 1] = tensor[10:, 0, 2]
        tensor[10:, 0, 2] = -1 if name == "number" else 0
    packed = pack(made, 0, CASE | {"others": {"min_ttc_2d": 2}})
    x, y, _, _, flags = unpack(packed)
    assert flags[1].tolist() == [1] * 10 + [0] * 10
    assert (flags[2] == 1).all()
    np.testing.assert_allclose(x[2], 40 + path, atol=0.01)
    np.testing.assert_allclose(y[2], 8.0, atol=0.01)
    assert packed["other"] == 2
    assert (np.diff(x[1])[9:] == 0).all()  # what is gone costs no bytes


def test_a_thing_that_comes_later_waits_where_it_will_appear():
    made = episodes([cruise(0.0, frames=20), cruise(30.0, 4.0, frames=20)])
    made.kind[:8, 0, 1], made.number[:8, 0, 1], made.x[:8, 0, 1] = 0, -1, -999.0
    x, _, _, _, flags = unpack(pack(made, 0, CASE))
    assert flags[1].tolist() == [0] * 8 + [1] * 12
    np.testing.assert_allclose(x[1, :8], 46.0, atol=0.01)
    np.testing.assert_allclose(x[1, 8:], made.x[8:, 0, 1], atol=0.01)


def test_only_what_comes_near_the_ego_is_kept():
    far, passing = cruise(500.0, 4.0), cruise(1000.0, 8.0, speed=200.0, heading=np.pi)
    goal = Car(30.0, 20.0, kind=Kind.LANDMARK, length=4.0, width=3.0)
    wall = Car(60.0, -8.0, kind=Kind.OBSTACLE, length=9.0, width=1.0)
    packed = pack(episodes([cruise(0.0), far, passing, goal, wall]), 0, CASE)
    assert packed["looks"] == ["ego", "vehicle", "landmark", "obstacle"]
    assert packed["sizes"][2:] == [[4.0, 3.0], [9.0, 1.0]]
    assert packed["other"] is None  # the other of the worst moment is the one that never came near


@pytest.mark.parametrize(("worst", "first"), [(10, 0), (1500, 1500 - MOST_FRAMES * 3 // 4), (1999, 2000 - MOST_FRAMES)])
def test_a_long_episode_is_cut_around_its_worst_frame(worst, first):
    made = episodes([cruise(0.0, frames=2000), cruise(30.0, frames=2000)])
    packed = pack(made, 0, CASE | {"frames": {"min_ttc_2d": worst}})
    assert (packed["first"], packed["frames"]) == (first, MOST_FRAMES)
    x, *_ = unpack(packed)
    np.testing.assert_allclose(x, made.x[first : first + MOST_FRAMES, 0].T, atol=packed["quantum"])


def test_rows_after_the_end_of_an_episode_are_not_shown():
    made = episodes([cruise(0.0, frames=30)], [cruise(0.0, frames=90), cruise(9.0, frames=90)])
    packed = pack(made, 0, CASE)
    assert packed["frames"] == 30
    assert packed["looks"] == ["ego"]


def test_a_packed_episode_is_small():
    random = np.random.default_rng(0)
    wobble = np.cumsum(random.normal(0, 0.01, (21, 600)), axis=1)
    cars = [cruise(9.0 * k, 4.0 * (k % 3), frames=600, dt=1 / 15) for k in range(21)]
    cars = [Car(car.x + noise, car.y, 20.0, noise / 20) for car, noise in zip(cars, wobble, strict=True)]
    packed = pack(episodes(cars, dt=1 / 15), 0, CASE)
    assert len(packed["looks"]) >= 15
    assert len(json.dumps(packed)) < 80_000


def test_what_cannot_be_packed_is_named():
    made = episodes([cruise(0.0)])
    with pytest.raises(ValueError, match="world 1 is none of the 1 episodes"):
        pack(made, 1, CASE)
    made.frames[0] = 0
    with pytest.raises(ValueError, match="group/7 has no frames"):
        pack(made, 0, CASE)


def test_a_road_is_its_lanes_edges():
    road = pack_road(Network.straight(3, length=100.0))
    assert road["paved"] is None
    assert [lane["left"][1] for lane in road["lanes"]] == [-200, 200, 600]
    assert [lane["right"][1::2] for lane in road["lanes"]] == [[200, 200], [600, 600], [1000, 1000]]
    for side in ("left", "right"):  # both in the direction of travel
        ends = [lane[side][::2] for lane in road["lanes"]]
        np.testing.assert_allclose(ends, [[0, 10_000]] * 3, atol=20)
    # Solid at the road's edges, dashed between the lanes, each line once.
    assert [lane["lines"] for lane in road["lanes"]] == [[2, 0], [1, 0], [1, 2]]


def test_a_car_park_is_paved():
    road = pack_road(Network.straight(5, length=8.0))
    low_x, low_y, high_x, high_y = road["paved"]
    assert low_x == pytest.approx(0, abs=0.2)
    assert high_x == pytest.approx(8, abs=0.2)
    assert (low_y, high_y) == (-2.0, 18.0)


def test_the_state_may_be_float32():
    made = episodes([cruise(12_345.6), cruise(12_380.0, 4.0)])
    for name in ("x", "y", "heading", "speed", "acceleration"):
        object.__setattr__(made, name, getattr(made, name).to(torch.float32))
    x, *_ = unpack(pack(made, 0, CASE))
    np.testing.assert_allclose(x, made.x[:, 0].T.double(), atol=0.01)
