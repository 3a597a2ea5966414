"""The stream: the same batches from any position and in any batch, labels that agree with the pixels, splits apart."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from perception.data.driving import MixedDriver, Source
from perception.data.splits import split_of
from perception.data.stream import FrameStream, StreamSettings, groups_of
from perception.data.targets import CATEGORIES
from sim.evaluation.driver import IdleDriver, RandomDriver
from sim.sensors.camera.cameras import Camera, preset
from sim.sensors.looks.domains import HELD_OUT, TRAINING

SMALL = Camera(width=64, height=48)
HIGHWAY = Source("highway-fast-v0", {"vehicles_density": 2, "duration": 6})
ROUNDABOUT = Source("roundabout-v0")
SETTINGS = StreamSettings(
    sources=(HIGHWAY, ROUNDABOUT), cameras=(SMALL,), batch_size=4, frames=3, masks=True, depth=True, semantic=True
)


@pytest.fixture(scope="module")
def batches():
    stream = FrameStream(SETTINGS, threads=1)
    return [next(stream) for _ in range(7)]


def equal(one, other):
    assert one.pictures == other.pictures
    for name in ("images", "depth", "semantic", "instance", "alive"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for target, like in zip(one.targets, other.targets, strict=True):
        assert target.keys() == like.keys()
        assert all(torch.equal(target[name], like[name]) for name in target)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stream_goes_on_from_any_position(batches, threads):
    stream = FrameStream(SETTINGS, threads=threads)
    for position in (4, 0, 6):
        stream.load_state_dict({"position": position})
        equal(next(stream), batches[position])
        assert stream.state_dict() == {"position": position + 1}
    with pytest.raises(ValueError, match="position is -1"):
        stream.load_state_dict({"position": -1})


def test_pictures_of_a_seed_depend_on_neither_the_batch_nor_what_is_beside_them(batches):
    seen = {}
    for batch in batches:
        for i, picture in enumerate(batch.pictures):
            seen[picture.seed, picture.tick] = (picture, batch.images[i], batch.depth[i])
    larger = FrameStream(replace(SETTINGS, batch_size=12, masks=False), threads=1)
    compared = 0
    for _ in range(3):
        batch = next(larger)
        for i, picture in enumerate(batch.pictures):
            if (picture.seed, picture.tick) in seen:
                like, image, depth = seen[picture.seed, picture.tick]
                assert picture == like
                assert torch.equal(batch.images[i], image) and torch.equal(batch.depth[i], depth)
                compared += 1
    assert compared >= 20


def test_consecutive_batches_differ(batches):
    for one, other in pairwise(batches):
        assert ((one.images != other.images).flatten(1).any(1)).all()


def test_seeds_and_domains_of_splits_are_apart():
    met = {}
    for split in ("train", "val", "test"):
        stream = FrameStream(replace(SETTINGS, split=split, frames=1, batch_size=8, lead=0), threads=1)
        pictures = [picture for _ in range(3) for picture in next(stream).pictures]
        met[split] = {p.seed for p in pictures}, {p.domain for p in pictures}
        assert {split_of(seed) for seed in met[split][0]} == {split}
    assert met["train"][1] | met["val"][1] <= set(TRAINING) and len(met["train"][1]) > 2
    assert met["test"][1] <= set(HELD_OUT)
    assert not met["train"][0] & met["val"][0] and not met["train"][0] & met["test"][0]


def test_targets_agree_with_the_pixels(batches):
    seen = 0
    for batch in batches:
        for target, instance, semantic in zip(batch.targets, batch.instance, batch.semantic, strict=True):
            shown = set(instance.unique().tolist()) - {0}
            assert len(target["boxes"]) == len(shown)
            for i, (x0, y0, x1, y1) in enumerate(target["boxes"].int().tolist()):
                mask = target["masks"][i]
                rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
                assert (x0, y0, x1, y1) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                assert mask.sum() == target["area"][i]
                name = CATEGORIES[int(target["labels"][i])]
                assert (semantic[mask] == ["car", "van", "truck", "motorcycle"].index(name) + 5).all()
                seen += 1
    assert seen > 30


def test_few_pixels_can_be_asked_to_be_no_target(batches):
    stream = FrameStream(replace(SETTINGS, least_pixels=20), threads=1)
    areas = torch.cat([target["area"] for target in next(stream).targets])
    every = torch.cat([target["area"] for target in batches[0].targets])
    assert 0 < len(areas) < len(every) and torch.equal(areas, every[every >= 20])


def test_episodes_are_of_different_ages_and_begin_again():
    settings = replace(SETTINGS, sources=(HIGHWAY,), batch_size=16, frames=6, lead=2)
    stream = FrameStream(settings, threads=1)
    pictures = [next(stream).pictures for _ in range(6)]
    alone = replace(settings, sources=(Source("highway-fast-v0", {"vehicles_count": 0}),))  # nobody crashes
    assert {picture.time for picture in next(FrameStream(alone, threads=1)).pictures} == {0, 1, 2}
    assert len({picture.episode for tick in pictures for picture in tick}) > 16  # an episode lasts 6 s at most
    endless = FrameStream(replace(settings, restart=False), threads=1)
    batches = [next(endless) for _ in range(6)]
    assert len({picture.episode for batch in batches for picture in batch.pictures}) == 16
    alive = torch.stack([batch.alive for batch in batches])
    assert alive[0].all() and not alive[-1].all()
    assert (alive[1:] <= alive[:-1]).all()


def test_several_cameras_lie_side_by_side():
    cameras = tuple(preset("surround", width=48, height=32))
    settings = replace(SETTINGS, sources=(HIGHWAY,), cameras=cameras, batch_size=2, lanes=True)
    stream = FrameStream(settings, threads=1)
    batch = next(stream)
    assert len(batch) == stream.pictures == 8 == len(batch.targets) == len(batch.lanes) == len(batch.alive)
    assert [picture.camera for picture in batch.pictures] == ["front", "left", "right", "rear"] * 2


def test_a_faster_stream_meets_the_same_worlds():
    slow = FrameStream(replace(SETTINGS, sources=(HIGHWAY,), batch_size=2, frames=2, masks=False), threads=1)
    fast = FrameStream(replace(slow.settings, frames=6, fps=5.0), threads=1)
    slow_batches, fast_batches = [next(slow) for _ in range(2)], [next(fast) for _ in range(6)]
    for one, other in ((slow_batches[0], fast_batches[0]), (slow_batches[1], fast_batches[5])):
        assert torch.equal(one.images, other.images)
    times = [batch.pictures[0].time for batch in fast_batches]
    assert [round(b - a, 3) for a, b in pairwise(times)] == [0.2] * 5


def test_the_seed_decides_who_drives():
    mixed = MixedDriver((RandomDriver, IdleDriver))
    stream = FrameStream(replace(SETTINGS, sources=(HIGHWAY,)), threads=1)
    envs = stream.pool(0).envs
    mixed.prepare(envs, [4, 5, 6, 7])
    chosen = mixed.chosen.tolist()
    mixed.prepare(envs, [7, 6, 5, 4])
    assert mixed.chosen.tolist() == chosen[::-1]
    mixed.prepare(envs, [4, 4, 4, 4])
    assert len(set(mixed.chosen.tolist())) == 1
    observation, _ = envs.reset(seed=[4, 4, 4, 4])
    assert mixed.act(observation).shape == (4,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": (Source("highway-v9"),)}, "unknown environment id 'highway-v9'"),
        ({"sources": (Source("highway-v0", {"lane_count": 3}),)}, "unknown config key 'lane_count'"),
        ({"fps": 2.0}, r"runs at 5 Hz, so fps cannot be 2; allowed: 5, 1"),
        ({"fps": 0.0}, "fps cannot be 0"),
        ({"domains": ("fgo",)}, "unknown domain 'fgo'; did you mean 'fog'"),
        ({"domains": (HELD_OUT[0],)}, "held out for test"),
        ({"split": "tests"}, "unknown split 'tests'"),
        ({"batch_size": 0}, "batch_size is 0; it must be an integer of at least 1"),
        ({"frames": 1.5}, "frames is 1.5"),
        ({"sources": ()}, "at least one source"),
        ({"cameras": (SMALL, Camera(name="other"))}, "same width and height"),
    ],
)
def test_what_cannot_be_streamed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        next(FrameStream(replace(SETTINGS, **changes), threads=1))


def test_sources_are_read_from_text():
    assert Source.parse("highway-v0") == Source("highway-v0")
    assert Source.parse("highway-v0:vehicles_density=1.5,lanes_count=3").config == {
        "vehicles_density": 1.5,
        "lanes_count": 3,
    }
    with pytest.raises(ValueError, match="cannot read 'lanes' of"):
        Source.parse("highway-v0:lanes")


def test_a_batch_takes_its_worlds_from_as_many_sources_as_share_it_evenly():
    assert [groups_of(*pair) for pair in ((32, 10), (20, 10), (7, 10), (4, 1), (9, 2))] == [8, 10, 7, 1, 1]
