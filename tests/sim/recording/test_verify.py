from dataclasses import replace

import numpy as np
import pytest

from planning.rule_based import IdmDriver
from sim.evaluation.driver import IdleDriver, RandomDriver
from sim.recording import Trace, Traces, make_envs, record_episode, replay
from sim.recording import verify as verification
from sim.recording.verify import verify
from tests.sim.recording.evaluations import SHORT, record

MIXED = [
    ("highway-fast-v0", SHORT, 40),
    ("intersection-v0", {"duration": 5}, 20),
    ("parking-v0", {"duration": 4}, 20),
    ("racetrack-v0", {"duration": 4}, 20),
]


@pytest.fixture(scope="module")
def traces():
    """Six short episodes, of the third of which the states were recorded."""
    return record("highway-fast-v0", SHORT, range(6), full=[2])


def edited(traces, tmp_path, name, step, index, value=None):
    """The traces with one entry of one array changed and the checksums of old, read from a file."""
    path = tmp_path / "batch.npz"
    traces.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    array = arrays[name].copy()
    if value is None:
        value = array[step, index] ^ array.dtype.type(1) if array.dtype.kind in "iu" else array[step, index] + 0.5
    array[step, index] = value
    np.savez(path, **arrays | {name: array})
    return Traces.load(path, check=False)


@pytest.mark.parametrize(("id", "config", "episodes"), [(id, config, 5) for id, config, _ in MIXED])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_episodes_driven_alone_replay_side_by_side(id, config, episodes, precision):
    traces = record(id, config, range(100, 100 + episodes), precision=precision)
    assert (traces.hashes[1:][np.arange(len(traces.actions))[:, None] < traces.steps] > 0).all()
    assert verify(traces) == []


@pytest.mark.slow
@pytest.mark.parametrize(("id", "config", "episodes"), [(id, config, 10 * number) for id, config, number in MIXED])
def test_a_thousand_episodes_replay_hash_for_hash(id, config, episodes, tmp_path):
    """Recorded in one batch by the evaluation's own recorder; replayed from the disk in another batch."""
    from sim.evaluation.harness import drive_batch

    envs = make_envs(id, config, "float32", num_envs=episodes)
    _, _, traces = drive_batch(RandomDriver(), envs, range(episodes))
    traces.save(tmp_path / "batch.npz")
    loaded = Traces.load(tmp_path / "batch.npz")
    assert len(loaded) == episodes
    half = Traces.of([loaded.episode(index) for index in range(0, episodes, 2)])
    assert verify(half) == []
    assert verify(loaded) == []


@pytest.mark.parametrize("id", ["highway-fast-v0", "intersection-v0"])
def test_what_an_evaluation_records_replays_alone(id):
    from sim.evaluation.harness import drive_batch

    envs = make_envs(id, {"duration": 5}, "float32", num_envs=4)
    _, _, traces = drive_batch(RandomDriver(), envs, [0, 20, 40, 7])  # some of them keep their full states
    assert traces.states
    for index in range(4):
        trace = traces.episode(index)
        alone = make_envs(id, trace.case.config, "float32")
        frames = list(replay(trace, alone))
        assert trace.states is None or len(frames) == len(trace.states) + 1


def test_several_agents_and_drivers_of_the_world_replay():
    agents = {"duration": 4}
    assert verify(record("intersection-multi-agent-v1", agents, range(4))) == []
    traces = record("highway-fast-v0", SHORT, range(4), IdmDriver(), "idm")
    assert verify(traces, lambda case: IdmDriver()) == []
    findings = verify(traces)
    assert [finding.step for finding in findings] == [-1] * 4
    assert "'idm' drives through the world" in findings[0].message


def test_a_driver_that_looks_at_the_world_but_leaves_it_is_not_asked_back():
    class Watcher(RandomDriver):
        sees = "world"

    traces = record("highway-fast-v0", SHORT, range(3), Watcher(), "watcher")
    assert verify(traces, lambda case: pytest.fail("the driver was asked for")) == []
    trace = traces.episode(1)
    envs = make_envs("highway-fast-v0", trace.case.config, "float32")
    assert len(list(replay(trace, envs))) > len(trace.actions)


def test_an_edited_action_is_told_apart_and_found(traces, tmp_path):
    idle = IdleDriver()
    driven = record("highway-fast-v0", SHORT, range(3), idle, "idle")
    step = 2
    (finding,) = verify(edited(driven, tmp_path, "actions", step, 1, value=4))
    assert (finding.index, finding.seed, finding.step, finding.edited) == (1, 1, step, True)
    assert finding.message == "episode 1 (seed 1): the action of step 2 was edited after it was recorded"
    (finding,) = verify(edited(driven, tmp_path, "actions", step, 1, value=1 << 40))  # in no action space
    assert (finding.index, finding.step, finding.edited) == (1, step, True)


@pytest.mark.parametrize("step", [0, 3])
def test_an_edited_hash_is_told_apart_and_found(traces, tmp_path, step):
    (finding,) = verify(edited(traces, tmp_path, "hashes", step, 4))
    assert (finding.index, finding.step, finding.edited) == (4, step - 1, True)
    place = "the reset" if step == 0 else "step 2"
    assert f"the hash of {place} was edited" in finding.message


def test_an_edited_reward_is_found(traces, tmp_path):
    (finding,) = verify(edited(traces, tmp_path, "rewards", 1, 3))
    assert (finding.index, finding.step, finding.edited) == (3, 1, True)
    assert "the reward of step 1 was edited" in finding.message


def test_an_edited_seed_or_end_is_found(traces, tmp_path):
    path = tmp_path / "batch.npz"
    for name, index, message in (
        ("seeds", 2, "does not replay from the reset on"),
        ("terminated", 3, "the end of step"),
    ):
        traces.save(path)
        with np.load(path) as file:
            arrays = dict(file)
        array = arrays[name].copy()
        array[index] = array[index] + 100 if name == "seeds" else not array[index]
        np.savez(path, **arrays | {name: array})
        (finding,) = verify(Traces.load(path, check=False))
        assert (finding.index, finding.edited) == (index, True)
        assert message in finding.message


def test_an_edit_with_new_checksums_is_found_all_the_same(traces):
    hashes, rewards = traces.hashes.copy(), traces.rewards.copy()
    hashes[2, 0] ^= np.uint64(1 << 40)
    rewards[1, 5] += 0.1
    first, second = verify(replace(traces, hashes=hashes, rewards=rewards))
    assert (first.index, first.step) == (0, 1) and "the hash of step 1 was edited" in first.message
    assert (second.index, second.step) == (5, 1) and "the reward of step 1 was edited" in second.message


def test_another_simulation_is_named_with_step_vehicle_and_field(traces, monkeypatch):
    """The simulator goes another way from the third step on: vehicle 4 is pushed."""

    def make(*arguments, **options):
        envs = make_envs(*arguments, **options)
        advance, run = envs._programs["step"], envs._programs["frame"]

        def pushed(program):
            def call():
                program()
                envs.world.x[envs.world.steps >= 12, 4] += 0.5

            return call

        envs._programs["step"], envs._programs["frame"] = pushed(advance), pushed(run)
        return envs

    monkeypatch.setattr(verification, "make_envs", make)
    newer = traces.origin.versions | {"warp-lang": "0.9"}
    findings = verify(replace(traces, origin=replace(traces.origin, versions=newer)))
    assert all("; it was recorded with warp-lang 0.9 (here 1." in finding.message for finding in findings)
    assert [finding.index for finding in findings] == [i for i in range(6) if traces.steps[i] > 2]
    assert not any(finding.edited for finding in findings)
    by_seed = {finding.seed: finding for finding in findings}
    assert "step 2" in by_seed[0].message and "no states were recorded" in by_seed[0].message
    assert "step 2, 2.40 s: x of vehicle 4 (slot 4) is " in by_seed[2].message


def test_traces_without_hashes_cannot_be_verified(traces):
    with pytest.raises(ValueError, match="have no state hashes"):
        verify(replace(traces, hashes=np.zeros((0, 6), np.uint64)))


def test_a_saved_single_episode_verifies(tmp_path):
    envs = make_envs("highway-fast-v0", SHORT, "float64")
    record_episode(RandomDriver(), envs, 4, full=True).save(tmp_path / "one.npz")
    assert verify(Traces.load(tmp_path / "one.npz")) == []
    assert Trace.load(tmp_path / "one.npz").states is not None
