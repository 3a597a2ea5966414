"""The replay buffer: fields that belong together stay together, n-step returns and priorities by hand."""

import pytest
import torch

from agents.replay_buffer import FANOUT, ReplayBuffer, SumTree


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def add(buffer, reward, terminated=False, truncated=False, observation=0.0, following=0.0):
    """Adds one step of a buffer of one world."""
    buffer.add(
        torch.tensor([[float(observation)]]),
        torch.tensor([0]),
        torch.tensor([float(reward)]),
        torch.tensor([[float(following)]]),
        torch.tensor([terminated]),
        torch.tensor([truncated]),
    )


def content(buffer: ReplayBuffer, name: str) -> list[float]:
    return buffer.data[name][: len(buffer)].flatten().tolist()


def test_the_fields_of_a_transition_stay_together(device):
    """Step t of world w carries 100 t + w in every field; 5 steps are kept of 12."""
    buffer = ReplayBuffer(22, 4, (2, 3), device, n_step=1, gamma=0.5)  # 22 rounds down to 5 steps of 4 worlds
    worlds = torch.arange(4, device=device)
    no = torch.zeros(4, dtype=torch.bool, device=device)
    for t in range(12):
        number = (100 * t + worlds).float()
        observation = number[:, None, None].expand(4, 2, 3)
        buffer.add(observation, 100 * t + worlds, number, observation + 0.5, no, no)
    batch = buffer.sample(1000, torch.Generator(device).manual_seed(0))
    number = batch.observations[:, 0, 0]
    assert sorted(set(number.tolist())) == [100 * t + w for t in range(7, 12) for w in range(4)]
    for field in (batch.actions, batch.returns, batch.next_observations[:, 1, 2] - 0.5):
        assert torch.equal(field.float(), number)
    assert (batch.discount == 0.5).all() and (batch.weight == 1).all()


def test_three_step_returns_by_hand():
    """gamma = 0.5; eight steps with rewards 1, 2, 4, 8, 16, 32, 64, 128; step 3 truncates, step 5 terminates.

    Episodes are therefore steps 0-3, 4-5 and 6-7. Step t sees 10 t and leaves 10 t + 1 as its final observation.

    from  return                          next seen  discount
    0     1 + 2/2 + 4/4          = 3      21         1/8
    1     2 + 4/2 + 8/4          = 6      31         1/8   (truncated on the third step: still bootstrapped)
    2     4 + 8/2                = 8      31         1/4   (cut after two steps)
    3     8                               31         1/2
    4     16 + 32/2              = 32     51         0     (terminated)
    5     32                              51         0
    Steps 6 and 7 wait for their third reward.
    """
    buffer = ReplayBuffer(100, 1, (1,), "cpu", n_step=3, gamma=0.5)
    for t in range(8):
        add(buffer, 2**t, t == 5, t == 3, observation=10 * t, following=10 * t + 1)
    assert content(buffer, "observations") == [0, 10, 20, 30, 40, 50]
    assert content(buffer, "returns") == [3, 6, 8, 8, 32, 32]
    assert content(buffer, "next_observations") == [21, 31, 31, 31, 51, 51]
    assert content(buffer, "discount") == [0.125, 0.125, 0.25, 0.5, 0, 0]


def test_a_step_that_both_terminates_and_truncates_is_terminal():
    buffer = ReplayBuffer(10, 1, (1,), "cpu", n_step=2, gamma=0.5)
    add(buffer, 1)
    add(buffer, 1, terminated=True, truncated=True)
    add(buffer, 1)
    assert content(buffer, "discount") == [0, 0]


def test_priorities_and_importance_weights_by_hand():
    """Exponent 1/2: errors 1, 4, 9, 16 (as squares) give priorities 1, 2, 3, 4 of 10 in all.

    Probabilities are 0.1 .. 0.4; weights (4 p) ** -1 are 2.5, 1.25, 0.8333, 0.625; over the largest: 1, 1/2, 1/3, 1/4.
    """
    buffer = ReplayBuffer(4, 1, (1,), "cpu", gamma=0.5, priority_exponent=0.5)
    for t in range(4):
        add(buffer, t)
    buffer.update_priorities(torch.arange(4), torch.tensor([1.0, -4.0, 9.0, -16.0]))
    batch = buffer.sample(10_000, seeded(), beta=1.0)
    # Draws are stratified, so that shares are exact but for one draw at each border.
    assert batch.index.bincount().tolist() == pytest.approx([1000, 2000, 3000, 4000], abs=2)
    for index, weight in enumerate((1.0, 1 / 2, 1 / 3, 1 / 4)):
        torch.testing.assert_close(
            batch.weight[batch.index == index].unique(), torch.tensor([weight]), rtol=1e-5, atol=0
        )
    half = buffer.sample(1000, seeded(), beta=0.5)  # the square roots
    assert half.weight.unique().tolist() == pytest.approx([1 / 2, 3**-0.5, 2**-0.5, 1], rel=1e-5)
    assert torch.equal(batch.returns, batch.index.float())


def test_new_transitions_take_the_highest_priority_so_far():
    buffer = ReplayBuffer(4, 1, (1,), "cpu", priority_exponent=1.0)
    add(buffer, 0)
    add(buffer, 1)
    assert buffer.tree.leaves.tolist() == [1, 1, 0, 0]
    buffer.update_priorities(torch.tensor([0]), torch.tensor([5.0]))
    add(buffer, 2)
    assert buffer.tree.leaves.tolist() == pytest.approx([5, 1, 5, 0], rel=1e-5)


@pytest.mark.parametrize("capacity", [1, FANOUT, FANOUT + 1, 40_000])
def test_the_sum_tree_samples_in_proportion(capacity, device):
    """Against the plain way: a running sum over all leaves."""
    tree = SumTree(capacity, device)
    priority = torch.rand(capacity, generator=seeded(), dtype=torch.float64)
    priority[torch.rand(capacity, generator=seeded(1)) < 0.3] = 0
    priority[-1] = 0.5
    order = torch.randperm(capacity, generator=seeded(2))
    tree.set(order.to(device), torch.full((capacity,), 9.0, device=device))
    tree.set(order.to(device), priority[order].to(device))
    share = torch.rand(5000, generator=seeded(3), dtype=torch.float64)
    share[:2] = torch.tensor([0.0, 1.0 - 1e-16])
    found = tree.find(share.to(device)).cpu()
    expected = torch.searchsorted(priority.cumsum(0), share * priority.sum(), right=True)
    assert (priority[found] > 0).all()
    assert (found == expected.clamp(max=capacity - 1)).float().mean() > 0.999  # borders may round either way
    torch.testing.assert_close(tree.total.cpu(), priority.sum())


def test_unseen_transitions_are_never_drawn():
    buffer = ReplayBuffer(1000, 1, (1,), "cpu", priority_exponent=0.6)
    for t in range(3):
        add(buffer, t)
    assert set(buffer.sample(500, seeded()).index.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("exponent", [None, 0.6])
def test_a_restored_buffer_goes_on_alike(exponent):
    def build():
        return ReplayBuffer(6, 1, (1,), "cpu", n_step=2, gamma=0.5, priority_exponent=exponent)

    buffer, restored = build(), build()
    for t in range(9):
        add(buffer, t, truncated=t % 4 == 3, observation=t, following=t + 1)
    buffer.update_priorities(torch.tensor([1, 2]), torch.tensor([3.0, 0.1]))
    restored.load_state({name: tensor.clone() for name, tensor in buffer.state().items()})
    for t in range(9, 11):
        add(buffer, t, observation=t, following=t + 1)
        add(restored, t, observation=t, following=t + 1)
    assert content(buffer, "returns") == content(restored, "returns")
    one, other = buffer.sample(64, seeded()), restored.sample(64, seeded())
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_impossible_buffers_are_refused():
    with pytest.raises(ValueError, match="too small"):
        ReplayBuffer(3, 4, (1,), "cpu")
    with pytest.raises(ValueError, match="n_step"):
        ReplayBuffer(8, 4, (1,), "cpu", n_step=0)
    with pytest.raises(ValueError, match="empty replay buffer"):
        ReplayBuffer(8, 4, (1,), "cpu").sample(2, seeded())
