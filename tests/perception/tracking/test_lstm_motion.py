"""The LSTM learns to move, is used as it was trained, and does not see how many tracks there are beside."""

import json

import pytest
import torch

from perception.tracking.byte_tracker import Tracker
from perception.tracking.clips import Trouble, troubled
from perception.tracking.comparison import follow, score
from perception.tracking.lstm_motion import (
    LstmMotion,
    LstmSettings,
    MotionNetwork,
    TrackBatches,
    TrackSettings,
    motion_loss,
    train,
)
from perception.training import TrainingSettings
from tests.perception.tracking.made_clips import made_clip
from tests.perception.tracking.test_tracker import drawn, followed

FRAME = (320, 192)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small network, trained for a few seconds on boxes that move at constant speed."""
    folder = tmp_path_factory.mktemp("lstm") / "model"
    clips = [made_clip(f"made-{seed}", objects=10, seed=seed) for seed in range(8)]
    settings = TrainingSettings(steps=150, rate=1e-2, warm_up=10, averaging=0.9)
    train(clips, folder, LstmSettings(hidden=24), TrackSettings(batch_size=64, length=10), settings, progress=False)
    return folder


@pytest.fixture(scope="module")
def motion(folder):
    return LstmMotion.load(folder)


def batch(position=0, **settings):
    batches = TrackBatches([made_clip("other", objects=12, seed=99)], TrackSettings(**settings))
    batches.load_state_dict({"position": position})
    return next(batches)


def test_batches_are_histories():
    one = batch(batch_size=64, length=9, noise=0.05)
    assert one["seen"].shape == (64, 9, 4) and one["gap"].shape == one["there"].shape == (64, 9)
    there = one["there"].bool()
    assert there[:, 0].all() and not (there[:, 1:] & ~there[:, :-1]).any()  # a history has no hole in its rows
    gap = one["gap"][:, 1:][there[:, 1:]]
    assert (one["gap"][:, 0] == 0).all() and gap.min() > 0.06 and 1 < gap.max() < 2.5
    # Boxes of these clips move at constant speed: so much further in so much more time.
    moved = (one["true"][:, 2:, 0] - one["true"][:, 1:-1, 0]) / one["gap"][:, 2:].clamp(min=0.01)
    before = (one["true"][:, 1:-1, 0] - one["true"][:, :-2, 0]) / one["gap"][:, 1:-1].clamp(min=0.01)
    assert torch.allclose(moved[there[:, 2:]], before[there[:, 2:]], atol=0.01)
    assert torch.equal(batch(5)["seen"], batch(5)["seen"]) and not torch.equal(batch(5)["gap"], batch(6)["gap"])


def test_it_has_learned_to_move(motion):
    """Half a second ahead, it is nearer than where the box was last seen, and as sure as it should be."""
    random, step = torch.Generator().manual_seed(0), torch.full((20,), 1 / 15)

    def seen(k):
        return boxes_at(k) + 0.03 * torch.randn(20, 4, generator=random) * boxes_at(k)[:, 2:].repeat(1, 2)

    states = motion.start(seen(0))
    for k in range(1, 12):
        states = motion.update(motion.predict(states, step), seen(k))
    states = motion.predict(states, torch.full((20,), 0.5))
    off = (motion.boxes(states) - boxes_at(11 + 7.5))[:, :2]
    standing = (boxes_at(11) - boxes_at(11 + 7.5))[:, :2]
    assert off[:, 0].abs().mean() < 0.5 * standing[:, 0].abs().mean()
    assert (motion.velocities(states)[:, 0] - speeds()).abs().mean() < 0.5 * speeds().abs().mean()
    sure = off / motion.variances(states)[:, :2].sqrt()
    assert 0.1 < sure.square().mean() < 5
    later = motion.predict(states, torch.full((20,), 1.0))
    assert (motion.variances(later) > motion.variances(states)).all()


def speeds():
    return torch.linspace(-40, 40, 20)


def boxes_at(frame):
    x = 160 + speeds() * frame / 15
    return torch.stack([x, torch.full((20,), 90.0), torch.full((20,), 30.0), torch.full((20,), 22.0)], 1)


def test_it_is_used_as_it_was_trained(motion):
    """The tracker's states and the loss's loop make the same predictions of the same histories."""
    histories = batch(batch_size=16, length=8, noise=0.05)
    seen, true, gap, there = (histories[name] for name in ("seen", "true", "gap", "there"))
    states, off = motion.start(seen[:, 0]), torch.zeros(())
    for k in range(1, 8):
        states = motion.predict(states, gap[:, k])
        error = (motion.boxes(states) - true[:, k])[:, :2] / seen[:, k - 1, 2:]
        off = off + (error.abs().mean(1) * there[:, k]).sum()
        states = motion.update(states, seen[:, k])
    expected = motion_loss(FRAME)(motion.network, histories)["off"]
    assert float(off / there[:, 1:].sum()) == pytest.approx(float(expected), rel=1e-4)


def test_a_gap_in_parts_is_the_whole_gap(motion):
    states = motion.start(boxes_at(0))
    whole = motion.predict(states, torch.full((20,), 0.5))
    for _ in range(2):
        states = motion.predict(states, torch.full((20,), 0.25))
    assert torch.equal(motion.boxes(states), motion.boxes(whole))
    assert torch.equal(motion.variances(states), motion.variances(whole))


def test_a_turn_of_the_camera_is_no_motion(motion):
    """All that is known of a track moves with it: what comes next is as if it had always been there."""
    step, offset = torch.full((20,), 1 / 15), torch.tensor([[30.0, -5]]).expand(20, 2)
    states = motion.start(boxes_at(0))
    for k in range(1, 6):
        states = motion.update(motion.predict(states, step), boxes_at(k))
    straight, turned = motion.predict(states, step), motion.shift(motion.predict(states, step), offset)
    assert torch.allclose(motion.boxes(turned), motion.boxes(straight) + torch.tensor([30.0, -5, 0, 0]))
    later = [motion.boxes(motion.predict(one, 5 * step)) for one in (straight, turned)]
    assert torch.allclose(later[1], later[0] + torch.tensor([30.0, -5, 0, 0]), atol=1e-3)
    seen = boxes_at(6)
    aside = torch.cat([seen[:, :2] + offset, seen[:, 2:]], 1)
    speed = [motion.velocities(motion.update(*pair))[:, 0] for pair in ((straight, seen), (turned, aside))]
    fooled = motion.velocities(motion.update(straight, aside))[:, 0]
    assert (speed[1] - speed[0]).abs().mean() < 0.2 * (fooled - speed[0]).abs().mean()


def test_beyond_the_longest_gap_it_is_less_and_less_sure(motion):
    states = motion.start(boxes_at(0))
    spread = [motion.variances(motion.predict(states, torch.full((20,), gap))) for gap in (3.0, 6.0)]
    assert torch.allclose(spread[1], 4 * spread[0])


def test_streams_do_not_know_of_each_other(motion):
    clips = drawn(30, 12)
    together = followed(clips, motion=motion)
    assert [followed([clip], motion=motion)[0] for clip in clips[:6]] == together[:6]  # bit for bit
    assert followed(clips[::-1], motion=motion)[::-1] == together


def test_a_tracker_takes_it_by_its_folder(folder):
    clips = [troubled(made_clip("new", seed=123), Trouble())]
    tracker = Tracker("lstm", weights=str(folder))
    assert score(clips, follow(clips, tracker.motion))["IDF1"] > 0.8


def test_wrong_folders_are_named(folder, tmp_path):
    facts = json.loads((folder / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(facts | {"kind": "one-stage"}))
    with pytest.raises(ValueError, match="holds a model of kind 'one-stage'; expected 'lstm-motion'"):
        LstmMotion.load(tmp_path)
    facts["network"]["lstm"]["hidden"] = 8
    (tmp_path / "model.json").write_text(json.dumps(facts))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="is of another network"):
        LstmMotion.load(tmp_path)


def test_bad_clips_are_named(tmp_path):
    from dataclasses import replace

    with pytest.raises(ValueError, match="clips must be of one size"):
        train([made_clip(), replace(made_clip(), width=640)], tmp_path / "x")
    with pytest.raises(ValueError, match="no track that is seen twice"):
        TrackBatches([made_clip(objects=0)])


def test_it_begins_standing_still():
    motion = LstmMotion(MotionNetwork(LstmSettings()), FRAME)
    states = motion.predict(motion.start(boxes_at(0)), torch.full((20,), 0.7))
    assert torch.equal(motion.boxes(states), boxes_at(0))
