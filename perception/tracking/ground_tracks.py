"""Where tracked things are on the ground and how fast they move: a Kalman filter in metres, for the driving stack.

It takes measured places with their covariance, frame by frame, and gives the fields of `sim.scene.Scene` that perfect
perception has for nothing: velocities, covariances, numbers and ages. The state is x, y, vx, vy in the world's frame;
a thing moves at constant velocity, shaken by white acceleration. Where the caller knows along which lane each drives,
what it does to the sides is another matter: a velocity that comes quickly and settles again (an Ornstein-Uhlenbeck
process), and two things can't be in one place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from perception.small_matrices import inverse, product
from perception.tracking.association import assign, outdone
from perception.tracking.tracks import times_of


@dataclass(frozen=True)
class GroundSettings:
    """How things move.

    Attributes:
        acceleration: root of the spectral density of the acceleration along each axis [m/s2 per root Hz]: after a
            second without a measurement, the velocity is unsure by so much more [m/s].
        sideways: the same across a known lane; settle: time in which a velocity across it falls to a third [s].
        length, width: two middles nearer than this along and across a lane are of one thing: cars' size [m].
        velocity: standard deviation of the velocity, along each axis, of a thing seen once [m/s].
        lost: how long a thing is kept without a measurement [s].
        gate: largest squared Mahalanobis distance between a thing and a measurement that has no number; chi-squared
            with two degrees of freedom. doubt: the same, from which a measurement is doubted: its covariance counts as
            larger in proportion.
    """

    acceleration: float = 2.0
    sideways: float = 2.0
    settle: float = 0.7
    length: float = 5.0
    width: float = 2.2
    velocity: float = 15.0
    lost: float = 1.0
    gate: float = 13.8
    doubt: float = 2.0

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{part.name} is {value!r}; it must be a number above 0")


@dataclass(frozen=True)
class GroundTracksNow:
    """What is known of up to K things in each of N worlds; a thing keeps its place among the K while it is known.

    Attributes:
        valid: bool [N, K]. Rows that are not hold zeros.
        number: int64 [N, K], names a thing from one moment to the next.
        age: int64 [N, K], in how many updates it has been known.
        state: [N, K, 4]: x, y [m], vx, vy [m/s]. covariance: [N, K, 4, 4], of these.
        unseen: [N, K], time since its last measurement [s].
        measurement: int64 [N, K], which one of this update was its own, -1 for none.
    """

    valid: Tensor
    number: Tensor
    age: Tensor
    state: Tensor
    covariance: Tensor
    unseen: Tensor
    measurement: Tensor


class GroundTracks:
    """Follows things on the ground in N worlds.

    Args:
        worlds: N. things: K at most in each; where there are more, those known longest stay.
        settings: see `GroundSettings`.
    """

    def __init__(
        self,
        worlds: int,
        things: int = 32,
        settings: GroundSettings | None = None,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> None:
        if worlds < 1 or things < 1:
            raise ValueError(f"worlds and things must be at least 1, got {worlds} and {things}")
        self.settings = settings or GroundSettings()
        shape = (worlds, things)
        whole = {"dtype": torch.int64, "device": device}
        real = {"dtype": dtype, "device": device}
        self._valid = torch.zeros(shape, dtype=torch.bool, device=device)
        self._number, self._age = torch.zeros(shape, **whole), torch.zeros(shape, **whole)
        self._measurement = torch.full(shape, -1, **whole)
        self._state, self._unseen = torch.zeros(*shape, 4, **real), torch.zeros(shape, **real)
        self._covariance = torch.zeros(*shape, 4, 4, **real)
        self._next = torch.ones(worlds, **whole)

    def update(
        self,
        place: Tensor,
        covariance: Tensor,
        there: Tensor,
        elapsed: float | Tensor,
        number: Tensor | None = None,
        restart: Tensor | None = None,
        velocity: Tensor | None = None,
        velocity_covariance: Tensor | None = None,
        along: Tensor | None = None,
    ) -> GroundTracksNow:
        """Return what is known after one more frame.

        Args:
            place: [N, M, 2], where M things were measured: x, y [m].
            covariance: [N, M, 2, 2], of each [m2]; positive definite.
            there: bool [N, M], is it a measurement at all.
            elapsed: time since the last update, of all worlds or [N] [s].
            number: int64 [N, M], which thing it is, of an image tracker; without, the nearest that the gate allows,
                and things are numbered here from 1.
            restart: bool [N], worlds in which everything is new.
            velocity: [N, M, 2], how fast each would be driving if it is new, such as along its lane [m/s]; without, 0.
            velocity_covariance: [N, M, 2, 2], how sure that is [m2/s2]; without, that of the settings.
            along: [N, K, 2], unit vectors along the lanes of what is known so far, by its rows; without, things move as
                freely to all sides, and any number of them may be in one place.

        Raises:
            ValueError: other shapes, a number that is not finite, or a number twice in a world.
        """
        self._check(place, covariance, there, number)
        elapsed = times_of(elapsed, self._state[:, 0, 0])
        if restart is not None:
            if restart.dtype != torch.bool or restart.shape != elapsed.shape:
                raise ValueError(f"restart is {restart.dtype} {tuple(restart.shape)}; expected bool ({len(elapsed)},)")
            self._valid = self._valid & ~restart[:, None]
            self._next = torch.where(restart, 1, self._next)
        place, covariance = (part.to(self._state.dtype) for part in (place, covariance))
        self._predict(elapsed, along)
        if number is not None:
            matched, far = self._by_number(there, number), place.new_zeros(*self._valid.shape, place.shape[1])
        else:
            far = self._distances(place, covariance)
            matched = self._by_distance(place, there, far, along)
        self._correct(place, covariance, matched, far)
        kept = self._valid & (self._unseen <= self.settings.lost + 1e-9)
        self._age = torch.where(kept, self._age + 1, 0)
        self._valid = kept
        if along is not None and number is None:
            there = there & ~self._make_way(place, matched, along)
        self._begin(place, covariance, there, number, velocity, velocity_covariance)
        return self.now()

    def drawn(self, along: Tensor, offset: Tensor, spread: float, which: Tensor) -> GroundTracksNow:
        """Return what is known once the things `which` [N, K] are drawn towards the middles of their lanes.

        Args:
            along: [N, K, 2], unit vectors along the lanes.
            offset: [N, K], how far to the right of them they are [m].
            spread: standard deviation of that of things at large [m].
            which: bool [N, K].
        """
        right = torch.stack([-along[..., 1], along[..., 0]], -1)
        reach = product(self._covariance[..., :2], right[..., None])[..., 0]  # [N, K, 4]
        sure = 1 / ((right * reach[..., :2]).sum(-1) + spread**2)
        state = self._state - reach * (sure * offset)[..., None]
        better = self._covariance - sure[..., None, None] * reach[..., :, None] * reach[..., None, :]
        self._state = torch.where(which[..., None], state, self._state)
        self._covariance = torch.where(which[..., None, None], better, self._covariance)
        return self.now()

    def now(self) -> GroundTracksNow:
        """Return what is known; a copy."""
        valid = self._valid
        return GroundTracksNow(
            valid.clone(),
            torch.where(valid, self._number, 0),
            torch.where(valid, self._age, 0),
            torch.where(valid[..., None], self._state, 0.0),
            torch.where(valid[..., None, None], self._covariance, 0.0),
            torch.where(valid, self._unseen, 0.0),
            torch.where(valid, self._measurement, -1),
        )

    def _check(self, place: Tensor, covariance: Tensor, there: Tensor, number: Tensor | None) -> None:
        shape = (len(self._state), place.shape[1]) if place.ndim == 3 else None
        fits = (
            place.shape == (*(shape or ()), 2) and covariance.shape == (*(shape or ()), 2, 2) and there.shape == shape
        )
        if not fits or (number is not None and number.shape != shape):
            found = ", ".join(str(list(part.shape)) for part in (place, covariance, there))
            n = len(self._state)
            raise ValueError(
                f"place, covariance, there are {found}; they must be [{n}, M, 2], [{n}, M, 2, 2], [{n}, M]"
            )
        if not bool(place[there].isfinite().all() & covariance[there].isfinite().all()):
            raise ValueError("a measured place or its covariance is not finite")
        if number is not None:
            twice = (number[:, :, None] == number[:, None]) & there[:, :, None] & there[:, None]
            twice = twice & ~torch.eye(number.shape[1], dtype=torch.bool, device=number.device)
            if bool(twice.any()):
                world, one, _ = twice.nonzero()[0].tolist()
                raise ValueError(
                    f"number {int(number[world, one])} is measured twice in world {world}; once is allowed"
                )

    def _predict(self, elapsed: Tensor, along: Tensor | None) -> None:
        dt, tau = elapsed[:, None, None, None], self.settings.settle
        both = torch.eye(2, dtype=dt.dtype, device=dt.device).expand(*self._valid.shape, 2, 2)
        ahead = both if along is None else along[..., :, None] * along[..., None, :]
        aside, settled = both - ahead, 1 - (-dt / tau).exp()
        move = torch.eye(4, dtype=dt.dtype, device=dt.device).repeat(*self._valid.shape, 1, 1)
        move[..., :2, 2:] = dt * ahead + tau * settled * aside
        move[..., 2:, 2:] = ahead + (1 - settled) * aside
        pushed, swayed = self.settings.acceleration**2 * ahead, self.settings.sideways**2 * tau * aside
        shake = torch.zeros_like(move)
        shake[..., :2, :2] = dt**3 / 3 * pushed + tau * (dt - tau * settled - tau / 2 * settled**2) * swayed
        shake[..., :2, 2:] = shake[..., 2:, :2] = dt**2 / 2 * pushed + tau / 2 * settled**2 * swayed
        shake[..., 2:, 2:] = dt * pushed + (settled - settled**2 / 2) * swayed
        self._state = product(move, self._state[..., None])[..., 0]
        self._covariance = product(product(move, self._covariance), move.transpose(-1, -2)) + shake
        self._unseen = self._unseen + elapsed[:, None]

    def _by_number(self, there: Tensor, number: Tensor) -> Tensor:
        """Which measurement is whose, int64 [N, K], -1 for none."""
        same = (self._number[:, :, None] == number[:, None]) & self._valid[:, :, None] & there[:, None]
        return _first(same)

    def _distances(self, place: Tensor, covariance: Tensor) -> Tensor:
        """Squared Mahalanobis distances of things and measurements [N, K, M]."""
        error = place[:, None] - self._state[:, :, None, :2]
        sure = inverse(self._covariance[:, :, None, :2, :2] + covariance[:, None])
        return product(product(error[..., None, :], sure), error[..., None])[..., 0, 0]

    def _by_distance(self, place: Tensor, there: Tensor, far: Tensor, along: Tensor | None) -> Tensor:
        """Which measurement is whose [N, K]: within the gate; what is left, where it is in a thing's very place."""
        gate, possible = self.settings.gate, self._valid[:, :, None] & there[:, None]
        matched = assign(2 * gate - far, possible & (far <= gate))
        if along is None:
            return matched
        taken = (matched[:, :, None] == torch.arange(place.shape[1], device=place.device)).any(1, keepdim=True)
        left = possible & (matched < 0)[:, :, None] & ~taken & in_one_place(self._state, along, place, self.settings)
        apart = (place[:, None] - self._state[:, :, None, :2]).norm(dim=-1)
        return torch.where(matched >= 0, matched, assign(self.settings.length + self.settings.width - apart, left))

    def _make_way(self, place: Tensor, matched: Tensor, along: Tensor) -> Tensor:
        """Drop things that stand where a better known one does; return the measurements [N, M] of what is known."""
        seen = self._age + (matched >= 0) * (1 + self._age.amax())
        self._valid = self._valid & ~crowded_out(self._state[..., :2], along, seen, self._valid, self.settings)
        return (in_one_place(self._state, along, place, self.settings) & self._valid[..., None]).any(1)

    def _correct(self, place: Tensor, covariance: Tensor, matched: Tensor, far: Tensor) -> None:
        seen, index = matched >= 0, matched.clamp(min=0)
        if place.shape[1]:
            measured = place.gather(1, index[..., None].expand(*index.shape, 2))
            noise = covariance.gather(1, index[..., None, None].expand(*index.shape, 2, 2))
            noise = torch.where(seen[..., None, None], noise, torch.eye(2, dtype=noise.dtype, device=noise.device))
            doubted = (far.gather(2, index[..., None])[..., 0] / self.settings.doubt).clamp(min=1.0)
            noise = noise * doubted[..., None, None]
            sure = inverse(self._covariance[..., :2, :2] + noise)
            gain = product(self._covariance[..., :2], sure)  # [N, K, 4, 2]
            state = self._state + product(gain, (measured - self._state[..., :2])[..., None])[..., 0]
            better = self._covariance - product(gain, self._covariance[..., :2, :])
            better = (better + better.transpose(-1, -2)) / 2
            self._state = torch.where(seen[..., None], state, self._state)
            self._covariance = torch.where(seen[..., None, None], better, self._covariance)
        self._unseen = torch.where(seen, 0.0, self._unseen)
        self._measurement = matched

    def _begin(
        self,
        place: Tensor,
        covariance: Tensor,
        there: Tensor,
        number: Tensor | None,
        velocity: Tensor | None,
        velocity_covariance: Tensor | None,
    ) -> None:
        """Put measurements that are nobody's into free rows, in their order, while there are any."""
        if not place.shape[1]:
            return
        claimed = torch.zeros_like(there)
        used = self._valid & (self._measurement >= 0)
        world, slot = used.nonzero(as_tuple=True)
        claimed[world, self._measurement[world, slot]] = True
        new, free = there & ~claimed, ~self._valid
        rank = new.cumsum(1) - 1
        fits = new & (rank < free.sum(1)[:, None])
        world, one = fits.nonzero(as_tuple=True)
        rows = torch.where(free, free.cumsum(1) - 1, -1)  # free row -> how manieth
        slot = _first(rows[world] == rank[world, one][:, None])
        velocity = torch.zeros_like(place) if velocity is None else velocity.to(self._state.dtype)
        self._state[world, slot] = torch.cat([place[world, one], velocity[world, one]], -1)
        start = torch.zeros(len(world), 4, 4, dtype=self._state.dtype, device=self._state.device)
        start[:, :2, :2] = covariance[world, one]
        if velocity_covariance is None:
            start[:, 2, 2] = start[:, 3, 3] = self.settings.velocity**2
        else:
            start[:, 2:, 2:] = velocity_covariance[world, one].to(self._state.dtype)
        self._covariance[world, slot] = start
        self._valid[world, slot], self._age[world, slot], self._unseen[world, slot] = True, 1, 0.0
        self._measurement[world, slot] = one
        if number is None:
            self._number[world, slot] = self._next[world] + rank[world, one]
            self._next = self._next + fits.sum(1)
        else:
            self._number[world, slot] = number[world, one]


def in_one_place(place: Tensor, along: Tensor, other: Tensor, settings: GroundSettings) -> Tensor:
    """Return bool [N, K, M]: are things at places [N, K, 2 or more], along lanes, and at others [N, M, 2] one."""
    apart = other[:, None] - place[:, :, None, :2]
    ahead = (apart * along[:, :, None]).sum(-1).abs()
    aside = (apart[..., 0] * along[:, :, None, 1] - apart[..., 1] * along[:, :, None, 0]).abs()
    return (ahead < settings.length) & (aside < settings.width)


def crowded_out(place: Tensor, along: Tensor, known: Tensor, there: Tensor, settings: GroundSettings) -> Tensor:
    """Return bool [N, K]: does a thing stand where a better `known` one does, or as well known in an earlier row."""
    both = there[:, None] & there[:, :, None]
    return outdone(in_one_place(place, along, place, settings) & both, known)


def _first(mask: Tensor) -> Tensor:
    """Index of the first True along the last axis, -1 where there is none."""
    if not mask.shape[-1]:
        return torch.full(mask.shape[:-1], -1, dtype=torch.int64, device=mask.device)
    return torch.where(mask.any(-1), mask.int().argmax(-1), -1)
