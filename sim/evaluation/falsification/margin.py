"""How close an episode comes to a failure: the robustness margin, and what a contact was like.

Margins of single frames combine as in signal temporal logic: "always clear" is the minimum over time and vehicles. They
are normalised and cut at 1, so that a search sees vehicles alongside and vehicles far ahead on one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sim.world import Kind

GAP_SCALE = 2.0  # m between the sides at which the margin is 1
TTC_SCALE = 4.0  # s to a contact at constant velocities at which the margin is 1; conflicts begin at 3 s
STANDING = 0.05  # m/s, below which an ego that was hit stood still (nuPlan's threshold for stopped tracks)
EXCUSED_MARGIN = 0.5
"""Of an episode whose contact does not count: it neither draws a search nor drives it away."""
SIDES = ("front", "rear", "left", "right")
"""Of the ego, where it was touched."""
# Columns of `Contacts.features`, in SI units and in the ego's frame, right being positive.
FEATURES = (
    "time", "side", "kind", "number", "ahead", "right", "speed", "other_speed", "closing_speed", "heading",
    "same_lane", "ego_changes_lane", "other_changes_lane",
)  # fmt: skip
POSE = ("x", "y", "cos_heading", "sin_heading", "speed", "length", "width", "kind", "lane", "target_lane", "number")


@dataclass
class Contacts:
    """What happened to each of N worlds.

    Attributes:
        failed: an ego had a contact that counts, bool [N].
        excused: an ego had a contact, but stood still when it was hit, bool [N].
        time: of the first contact [s], inf where there was none, float64 [N].
        margin: smallest margin up to the contact or the end, float64 [N]; see `MarginTracker`.
        features: of the contact, float64 [N, F] as `FEATURES`; NaN where there was none.
    """

    failed: Tensor
    excused: Tensor
    time: Tensor
    margin: Tensor
    features: Tensor


class MarginTracker:
    """Follows N worlds frame by frame.

    An ego is the agent's vehicle; of several egos the worst counts. The margin of a frame is the least, over the other
    vehicles and obstacles, of the distance between the boxes (the larger of the one along and the one across the ego)
    over `GAP_SCALE`, and of the time to a contact at constant velocities over `TTC_SCALE`, for those in the ego's
    corridor. An episode's is the least of all frames, 0 or more; a contact makes it time / duration - 1, from -1 to 0:
    the earlier, the lower.

    Args:
        envs: the environment, freshly reset.
        duration: longest episode [s].
    """

    def __init__(self, envs: Any, duration: float) -> None:
        self._envs, self._duration = envs, duration
        n, device = envs.num_envs, envs.device
        self._rate = float(envs.config["simulation_frequency"])
        self._frame = 0
        double = {"dtype": torch.float64, "device": device}
        self._margin = torch.ones(n, **double)
        self._time = torch.full((n,), torch.inf, **double)
        self._excused = torch.zeros(n, dtype=torch.bool, device=device)
        self._features = torch.full((n, len(FEATURES)), torch.nan, **double)
        self._touched = torch.zeros(n, dtype=torch.bool, device=device)
        self._before = self._poses()
        self.update(torch.ones(n, dtype=torch.bool, device=device))

    def update(self, alive: Tensor) -> None:
        """Looks at the present frame of the worlds in `alive`, bool [N]."""
        world = self._envs.world
        poses = self._poses()
        counts = alive & ~self._touched
        for agent in range(world.ego.shape[1]):
            ego = world.ego[:, agent : agent + 1].long()
            least = _least_margin(poses, ego).to(torch.float64)
            self._margin = torch.where(counts, torch.minimum(self._margin, least), self._margin)
            hit = counts & world.crashed.gather(1, ego)[:, 0]
            if bool(hit.any()):
                self._note_contact(hit, ego)
                counts = counts & ~hit
        self._before = poses
        self._frame += 1

    def finish(self) -> Contacts:
        """Returns what happened."""
        touched = self._touched
        margin = torch.where(touched, self._time / self._duration - 1, self._margin.clamp(min=0))
        margin = torch.where(self._excused, EXCUSED_MARGIN, margin)
        return Contacts(touched & ~self._excused, self._excused, self._time, margin, self._features)

    def _poses(self) -> dict[str, Tensor]:
        """Copies of what a frame's margin needs, contiguous: the next frame overwrites the world."""
        world = self._envs.world
        return {name: getattr(world, name).clone(memory_format=torch.contiguous_format) for name in POSE}

    def _note_contact(self, hit: Tensor, ego: Tensor) -> None:
        """Writes down the first contact of the worlds in `hit`, from the last frame before it."""
        rows = hit.nonzero()[:, 0]
        self._touched[rows] = True
        time = self._frame / self._rate
        self._time[rows] = time
        before = {name: values[rows] for name, values in self._before.items()}
        crashed = self._envs.world.crashed[rows]
        number = self._envs.world.number[rows]
        features = _contact_features(before, self._ego_before(rows, ego), crashed, number, time)
        self._features[rows] = features
        self._excused[rows] = features[:, FEATURES.index("speed")].abs() < STANDING

    def _ego_before(self, rows: Tensor, ego: Tensor) -> Tensor:
        """The ego's slot in the last frame, [R, 1]: slots move up when vehicles leave a junction."""
        number = self._envs.world.number[rows].gather(1, ego[rows])
        return (self._before["number"][rows] == number).int().argmax(1, keepdim=True)


def _relative(poses: dict[str, Tensor], ego: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Place [m], relative heading (cos, sin), and gaps [m] along and across the ego, of each slot, [N, V] each."""
    x, y, cosine, sine, length, width = (
        poses[name].gather(1, ego) for name in ("x", "y", "cos_heading", "sin_heading", "length", "width")
    )
    dx, dy = poses["x"] - x, poses["y"] - y
    ahead, right = dx * cosine + dy * sine, dy * cosine - dx * sine
    cos = poses["cos_heading"] * cosine + poses["sin_heading"] * sine
    sin = poses["sin_heading"] * cosine - poses["cos_heading"] * sine
    along = ahead.abs() - (poses["length"] * cos.abs() + poses["width"] * sin.abs() + length) / 2
    across = right.abs() - (poses["length"] * sin.abs() + poses["width"] * cos.abs() + width) / 2
    return ahead, right, cos, sin, along, across


def _others(poses: dict[str, Tensor], ego: Tensor) -> Tensor:
    """Which slots hold a vehicle or an obstacle that is not the ego, bool [N, V]."""
    kind = poses["kind"]
    present = (kind != int(Kind.ABSENT)) & (kind != int(Kind.LANDMARK))
    return present.scatter(1, ego, False)


def _least_margin(poses: dict[str, Tensor], ego: Tensor) -> Tensor:
    """The margin of a frame, [N]; never below 0, which only a contact is."""
    ahead, _, cos, _, along, across = _relative(poses, ego)
    gap = torch.maximum(along, across) / GAP_SCALE
    closing = (poses["speed"].gather(1, ego) - poses["speed"] * cos) * ahead.sign()
    coming = (across < 0) & (closing > 0) & (along > 0)
    ttc = torch.where(coming, along / closing / TTC_SCALE, torch.inf)
    least = torch.where(_others(poses, ego), torch.minimum(gap, ttc), torch.inf)
    return least.amin(1).clamp(0, 1)


def _contact_features(before: dict[str, Tensor], ego: Tensor, crashed: Tensor, number: Tensor, time: float) -> Tensor:
    """`FEATURES` of R contacts, float64 [R, F]; the other is the nearest of those that crashed, else the nearest.

    Args:
        before: poses [R, V] in the last frame before.
        ego: [R, 1], the ego's slot then.
        crashed: [R, V], in the frame of the contact.
        number: [R, V], in the frame of the contact.
        time: of the contact [s].
    """
    ahead, right, cos, sin, along, across = _relative(before, ego)
    crashed_numbers = torch.where(crashed, number, -1)
    hit = (before["number"][:, :, None] == crashed_numbers[:, None, :]).any(2)
    distance = torch.maximum(along, across).double() + torch.where(hit, 0.0, 1e6)
    other = torch.where(_others(before, ego), distance, torch.inf).argmin(1, keepdim=True)

    def of(values: Tensor, slot: Tensor) -> Tensor:
        return values.gather(1, slot)[:, 0].double()

    speed, other_speed = of(before["speed"], ego), of(before["speed"], other)
    cos, sin = of(cos, other), of(sin, other)
    ahead, right, along, across = (of(values, other) for values in (ahead, right, along, across))
    beside = across > along
    side = torch.where(beside, torch.where(right > 0, 3.0, 2.0), torch.where(ahead > 0, 0.0, 1.0))
    closing = torch.hypot(speed - other_speed * cos, other_speed * sin)
    columns = {
        "time": torch.full_like(speed, time),
        "side": side,
        "kind": of(before["kind"], other),
        "number": of(before["number"], other),
        "ahead": ahead,
        "right": right,
        "speed": speed,
        "other_speed": other_speed,
        "closing_speed": closing,
        "heading": torch.atan2(sin, cos),
        "same_lane": (of(before["lane"], ego) == of(before["lane"], other)).double(),
        "ego_changes_lane": (of(before["lane"], ego) != of(before["target_lane"], ego)).double(),
        "other_changes_lane": (of(before["lane"], other) != of(before["target_lane"], other)).double(),
    }
    return torch.stack([columns[name] for name in FEATURES], 1)
