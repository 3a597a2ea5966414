"""From boxes to a scene: what cameras and a lidar find, followed over time, becomes what a driver may know.

Everything is batched over N worlds, and what becomes of one does not depend on the others. The vehicle's own motion and
the map are taken as known (`sim.scene`); the map gives things their heading and a first guess of their velocity, at
the usual speed of traffic along their lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from perception.bodies import outlines_of
from perception.fusion import Boxes, Measurements, Sweep, merged, with_lidar
from perception.ground_plane import BoxErrors, Viewpoints, first_guess, fit_places
from perception.tracking.ground_tracks import GroundSettings, GroundTracks, GroundTracksNow, crowded_out
from sim.evaluation.metrics.signals import wrapped
from sim.lane_directions import LaneDirections
from sim.scene import SIGHT, Bodies, Scene, lanes_near, own_body
from sim.sensors.camera.rig import Poses

PLACES = 128
"""Boxes of one moment in a world that are looked at; those of the last camera's least certain ones go."""

ROADSIDE = 4.0
"""Distance from the middle of the nearest lane within which things matter [m]: half a lane, and as much beside it."""


@dataclass(frozen=True)
class SceneSettings:
    """How boxes become a scene.

    Attributes:
        things: K, tracked at most.
        least_score: below which a box is no measurement.
        evidence: sum of its scores from which a new thing counts; those of an episode's first look count at once.
        traffic: how fast a new thing is taken to drive along its lane, if the ego is not slower [m/s]. speed, aside:
            standard deviations of that, along the lane and across it [m/s].
        centred: standard deviation of how far things are from the middle of their lane, at each look [m].
        errors: of the boxes. tracks: how things move.
    """

    things: int = 32
    least_score: float = 0.5
    evidence: float = 1.2
    traffic: float = 22.0
    speed: float = 4.0
    aside: float = 0.7
    centred: float = 0.5
    errors: BoxErrors = field(default_factory=BoxErrors)
    tracks: GroundSettings = field(default_factory=lambda: GroundSettings(acceleration=0.6, lost=2.0))

    def __post_init__(self) -> None:
        if not 1 <= self.things <= PLACES:
            raise ValueError(f"things is {self.things}; it must be from 1 to {PLACES}")
        if not (0 <= self.least_score < 1 and self.speed > 0 and self.aside > 0):
            raise ValueError(
                f"least_score must be from 0 to 1, speed and aside above 0; got {self.least_score}, {self.speed}, "
                f"{self.aside}"
            )


class ScenePerception:
    """Measures, follows and describes what stands around the first driver of each world.

    Args:
        envs: a `VectorEnv`, of which the own vehicle and the map are read.
        size: width and height of the pictures in whose pixels boxes come.
        classes: of the detector, labels 1, 2, ...
        settings: see `SceneSettings`.
    """

    def __init__(
        self, envs: Any, size: tuple[int, int], classes: Sequence[str], settings: SceneSettings | None = None
    ) -> None:
        self.envs, self.size, self.settings = envs, size, settings or SceneSettings()
        self.outlines = outlines_of(classes, envs.device)
        self._lanes = LaneDirections(envs, PLACES)
        shape = (envs.num_envs, self.settings.things)
        whole = {"dtype": torch.int64, "device": envs.device}
        self._tracks = GroundTracks(*shape, self.settings.tracks, device=envs.device)
        self._now = self._tracks.now()
        self._looks = torch.zeros(shape[0], **whole)
        self._number = torch.full(shape, -1, **whole)
        self._votes = torch.zeros(*shape, len(classes) + 1, dtype=torch.float64, device=envs.device)

    def measure(self, found: Boxes, poses: Poses, by_identity: bool = False) -> Measurements:
        """Return where the things stand whose boxes cameras `[N, C]` found.

        Args:
            found: boxes of [N, C] pictures.
            poses: of the cameras when they looked.
            by_identity: see `perception.fusion.merged`.
        """
        kept = (found.labels > 0) & (found.scores >= self.settings.least_score)
        rank = kept.flatten(1).cumsum(1).view_as(kept) - 1
        kept = kept & (rank < PLACES)
        world, camera, row = kept.nonzero(as_tuple=True)
        boxes, labels = found.boxes[world, camera, row].double(), found.labels[world, camera, row]
        seen_from = Viewpoints(
            poses.place[world, camera],
            poses.axes[world, camera].double(),
            poses.focal[world, camera].double(),
            self.size,
        )
        guess = first_guess(boxes, labels, self.outlines, seen_from)
        padded = guess.new_zeros(len(kept), int(kept.sum((1, 2)).max()), 2)
        padded[world, rank[kept]] = guess
        heading = self._lanes(padded)[0][world, rank[kept]]
        places = fit_places(boxes, labels, heading, self.outlines, seen_from, self.settings.errors)

        def spread_out(values: Tensor, filling: Tensor | float = 0.0) -> Tensor:
            out = torch.zeros(*kept.shape, *values.shape[1:], dtype=values.dtype, device=values.device) + filling
            out[world, camera, row] = values
            return out

        place, covariance = (
            spread_out(places.place),
            spread_out(places.covariance, torch.eye(2, dtype=torch.float64, device=kept.device)),
        )
        of_cameras = [
            Measurements(
                place[:, c],
                covariance[:, c],
                kept[:, c],
                found.scores[:, c].double(),
                found.labels[:, c],
                found.identity[:, c],
            )
            for c in range(kept.shape[1])
        ]
        return merged(of_cameras, by_identity)

    def ranged(self, found: Measurements, sweep: Sweep) -> Measurements:
        """Return the measurements made surer by a lidar's."""
        heading, _ = self._lanes(found.place)
        return with_lidar(found, heading, self.outlines.footprint[found.label], sweep)

    def follow(
        self, found: Measurements, elapsed: Tensor, restart: Tensor, looked: Tensor, by_identity: bool = False
    ) -> None:
        """Take in what one more look found.

        Args:
            found: [N, M] things.
            elapsed: time since the last look, [N] [s].
            restart: bool [N], worlds in which everything is new.
            looked: bool [N], those that were looked at.
            by_identity: things are who the measurements say (an oracle's association); who is nobody is dropped.
        """
        ego = own_body(self.envs)
        there = found.there & looked[:, None]
        if by_identity:
            there = there & (found.identity >= 0)
            again = (found.identity[:, :, None] == found.identity[:, None]) & there[:, None]
            there = there & ~again.tril(-1).any(-1)
        heading, aside = self._lanes(found.place)
        there = there & (aside.abs() <= ROADSIDE)
        along = torch.stack([heading.cos(), heading.sin()], -1)
        there = there & ~crowded_out(found.place, along, found.score, there, self.settings.tracks)
        across = torch.stack([-along[..., 1], along[..., 0]], -1)
        still = self.outlines.still[found.label]
        speed = torch.hypot(ego.vx, ego.vy).double().clamp(max=self.settings.traffic)[:, None] * ~still
        spread = self.settings.speed**2 * along[..., :, None] * along[..., None, :]
        spread = spread + self.settings.aside**2 * across[..., :, None] * across[..., None, :]
        spread = torch.where(still[..., None, None], self.settings.aside**2 * torch.eye(2, device=along.device), spread)
        self._now = self._tracks.update(
            found.place,
            found.covariance,
            there,
            elapsed,
            found.identity if by_identity else None,
            restart,
            speed[..., None] * along,
            spread,
            self._ways()[0],
        )
        self._looks = torch.where(restart, 0, self._looks) + looked.long()
        self._count_votes(found, restart)
        along, offset, crosses = self._ways()
        lane_bound = self._now.valid & looked[:, None] & ~crosses & ~self.outlines.still[self._votes.argmax(-1)]
        self._now = self._tracks.drawn(along, offset, self.settings.centred, lane_bound)

    def _ways(self) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors [N, K, 2] along which things drive, how far to the right of their lanes [m], do they cross them.

        Of one that crosses its lane the vector is its own way, else the lane's.
        """
        state = self._now.state
        (lane, offset), own = self._lanes(state[..., :2]), torch.atan2(state[..., 3], state[..., 2])
        crosses = (state[..., 2:].norm(dim=-1) > MOVING) & (wrapped(own - lane).abs() > CROSSING)
        heading = torch.where(crosses, own, lane)
        return torch.stack([heading.cos(), heading.sin()], -1), offset, crosses

    def _count_votes(self, found: Measurements, restart: Tensor) -> None:
        """Remember of what classes things looked to be, with what scores."""
        now = self._now
        same = (now.number == self._number) & now.valid & ~restart[:, None]  # numbers begin anew with an episode
        self._number = torch.where(now.valid, now.number, -1)
        self._votes = torch.where(same[..., None], self._votes, 0.0)
        measured, index = now.measurement >= 0, now.measurement.clamp(min=0)
        label = found.label.gather(1, index)
        score = torch.where(measured & now.valid, found.score.gather(1, index), 0.0)
        self._votes.scatter_add_(2, label[..., None], score[..., None])

    def tracks(self) -> GroundTracksNow:
        """Return what is followed, whether it counts yet or not."""
        return self._now

    def scene(self, velocity: Tensor | None = None) -> Scene:
        """Return what is known now.

        Args:
            velocity: [N, K, 2], of what is followed, in place of the estimates (an oracle's) [m/s].
        """
        now, ego = self._now, own_body(self.envs)
        label = self._votes.argmax(-1)
        evident = self._votes.sum(-1) >= self.settings.evidence
        known = now.valid & (evident | (now.age >= self._looks[:, None]))
        x, y = now.state[..., 0], now.state[..., 1]
        distance = torch.hypot(x - ego.x[:, None], y - ego.y[:, None])
        distance = torch.where(known & (distance < SIGHT), distance, torch.inf)
        distance, order = distance.sort(dim=1, stable=True)
        valid = distance < torch.inf
        velocity = now.state[..., 2:] if velocity is None else velocity
        columns = {"x": x, "y": y, "vx": velocity[..., 0], "vy": velocity[..., 1]}
        columns |= {"heading": self._heading(now.state[..., :2], velocity)}
        columns |= {"length": self.outlines.footprint[label][..., 0], "width": self.outlines.footprint[label][..., 1]}
        real = ego.x.dtype

        def sorted_(values: Tensor) -> Tensor:
            picked = values.take_along_dim(order.view(*order.shape, *[1] * (values.ndim - 2)), 1)
            nothing = torch.zeros((), dtype=values.dtype, device=values.device)
            return torch.where(valid.view(*valid.shape, *[1] * (values.ndim - 2)), picked, nothing)

        return Scene(
            ego=ego,
            tracked=Bodies(**{name: sorted_(values).to(real) for name, values in columns.items()}),
            valid=valid,
            still=sorted_(self.outlines.still[label]),
            number=sorted_(now.number),
            age=sorted_(now.age),
            covariance=sorted_(now.covariance).to(real),
            lanes=lanes_near(self.envs),
        )

    def _heading(self, place: Tensor, velocity: Tensor) -> Tensor:
        """Where things head [N, K]: where they move to, or, of what hardly moves, along the lane [rad]."""
        lane = self._lanes(place)[0]
        return torch.where(velocity.norm(dim=-1) > MOVING, torch.atan2(velocity[..., 1], velocity[..., 0]), lane)


MOVING = 2.0
"""Speed from which a thing's velocity says where it heads [m/s]."""
CROSSING = 0.6
"""Angle to its lane from which a thing does not follow it [rad]; a change of lanes is less."""
