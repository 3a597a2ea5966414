"""Recorded frames beside the world they were copied from; who is who while vehicles come and go."""

import time

import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from sim.evaluation.driver import IdleDriver, RandomDriver
from sim.evaluation.episodes import FIRST_FRAMES, REALS, WHOLES, Recorder
from sim.evaluation.runner import run_batch
from sim.world import Kind


def recorded(env_id, worlds, limit=300, precision="float32", config=None, first_seed=0):
    envs = sim.make_vec(
        env_id, worlds, precision=precision, config=config, autoreset_mode=AutoresetMode.DISABLED
    )  # fmt: skip
    recorder = Recorder(envs)
    seeds = list(range(first_seed, first_seed + worlds))
    metrics = run_batch(envs, RandomDriver(), seeds, recorder, limit)
    return recorder.finish(seeds), metrics


def test_every_frame_is_the_world_at_that_frame():
    episodes, metrics = recorded("highway-fast-v0", 3, precision="float64")
    envs = sim.make_vec("highway-fast-v0", 3, precision="float64", autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=[0, 1, 2])
    worlds = [envs.world.clone()]
    for actions in episodes.actions:
        frames = envs.frames(actions)
        try:
            while True:
                next(frames)
                worlds.append(envs.world.clone())
        except StopIteration:
            pass
    assert len(worlds) == len(episodes.x)
    for t, world in enumerate(worlds):
        for name in (*REALS, *WHOLES, "crashed"):
            expected = getattr(world, name)
            there = world.kind != Kind.ABSENT
            assert torch.equal(getattr(episodes, name)[t][there], expected[there]), (name, t)
    assert torch.equal(episodes.frames, torch.as_tensor(metrics["length"]).long() * episodes.frames_per_step + 1)


def test_an_episode_is_the_same_alone_and_among_others():
    alone, _ = recorded("intersection-v0", 1, first_seed=4)
    among, _ = recorded("intersection-v0", 6, first_seed=0)
    frames = int(alone.frames[0])
    assert int(among.frames[4]) == frames
    picked = among.select(torch.tensor([4]))
    for name in (*REALS, *WHOLES, "crashed"):
        there = alone.kind[:frames] != Kind.ABSENT
        assert torch.equal(getattr(picked, name)[:frames][there], getattr(alone, name)[:frames][there])


def test_a_number_stays_with_its_vehicle_while_slots_move_up():
    episodes, _ = recorded("intersection-v0", 12)
    moved = 0
    for n in range(12):
        for t in range(1, int(episodes.frames[n])):
            before = {int(k): v for v, k in enumerate(episodes.number[t - 1, n]) if k >= 0}
            for v, number in enumerate(episodes.number[t, n].tolist()):
                if number < 0 or number not in before:
                    continue
                was = before[number]
                moved += was != v
                gone = torch.hypot(
                    episodes.x[t, n, v] - episodes.x[t - 1, n, was], episodes.y[t, n, v] - episodes.y[t - 1, n, was]
                )
                assert gone < 40 * episodes.dt + 2  # top speed, and the push of a contact
    assert moved > 0  # vehicles did leave, so that the test has seen slots move


def test_the_ego_ends_at_its_contact():
    episodes, metrics = recorded("highway-fast-v0", 40, limit=6)
    crashed = torch.as_tensor(metrics["crashed"]) > 0
    assert torch.equal(episodes.contact >= 0, crashed) and crashed.any() and not crashed.all()
    for n in torch.nonzero(crashed)[:, 0].tolist():
        t = int(episodes.contact[n])
        assert bool(episodes.crashed[t, n, 0]) and not bool(episodes.crashed[t - 1, n, 0])
        assert int(episodes.last[n]) == t - 1
    assert torch.equal(episodes.last[~crashed], episodes.frames[~crashed] - 1)


def test_long_episodes_make_room():
    episodes, _ = recorded("highway-v0", 2, limit=10, config={"vehicles_count": 5})
    assert len(episodes.x) > FIRST_FRAMES
    x = episodes.of_ego("x")[:, 0][: int(episodes.frames[0])]
    assert (x.diff() > 0).all()  # no frame lost where the tensors grew


@pytest.mark.parametrize("env_id", ["parking-v0", "intersection-multi-agent-v0"])
def test_goals_and_egos_are_not_among_the_others(env_id):
    episodes, _ = recorded(env_id, 2, limit=3)
    slots = episodes.ego[0, 0]
    assert not episodes.present[0, 0, slots]
    assert not episodes.present[episodes.kind == Kind.LANDMARK].any()


def test_looking_between_decisions_is_a_part_of_the_next_ones_latency():
    class Looking(IdleDriver):
        calls = 0

        def sense(self):
            self.calls += 1
            time.sleep(0.01)

    envs = sim.make_vec("highway-fast-v0", 1, autoreset_mode=AutoresetMode.DISABLED)
    recorder, driver = Recorder(envs), Looking()
    run_batch(envs, driver, [0], recorder, 3)
    latency = recorder.finish([0]).latency
    assert len(latency) == 3 and driver.calls == 3 * envs.frames_per_step
    assert (latency[1:] >= 0.01 * envs.frames_per_step).all() and latency[0] < 0.01 * envs.frames_per_step
