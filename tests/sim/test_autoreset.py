import pytest
import torch
from gymnasium.vector import AutoresetMode

from tests.sim.small_worlds import SHORT, actions_of, assert_same, make, tensors

NEVER_CRASHES = {"vehicles_count": 0, "duration": 3}
AT_ONCE = {"duration": 1, "vehicles_density": 8, "ego_spacing": 0.1}  # a crash in the step that reaches the time limit


def test_same_step_autoreset(device):
    """Beside DISABLED worlds that are reset by hand, which never see an autoreset."""
    envs = make(200, device, SHORT)
    plain = make(200, device, SHORT, autoreset_mode=AutoresetMode.DISABLED)
    observation, _ = envs.reset(seed=3)
    assert torch.equal(observation, plain.reset(seed=3)[0])
    kinds = set()
    for actions in actions_of(range(200), 12, device):
        observation, reward, terminated, truncated, info = envs.step(actions)
        final, plain_reward, plain_terminated, plain_truncated, final_info = plain.step(actions)
        done = terminated | truncated
        kinds |= set(zip(terminated.tolist(), truncated.tolist(), strict=True))
        assert_same((reward, terminated, truncated), (plain_reward, plain_terminated, plain_truncated))
        assert torch.equal(info["final_obs"], final)
        assert torch.equal(info["_final_obs"], done)
        assert set(info["final_info"]) == set(final_info) == {"speed", "crashed", "rewards", "action"}
        for name in ("speed", "crashed", "action"):
            assert torch.equal(info["final_info"][name], final_info[name])
        for name, term in info["final_info"]["rewards"].items():
            assert torch.equal(term, final_info["rewards"][name])
        after = plain.reset(options={"reset_mask": done})[0] if done.any() else final
        assert torch.equal(observation, after)
        assert not info["crashed"][done].any()
        assert torch.equal(info["crashed"], plain.world.crashed[:, 0])
    assert kinds >= {(False, False), (True, False), (False, True)}


def test_next_step_autoreset(device):
    envs = make(200, device, SHORT, autoreset_mode=AutoresetMode.NEXT_STEP)
    plain = make(200, device, SHORT, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=3)
    plain.reset(seed=3)
    done = torch.zeros(200, dtype=torch.bool, device=device)
    for actions in actions_of(range(200), 14, device):
        observation, reward, terminated, truncated, info = envs.step(actions)
        assert "final_obs" not in info
        before = plain.world.clone()
        expected, plain_reward, plain_terminated, plain_truncated, _ = plain.step(actions)
        plain.world.copy_from(before, done)  # an ended world takes no step: its next one resets it
        if done.any():
            expected = plain.reset(options={"reset_mask": done})[0]
        assert torch.equal(observation, expected)
        assert torch.equal(reward, torch.where(done, 0, plain_reward))
        assert torch.equal(terminated, plain_terminated & ~done)
        assert torch.equal(truncated, plain_truncated & ~done)
        done = terminated | truncated


def test_a_reset_by_hand_forgets_the_pending_one(device):
    envs = make(2, device, NEVER_CRASHES, autoreset_mode=AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    for _ in range(3):
        truncated = envs.step([1, 1])[3]
    assert truncated.all()
    envs.reset(seed=0, options={"reset_mask": torch.tensor([True, False], device=device)})
    envs.step([1, 1])
    assert envs.world.time.tolist() == [1, 0]  # the first has taken a step, the second was reset by it


def test_disabled_autoreset_leaves_ended_worlds_alone(device):
    envs = make(3, device, NEVER_CRASHES, autoreset_mode="Disabled")
    envs.reset(seed=0)
    results = [envs.step([1, 1, 1]) for _ in range(5)]
    assert [bool(r[3].all()) for r in results] == [False, False, True, True, True]
    assert results[-1][0].isfinite().all() and "final_obs" not in results[-1][4]


@pytest.mark.parametrize(
    "config, expected",
    [
        (NEVER_CRASHES, (False, True)),
        ({"vehicles_density": 8, "ego_spacing": 0.1, "duration": 30}, (True, False)),
        (AT_ONCE, (True, True)),
    ],
)
def test_terminated_and_truncated_are_apart_and_together(config, expected, device):
    envs = make(64, device, config)
    envs.reset(seed=0)
    faster = torch.full((64,), 3, device=device)
    ends = set()
    for _ in range(3):
        _, _, terminated, truncated, info = envs.step(faster)
        assert torch.equal(terminated, info["final_info"]["crashed"])
        ends |= set(zip(terminated.tolist(), truncated.tolist(), strict=True))
    assert expected in ends


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_results_are_fresh_tensors(mode, device):
    """Nothing that a step has returned may change later."""
    envs = make(100, device, SHORT, autoreset_mode=mode)
    kept = [tensors(envs.reset(seed=1))]
    copies = [[tensor.clone() for tensor in kept[0]]]
    for actions in actions_of(range(100), 8, device):
        kept.append(tensors(envs.step(actions)))
        copies.append([tensor.clone() for tensor in kept[-1]])
    envs.reset(seed=2)
    for results, expected in zip(kept, copies, strict=True):
        assert_same(results, expected)
