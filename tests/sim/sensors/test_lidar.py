import math

import numpy as np
import pytest
import torch
from shapely import LineString, Point, Polygon

import sim
from sim.sensors.classes import Semantic
from sim.sensors.lidar import REFLECTIVITY, LidarSensor
from sim.world import Kind
from tests.sim.sensors.things import random_scenes, thing, world_of


def scanned(scenes, device="cpu", precision="float32", world=None, **options):
    world = world_of(scenes, precision, device) if world is None else world
    return LidarSensor(world, **options).scan().clone()


def wall(x, y, heading=0.0, length=40.0, width=0.5):
    return thing(x, y, heading, kind=Kind.OBSTACLE, length=length, width=width)


@pytest.mark.parametrize("heading", [0.0, 0.7, -2.5])
def test_a_wall_across_the_road(heading, device):
    """A wall whose face is 10 m ahead at right angles: 10 m over the cosine of a beam's angle, and nothing behind."""
    x, y = 12.0 + 10.25 * math.cos(heading), -3.0 + 10.25 * math.sin(heading)
    scene = [thing(12.0, -3.0, heading), wall(x, y, heading + math.pi / 2)]
    found = scanned([scene], device, beams=361, range=50.0, fov=180)
    angles = np.linspace(-90, 90, 361)
    expected = 10 / np.cos(np.radians(angles))
    hit = np.abs(10 * np.tan(np.radians(angles))) < 20  # half the wall
    assert hit.sum() == 253
    seen = (found.ranges[0] < 50).cpu().numpy()
    assert (seen == hit).all()
    np.testing.assert_allclose(found.ranges[0].cpu()[hit], expected[hit], atol=2e-5)
    assert (found.ranges[0].cpu()[~hit] == 50).all()
    assert (found.classes[0].cpu().numpy() == np.where(hit, Semantic.OBSTACLE, 0)).all()
    bright = REFLECTIVITY[Semantic.OBSTACLE] * np.cos(np.radians(angles))
    np.testing.assert_allclose(found.intensity[0].cpu(), np.where(hit, bright, 0), atol=1e-5)
    assert (found.instance[0].cpu().numpy() == np.where(hit, 2, 0)).all()
    behind = scanned([scene], device, beams=361, range=50.0, fov=180, yaw=180)
    assert (behind.ranges == 50).all() and not behind.intensity.any()


def test_a_rectangle_turned_by_45_degrees_shows_its_corner(device):
    """A square of 4 m on its corner, 20 m ahead: the corner lies 2 sqrt 2 nearer, the sides fall back at 45 degrees."""
    square = thing(20.0, 0.0, math.pi / 4, length=4.0, width=4.0)
    found = scanned([[thing(0.0, 0.0), square]], device, beams=3, range=60.0, fov=10)
    tangent = math.tan(math.radians(5))
    tip = 20 - 2 * math.sqrt(2)
    along = tip / (1 - tangent)  # where y = x tan 5 meets y = x - tip
    expected = torch.tensor([along / math.cos(math.radians(5)), tip, along / math.cos(math.radians(5))])
    torch.testing.assert_close(found.ranges[0].cpu(), expected, atol=1e-5, rtol=0)


def test_what_is_right_and_left_and_how_fast_it_parts(device):
    """A car 20 m to the right at 10 m/s ahead, one 30 m ahead at 25 m/s, the ego at 15 m/s; it looks along +y."""
    ego = thing(100.0, 50.0, math.pi / 2, speed=15.0)
    ahead, right = thing(100.0, 80.0, math.pi / 2, speed=25.0), thing(80.0, 50.0, math.pi / 2, speed=10.0)
    found = scanned([[ego, ahead, right]], device, beams=4, range=100.0)  # behind, left, ahead, right
    torch.testing.assert_close(found.ranges[0].cpu(), torch.tensor([100.0, 100.0, 27.5, 19.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.speed[0].cpu(), torch.tensor([0.0, 0.0, 10.0, 0.0]), atol=1e-4, rtol=0)
    assert found.instance[0].tolist() == [0, 0, 2, 3]
    slanted = scanned([[ego, ahead, right]], device, beams=1, range=100.0, fov=1, yaw=91.0)
    expected = -5 * math.cos(math.radians(91))  # 5 m/s slower, along a beam 91 degrees to the right
    assert slanted.speed[0, 0].item() == pytest.approx(expected, abs=1e-4)
    assert slanted.instance[0, 0] == 3


def test_landmarks_are_unseen_and_the_nearer_hides_the_farther(device):
    goal = thing(10.0, 0.0, kind=Kind.LANDMARK)
    scene = [thing(0.0, 0.0), wall(40.0, 0.0, math.pi / 2), goal, thing(20.0, 0.0), thing(30.0, 0.0)]
    found = scanned([scene, [scene[0], *scene[:0:-1]]], device, beams=1, range=100.0, fov=90)
    assert found.ranges[:, 0].tolist() == pytest.approx([17.5, 17.5], abs=1e-5)
    assert found.instance[:, 0].tolist() == [4, 3]


def test_inside_another_body_everything_is_at_range_0(device):
    found = scanned([[thing(0.0, 0.0), thing(1.0, 0.5, 0.4), thing(20.0, 0.0)]], device, beams=16)
    assert (found.ranges == 0).all() and (found.instance == 2).all()
    assert torch.isfinite(found.intensity).all() and (found.intensity > 0).all()


def outline(one):
    axis = np.array([math.cos(one["heading"]), math.sin(one["heading"])])
    side = np.array([-axis[1], axis[0]])
    half, wide = one.get("length", 5.0) / 2, one.get("width", 2.0) / 2
    corners = ((half, wide), (half, -wide), (-half, -wide), (-half, wide))
    return Polygon([np.array([one["x"], one["y"]]) + a * axis + b * side for a, b in corners])


def cast(scene, angle, reach):
    """The nearest thing along a ray and its distance, by shapely; (0, reach) where there is none."""
    ego, others = scene[0], scene[1:]
    start = np.array([ego["x"], ego["y"]])
    end = start + reach * np.array([math.cos(ego["heading"] + angle), math.sin(ego["heading"] + angle)])
    ray, best = LineString([start, end]), (reach, 0)
    for v, one in enumerate(others, 1):
        met = ray.intersection(outline(one))
        if not met.is_empty:
            best = min(best, (met.distance(Point(start)), v))
    return best


@pytest.mark.parametrize(
    ("precision", "far", "options"),
    [
        ("float32", 0.0, {"beams": 90}),
        ("float64", 10_000.0, {"beams": 61, "fov": 200, "yaw": 150}),
        ("float32", 0.0, {"beams": 40, "fov": 30, "yaw": -20, "range": 35.0}),
        ("float64", 0.0, {"beams": 7, "yaw": 723.0}),
    ],
)
def test_shapely_sees_the_same(precision, far, options, device):
    options = {"range": 70.0, "fov": 360, "yaw": 0} | options
    scenes = random_scenes(12, far=far, seed=int(options["beams"]))
    found = scanned(scenes, device, precision, **options)
    beams, fov = options["beams"], options["fov"]
    first = options["yaw"] - fov / 2
    angles = [first + k * (fov / beams if fov == 360 else fov / (beams - 1)) for k in range(beams)]
    checked = 0
    for w, scene in enumerate(scenes):
        for k, angle in enumerate(np.radians(angles)):
            distance, hit = cast(scene, angle, options["range"])
            around = [cast(scene, angle + turn, options["range"])[1] for turn in (-1e-5, 1e-5)]
            if set(around) == {hit}:  # not at a corner, where rounding decides
                assert found.ranges[w, k].item() == pytest.approx(distance, abs=5e-4), (w, k)
                assert found.instance[w, k].item() == (hit + 1 if hit else 0)
                checked += bool(hit)
    assert checked > 0.05 * found.ranges.numel()


def test_a_beam_along_a_side_is_no_nan(device):
    """Beams parallel to sides, through corners, along the very edge."""
    for y in (0.0, 1.0, -1.0, 2.0, 0.999999):
        found = scanned([[thing(0.0, 0.0), thing(20.0, y), thing(-20.0, -y, math.pi / 2)]], device, beams=8)
        for tensor in (found.ranges, found.intensity, found.speed):
            assert torch.isfinite(tensor).all()
        expected = 17.5 if abs(y) < 1 else 100.0
        if abs(y) != 1:
            assert found.ranges[0, 4].item() == pytest.approx(expected)


ALL_HIT = [thing(0.0, 0.0), wall(30.0, 0.0, math.pi / 2, length=400.0, width=1.0)]


def test_noise_has_its_deviation_changes_with_the_frame_and_knows_no_batch(device):
    count, options = 64, {"beams": 200, "range": 100.0, "fov": 60}
    clean = scanned([ALL_HIT], device, **options).ranges.double()
    assert (clean < 40).all()

    def noise(steps=0, episodes=range(count), sd=0.2):
        world = world_of([ALL_HIT] * len(episodes), device=device, episodes=list(episodes), steps=steps)
        return LidarSensor(world, noise=sd, **options).scan().ranges.double() - clean

    first, second = noise(), noise(steps=1)
    size = first.numel()
    assert first.std().item() == pytest.approx(0.2, rel=4 / (2 * size) ** 0.5)
    assert abs(first.mean().item()) < 4 * 0.2 / size**0.5
    assert (first.abs() > 0.4).double().mean().item() == pytest.approx(0.0455, abs=4 * (0.0455 / size) ** 0.5)
    assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].item()) < 4 / size**0.5
    assert abs(torch.corrcoef(first[:, :2].T)[0, 1].item()) < 4 / count**0.5
    assert abs(torch.corrcoef(first[:2])[0, 1].item()) < 4 / 200**0.5
    assert torch.equal(noise(episodes=[5, 40, 3]), first[[5, 40, 3]])
    torch.testing.assert_close(noise(sd=0.4), 2 * first, atol=1e-4, rtol=0)


def test_a_noisy_range_stays_within_the_sensors_and_nothing_stays_nothing(device):
    near, far = [thing(0.0, 0.0), wall(2.0, 0.0, math.pi / 2)], [thing(0.0, 0.0), wall(20.0, 0.0, math.pi / 2)]
    found = scanned([near, far], device, beams=50, range=20.0, fov=20, noise=3.0).ranges
    assert (found >= 0).all() and (found <= 20).all() and (found == 0).any() and (found == 20).any()
    assert (scanned([[thing(0.0, 0.0)]], device, beams=50, range=20.0, noise=3.0).ranges == 20).all()


def test_drop_out_loses_its_share_of_the_beams_and_a_greater_one_loses_more(device):
    lost = {}
    for share in (0.0, 0.1, 0.4, 1.0):
        found = scanned([ALL_HIT] * 64, device, beams=200, range=100.0, fov=60, drop_out=share, noise=0.1)
        lost[share] = found.ranges == 100
        size = lost[share].numel()
        assert lost[share].double().mean().item() == pytest.approx(share, abs=4 * (share * (1 - share) / size) ** 0.5)
        for tensor in (found.classes, found.intensity, found.speed, found.instance):
            assert not tensor[lost[share]].any()
        assert (found.classes[~lost[share]] == Semantic.OBSTACLE).all()
    assert (lost[0.4] | ~lost[0.1]).all() and (lost[0.4] & ~lost[0.1]).any()


def driven(seeds, threads=1, steps=3, device="cpu", **options):
    envs = sim.make_vec("intersection-v0", len(seeds), threads=threads, device=device)
    sensor = LidarSensor(envs.world, noise=0.1, drop_out=0.2, threads=threads, **options)
    envs.reset(seed=list(seeds))
    for _ in range(steps):
        envs.step(torch.ones(len(seeds), dtype=torch.int64, device=device))
    return sensor.scan()


def test_the_same_bytes_in_any_batch_place_and_number_of_threads(device):
    seeds = list(range(70))
    one = driven(seeds, device=device, beams=100)
    assert (one.instance > 0).any()
    some = [41, 3, 69, 0]
    for threads, chosen in ((2, seeds), (1, some)):
        other = driven(chosen, threads, device=device, beams=100)
        for name in ("ranges", "classes", "intensity", "speed", "instance"):
            assert torch.equal(getattr(other, name), getattr(one, name)[chosen]), name


def test_several_threads_a_world_as_on_cuda(monkeypatch, device):
    whole = scanned(random_scenes(20), device, beams=50, noise=0.1, drop_out=0.1)
    monkeypatch.setattr("sim.sensors.lidar.stretch", lambda beams, device: 7)
    parts = scanned(random_scenes(20), device, beams=50, noise=0.1, drop_out=0.1)
    for name in ("ranges", "classes", "intensity", "speed", "instance"):
        assert torch.equal(getattr(parts, name), getattr(whole, name)), name


def test_only_the_worlds_of_a_mask_are_scanned_and_each_agent_from_its_own_place(device):
    scene = [thing(0.0, 0.0), thing(50.0, 0.0, math.pi), wall(25.0, 0.0, math.pi / 2)]
    world = world_of([scene, scene], device=device, egos=2)
    first, second = (LidarSensor(world, beams=1, fov=10, agent=agent) for agent in (0, 1))
    found = first.scan([True, False])
    assert found.ranges[:, 0].tolist() == [24.75, 0.0]
    world.x[:, 1] += 5
    assert second.scan().ranges[:, 0].tolist() == pytest.approx([29.75] * 2, abs=1e-5)


def test_classes_are_those_of_the_bodies_in_the_pictures(device):
    """Of many vehicles all four classes are met, with about the shares that bodies.py states."""
    count = 4000
    found = scanned([[thing(0.0, 0.0), thing(20.0, 0.0)]] * count, device, beams=1, fov=10)
    shares = torch.bincount(found.classes[:, 0].long().cpu(), minlength=11) / count
    expected = {Semantic.CAR: 0.60, Semantic.VAN: 0.18, Semantic.TRUCK: 0.14, Semantic.MOTORCYCLE: 0.08}
    for category, share in expected.items():
        assert shares[category].item() == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)
        lit = found.intensity[found.classes == category]
        assert lit.cpu().numpy() == pytest.approx(REFLECTIVITY[category])


def test_beams_on_the_grid_of_the_field_of_view():
    world = world_of([ALL_HIT])
    ahead = LidarSensor(world, beams=5, fov=90, yaw=10).angles
    assert np.degrees(ahead) == pytest.approx([-35, -12.5, 10, 32.5, 55])
    round_about = LidarSensor(world, beams=4).angles
    assert np.degrees(round_about) == pytest.approx([-180, -90, 0, 90])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "lidar beams is 0; it must be an integer of at least 1"),
        ({"beams": 2.5}, "lidar beams is 2.5"),
        ({"beams": True}, "lidar beams is True"),
        ({"range": 0}, "lidar range is 0; it must be above 0 m"),
        ({"range": math.inf}, "lidar range is inf"),
        ({"fov": 361}, "lidar fov is 361; it must be above 0 and at most 360 degrees"),
        ({"fov": 0}, "lidar fov is 0"),
        ({"yaw": math.nan}, "lidar yaw is nan"),
        ({"noise": -1}, "lidar noise is -1"),
        ({"drop_out": 1.5}, "lidar drop_out is 1.5; it must be a share from 0 to 1"),
        ({"drop_out": "some"}, "lidar drop_out is 'some'"),
    ],
)
def test_unusable_options(options, message):
    with pytest.raises(ValueError, match=message):
        LidarSensor(world_of([ALL_HIT]), **options)


def test_more_beams_than_memory():
    with pytest.raises(MemoryError, match=r"1 worlds with 1000000000000 beams need 15,000\.0 GB on cpu"):
        LidarSensor(world_of([ALL_HIT]), beams=10**12)
