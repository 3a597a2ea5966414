"""Another driver before a contact, and no ego at all: hand-made ones, and the real highway-env without its ego."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import sim
from sim.evaluation.counterfactuals import LEADS, externalities, preventability, without_ego
from sim.evaluation.driver import ConstantDriver
from sim.evaluation.episodes import Recorder
from sim.evaluation.highway_env import HighwayEnv
from sim.evaluation.runner import run_batch
from sim.world import Kind

ID = "highway-fast-v0"
ROOMY = {"lanes_count": 1, "vehicles_count": 3, "duration": 20}


def worlds(n, id=ID, config=None, precision="float32"):
    return sim.make_vec(
        id, num_envs=n, config=config, precision=precision, autoreset_mode=AutoresetMode.DISABLED, threads=1
    )


def record(driver, seeds, id=ID, config=None):
    envs = worlds(len(seeds), id, config)
    recorder = Recorder(envs)
    run_batch(envs, driver, seeds, recorder)
    return recorder.finish(list(seeds))


class Creeper:
    """Comes closer, at 2 m/s, to whoever is ahead, from the moment it takes over; it drives through the world."""

    sees = "world"
    closing = 2.0

    def prepare(self, envs, seeds):
        self.envs = envs

    def reset(self, mask):
        world = self.envs.world
        world.kind.scatter_(1, world.ego.long(), int(Kind.VEHICLE))

    def act(self, observation):
        world = self.envs.world
        for n, slot in enumerate(world.ego[:, 0].tolist()):
            ahead = (world.x[n] > world.x[n, slot]) & (world.kind[n] == Kind.IDM)
            leader = int(torch.where(ahead, world.x[n], torch.inf).argmin())
            world.speed[n, slot] = world.speed[n, leader] + self.closing
        return torch.ones(self.envs.num_envs, dtype=torch.int64)


@pytest.fixture(scope="module")
def crashes():
    """One lane, full speed: every episode ends behind somebody."""
    return record(ConstantDriver("FASTER"), list(range(6)), config=ROOMY)


def test_whoever_does_the_same_again_crashes_again(crashes):
    assert (crashes.contact > 0).all()
    found = preventability(crashes, ConstantDriver("FASTER"))
    assert torch.isinf(found.latest).all()
    assert not found.avoided.any()
    early = torch.tensor(LEADS) > crashes.contact[:, None] * crashes.dt + 1e-6
    assert torch.equal(found.tried, ~early)


def test_a_creeping_driver_prevents_what_leaves_room_to_creep(crashes):
    """Until 5 s after the recorded contact it comes 2 m/s x (lead + 5 s) closer, or hits."""
    found = preventability(crashes, Creeper())
    sure = 0
    for n, k in found.tried.nonzero().tolist():
        lead, contact = found.leads[k], int(crashes.contact[n])
        t = contact - int(np.ceil(lead / crashes.dt - 1e-9))
        x, ego = crashes.x[t, n], int(crashes.ego[t, n])
        ahead = (x > x[ego]) & (crashes.kind[t, n] == Kind.IDM)
        gap = float(torch.where(ahead, x, torch.inf).min() - x[ego]) - 5.0
        spare = gap - Creeper.closing * (lead + 5)
        if abs(spare) > 5:  # the leader's speed varies in a step, and the last step is driven to its end
            assert bool(found.avoided[n, k]) == (spare > 0)
            sure += 1
    assert sure > 10
    assert 0 < found.avoided.sum() < found.tried.sum()
    for n in range(len(crashes.seeds)):
        leads = [lead for k, lead in enumerate(found.leads) if found.avoided[n, k]]
        assert found.latest[n] == min(leads, default=torch.inf)


def test_an_episode_without_a_crash_has_no_such_time():
    found = preventability(record(ConstantDriver("SLOWER"), [3]), ConstantDriver("SLOWER"))
    assert torch.isnan(found.latest).all()
    assert not found.tried.any()


def test_what_is_prevented_depends_on_no_other_episode(crashes):
    whole = preventability(crashes, Creeper())
    part = preventability(crashes.select(torch.tensor([4, 1])), Creeper())
    assert torch.equal(part.latest, whole.latest[[4, 1]])
    assert torch.equal(part.avoided, whole.avoided[[4, 1]])


def test_what_does_not_happen_again_is_an_error(crashes):
    other = crashes.select(torch.tensor([0, 1]))
    other.seeds.reverse()
    with pytest.raises(ValueError, match="does not happen again as recorded"):
        preventability(other, Creeper())
    with pytest.raises(ValueError, match="all above 0 s"):
        preventability(crashes, Creeper(), leads=[1, 0])


def test_the_real_highway_env_without_its_ego_goes_the_same_way():
    envs = worlds(1, precision="float64")
    envs.reset(seed=[7])
    without_ego(envs.world)
    real = HighwayEnv(ID)
    real.reset(seed=[7])
    road = real.env.unwrapped.road
    road.vehicles.remove(real.env.unwrapped.vehicle)
    for _ in range(8):
        envs.step(torch.tensor([1]))
        for _ in range(5):
            road.act()
            road.step(1 / 5)
    count = int(envs.world.count[0])
    assert count == len(road.vehicles) == 20
    expected = np.array([[*v.position, v.speed, v.heading] for v in road.vehicles])
    ours = torch.stack([getattr(envs.world, name)[0, :count] for name in ("x", "y", "speed", "heading")], 1)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_without_the_ego_the_others_keep_number_and_place():
    envs = worlds(2, id="intersection-v0")
    envs.reset(seed=[1, 2])
    before = envs.world.clone()
    without_ego(envs.world)
    after = envs.world
    for n in range(2):
        count, ego = int(before.count[n]), int(before.ego[n, 0])
        others = [slot for slot in range(count) if slot != ego]
        assert int(after.count[n]) == count - 1
        for name in ("x", "speed", "number", "route_edge", "target_speed"):
            assert torch.equal(getattr(after, name)[n, : count - 1], getattr(before, name)[n, others])
        order = after.order[n, : count - 1].tolist()
        assert sorted(order) == list(range(count - 1))
        assert [after.rank[n, slot] for slot in order] == list(range(count - 1))
        assert after.kind[n, int(after.ego[n, 0])] == Kind.ABSENT
    assert torch.equal(after.rng, before.rng)
    for _ in range(4):
        envs.step(torch.tensor([1, 1]))  # traffic comes and goes without harm
    assert int(after.ego[0, 0]) == after.kind.shape[1] - 1


def test_who_is_ahead_of_the_ego_owes_it_nothing(crashes):
    """On a single lane nobody ahead of the ego looks at it, and behind it there is nobody."""
    found = externalities(crashes)
    assert (found["max_imposed_braking"].value == 0).all()
    assert (found["imposed_braking"].value == 0).all()
    assert (found["max_imposed_braking"].frame == -1).all()


def test_whoever_follows_a_slow_ego_pays_for_it():
    """Two vehicles come from behind in the only lane; without the ego the first has a free road."""
    driver = OthersBehind()
    episodes = record(driver, [5, 6], config={"lanes_count": 1, "vehicles_count": 2, "duration": 6})
    found = externalities(episodes, driver=driver)
    worst, total = found["max_imposed_braking"], found["imposed_braking"]
    for n in range(2):
        t = int(worst.frame[n])
        row = (episodes.number[t, n] == worst.other[n]).nonzero()[0, 0]
        assert worst.value[n] == pytest.approx(-episodes.acceleration[t, n, row].item(), abs=0.2)
        lost = (episodes.speed[0, n] - episodes.speed[int(episodes.last[n]), n])[1:3].sum().item()
        assert worst.value[n] > 1
        assert total.value[n] > 0.8 * lost


class OthersBehind(ConstantDriver):
    """Puts the others 20 and 45 m behind the ego at 28 m/s, and drives it slowly."""

    def __init__(self):
        super().__init__("SLOWER")

    def prepare(self, envs, seeds):
        super().prepare(envs, seeds)
        self.envs = envs

    def reset(self, mask):
        world = self.envs.world
        for slot, behind in ((1, 20.0), (2, 45.0)):
            world.x[:, slot] = world.x[:, 0] - behind
            world.speed[:, slot] = world.target_speed[:, slot] = 28.0
            world.order[:, 2 - slot] = slot
            world.rank[:, slot] = 2 - slot
        world.order[:, 2] = 0
        world.rank[:, 0] = 2
