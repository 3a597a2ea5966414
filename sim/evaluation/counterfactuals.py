"""What would have happened otherwise: could a crash have been prevented, and what did the ego do to the others?

Both questions are answered by simulating recorded episodes again, all of them side by side. Definitions: preventability
and externalities, docs/evaluation.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from sim.evaluation.driver import Driver, idle_action, prepare, stepped, watchers
from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.world import Kind, World

LEADS = tuple(0.5 * k for k in range(1, 11))
"""How long before the contact the reference driver takes over [s]."""
AFTERMATH = 5.0
"""How long after the moment of the recorded contact it must not have crashed [s]."""
SPECS = {
    "max_imposed_braking": Spec(
        "m/s2", "lower", False, "hardest braking of another vehicle beyond what it does without the ego"
    ),
    "imposed_braking": Spec(
        "m/s", "lower", False, "speed that the others brake away beyond what they do without the ego"
    ),
    "latest_avoidable_time": Spec(
        "s",
        "lower",
        False,
        "how long before a crash the reference driver must take over to avoid it; avoidable ones",
    ),
    "unpreventable": Spec("", "", True, "the reference driver does not avoid the crash from any lead; of crashes"),
}


def measure(
    episodes: Episodes, reference: Driver, precision: str = "float32", driver: Driver | None = None
) -> dict[str, Measure]:
    """Returns all of `SPECS` for N episodes; the arguments are those of `preventability`."""
    latest = preventability(episodes, reference, precision, driver).latest
    crashed = ~latest.isnan()
    return externalities(episodes, precision) | {
        "latest_avoidable_time": Measure.of(latest, latest.isfinite(), episodes.contact),
        "unpreventable": Measure.of(latest.isinf(), crashed, episodes.contact),
    }


@dataclass(frozen=True)
class Preventability:
    """Whether the reference driver would have prevented the crashes of N episodes.

    Attributes:
        latest: the latest avoidable time [s before the contact], float64 [N]: the smallest lead from which the
            reference driver avoids the crash. Infinity: from none of them, the crash is called unpreventable. NaN: the
            episode has no crash.
        leads: seconds, K of them.
        tried: bool [N, K]: there was a crash, and the episode had begun that long before it.
        avoided: bool [N, K]: it was tried, and the ego had not crashed `AFTERMATH` after the recorded contact.
    """

    latest: Tensor
    leads: tuple[float, ...]
    tried: Tensor
    avoided: Tensor


def preventability(
    episodes: Episodes,
    reference: Driver,
    precision: str = "float32",
    driver: Driver | None = None,
    leads: Sequence[float] = LEADS,
) -> Preventability:
    """Hands the ego over to a reference driver before each contact; all contacts and leads are driven as one batch.

    The reference driver takes over at a simulation frame, the first at least `lead` before the contact, and decides
    at once; its policy steps count from there, so a junction's traffic may be renewed at other moments than it was.
    The clock of the episode starts anew, for a search must not take the end of the episode for the end of danger.

    Args:
        episodes: what was recorded.
        reference: who takes over.
        precision: that the episodes were driven in.
        driver: who drove, if it changed the world (as `idm` does); its actions are not asked for.
        leads: seconds before the contact.

    Raises:
        ValueError: no lead or one that is not positive; episodes that do not happen again as recorded.
    """
    leads = tuple(float(lead) for lead in leads)
    if not leads or min(leads) <= 0:
        raise ValueError(f"leads are {leads}; give at least one, and all above 0 s")
    n, device = len(episodes.seeds), episodes.contact.device
    tried = torch.zeros(n, len(leads), dtype=torch.bool, device=device)
    avoided = tried.clone()
    crashes = (episodes.contact >= 0).nonzero()[:, 0]
    if len(crashes):
        before = torch.tensor([math.ceil(lead / episodes.dt - 1e-9) for lead in leads], device=device)
        start = episodes.contact[crashes, None] - before
        tried[crashes] = start >= 0
        envs = taken_over(episodes, crashes, start, precision, driver)
        row, lead = (start >= 0).nonzero(as_tuple=True)
        if len(row):
            seeds = [episodes.seeds[i] for i in crashes[row].tolist()]
            limit = before[lead] + round(AFTERMATH / episodes.dt)
            avoided[crashes[row], lead] = ~crashes_within(envs, reference, seeds, limit)
    seconds = torch.tensor(leads, dtype=torch.float64, device=device).expand(n, -1)
    latest = torch.where(avoided, seconds, torch.inf).amin(1)
    return Preventability(torch.where(episodes.contact < 0, torch.nan, latest), leads, tried, avoided)


def taken_over(episodes: Episodes, crashes: Tensor, start: Tensor, precision: str, driver: Driver | None) -> Any | None:
    """Returns environments in the states that the episodes `crashes` [M] had at the frames `start` [M, K].

    One world a pair, row by row, without the pairs whose start is negative; None if there are no others.
    """
    seeds = [episodes.seeds[i] for i in crashes.tolist()]
    envs = _make(episodes, len(seeds), precision)
    row, lead = (start >= 0).nonzero(as_tuple=True)
    others = _make(episodes, len(row), precision) if len(row) else None
    frame_of, contact = start[row, lead], episodes.contact[crashes]
    agree = torch.ones(len(seeds), dtype=torch.bool, device=start.device)
    for frame in _again(envs, seeds, episodes.actions[:, crashes], driver, int(contact.max())):
        now = (frame_of == frame).nonzero()[:, 0]
        if len(now):
            _copy_rows(envs.world, row[now], others.world, now)
        hit = envs.world.crashed.gather(1, envs.world.ego[:, :1].long())[:, 0]
        agree &= (hit == (frame >= contact)) | (frame > contact)
    if not bool(agree.all()):
        seed = seeds[int((~agree).nonzero()[0, 0])]
        raise ValueError(f"the episode of seed {seed} does not happen again as recorded: its contact is elsewhere")
    if others is not None:
        others.world.time.zero_()
        if not others.scenario.regulated:  # there they say when it is time to regulate
            others.world.steps.zero_()
        others.load_state_dict(others.state_dict())
    return others


def crashes_within(envs: Any, driver: Driver, seeds: Sequence[int], limit: Tensor) -> Tensor:
    """Lets a driver go on from the worlds as they are; returns who crashes within `limit` [N] frames, bool [N].

    The policy step in which the limit falls is driven to its end.
    """
    prepare(driver, envs, seeds)
    driver.reset(torch.ones(envs.num_envs, dtype=torch.bool, device=envs.device))
    crashed = torch.zeros(envs.num_envs, dtype=torch.bool, device=envs.device)
    observation = envs.observe()
    for step in range(math.ceil(int(limit.max()) / envs.frames_per_step)):
        observation, *_, info = stepped(envs, driver.act(observation), *watchers(driver))
        crashed |= info["crashed"] & (step * envs.frames_per_step < limit)
    return crashed


def externalities(episodes: Episodes, precision: str = "float32", driver: Driver | None = None) -> dict[str, Measure]:
    """Returns what the ego's presence cost the others, in braking beyond that of the same seed without it.

    Vehicles are compared with themselves, frame by frame, up to the ego's contact; a crashed one no more. The ego is
    taken out of the world after the reset (`without_ego`), so that every number drawn for the others stays the same.
    All that follows from its absence counts, also braking behind a third vehicle that changed lane because of the ego;
    what the others do without the ego and would not do with it is not taken off.

    Args:
        episodes: what was recorded.
        precision: that the episodes were driven in.
        driver: who drove, if it changed the others' world after the reset.
    """
    n, slots = episodes.kind.shape[1:]
    envs = _make(episodes, n, precision)
    _reset(envs, episodes.seeds, driver)
    without_ego(envs.world)
    idle = torch.as_tensor(idle_action(envs.single_action_space, envs.config), device=envs.device)
    actions = idle.expand(n, *idle.shape)
    most, total = torch.zeros(2, n, dtype=torch.float64, device=envs.device)
    frame_of, other = torch.full((2, n), -1, dtype=torch.int64, device=envs.device)
    size = max(slots, int(episodes.number.max())) + 1
    for frame in _frames(envs, actions, int(episodes.last.max())):
        excess = _excess(episodes, frame, envs.world, size)
        worst, slot = excess.max(1)
        better = worst > most
        most = torch.where(better, worst, most)
        frame_of = torch.where(better, frame, frame_of)
        other = torch.where(better, episodes.number[frame].gather(1, slot[:, None])[:, 0].long(), other)
        total += excess.sum(1) * episodes.dt
    valid = episodes.last >= 1
    return {
        "max_imposed_braking": Measure.of(most, valid, frame_of, other),
        "imposed_braking": Measure.of(total, valid),
    }


def _excess(episodes: Episodes, frame: int, world: World, size: int) -> Tensor:
    """How much harder each vehicle of the episodes brakes at `frame` than in `world`, float64 [N, V] [m/s2]."""
    absent = (world.kind == Kind.ABSENT) | (world.kind >= Kind.OBSTACLE) | world.crashed
    number = torch.where(absent, size, world.number).long()
    without = torch.full((len(number), size + 1), torch.inf, dtype=torch.float64, device=number.device)
    without.scatter_(1, number, (-world.acceleration.double()).clamp(min=0))
    without[:, size] = torch.inf  # who is not there cannot be compared
    braking = (-episodes.acceleration[frame].double()).clamp(min=0)
    driving = episodes.present[frame] & (episodes.kind[frame] < Kind.OBSTACLE) & ~episodes.crashed[frame]
    driving &= episodes.counts[frame, :, None]
    found = without.gather(1, episodes.number[frame].long().clamp(min=0))
    return torch.where(driving, braking - found, 0.0).clamp(min=0)


def without_ego(world: World) -> None:
    """Takes the first ego out of every world, in place; all others keep their order, state and random stream.

    Its row moves to the last slot, which is not in use without it, so that whoever asks for the ego still finds one; it
    is of kind ABSENT and nobody's neighbour. An ego moved far away would still be one of the vehicles that the others
    look at.
    """
    n, slots = world.x.shape
    ego, count = world.ego[:, :1].long(), world.count[:, None].long()
    places = torch.arange(slots, device=ego.device).expand(n, -1)
    later = (places + (places >= ego)).clamp(max=slots - 1)
    later[:, -1] = ego[:, 0]
    rows = torch.arange(n, device=ego.device)[:, None]
    for name in ("cars", "route_edge", "route_lane", "predicted"):
        world.buffers[name].copy_(world.buffers[name][rows, later])
    order = world.order.long()
    at = ((order == ego) & (places < count)).to(torch.uint8).argmax(1, keepdim=True)
    order = order.gather(1, (places + (places >= at)).clamp(max=slots - 1))
    order = order - (order > ego).long()
    used = places < count - 1
    world.order.copy_(torch.where(used, order, slots - 1))
    rank = torch.zeros(n, slots + 1, dtype=world.rank.dtype, device=ego.device)
    rank.scatter_(1, torch.where(used, order, slots), places.to(rank.dtype))
    world.rank.copy_(rank[:, :slots])
    world.kind[:, -1] = int(Kind.ABSENT)
    world.count -= 1
    for name in ("ego", "goal"):
        named = getattr(world, name)
        named.copy_(torch.where(named == ego, slots - 1, named - (named > ego).to(named.dtype)))


def _make(episodes: Episodes, worlds: int, precision: str) -> Any:
    import sim

    return sim.make_vec(
        episodes.id,
        num_envs=worlds,
        device=episodes.x.device,
        precision=precision,
        config=episodes.config,
        autoreset_mode=AutoresetMode.DISABLED,
    )


def _reset(envs: Any, seeds: list[int], driver: Driver | None) -> None:
    """Begins the episodes of these seeds, and lets a driver that changes the world do so."""
    if driver is not None:
        prepare(driver, envs, seeds)
    envs.reset(seed=seeds)
    if driver is not None:
        driver.reset(torch.ones(len(seeds), dtype=torch.bool, device=envs.device))


def _again(envs: Any, seeds: list[int], actions: Tensor, driver: Driver | None, last: int) -> Iterator[int]:
    """Drives episodes again by their actions [S, N, ...]; yields the frames 0 .. last while the worlds show them."""
    _reset(envs, seeds, driver)
    yield 0
    for step, action in enumerate(actions):
        for frame in envs.frames(action):
            yield step * envs.frames_per_step + frame + 1
        if (step + 1) * envs.frames_per_step >= last:
            return


def _frames(envs: Any, actions: Tensor, last: int) -> Iterator[int]:
    """Yields the frames 1 .. last of worlds that get the same actions again and again."""
    for step in range(math.ceil(last / envs.frames_per_step)):
        for frame in envs.frames(actions):
            number = step * envs.frames_per_step + frame + 1
            if number <= last:
                yield number


def _copy_rows(source: World, rows: Tensor, target: World, places: Tensor) -> None:
    for name, buffer in target.buffers.items():
        buffer[places] = source.buffers[name][rows]
