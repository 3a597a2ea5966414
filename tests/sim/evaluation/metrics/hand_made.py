"""Episodes drawn by hand for the tests of metrics: cars on a straight road along x, or on any path.

The road has `lanes` parallel lanes along +x, the leftmost's centre at y = 0, the next at y = 4 and so on (y down).
A scene is a list of cars, the ego first; scenes of different lengths and numbers of cars are padded with rubbish that
no metric may read. `rotated`, `moved`, `mirrored`, `shuffled` and `reordered` give what must not change a result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sim.engine.lanes import StraightLane
from sim.engine.network import Network
from sim.evaluation.episodes import Episodes, LaneFacts
from sim.world import Kind

DT = 0.1  # s
LANE_WIDTH = 4.0  # m
RUBBISH = 1e6
REALS = ("x", "y", "heading", "speed", "acceleration", "length", "width")
INTEGERS = ("kind", "lane", "target_lane", "number")
FIELDS = (*REALS, *INTEGERS, "crashed")


@dataclass(frozen=True)
class Car:
    """The motion of one vehicle: arrays [T], or numbers that hold for all frames. `lane` None: the nearest to y."""

    x: Any
    y: Any = 0.0
    speed: Any = 0.0
    heading: Any = 0.0
    acceleration: Any = 0.0
    length: Any = 5.0
    width: Any = 2.0
    kind: Any = Kind.IDM
    lane: Any = None
    target_lane: Any = None  # None: `lane`
    number: Any = None  # None: its place in the scene
    crashed: Any = False

    def crashing(self, frame: int) -> Car:
        """Returns the same car, crashed from this frame on."""
        frames = len(np.atleast_1d(self.x))
        return replace(self, crashed=np.arange(frames) >= frame)


def cruise(
    x: float, y: float = 0.0, speed: float = 20.0, *, frames: int = 50, dt: float = DT, heading: float = 0.0,
    acceleration: float = 0.0, **rest: Any,
) -> Car:  # fmt: skip
    """A car that starts at x, y [m] and holds its heading [rad] and acceleration [m/s2]; a braking one stops at 0."""
    t = np.arange(frames) * dt
    moving = t
    if acceleration * speed < 0:
        moving = np.minimum(t, -speed / acceleration)
    gone = speed * moving + acceleration * moving**2 / 2
    held = np.where(moving == t, acceleration, 0.0)
    v = speed + acceleration * moving
    return Car(x + gone * np.cos(heading), y + gone * np.sin(heading), v, heading, held, **rest)


def circle(
    radius: float, speed: float, *, frames: int = 50, dt: float = DT, center: tuple = (0.0, 0.0), **rest: Any
) -> Car:
    """A car that drives a circle [m], clockwise on the screen, from its rightmost point."""
    phase = speed * np.arange(frames) * dt / radius
    x, y = center[0] + radius * np.cos(phase), center[1] + radius * np.sin(phase)
    return Car(x, y, speed, phase + np.pi / 2, **rest)


def episodes(*scenes: list[Car], dt: float = DT, frames_per_step: int = 1, lanes: int = 3, **fields: Any) -> Episodes:
    """Returns N episodes, float64, of N scenes; `fields` override what Episodes holds (seeds, success, ...)."""
    lengths = [len(np.atleast_1d(scene[0].x)) for scene in scenes]
    frames, slots, n = max(lengths), max(map(len, scenes)), len(scenes)
    table = {name: np.full((frames, n, slots), RUBBISH) for name in REALS}
    table |= {name: np.full((frames, n, slots), -1) for name in INTEGERS}
    table["kind"][:] = Kind.ABSENT
    table["crashed"] = np.zeros((frames, n, slots), dtype=bool)
    for i, (scene, length) in enumerate(zip(scenes, lengths, strict=True)):
        for v, car in enumerate(scene):
            for name, values in _columns(car, v, lanes).items():
                table[name][:length, i, v] = values
                table[name][length:, i, v] = np.broadcast_to(values, (length,))[-1]
        table["x"][length:, i, :] = -RUBBISH
        table["speed"][length:, i, :] = RUBBISH
    tensors = {name: torch.from_numpy(values) for name, values in table.items()}
    tensors |= {name: tensors[name].to(torch.int32) for name in INTEGERS}
    return _of(tensors, torch.tensor(lengths), dt, frames_per_step, lanes, fields)


def _columns(car: Car, slot: int, lanes: int) -> dict[str, np.ndarray]:
    values = {name: np.asarray(getattr(car, name)) for name in FIELDS if getattr(car, name) is not None}
    values.setdefault("lane", np.clip(np.round(values["y"] / LANE_WIDTH), 0, lanes - 1).astype(int))
    values.setdefault("target_lane", values["lane"])
    values.setdefault("number", np.asarray(slot))
    return values


def _of(
    tensors: dict[str, torch.Tensor], lengths: torch.Tensor, dt: float, per_step: int, lanes: int, fields: dict
) -> Episodes:
    frames, n, _ = tensors["x"].shape
    steps = max((frames - 1) // per_step, 0)
    made = Episodes(
        **{
            "id": "hand-made",
            "config": {},
            "network": Network.straight(lanes, speed_limit=30.0),
            "seeds": list(range(n)),
            "dt": dt,
            "frames_per_step": per_step,
            **tensors,
            "ego": torch.zeros(frames, n, dtype=torch.int64),
            "frames": lengths,
            "actions": torch.zeros(steps, n, dtype=torch.int64),
            "rewards": torch.zeros(steps, n, dtype=torch.float64),
            "latency": torch.zeros(steps, dtype=torch.float64),
            "terminated": torch.zeros(n, dtype=torch.bool),
            "success": torch.zeros(n, dtype=torch.bool),
            "reports_success": False,
            **fields,
        }
    )
    return with_facts(made, straight_facts(made, lanes))


def with_facts(made: Episodes, facts: LaneFacts) -> Episodes:
    """Returns the episodes with these lane facts in place of what the lane tables say."""
    made.__dict__["facts"] = facts  # where a cached_property keeps its value
    return made


def changed_facts(made: Episodes, **changes: Any) -> Episodes:
    """Returns a copy of the episodes with some lane facts replaced; a number holds for all [T, N]."""
    shape = made.ego.shape
    whole = {name: torch.as_tensor(value).expand(shape).clone() for name, value in changes.items()}
    return with_facts(replace(made), replace(made.facts, **whole))


def straight_facts(made: Episodes, lanes: int) -> LaneFacts:
    """The ego's place on the straight road, by hand: no lane table is asked."""
    x, y, lane = (made.of_ego(name) for name in ("x", "y", "lane"))
    nearest = lane.clamp(0, lanes - 1)
    half_length, half_width = made.length / 2, made.width / 2
    here = (made.kind != int(Kind.ABSENT)) & (made.kind != int(Kind.LANDMARK))
    here &= (made.y - (nearest * LANE_WIDTH)[..., None]).abs() <= LANE_WIDTH / 2
    here &= (made.heading.cos() > 0) | (made.kind == int(Kind.OBSTACLE))
    here.scatter_(2, made.ego[..., None], False)
    away = made.x - x[..., None]
    half_ego = half_length.gather(2, made.ego[..., None])
    facts: dict[str, torch.Tensor] = {}
    for who, gap, sign in (("leader", "gap", 1), ("follower", "follower_gap", -1)):
        ahead = here & (away * sign >= 0)
        distance = torch.where(ahead, (away * sign) - half_length - half_ego, torch.inf)
        facts[gap], slot = distance.min(2)
        facts[who] = torch.where(ahead.any(2), slot, -1)
    heading = made.of_ego("heading")
    reach = (half_length.gather(2, made.ego[..., None])[..., 0] * heading.sin().abs()) + (
        half_width.gather(2, made.ego[..., None])[..., 0] * heading.cos().abs()
    )
    right_edge = (lanes - 0.5) * LANE_WIDTH
    return LaneFacts(
        s=x,
        lateral=y - nearest * LANE_WIDTH,
        lane_heading=torch.zeros_like(x),
        lane_width=torch.full_like(x, LANE_WIDTH),
        speed_limit=torch.full_like(x, 30.0),
        lane_index=nearest.to(torch.int32),
        lane_count=torch.full_like(nearest, lanes).to(torch.int32),
        off_road=torch.maximum(y + reach - right_edge, -LANE_WIDTH / 2 - (y - reach)),
        **facts,
    )


def rotated(made: Episodes, angle: float) -> Episodes:
    """Returns the same episodes in a world turned by `angle` [rad] around the origin."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = {"x": made.x * cosine - made.y * sine, "y": made.x * sine + made.y * cosine}
    facts = replace(made.facts, lane_heading=made.facts.lane_heading + angle)
    network = _turned(made.network, cosine, sine)
    return with_facts(replace(made, **turned, heading=made.heading + angle, network=network), facts)


def _turned(network: Network, cosine: float, sine: float) -> Network:
    """The same road, turned, where it is the straight one."""
    if len(network.edges) > 1 or not all(type(one) is StraightLane for one in network.lanes):
        return network

    def turned(point: tuple[float, float]) -> tuple[float, float]:
        return point[0] * cosine - point[1] * sine, point[0] * sine + point[1] * cosine

    lanes = [replace(one, start=turned(one.start), end=turned(one.end)) for one in network.lanes]
    return Network({"0": {"1": lanes}})


def moved(made: Episodes, x: float, y: float) -> Episodes:
    """Returns the same episodes in another place [m]."""
    return with_facts(replace(made, x=made.x + x, y=made.y + y), made.facts)


def mirrored(made: Episodes) -> Episodes:
    """Returns the same episodes with left and right exchanged."""
    facts = made.facts
    flipped = replace(
        facts,
        lateral=-facts.lateral,
        lane_heading=-facts.lane_heading,
        lane_index=facts.lane_count - 1 - facts.lane_index,
    )
    return with_facts(replace(made, y=-made.y, heading=-made.heading), flipped)


def shuffled(made: Episodes, seed: int = 0) -> Episodes:
    """Returns the same episodes with the vehicles in other slots, the ego too."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(made.x.shape[2]))
    place = order.argsort()
    facts = made.facts
    slots = {who: torch.where(value >= 0, place[value], -1) for who in ("leader", "follower")
             for value in [getattr(facts, who)]}  # fmt: skip
    changes = {name: getattr(made, name)[:, :, order] for name in FIELDS}
    return with_facts(replace(made, **changes, ego=place[made.ego]), replace(facts, **slots))


def reordered(made: Episodes, worlds: list[int]) -> Episodes:
    """Returns these episodes, in this order: another batch size, another order of worlds."""
    changes = {name: getattr(made, name)[:, worlds] for name in (*FIELDS, "ego", "actions", "rewards")}
    changes |= {name: getattr(made, name)[worlds] for name in ("frames", "terminated", "success")}
    facts = replace(made.facts, **{name: value[:, worlds] for name, value in vars(made.facts).items()})
    return with_facts(replace(made, seeds=[made.seeds[i] for i in worlds], **changes), facts)
