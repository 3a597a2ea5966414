"""Surrogate measures of safety: how near the ego came to a collision, before any contact.

Of the leader on the ego's lane (`LaneFacts.leader`, gap bumper to bumper): TTC, MTTC, TET, TIT, THW, DRAC. Of every
vehicle and obstacle: TTC of moving rectangles and least distance (see `nearness`), post-encroachment time (see
`encroachment`). A frame counts up to the last one before the contact (`Episodes.counts`). Definitions:
docs/evaluation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sim.evaluation.episodes import Episodes
from sim.evaluation.metrics.base import Measure, Spec
from sim.evaluation.metrics.encroachment import post_encroachment
from sim.evaluation.metrics.nearness import nearest
from sim.evaluation.metrics.signals import total

LONGEST = 30.0  # s, from which on a TTC or headway is none: nobody is being followed or approached
CRITICAL_TTC = 1.5  # s, threshold of TET and TIT (Minderhoud and Bovy 2001)
CRITICAL_HEADWAY = 1.0  # s, what counts as tailgating
SHORTEST_DRIVE = 10.0  # m, below which nothing is given per km
FOLLOWS_BEND = 0.5  # cosine: a leader turned by less than 60 degrees is taken to go along the lane's bend

SPECS = {
    "min_ttc": Spec("s", "higher", False, "least gap to the leader over closing speed; invalid if never below 30 s"),
    "min_ttc_2d": Spec("s", "higher", False, "least time, of at most 3 s, until the ego's rectangle touches another's"),
    "min_mttc": Spec("s", "higher", False, "least time to collision with the leader, accelerations held; below 30 s"),
    "tet": Spec("s", "lower", False, "time with a TTC of at most 1.5 s"),
    "tit": Spec("s2", "lower", False, "integral of 1.5 s less TTC over that time"),
    "tet_per_km": Spec("s/km", "lower", False, "the same per distance driven; invalid below 10 m"),
    "tit_per_km": Spec("s2/km", "lower", False, "the same per distance driven; invalid below 10 m"),
    "min_thw": Spec("s", "higher", False, "least time headway: gap to the leader over the ego's speed; below 30 s"),
    "thw_below_1s": Spec("", "lower", False, "share of time with a time headway below 1 s"),
    "max_drac": Spec("m/s2", "lower", False, "largest steady braking that just avoids the leader; invalid without one"),
    "min_pet": Spec("s", "higher", False, "least time between one leaving a crossing area and the other entering it"),
    "min_gap": Spec("m", "higher", False, "least distance of the ego's rectangle from another's; < 0: overlap depth"),
}


def measure(episodes: Episodes) -> dict[str, Measure]:
    """Return all measures of this module."""
    gap, time = nearest(episodes)
    return {
        **_of_leader(episodes),
        "min_ttc_2d": time,
        "min_pet": post_encroachment(episodes),
        "min_gap": gap,
    }


@dataclass(frozen=True)
class Following:
    """The ego and its leader, [T, N] each, float64.

    Attributes:
        valid: is there a leader, not beside the ego, at a frame that counts.
        gap: bumper to bumper [m], above zero. speed: of the ego. closing: ego's less leader's [m/s].
        acceleration, leader_acceleration: [m/s2], as commanded; leader_speed: along the lane [m/s].
        number: of the leader.
    """

    valid: Tensor
    gap: Tensor
    speed: Tensor
    closing: Tensor
    acceleration: Tensor
    leader_speed: Tensor
    leader_acceleration: Tensor
    number: Tensor

    @classmethod
    def of(cls, episodes: Episodes) -> Following:
        """Gather them from the frames."""
        facts = episodes.facts
        slot = facts.leader.clamp(min=0)[:, :, None]

        def of_leader(name: str) -> Tensor:
            return getattr(episodes, name).gather(2, slot)[:, :, 0].double()

        speed, acceleration = episodes.of_ego("speed").double(), episodes.of_ego("acceleration").double()
        along = (of_leader("heading") - episodes.of_ego("heading").double()).cos()
        along = torch.where(along >= FOLLOWS_BEND, 1.0, along)
        leader_speed, gap = of_leader("speed") * along, facts.gap.double()
        valid = (facts.leader >= 0) & (gap > 0) & (gap < torch.inf) & episodes.counts
        gap = torch.where(valid, gap, 1.0)
        braking = of_leader("acceleration") * along
        number = of_leader("number").long()
        return cls(valid, gap, speed, speed - leader_speed, acceleration, leader_speed, braking, number)

    def time_to_collision(self) -> Tensor:
        """TTC [s], inf where the ego does not close in."""
        return torch.where(self.valid & (self.closing > 0), _short(self.gap / self.closing), torch.inf)

    def modified_time_to_collision(self) -> Tensor:
        """MTTC [s], inf where they do not meet: both hold their accelerations until they stand, and then stand.

        Source: Ozbay et al. (2008), "Derivation and validation of new simulation-based surrogate safety measure".
        """
        speeds, accelerations = [self.speed, self.leader_speed], [self.acceleration, self.leader_acceleration]
        gap, gone, meeting = self.gap, torch.zeros_like(self.gap), torch.full_like(self.gap, torch.inf)
        for _ in range(3):  # phases: both move, one stands, both stand
            accelerations = [
                torch.where((v <= 0) & (a < 0), 0.0, a) for v, a in zip(speeds, accelerations, strict=True)
            ]
            stops = [
                torch.where((v > 0) & (a < 0), -v / a, torch.inf) for v, a in zip(speeds, accelerations, strict=True)
            ]
            closing, gain = speeds[0] - speeds[1], accelerations[0] - accelerations[1]
            time, phase = first_root(gap, closing, gain), torch.minimum(*stops)
            meeting = torch.minimum(meeting, torch.where(time <= phase, gone + time, torch.inf))
            lasts = torch.where(phase < torch.inf, phase, 0.0)
            gap = gap - closing * lasts - gain * lasts**2 / 2
            gone = torch.where(phase < torch.inf, gone + phase, torch.inf)
            speeds = [
                torch.where(stop <= phase, 0.0, v + a * lasts)
                for v, a, stop in zip(speeds, accelerations, stops, strict=True)
            ]
        return torch.where(self.valid, _short(meeting), torch.inf)


def first_root(gap: Tensor, closing: Tensor, gain: Tensor) -> Tensor:
    """Return the smallest positive time [s] at which `gap - closing t - gain t^2 / 2` is zero, inf for never.

    In the form that loses no digits where the accelerations are nearly equal: there it becomes gap / closing.
    """
    inside = closing * closing + 2 * gain * gap
    bottom = closing + inside.clamp(min=0).sqrt()
    return torch.where((gap > 0) & (inside >= 0) & (bottom > 0), 2 * gap / bottom, torch.inf)


def _of_leader(episodes: Episodes) -> dict[str, Measure]:
    pair = Following.of(episodes)
    ttc = pair.time_to_collision()
    headway = torch.where(pair.valid & (pair.speed > 0), _short(pair.gap / pair.speed), torch.inf)
    braking = torch.where(pair.valid, pair.closing.clamp(min=0) ** 2 / (2 * pair.gap), -torch.inf)
    critical = ttc <= CRITICAL_TTC
    exposed = total(critical, critical) * episodes.dt
    integral = total(CRITICAL_TTC - ttc, critical) * episodes.dt
    frames, driven = total(episodes.counts), distance_driven(episodes)
    frame = _least(ttc, pair.number)
    recorded, far = frames > 0, driven >= SHORTEST_DRIVE
    tailgating = total(headway < CRITICAL_HEADWAY) / frames.clamp(min=1)
    where = {"frame": torch.where(exposed > 0, frame.frame, -1), "other": torch.where(exposed > 0, frame.other, -1)}
    drac = _least(-braking, pair.number)
    return {
        "min_ttc": frame,
        "min_mttc": _least(pair.modified_time_to_collision(), pair.number),
        "tet": Measure.of(exposed, recorded, **where),
        "tit": Measure.of(integral, recorded, **where),
        "tet_per_km": Measure.of(exposed / driven.clamp(min=1) * 1000, far, **where),
        "tit_per_km": Measure.of(integral / driven.clamp(min=1) * 1000, far, **where),
        "min_thw": _least(headway, pair.number),
        "thw_below_1s": Measure.of(tailgating, recorded),
        "max_drac": Measure(-drac.value, drac.valid, drac.frame, drac.other),
    }


def _short(time: Tensor) -> Tensor:
    """Return times up to LONGEST, inf for longer ones: minima of hundreds of seconds would rule every mean."""
    return torch.where(time < LONGEST, time, torch.inf)


def _least(values: Tensor, number: Tensor) -> Measure:
    """Return the least of [T, N] over the frames, and who is the leader there; invalid where all are inf."""
    least = values.amin(0)
    frame = (values == least).to(torch.uint8).argmax(0)
    return Measure.of(least, least < torch.inf, frame, number.gather(0, frame[None])[0])


def distance_driven(episodes: Episodes) -> Tensor:
    """Return how far the ego drove over the frames that count [m], float64 [N]."""
    x, y = episodes.of_ego("x").double(), episodes.of_ego("y").double()
    step = ((x[1:] - x[:-1]) ** 2 + (y[1:] - y[:-1]) ** 2).sqrt()
    return total(torch.cat([torch.zeros_like(step[:1]), step]) if len(step) else x * 0, episodes.counts)
