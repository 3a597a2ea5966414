import numpy as np
import pytest
import torch
from gymnasium import spaces

from sim.evaluation.counted_random import CountedRandom
from sim.evaluation.driver import DriverSpec
from sim.evaluation.fault_effects import DroppedFrames
from sim.evaluation.faults import BURST_STEPS, FAULTS, FaultyDriver, faulty
from tests.sim.evaluation.fault_scenes import HIGHWAY, Counting, Watcher, shown, worlds


def test_lost_frames_repeat_the_last_that_arrived():
    pairs = shown(worlds("highway-fast-v0", 32, HIGHWAY), "dropped_frames", 0.5, range(32), steps=12)
    lost = 0
    for i in range(32):
        arrived = None
        for step, (there, seen) in enumerate(pairs):
            if torch.equal(there[i], seen[i]):
                arrived = there[i]
                continue
            assert step > 0
            assert torch.equal(seen[i], arrived)
            lost += 1
    assert lost == pytest.approx(32 * 11 * 0.5, abs=5 * (32 * 11 * 0.25) ** 0.5)


def test_the_first_frame_of_an_episode_always_arrives():
    effect, seen = DroppedFrames(1.0, None, CountedRandom(0, 0, [0, 1])), []
    for number, steps in enumerate(([0, 0], [1, 1], [2, 0], [3, 1])):  # world 1 begins anew at the third
        now, at = torch.full((2, 1), number), torch.tensor(steps)
        shown = effect.see(now, at)
        effect.keep(shown, at)
        seen.append(shown[:, 0].tolist())
    assert seen == [[0, 0], [0, 0], [0, 2], [0, 2]]


def chain(share, burst, episodes=400, steps=500):
    """Which frames are lost, bool [steps, episodes]: frame t shows the number t."""
    effect, lost = DroppedFrames(share, burst, CountedRandom(0, 0, range(episodes))), []
    for step in range(steps):
        now, at = torch.full((episodes, 1), step), torch.full((episodes,), step)
        seen = effect.see(now, at)
        effect.keep(seen, at)
        lost.append(seen[:, 0] < step)
    return torch.stack(lost)


def bursts(lost):
    """The lengths of all rows of lost frames that end."""
    lengths = []
    for row in lost.T.tolist():
        length = 0
        for one in row:
            if length and not one:
                lengths.append(length)
            length = length + 1 if one else 0
    return np.array(lengths)


@pytest.mark.parametrize(("share", "burst"), [(0.2, 5.0), (0.6, 5.0), (0.3, 3.0)])
def test_bursts_have_their_mean_length_and_the_frames_their_share(share, burst):
    lost = chain(share, burst)
    lengths = bursts(lost)
    assert lengths.mean() == pytest.approx(burst, abs=5 * lengths.std() / len(lengths) ** 0.5)
    assert lengths.max() > 2 * burst
    assert lost[100:].float().mean() == pytest.approx(share, abs=0.01)


def test_single_losses_are_independent():
    lost = chain(0.4, None)
    assert lost[1:].float().mean() == pytest.approx(0.4, abs=0.005)
    assert bursts(lost).mean() == pytest.approx(1 / 0.6, abs=0.02)  # a geometric law
    assert not lost[0].any()


def test_the_bursts_of_the_fault_are_those_it_states(monkeypatch):
    asked = []
    monkeypatch.setattr("sim.evaluation.faults.DroppedFrames", lambda share, burst, draws: asked.append((share, burst)))
    driver = faulty(DriverSpec("watcher", Watcher), "dropped_bursts", 0.4).build()
    driver.prepare(worlds("highway-fast-v0", 1, HIGHWAY), [0])
    assert asked == [(0.4, BURST_STEPS)]
    assert f"bursts of {BURST_STEPS:g} decisions" in FAULTS["dropped_bursts"].about


class Space:
    """Stands for three worlds that only tell their action space."""

    device = torch.device("cpu")

    def __init__(self, space, config):
        self.single_action_space, self.config = space, config


def carried_out(fault, severity, steps, space=None, config=None):
    envs = Space(space or spaces.Discrete(5), {"action": config or {"type": "DiscreteMetaAction"}})
    driver = faulty(DriverSpec("counting", Counting), fault, severity).build()
    driver.prepare(envs, [0, 1, 2])
    driver.reset(torch.ones(3, dtype=torch.bool))
    return driver, torch.stack([driver.act(None) for _ in range(steps)])


@pytest.mark.parametrize("delay", range(6))
def test_a_latency_of_k_delays_actions_by_exactly_k(delay):
    _, actions = carried_out("action_latency", delay, 9)
    idle = 1
    for world in range(3):
        asked = [10 * world + step for step in range(1, 10)]
        assert actions[:, world].tolist() == [idle] * delay + asked[: 9 - delay]


def test_an_action_under_way_does_not_reach_the_next_episode():
    driver, _ = carried_out("action_latency", 2, 4)
    driver.reset(torch.tensor([False, True, False]))
    assert [driver.act(None).tolist() for _ in range(3)] == [[3, 1, 23], [4, 1, 24], [5, 15, 25]]


@pytest.mark.parametrize("more", range(4))
def test_a_hold_carries_out_every_kth_decision(more):
    _, actions = carried_out("action_hold", more, 9)
    assert actions[:, 0].tolist() == [1 + step - step % (more + 1) for step in range(9)]
    assert torch.equal(actions[:, 2], actions[:, 0] + 20)


def test_a_hold_begins_anew_with_the_episode():
    driver, _ = carried_out("action_hold", 2, 4)  # the action of step 4 is held for steps 5 and 6
    driver.reset(torch.tensor([True, False, False]))
    assert [driver.act(None)[:2].tolist() for _ in range(3)] == [[5, 14], [5, 14], [5, 17]]


def test_continuous_actions_and_several_agents_wait_as_well():
    class Pushing(Counting):
        def act(self, observation):
            return torch.full((3, 2), 0.5)

    box = spaces.Box(-1, 1, (2,), np.float32)
    driver = FaultyDriver(DriverSpec("pushing", Pushing), "action_latency", 1)
    driver.prepare(Space(box, {"action": {"type": "ContinuousAction"}}), [0, 1, 2])
    assert driver.act(None).tolist() == [[0.0, 0.0]] * 3
    assert driver.act(None).tolist() == [[0.5, 0.5]] * 3
