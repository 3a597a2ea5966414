import math

import pytest
import torch

import sim
from sim.evaluation.faults import FAULTS
from sim.sensors.frame_faults import FRAME_FAULTS, FrameFaults
from tests.sim.evaluation.fault_scenes import PICTURES, shown, worlds


def frames(step, count=4, cameras=2):
    """Bright frames [N, C, 3, 8, 12] whose every pixel tells the step."""
    return torch.full((count, cameras, 3, 8, 12), 200 + step, dtype=torch.uint8)


def played(faults, steps=20, seeds=(3, 1, 4, 15), **options):
    faulty = FrameFaults(faults, seeds, **options)
    return torch.stack([faulty(frames(step, len(seeds))) for step in range(steps)])


def test_without_a_severity_frames_pass_as_they_are():
    faulty, picture = FrameFaults(dict.fromkeys(FRAME_FAULTS[:-1], 0), [1, 2, 3, 4]), frames(0)
    assert torch.equal(faulty(picture), picture) and not faulty.effects


def test_every_fault_of_pictures_has_its_place():
    assert set(FRAME_FAULTS) <= set(FAULTS)
    clean = torch.stack([frames(step) for step in range(20)])
    for name in FRAME_FAULTS[:-1]:
        seen = played({name: FAULTS[name].severities[-2]})
        assert seen.shape == clean.shape and seen.dtype == torch.uint8 and not torch.equal(seen, clean), name


@pytest.mark.parametrize("fault", ["dropped_bursts", "blackout", "occlusion", "stuck_frame", "frame_latency"])
def test_a_stream_meets_the_faults_of_the_evaluation(fault):
    """The same seeds in a `FaultyDriver`: equal pictures, black alike."""
    severity, seeds = FAULTS[fault].severities[3], [5, 2, 9]
    pairs = shown(worlds("highway-fast-v0", 3, PICTURES), fault, severity, seeds, steps=8, seed=4)
    faulty = FrameFaults({fault: severity}, seeds, seed=4, stack=2)
    different = 0
    for there, seen in pairs:
        assert torch.equal(faulty(there), seen)
        different += not torch.equal(there, seen)
    assert different


def test_worlds_do_not_know_each_other_and_reset_names_new_episodes():
    all_, some = played({"blackout": 0.4, "occlusion": 0.2}), played({"blackout": 0.4, "occlusion": 0.2}, seeds=(15, 3))
    assert torch.equal(some, all_[:, [3, 0]])
    faulty = FrameFaults({"blackout": 0.4, "occlusion": 0.2}, [3, 1, 99, 15])
    for step in range(7):
        faulty(frames(step))
    faulty.reset(torch.tensor([False, False, True, False]), [4])
    again = torch.stack([faulty(frames(step)) for step in range(10)])
    assert torch.equal(again[:, 2], all_[:10, 2])
    assert torch.equal((again == 0)[:, 0], (all_ == 0)[7:17, 0])


def test_names_of_episodes_are_seeds_too():
    envs = sim.make_vec("highway-fast-v0", 4)
    envs.reset(seed=0)
    assert (envs.world.episode < 0).any()
    named = played({"blackout": 0.4}, seeds=envs.world.episode)
    assert torch.equal(played({"blackout": 0.4}, seeds=envs.world.episode[[2]]), named[:, [2]])
    assert not torch.equal(named[:, 0] == 0, named[:, 1] == 0)


class Rig:
    def __init__(self, n):
        self.drift = torch.zeros(n, 6)


def test_a_drift_is_in_what_is_rendered_next():
    rig = Rig(2)
    faulty = FrameFaults({"calibration_drift": 3.0}, [0, 1], rig=rig)
    assert torch.equal(faulty(frames(0, 2)), frames(0, 2))
    first = rig.drift[:, 3:].norm(dim=1)
    assert first.tolist() == pytest.approx([math.radians(3 / 30)] * 2)
    faulty(frames(1, 2))
    torch.testing.assert_close(rig.drift[:, 3:].norm(dim=1), 2 * first)
    faulty.reset(torch.tensor([True, False]))
    assert not rig.drift[0].any() and rig.drift[1].any()


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"blackouts": 0.1}, "unknown fault of frames 'blackouts'; did you mean 'blackout'?"),
        ({"missed_objects": 0.1}, "unknown fault of frames 'missed_objects'"),
        ({"occlusion": 1.2}, r"severity 1.2 of occlusion: allowed are numbers from 0 to 1 \[share of the picture\]"),
        ({"stuck_frame": 1.5}, r"severity 1.5 of stuck_frame: allowed are whole numbers \[decisions\]"),
        ({"stuck_frame": 11}, "numbers from 0 to 10"),
        ({"calibration_drift": 1.0}, "calibration_drift needs the rig whose cameras drift"),
    ],
)
def test_what_is_no_fault_is_refused(faults, message):
    with pytest.raises(ValueError, match=message):
        FrameFaults(faults, [0])
