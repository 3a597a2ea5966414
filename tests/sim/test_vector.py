import itertools

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from tests.sim.small_worlds import FAST, SHORT, STREAM, actions_of, assert_same, make, play, tensors


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("config", [None, STREAM], ids=["default", "shuffled"])
def test_an_episode_does_not_depend_on_the_batch(precision, config, device):
    seeds = list(range(500, 1500))
    batch = play(make(1000, device, config, precision=precision), seeds)
    assert (batch[2] | batch[3]).sum(0).min() >= 1  # several episodes each

    order = np.random.default_rng(0).permutation(1000)
    permuted = play(make(1000, device, config, precision=precision), [seeds[i] for i in order])
    assert_same(permuted, [part[:, order] for part in batch])

    for i in (0, 517, 999):
        alone = play(make(1, device, config, precision=precision), [seeds[i]])
        assert_same(alone, [part[:, i : i + 1] for part in batch])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_an_episode_does_not_depend_on_the_threads(threads, device):
    seeds = range(300)
    assert_same(play(make(300, device, threads=threads), seeds), play(make(300, device), seeds))


def test_seeds(device):
    envs = make(4, device)
    scenes = {seed: make(1, device).reset(seed=seed)[0][0] for seed in range(10, 20)}

    def seeds_of(observation):
        return [next((s for s, scene in scenes.items() if torch.equal(scene, row)), None) for row in observation]

    assert seeds_of(envs.reset(seed=10)[0]) == [10, 11, 12, 13]
    assert seeds_of(envs.reset(seed=[19, 10, 10, 12])[0]) == [19, 10, 10, 12]
    assert seeds_of(envs.reset(seed=np.int64(11))[0]) == [11, 12, 13, 14]
    mask = torch.tensor([True, False, False, True], device=device)
    assert seeds_of(envs.reset(seed=[15, 16, 17, 18], options={"reset_mask": mask})[0]) == [15, 12, 13, 18]


def test_a_reset_without_a_seed_goes_on_with_the_stream(device):
    envs, autoreset = make(2, device), make(2, device, {"duration": 1, "vehicles_count": 20})
    first = envs.reset(seed=5)[0]
    second = envs.reset()[0]
    assert not torch.equal(first, second)
    autoreset.reset(seed=5)
    assert torch.equal(autoreset.step([1, 1])[0], second)
    other = make(2, device)
    other.reset(seed=[5, 77])
    assert torch.equal(other.reset()[0][0], second[0])


def test_a_first_reset_without_a_seed_draws_entropy(device):
    assert not torch.equal(make(2, device).reset()[0], make(2, device).reset()[0])
    one = make(2, device).reset()[0]
    assert not torch.equal(one[0], one[1])


def test_a_reset_mask_leaves_the_other_worlds_alone(device):
    envs = make(6, device)
    envs.reset(seed=0)
    for actions in actions_of(range(6), 2, device):
        envs.step(actions)
    before = envs.world.clone()
    mask = torch.tensor([True, False] * 3, device=device)
    envs.reset(options={"reset_mask": mask})
    for name, field in envs.world.fields().items():
        assert torch.equal(field[~mask], before.fields()[name][~mask]), name
    assert (envs.world.time[mask] == 0).all() and (envs.world.time[~mask] == 2).all()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_state_dict_goes_on_exactly(mode, device):
    def follow(envs):
        return [tensors(envs.step(actions)) for actions in actions_of(range(50, 100), 10, device)]

    envs = make(50, device, SHORT | STREAM, autoreset_mode=mode)
    play(envs, range(50), 9)
    state = envs.state_dict()
    assert state["pending"].any() == (mode is AutoresetMode.NEXT_STEP)
    expected = follow(envs)
    assert not torch.equal(state["rng"], envs.state_dict()["rng"])  # the copy did not go along
    fresh = make(50, device, SHORT | STREAM, autoreset_mode=mode)
    fresh.load_state_dict(state)
    for ours, theirs in zip(follow(fresh), expected, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("change", ["missing", "worlds", "precision", "vehicles"])
def test_a_foreign_state_dict_is_refused(change, device):
    envs = make(3, device)
    envs.reset(seed=0)
    state = envs.state_dict()
    other = {
        "missing": {},
        "worlds": {"num_envs": 4},
        "precision": {"precision": "float64"},
        "vehicles": {"config": {"vehicles_count": 5}},
    }[change]
    if change == "missing":
        del state["rng"]
    target = make(**{"num_envs": 3, "device": device} | other)
    target.reset(seed=1)
    before = target.state_dict()
    with pytest.raises(ValueError, match="environment state"):
        target.load_state_dict(state)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("config", [SHORT, {"action": {"type": "ContinuousAction"}}, STREAM | {"duration": 4}])
def test_frames_are_a_step(config, device):
    stepped, framed = (make(20, device, config) for _ in range(2))
    stepped.reset(seed=0)
    framed.reset(seed=0)
    space = stepped.action_space
    space.seed(0)
    for _ in range(8):
        actions = space.sample()
        frames = framed.frames(actions)
        times = []
        while True:
            try:
                next(frames)
            except StopIteration as end:
                result = end.value
                break
            times.append(framed.world.steps.clone())
        assert len(times) == stepped.frames_per_step
        assert all((b - a == 1).all() for a, b in itertools.pairwise(times))
        assert_same(tensors(result), tensors(stepped.step(actions)))


def test_worlds_are_cloned_selected_and_copied(device):
    envs = make(6, device)
    envs.reset(seed=0)
    start = envs.world.clone()
    first = [envs.step(actions)[0] for actions in actions_of(range(6), 3, device)]
    moved = envs.world.clone()
    assert not torch.equal(moved.x, start.x)

    envs.world.copy_from(start)
    again = [envs.step(actions)[0] for actions in actions_of(range(6), 3, device)]
    assert_same(first, again)

    mask = torch.tensor([True, False, False, True, False, False], device=device)
    envs.world.copy_from(start, mask)
    assert torch.equal(envs.world.x[mask], start.x[mask]) and torch.equal(envs.world.x[~mask], moved.x[~mask])

    envs.world.copy_from(moved)
    for index in (mask, torch.tensor([5, 0, 0], device=device), slice(2, 4)):
        chosen = moved.select(index)
        for name, field in chosen.fields().items():
            assert torch.equal(field, moved.fields()[name][index]), name
        chosen.x.zero_()
    assert torch.equal(moved.x, envs.world.x)


def test_a_selected_world_goes_on_like_the_original(device):
    """Branching for tree search: copies of one world in a batch of their own."""
    envs, search = make(6, device), make(5, device)
    envs.reset(seed=0)
    search.reset(seed=9)
    search.world.copy_from(envs.world.select(torch.full((5,), 3, device=device)))
    branches = search.step([0, 1, 2, 3, 4])
    for action in range(5):
        trial = make(6, device)
        trial.reset(seed=0)
        outcome = trial.step(torch.full((6,), action, device=device))
        assert torch.equal(outcome[4]["final_obs"][3], branches[4]["final_obs"][action])
        assert outcome[1][3] == branches[1][action]


def test_worlds_of_other_sizes_are_not_copied(device):
    world = make(3, device).world
    with pytest.raises(ValueError, match="precision float64 into float32"):
        world.copy_from(make(3, device, precision="float64").world)
    with pytest.raises(ValueError, match="has shape"):
        world.copy_from(make(4, device).world)


def test_observe_sees_edited_worlds(device):
    envs = make(3, device)
    before, _ = envs.reset(seed=0)
    assert torch.equal(envs.observe(), before)
    envs.world.speed[1, 0] += 4
    after = envs.observe()
    assert torch.equal(after[0], before[0])
    assert after[1, 0, 3] - before[1, 0, 3] == pytest.approx(4 / 80)  # vx in units of 2 * 40 m/s


def test_gymnasium_makes_the_registered_ids(device):
    envs = gymnasium.make_vec(f"slipstream/{FAST}", num_envs=3, config={"lanes_count": 2}, device=str(device))
    assert isinstance(envs.unwrapped, sim.VectorEnv)
    assert envs.unwrapped.config["lanes_count"] == 2 and envs.num_envs == 3
    direct = make(3, device, {"lanes_count": 2})
    assert torch.equal(envs.reset(seed=4)[0], direct.reset(seed=4)[0])
    single = gymnasium.make(f"slipstream/{FAST}", config={"lanes_count": 2})
    assert isinstance(single.unwrapped, sim.Env)
    observation, _ = single.reset(seed=4)
    assert np.allclose(observation, direct.reset(seed=4)[0][0].cpu(), atol=1e-6)
    for _ in range(3):
        observation, *_ = single.step(1)
    assert single.observation_space.contains(observation)


def test_a_hundred_thousand_worlds_fit_in_four_gigabytes(device):
    small, large = (make(n, device) for n in (1, 2001))
    per_world = (held_bytes(large) - held_bytes(small)) / 2000
    # a step returns copies of a few of these; a reset of all worlds as many
    assert per_world * 100_000 * 2 < 4 * 2**30
    assert per_world > 21 * 64  # 21 vehicles of more than 16 numbers: nothing was forgotten


def held_bytes(envs):
    own = [value for value in vars(envs).values() if isinstance(value, torch.Tensor)]
    return sum(t.nbytes for t in [*own, *envs.world.buffers.values()])


@pytest.mark.parametrize("env_id", ["highway-v0", FAST])
def test_the_contract_of_the_readme(env_id, device):
    envs = sim.make_vec(env_id, num_envs=3, device=device)
    assert (envs.num_envs, envs.device, envs.id, envs.precision) == (3, torch.device(envs.device), env_id, "float32")
    assert envs.autoreset_mode is AutoresetMode.SAME_STEP
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    vehicles = envs.config["vehicles_count"] + 1
    observation, info = envs.reset(seed=0)
    assert set(info) == {"speed", "crashed", "rewards"}
    assert observation.shape == (3, 5, 5) and observation.dtype == torch.float32
    observation, reward, terminated, truncated, info = envs.step([0, 1, 2])
    assert reward.shape == (3,) and reward.dtype == torch.float32
    assert ((reward >= 0) & (reward <= 1)).all()
    assert terminated.dtype == truncated.dtype == torch.bool
    assert info["speed"].shape == info["crashed"].shape == info["action"].shape == (3,)
    assert set(info["rewards"]) == {"collision_reward", "right_lane_reward", "high_speed_reward", "on_road_reward"}
    assert all(tensor.device.type == envs.device.type for tensor in tensors((observation, reward, info)))
    world = envs.world
    assert world.x.shape == world.heading.shape == world.kind.shape == (3, vehicles)
    assert world.ego.tolist() == [[0]] * 3 and world.count.tolist() == [vehicles] * 3
    assert world.valid.all() and (world.kind[:, 0] == sim.world.Kind.MDP).all()
    assert (world.time == 1).all() and (world.steps == envs.frames_per_step).all()
    assert len(envs.network.lanes) == envs.config["lanes_count"]


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"num_envs": 0}, ValueError, "num_envs is 0; it must be an integer of at least 1"),
        ({"num_envs": 2.0}, ValueError, "num_envs is 2.0"),
        ({"num_envs": True}, ValueError, "num_envs is True"),
        ({"precision": "float16"}, ValueError, "unknown precision 'float16'; did you mean 'float64'"),
        ({"device": "banana"}, ValueError, "device 'banana' is not available; allowed: cpu"),
        ({"device": "meta"}, ValueError, "device 'meta' is not available; allowed: cpu"),
        ({"device": None}, ValueError, "device 'None' is not available"),
        ({"device": "cuda:99"}, ValueError, "device 'cuda:99' is not available; allowed: cpu"),
        ({"autoreset_mode": "same step"}, ValueError, "unknown autoreset_mode 'same step'; did you mean 'SameStep'"),
        ({"threads": 0}, ValueError, "threads is 0"),
    ],
)
def test_bad_arguments(options, error, words):
    with pytest.raises(error) as caught:
        sim.make_vec(FAST, **{"num_envs": 1} | options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_cuda_where_none_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device in ("cuda", "cuda:0", torch.device("cuda")):
        with pytest.raises(ValueError, match=r"device 'cuda.*' is not available; allowed: cpu$"):
            sim.make_vec(FAST, 1, device=device)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"seed": -1}, ValueError, "seed -1 is not a non-negative integer"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
        ({"seed": True}, TypeError, "seed is True"),
        ({"seed": "42"}, TypeError, "seed is '42'"),
        ({"seed": [1, 2]}, ValueError, "2 seeds for 3 worlds"),
        ({"seed": [1, 2, None]}, ValueError, "seed None is not a non-negative integer"),
        ({"options": {"reset_mask": [True, False]}}, ValueError, "reset_mask is torch.bool of shape (2,)"),
        ({"options": {"reset_mask": [0, 2, 1]}}, ValueError, "reset_mask is torch.int64 of shape (3,)"),
        ({"options": {"resetmask": None}}, ValueError, "unknown reset option 'resetmask'; did you mean 'reset_mask'"),
    ],
)
def test_bad_resets(arguments, error, words, device):
    envs = make(3, device)
    envs.reset(seed=0)
    before = envs.state_dict()
    with pytest.raises(error) as caught:
        envs.reset(**arguments)
    assert words in str(caught.value)
    for name, tensor in envs.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_step_and_partial_reset_before_the_first_reset(device):
    envs = make(2, device)
    with pytest.raises(RuntimeError, match="call reset before step"):
        envs.step([0, 0])
    with pytest.raises(ValueError, match="the first reset must begin an episode in each"):
        envs.reset(seed=0, options={"reset_mask": [True, False]})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_world_that_a_loaded_state_calls_pending_does_not_move(mode):
    """What tree search relies on: branches that are not in use stand still, whatever the mode."""
    envs = sim.make_vec("highway-fast-v0", 3, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    state = envs.state_dict() | {"pending": torch.tensor([False, True, False])}
    other = sim.make_vec("highway-fast-v0", 3, autoreset_mode=mode)
    other.load_state_dict(state)
    before = other.world.clone()
    # highway-env's autoreset of the next step would begin an episode there: the frames alone are looked at
    next(other.frames(torch.ones(3, dtype=torch.int64)))
    moved = (other.world.x != before.x).any(1)
    assert moved.tolist() == [True, False, True]
