import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from sim.evaluation.driver import IdleDriver
from sim.evaluation.falsification.scene import (
    BRAKING,
    CLEARANCE,
    Edit,
    EditedEnvs,
    SceneEditor,
    edit_arrays,
    removal_mask,
)
from sim.recording import DivergenceError, record_episode, replay

LANE_WIDTH, LENGTH = 4.0, 5.0  # m
SHORT = {"vehicles_count": 6, "duration": 4}


def worlds(count, id="highway-fast-v0", seed=0, **config):
    envs = sim.make_vec(id, num_envs=count, config=SHORT | config, autoreset_mode=AutoresetMode.DISABLED, threads=1)
    envs.reset(seed=seed)
    return envs


def changed(envs, edits, removed=None):
    """Applies the same edits to all worlds; returns which were made in the first."""
    values, slots = edit_arrays([edits] * envs.num_envs)
    mask = None if removed is None else removal_mask([removed] * envs.num_envs, envs.world.x.shape[1])
    return SceneEditor(envs).apply(values, slots, mask)[0].tolist()


@pytest.mark.parametrize("id, config", [("highway-fast-v0", SHORT), ("intersection-v0", {})])
def test_no_change_changes_nothing(id, config):
    envs = sim.make_vec(id, num_envs=4, config=config, autoreset_mode=AutoresetMode.DISABLED, threads=1)
    seen, _ = envs.reset(seed=3)
    before = envs.state_dict()
    editor = SceneEditor(envs)
    editor.apply(np.zeros((4, 5, 4)), editor.nearest(5))
    after = envs.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(envs.observe(), seen)


def test_a_vehicle_is_where_and_as_fast_as_the_edit_says():
    envs = worlds(2)
    before = envs.world.clone()
    assert changed(envs, [Edit(6, shift=30.0, speed=-1.5, target_speed=2.0)]) == [True]
    world = envs.world
    assert torch.allclose(world.x[:, 6] - before.x[:, 6], torch.tensor(30.0), atol=1e-3)
    assert torch.allclose(world.speed[:, 6] - before.speed[:, 6], torch.tensor(-1.5), atol=1e-5)
    assert torch.allclose(world.target_speed[:, 6] - before.target_speed[:, 6], torch.tensor(2.0), atol=1e-5)
    untouched = {"x": slice(0, 6), "y": slice(None), "lane": slice(None), "heading": slice(None), "timer": slice(None)}
    for name, slots in untouched.items():
        assert torch.equal(getattr(world, name)[:, slots], getattr(before, name)[:, slots])


def test_a_vehicle_changes_lanes_and_its_order_with_the_others_is_kept():
    envs = worlds(1, seed=2, lanes_count=2)
    before = envs.world.clone()
    slot = 3
    right = 1 if int(before.lane[0, slot]) == 0 else -1
    assert changed(envs, [Edit(slot, shift=200.0, lanes=right)]) == [True]
    world = envs.world
    assert float(world.y[0, slot] - before.y[0, slot]) == pytest.approx(right * LANE_WIDTH)
    assert int(world.lane[0, slot]) == int(world.target_lane[0, slot]) == int(before.lane[0, slot]) + right
    order = world.order[0].tolist()
    assert order == sorted(range(7), key=lambda v: float(world.x[0, v])) and order[-1] == slot
    assert [int(world.rank[0, v]) for v in order] == list(range(7))


def test_an_edit_off_the_road_or_into_another_vehicle_is_not_made():
    envs = worlds(1, seed=1, lanes_count=1)
    gap = float(envs.world.x[0, 3] - envs.world.x[0, 2])
    before = envs.world.clone()
    edits = [Edit(2, lanes=1), Edit(2, lanes=-1), Edit(2, shift=1e6), Edit(2, shift=gap - LENGTH - CLEARANCE / 2)]
    assert changed(envs, edits) == [False] * 4
    assert torch.equal(envs.world.buffers["cars"], before.buffers["cars"])


@pytest.mark.parametrize("spare, made", [(0.2, True), (-0.2, False)])
def test_whoever_is_behind_must_be_able_to_brake(spare, made):
    envs = worlds(1, seed=1, lanes_count=1)
    world = envs.world
    slower = -9.0
    closing = float(world.speed[0, 2] - world.speed[0, 3]) - slower
    gap = float(world.x[0, 3] - world.x[0, 2]) - LENGTH
    assert closing > 0
    needed = CLEARANCE + closing**2 / (2 * BRAKING)
    assert changed(envs, [Edit(3, shift=needed + spare - gap, speed=slower)]) == [made]


def test_vehicles_are_taken_away_and_the_others_keep_their_state():
    envs = worlds(3, seed=5)
    before = envs.world.clone()
    changed(envs, [], removed=(2, 5))
    left = [0, 1, 3, 4, 6]
    for name in ("x", "y", "speed", "lane", "delta", "number"):
        assert torch.equal(getattr(envs.world, name)[:, :5], getattr(before, name)[:, left])
    assert envs.world.count.tolist() == [5, 5, 5] and not envs.world.kind[:, 5:].any()
    assert torch.equal(envs.world.ego, before.ego)


def test_an_ego_that_is_alone_drives_on_undisturbed():
    envs = worlds(1, seed=5)
    changed(envs, [], removed=(1, 2, 3, 4, 5, 6))
    start, speed = float(envs.world.x[0, 0]), float(envs.world.speed[0, 0])
    for _ in range(4):
        envs.step(torch.ones(1, dtype=torch.int64))
    assert float(envs.world.x[0, 0]) == pytest.approx(start + 4 * speed, rel=1e-4)


def test_taking_others_away_leaves_every_edit_possible():
    edits = [Edit(2, shift=9.0), Edit(3, shift=-6.0, speed=2.0), Edit(4, lanes=1), Edit(5, lanes=-1, speed=-3.0)]
    for seed in range(20):
        envs = worlds(1, seed=seed)
        made = changed(envs, edits)
        envs.reset(seed=seed)
        again = changed(envs, edits, removed=(2, 6))
        assert not any(was and not now for was, now in zip(made[1:], again[1:], strict=True))


@pytest.mark.parametrize("slot", [0, 40])
def test_only_traffic_can_be_taken_away(slot):
    envs = worlds(1, vehicles_count=40)
    envs.world.kind[0, 40] = 9  # an obstacle
    with pytest.raises(ValueError, match=f"slot {slot} of world 0 holds no vehicle"):
        changed(envs, [], removed=(slot,))


def test_an_ego_is_never_edited():
    envs = worlds(1)
    before = envs.world.clone()
    assert changed(envs, [Edit(0, shift=5.0)]) == [False]
    assert torch.equal(envs.world.x, before.x)


def test_the_nearest_come_first_and_missing_ones_are_told():
    envs = worlds(4, seed=9, vehicles_count=3)
    slots = SceneEditor(envs).nearest(5)
    x, y = envs.world.x.double(), envs.world.y.double()
    for w in range(4):
        found = slots[w, :3].long()
        distance = torch.hypot(x[w, found] - x[w, 0], y[w, found] - y[w, 0])
        assert sorted(found.tolist()) == [1, 2, 3] and (distance.diff() >= 0).all()
    assert (slots[:, 3:] == -1).all()


def test_a_scene_does_not_depend_on_the_batch():
    edits = [Edit(1, shift=4.0), Edit(3, lanes=1, speed=1.0)]
    envs = worlds(5, seed=10)
    changed(envs, edits)
    single = worlds(1, seed=13)
    changed(single, edits)
    assert torch.equal(envs.world.buffers["cars"][3], single.world.buffers["cars"][0])


def test_edited_scenes_are_recorded_and_replayed():
    def scene(*edits):
        return EditedEnvs(worlds(1), [edits], [(2,)])

    edit = Edit(1, shift=3.0)
    trace = record_episode(IdleDriver(), scene(edit), 7)
    frames = list(replay(trace, scene(edit)))
    assert len(frames) == 2 + 4 * 5  # the first, five a step, the last again
    with pytest.raises(DivergenceError, match="at the reset"):
        list(replay(trace, scene(Edit(1, shift=3.1))))
