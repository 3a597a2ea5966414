import math
from functools import cache

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sim.evaluation.counted_random import CountedRandom
from sim.sensors.faults import (
    COVER_STEPS,
    DRIFT_METRES,
    DRIFT_STEPS,
    FREEZE_PERIOD,
    SENSOR_FAULTS,
    Blackout,
    CalibrationDrift,
    FrameLatency,
    Occlusion,
    StuckFrame,
    stacks_of,
)

WHITE = 255


def numbers(episodes):
    return CountedRandom(0, 0, range(episodes) if isinstance(episodes, int) else episodes)


def streamed(effect, episodes, steps, frame, restart=None):
    """What is seen of `frame(step)`, [steps, N, ...], with the steps of each world; `restart` {step: worlds}."""
    at, seen = torch.zeros(episodes, dtype=torch.int64), []
    for step in range(steps):
        for world in (restart or {}).get(step, []):
            at[world] = 0
            effect.reset(torch.arange(episodes) == world)
        now = effect.see(frame(at), at)
        assert torch.equal(effect.see(frame(at), at), now), "looking twice changes what is seen"
        effect.keep(now, at)
        seen.append(now.clone())
        at = at + 1
    return torch.stack(seen)


def numbered(at):
    """Frames of 2 x 2 pixels that show the number of the step."""
    return at.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).clone()


def white(channels, rows, columns):
    return lambda at: torch.full((len(at), channels, rows, columns), WHITE, dtype=torch.uint8)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_frames_arrive_k_decisions_late_and_an_episode_begins_with_its_own(delay):
    seen = streamed(FrameLatency(delay), 2, 9, numbered, {5: [1]})[:, :, 0, 0, 0]
    late = [max(step - delay, 0) for step in range(9)]
    assert seen[:, 0].tolist() == late
    assert seen[:, 1].tolist() == late[:5] + late[:4]


@cache
def frozen(length):
    """Of 200 steps of 300 episodes the number of the frame that is seen, and whether that is an old one."""
    seen = streamed(StuckFrame(length, numbers(300)), 300, 200, numbered)[:, :, 0, 0, 0].long()
    return seen, seen < torch.arange(200)[:, None]


@pytest.mark.parametrize("length", [1, 4, 8])
def test_a_sensor_freezes_once_a_period_for_its_time(length):
    seen, stuck = frozen(length)
    assert not stuck[0].any()
    for world in range(20):
        arrived, runs, run = 0, [], 0
        for step in range(200):
            if stuck[step, world]:
                run += 1
                assert seen[step, world] == arrived
            else:
                arrived = step
                runs += [run] * bool(run)
                run = 0
        # freezes that touch each other are one; the last may still last
        assert all(one >= length for one in runs) and 0.25 * 200 / FREEZE_PERIOD < len(runs) <= 200 / FREEZE_PERIOD
        if length == 1:
            assert runs.count(1) >= len(runs) - 1
    for period in range(8):  # exactly one freeze begins in each period, anywhere in it
        begins = frozen_begins(period)
        assert begins.unique().numel() == FREEZE_PERIOD


def frozen_begins(period):
    _, stuck = frozen(1)
    window = stuck[period * FREEZE_PERIOD + 1 : (period + 1) * FREEZE_PERIOD + 1]
    assert (window.sum(0) == 1).all()
    return window.int().argmax(0)


def test_a_longer_freeze_holds_what_a_shorter_one_does():
    _, short = frozen(2)
    _, long = frozen(8)
    assert (long | ~short).all() and (long & ~short).any()


def test_freezes_take_their_share_of_the_frames():
    _, stuck = frozen(4)
    # once in 10; two that overlap, by 1, 2 or 3 frames in 3, 2 or 1 of 100 pairs of places, share those
    share = (4 - (3 * 1 + 2 * 2 + 1 * 3) / 100) / 10
    assert stuck[21:].double().mean().item() == pytest.approx(share, abs=0.002)


def blacked(share, episodes=400, steps=300, stack=1):
    effect = Blackout(share, stack, numbers(episodes))
    return (streamed(effect, episodes, steps, white(stack, 2, 3)) == 0).flatten(3)


def test_black_frames_have_their_share_from_the_start_and_come_in_bursts_of_five():
    black = blacked(0.3)
    assert torch.equal(black.all(3), black.any(3))
    black = black[:, :, 0, 0]
    assert black.double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert black[0].double().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 400) ** 0.5)
    lengths = run_lengths(black)
    assert lengths.mean() == pytest.approx(5.0, abs=4 * lengths.std() / len(lengths) ** 0.5)


def run_lengths(flags):
    """The lengths of all rows of True that begin and end, of the columns of flags [steps, N]."""
    lengths = []
    for row in flags.T.tolist():
        text = "".join("x" if one else "." for one in row)
        lengths += [len(part) for part in text.strip("x").split(".") if part]
    return np.array(lengths)


def test_a_greater_share_of_black_frames_holds_a_smaller_one():
    shares = SENSOR_FAULTS["blackout"].severities
    before = torch.zeros(100, 50, 1, 6, dtype=torch.bool)
    for share in shares:
        black = blacked(share, 50, 100)
        assert (black | ~before).all() and (share == 0 or (black & ~before).any())
        before = black
    assert not blacked(0.0, 50, 100).any()


def test_a_black_frame_moves_through_the_stack():
    alone, stacked = blacked(0.3, 40, 60)[:, :, 0, 0], blacked(0.3, 40, 60, stack=3)[..., 0]
    for back in range(3):
        assert torch.equal(stacked[back:, :, 2 - back], alone[: 60 - back])


def test_a_new_episode_has_no_black_frames_of_the_one_before():
    effect = Blackout(0.6, 3, numbers([*range(20)] * 2))
    black = streamed(effect, 40, 40, white(3, 2, 2), {25: range(20, 40)})[..., 0, 0] == 0
    assert torch.equal(black[25:, 20:], black[:15, :20])
    assert black[24].any() and not torch.equal(black[25:, 20:], black[25:, :20])


def covered(share, episodes=200, steps=1, shape=(3, 60, 80), stack=1, seeds=None):
    effect = Occlusion(share, stack, numbers(seeds or episodes))
    return streamed(effect, len(seeds) if seeds else episodes, steps, white(*shape)) == 0


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 1.0])
def test_an_occlusion_covers_its_share_with_one_rectangle(share):
    hidden = covered(share)[0]
    assert torch.equal(hidden.all(1), hidden.any(1))
    hidden = hidden[:, 0]
    rows, columns = hidden.any(2), hidden.any(1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None, :])
    high, wide = rows.sum(1), columns.sum(1)
    for flags, size in ((rows, high), (columns, wide)):  # in one piece
        assert ((flags.int().diff(dim=1) != 0).sum(1) <= 2).all() and (size > 0).all()
    area = (high * wide).double() / (60 * 80)
    assert area.mean().item() == pytest.approx(share, rel=0.01)
    assert (area - share).abs().max() < 0.03
    if share == 0.05:
        form = (high / 60) / (wide / 80)
        assert 0.4 < form.min() < 0.7 and 1.5 < form.max() < 2.4
        assert (rows.double().mean(0)[2:-2] > 0.01).all() and (columns.double().mean(0)[2:-2] > 0.01).all()  # anywhere


def test_a_greater_occlusion_hides_what_a_smaller_one_does():
    before = torch.zeros(1, 200, 3, 60, 80, dtype=torch.bool)
    for share in SENSOR_FAULTS["occlusion"].severities:
        hidden = covered(share)
        assert (hidden | ~before).all() and (share == 0 or (hidden & ~before).any())
        before = hidden
    assert not covered(0.0).any()


def test_a_cover_stays_for_some_decisions_and_then_moves():
    hidden = covered(0.2, 20, 3 * COVER_STEPS, (1, 30, 30))
    for step in range(1, 3 * COVER_STEPS):
        same = (hidden[step] == hidden[step - 1]).flatten(1).all(1)
        assert same.all() if step % COVER_STEPS else (~same).sum() > 15


def test_what_was_covered_stays_so_in_the_stack():
    alone, stacked = covered(0.2, 10, 25, (1, 20, 20)), covered(0.2, 10, 25, (2, 20, 20), stack=2)
    assert torch.equal(stacked[:, :, 1], alone[:, :, 0])
    assert torch.equal(stacked[1:, :, 0], alone[:-1, :, 0])


def test_what_happens_to_an_episode_is_the_same_in_any_batch():
    for effect in (
        lambda seeds: Blackout(0.4, 2, numbers(seeds)),
        lambda seeds: Occlusion(0.4, 2, numbers(seeds)),
        lambda seeds: StuckFrame(4, numbers(seeds)),
    ):
        frames = lambda at: white(2, 9, 9)(at) - at.to(torch.uint8)[:, None, None, None]  # noqa: E731
        all_, some = (streamed(effect(seeds), len(seeds), 40, frames) for seeds in ([3, 1, 4, 15], [15, 1]))
        assert torch.equal(some, all_[:, [3, 1]])


def test_of_a_mixed_observation_only_the_pictures_suffer_and_each_member_for_itself():
    effect = Occlusion(0.3, ({"seen": 1, "speed": 0}, 1), numbers(4))
    picture, speeds = white(1, 16, 16)(torch.zeros(4)), torch.ones(4, 3)
    (first, second) = effect.see(({"seen": picture, "speed": speeds}, picture), torch.zeros(4, dtype=torch.int64))
    assert first["speed"] is speeds
    assert (first["seen"] == 0).any() and (second == 0).any() and not torch.equal(first["seen"], second)
    assert (picture == WHITE).all()


class Rig:
    def __init__(self, n):
        self.drift = torch.full((n, 6), 9.0)


def test_a_camera_turns_steadily_by_its_severity_and_then_stays():
    rig, degrees = Rig(50), 4.0
    effect = CalibrationDrift(degrees, [rig], numbers(50))
    assert not rig.drift.any()
    at, turned = torch.zeros(50, dtype=torch.int64), []
    for _ in range(DRIFT_STEPS + 5):
        effect.keep(None, at)
        at = at + 1
        turned.append(rig.drift.double().clone())
    angles = torch.stack(turned)[:, :, 3:].norm(dim=2) * 180 / math.pi
    moved = torch.stack(turned)[:, :, :3].norm(dim=2)
    expected = torch.tensor([degrees * min(step / DRIFT_STEPS, 1) for step in range(1, DRIFT_STEPS + 6)]).double()
    torch.testing.assert_close(angles, expected[:, None].expand(-1, 50), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, DRIFT_METRES * expected[:, None].expand(-1, 50), atol=1e-7, rtol=0)
    axes = turned[-1][:, 3:] / (degrees * math.pi / 180)
    assert axes.mean(0).abs().max() < 0.4 and (axes.amax(0) > 0.7).all() and (axes.amin(0) < -0.7).all()
    effect.reset(torch.arange(50) == 7)
    assert not rig.drift[7].any() and rig.drift[8].any()


def test_a_greater_drift_goes_the_same_way_and_each_camera_its_own():
    small, large = Rig(3), (Rig(3), Rig(3))
    at = torch.tensor([0, 5, 99])
    CalibrationDrift(1.0, [small], numbers(3)).keep(None, at)
    CalibrationDrift(2.0, large, numbers(3)).keep(None, at)
    torch.testing.assert_close(large[0].drift, 2 * small.drift)
    assert not torch.allclose(large[0].drift, large[1].drift)


def test_pictures_are_found_in_spaces():
    picture, table = spaces.Box(0, 255, (4, 8, 8), np.uint8), spaces.Box(-1, 1, (5, 5))
    assert stacks_of(picture, {"type": "BirdsEye", "stack": 2}) == 2
    assert stacks_of(picture, {"type": "GrayscaleObservation", "stack_size": 4}) == 4
    assert stacks_of(picture, {"type": "Camera"}) == 1
    assert stacks_of(table, {"type": "Kinematics"}) == 0
    parts = {"observation_configs": [{"type": "Kinematics"}, {"type": "BirdsEye", "stack": 4}]}
    assert stacks_of(spaces.Tuple([table, picture]), parts) == (0, 4)
    agents = {"type": "MultiAgentObservation", "observation_config": {"type": "BirdsEye", "stack": 2}}
    assert stacks_of(spaces.Tuple([picture, picture]), agents) == (2, 2)
