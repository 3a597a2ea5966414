"""A planar range scan from a vehicle's middle: ranges, what was hit, how brightly it answers, how fast it parts.

Rays meet the rectangles of the physical world (length x width); what lies inside one looks out of it at range 0.
Ranges are exact to the rounding of float32 (1e-4 m at 100 m). Nothing here copies highway-env, whose own scan is
`sim.observations.lidar`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import warp as wp

from sim.engine.elementary import TWO_PI
from sim.engine.launch import Program
from sim.engine.state import Kind
from sim.provenance import usable_cores
from sim.scenarios.base import is_number
from sim.sensors import noise
from sim.sensors.camera.bodies import Catalogue, catalogue, pattern_of, stream_of
from sim.sensors.classes import Semantic
from sim.sensors.memory import require_memory
from sim.sensors.noise import Stream
from sim.world import World

if TYPE_CHECKING:
    from sim.observations.base import Binding  # which imports the observation that is made of this sensor

REFLECTIVITY = {
    Semantic.CAR: 0.55,
    Semantic.VAN: 0.70,
    Semantic.TRUCK: 0.45,
    Semantic.MOTORCYCLE: 0.30,
    Semantic.OBSTACLE: 0.80,
}
"""Share of the light that a surface hit at right angles sends back; chosen so that classes differ, not measured."""
BEAMS_A_THREAD = 32  # on CUDA, where a world has several threads; on the CPU one thread scans a world
BEAM_BYTES = 4 + 1 + 4 + 4 + 2  # of a `Scan`


@wp.struct
class Sweep:
    """What the kernel needs to know of the sensor, and where it writes."""

    start: wp.float32  # rad, of the first beam, from the vehicle's heading towards its right
    step: wp.float32  # rad, from one beam to the next
    reach: wp.float32  # m
    noise: wp.float32  # m
    drop_out: wp.float32
    chunk: int  # beams a thread
    beams: wp.array(dtype=wp.vec2f)  # [B] unit vectors in the vehicle's frame, ahead and to the right
    reflectivity: wp.array(dtype=wp.float32)  # by class
    ranges: wp.array2d(dtype=wp.float32)  # [N, B], while things are entered their inverses [1/m]
    classes: wp.array2d(dtype=wp.uint8)
    intensity: wp.array2d(dtype=wp.float32)  # while things are entered the cosine of the angle of incidence
    speed: wp.array2d(dtype=wp.float32)
    instance: wp.array2d(dtype=wp.int16)


@wp.func
def _mark(sweep: Sweep, w: int, low: int, high: int, near: wp.vec3f, side: wp.vec3f, v: int):
    """Enter a thing into the beams from `low` to `high`, all of which meet it, where nothing nearer is.

    `near` and `side` are its one or two sides that face the sensor: the vector whose product with a beam is the
    inverse range of the side's line, and the distance to that line. A beam meets a convex body on the farther line.
    """
    for k in range(low, high + 1):
        beam = sweep.beams[k]
        inverse = beam[0] * near[0] + beam[1] * near[1]
        other = beam[0] * side[0] + beam[1] * side[1]
        distance = near[2]
        if other < inverse:
            inverse = other
            distance = side[2]
        if inverse > sweep.ranges[w, k]:
            sweep.ranges[w, k] = inverse
            sweep.intensity[w, k] = inverse * distance
            sweep.instance[w, k] = wp.int16(v + 1)


@wp.func
def _enter(world: Any, sweep: Sweep, w: int, ego: int, v: int, first: int, last: int):
    """Enter one thing into the beams `first` to `last`: which of them meet it follows from its outermost corners."""
    real_x = world.cars[w, v].x - world.cars[w, ego].x
    real_y = world.cars[w, v].y - world.cars[w, ego].y
    dx = wp.float32(real_x)  # the difference first: the world may be in float64
    dy = wp.float32(real_y)
    half_length = wp.float32(0.5) * wp.float32(world.cars[w, v].length)
    half_width = wp.float32(0.5) * wp.float32(world.cars[w, v].width)
    zero = wp.float32(0.0)
    outer = sweep.reach + half_length + half_width
    if dx * dx + dy * dy > outer * outer:
        return
    ego_cos = wp.float32(world.cars[w, ego].cos_heading)
    ego_sin = wp.float32(world.cars[w, ego].sin_heading)
    own_cos = wp.float32(world.cars[w, v].cos_heading)
    own_sin = wp.float32(world.cars[w, v].sin_heading)
    ax = own_cos * ego_cos + own_sin * ego_sin  # its axis in the ego's frame
    ay = own_sin * ego_cos - own_cos * ego_sin
    px = dx * ego_cos + dy * ego_sin  # its middle
    py = dy * ego_cos - dx * ego_sin
    along = -(px * ax + py * ay)  # the sensor in its frame
    across = px * ay - py * ax
    gap_along = wp.abs(along) - half_length
    gap_across = wp.abs(across) - half_width
    if gap_along <= zero and gap_across <= zero:
        for k in range(first, last + 1):
            sweep.ranges[w, k] = wp.float32(wp.inf)
            sweep.intensity[w, k] = wp.float32(1.0)
            sweep.instance[w, k] = wp.int16(v + 1)
        return
    end = half_length * wp.sign(along)  # the corner between the facing sides, and to which ends they stretch from it
    edge = half_width * wp.sign(across)
    near = wp.vec3f(zero, zero, zero)
    side = wp.vec3f(zero, zero, zero)
    if gap_along > zero:
        scale = -wp.sign(along) / gap_along
        near = wp.vec3f(ax * scale, ay * scale, gap_along)
    if gap_across > zero:
        scale = -wp.sign(across) / gap_across
        side = wp.vec3f(-ay * scale, ax * scale, gap_across)
    c1_along = -end  # outermost corners: of two facing sides the far ends, of one side its ends
    c1_across = edge
    c2_along = end
    c2_across = -edge
    if gap_across <= zero:
        c1_along = end
        side = near
    if gap_along <= zero:
        c2_along = -end
        c2_across = edge
        c1_along = end
        near = side
    angle_1 = wp.atan2(py + c1_along * ay + c1_across * ax, px + c1_along * ax - c1_across * ay)
    angle_2 = wp.atan2(py + c2_along * ay + c2_across * ax, px + c2_along * ax - c2_across * ay)
    turn = wp.float32(TWO_PI)
    spread = angle_2 - angle_1  # what is outside it spans less than half a turn
    spread = spread - turn * wp.floor(spread / turn + wp.float32(0.5))
    begin = angle_1 - sweep.start
    if spread < zero:
        spread = -spread
        begin = angle_2 - sweep.start
    begin = begin - turn * wp.floor(begin / turn)
    most = wp.float32(last + 1)  # beyond it nothing matters, and int() may overflow
    for lap in range(2):  # the beams may begin within its span
        low = begin - turn * wp.float32(lap)
        from_beam = wp.max(int(wp.ceil(wp.min(wp.max(low, zero) / sweep.step, most))), first)
        high = low + spread
        if high >= zero:
            to_beam = wp.min(int(wp.floor(wp.min(high / sweep.step, most))), last)
            _mark(sweep, w, from_beam, to_beam, near, side, v)


@wp.func
def _answer(world: Any, bodies: Catalogue, sweep: Sweep, w: int, ego: int, first: int, last: int):
    """Turn what was entered into ranges, classes, intensities and speeds, with noise and drop-out."""
    zero = wp.float32(0.0)
    name = noise.key(world.rows[w].episode, world.rows[w].steps, Stream.LIDAR)
    ego_cos = wp.float32(world.cars[w, ego].cos_heading)
    ego_sin = wp.float32(world.cars[w, ego].sin_heading)
    ego_speed = wp.float32(world.cars[w, ego].speed)
    known = int(0)  # the thing that these belong to
    category = int(0)
    ahead = zero
    aside = zero
    for k in range(first, last + 1):
        hit = int(sweep.instance[w, k])
        lost = bool(False)
        if sweep.drop_out > zero:
            lost = noise.uniform(name, 2 * k) < sweep.drop_out
        if hit == 0 or lost:
            sweep.ranges[w, k] = sweep.reach
            sweep.classes[w, k] = wp.uint8(0)
            sweep.intensity[w, k] = zero
            sweep.speed[w, k] = zero
            sweep.instance[w, k] = wp.int16(0)
            continue
        if hit != known:
            known = hit
            v = hit - 1
            category = int(Semantic.OBSTACLE)
            if world.cars[w, v].kind != Kind.OBSTACLE:
                stream = stream_of(world.rows[w].episode, world.cars[w, v].number)
                category = bodies.bodies[pattern_of(bodies, stream)].category
            speed_x = wp.float32(world.cars[w, v].speed) * wp.float32(world.cars[w, v].cos_heading)
            speed_y = wp.float32(world.cars[w, v].speed) * wp.float32(world.cars[w, v].sin_heading)
            ahead = speed_x * ego_cos + speed_y * ego_sin - ego_speed
            aside = speed_y * ego_cos - speed_x * ego_sin
        reading = wp.float32(1.0) / sweep.ranges[w, k]
        if sweep.noise > zero:
            reading = reading + sweep.noise * noise.normal(name, 2 * k + 1)
            reading = wp.clamp(reading, zero, sweep.reach)
        beam = sweep.beams[k]
        sweep.ranges[w, k] = reading
        sweep.classes[w, k] = wp.uint8(category)
        sweep.intensity[w, k] = sweep.reflectivity[category] * sweep.intensity[w, k]
        sweep.speed[w, k] = ahead * beam[0] + aside * beam[1]


@wp.kernel(enable_backward=False, module="unique")
def scan(world: Any, bodies: Catalogue, sweep: Sweep, mask: wp.array(dtype=wp.bool), agent: int, first: int):
    """Scan from the ego `agent` of each world in `mask`; a thread has a stretch of the beams."""
    w, k = wp.tid()
    w = first + w
    if not mask[w]:
        return
    begin = k * sweep.chunk
    last = wp.min(begin + sweep.chunk, sweep.beams.shape[0]) - 1
    ego = world.ego[w, agent]
    for k in range(begin, last + 1):
        sweep.ranges[w, k] = wp.float32(1.0) / sweep.reach
        sweep.instance[w, k] = wp.int16(0)
    for v in range(world.rows[w].count):
        if v != ego and world.cars[w, v].kind != Kind.LANDMARK:
            _enter(world, sweep, w, ego, v, begin, last)
    _answer(world, bodies, sweep, w, ego, begin, last)


@dataclass
class Scan:
    """What a lidar of B beams reports of N worlds, each `[N, B]`."""

    ranges: torch.Tensor
    """float32 [m]; the sensor's range where nothing answers."""
    classes: torch.Tensor
    """uint8: `classes.Semantic` of what was hit, 0 where nothing answers."""
    intensity: torch.Tensor
    """float32, 0 to 1: `REFLECTIVITY` of the class times the cosine of the angle of incidence (Lambert's law), with
    the fall with distance corrected as sensors do that report reflectivities; 0 where nothing answers."""
    speed: torch.Tensor
    """float32: speed of what was hit relative to the ego's, along the beam, positive where they part [m/s]; else 0."""
    instance: torch.Tensor
    """int16: slot + 1 of what was hit; else 0."""

    def clone(self) -> "Scan":
        """Return an independent copy: a sensor overwrites its scan at the next one."""
        return Scan(**{field.name: getattr(self, field.name).clone() for field in fields(self)})


class LidarSensor:
    """A planar lidar in the middle of a vehicle.

    Over less than a full turn the first and last beam lie on the edges of the field of view; over a full turn the first
    looks backwards (before `yaw` is added), and no direction comes twice. Beams run from left to right. Landmarks are
    unseen. Noise and drop-out are functions of the episode, its frame and the beam alone.

    Args:
        world: the worlds, or the binding of an observation type.
        beams: B, at least 1.
        range: how far it sees [m].
        fov: field of view [deg], above 0 and up to 360.
        yaw: where its middle looks, from the vehicle's heading to the right [deg].
        noise: standard deviation of a range [m].
        drop_out: share of the beams that no answer comes back of, 0 to 1.
        agent: which of the controlled vehicles carries it.
        threads: on the CPU; None: one a core.

    Raises:
        ValueError: an argument of the wrong type or out of range.
        MemoryError: the scans need more memory than there is; the message says how much.
    """

    def __init__(
        self,
        world: "World | Binding",
        beams: int = 360,
        range: float = 100.0,
        fov: float = 360.0,
        yaw: float = 0.0,
        noise: float = 0.0,
        drop_out: float = 0.0,
        agent: int = 0,
        threads: int | None = None,
    ) -> None:
        check_lidar(beams, range, fov, yaw, noise, drop_out, "lidar")
        self.range, self.num_worlds, self.device = float(range), world.num_worlds, world.device
        self._struct = world.struct() if isinstance(world, World) else world.world
        n, place = self.num_worlds, str(self.device)
        require_memory(n * beams * BEAM_BYTES, self.device, f"{n} worlds with {beams} beams")
        self.angles = beam_angles(beams, fov, yaw)

        def zeros(dtype: torch.dtype) -> torch.Tensor:
            return torch.zeros(n, beams, dtype=dtype, device=self.device)

        real = torch.float32
        self.latest = Scan(zeros(real), zeros(torch.uint8), zeros(real), zeros(real), zeros(torch.int16))
        sweep = Sweep()
        for field in fields(Scan):
            setattr(sweep, field.name, wp.from_torch(getattr(self.latest, field.name)))
        full = fov >= 360
        sweep.step = math.radians(fov) / (beams if full else beams - 1) if beams > 1 else TWO_PI
        sweep.start = float(self.angles[0])
        sweep.reach, sweep.noise, sweep.drop_out = self.range, float(noise), float(drop_out)
        directions = np.stack([np.cos(self.angles), np.sin(self.angles)], axis=1)
        sweep.beams = wp.array(directions.astype(np.float32), dtype=wp.vec2f, device=place)
        answers = [REFLECTIVITY.get(one, 0.0) for one in Semantic]
        sweep.reflectivity = wp.array(answers, dtype=wp.float32, device=place)
        sweep.chunk = stretch(beams, self.device)
        self._threads_a_world = -(-beams // sweep.chunk)
        self._before, self._agent = [self._struct, catalogue(self.device), sweep], agent
        self._cores = threads or len(usable_cores())
        self._program: Program | None = None

    def launches(self, mask: Any) -> list[tuple]:
        """Return the one launch, for a `Program`, that scans the worlds of `mask` (Warp array of bool [N])."""
        return [(scan, [*self._before, mask, self._agent], self._threads_a_world)]

    def scan(self, mask: torch.Tensor | Sequence[bool] | None = None) -> Scan:
        """Scan the worlds of `mask` `[N]` (all, if None) as they are now; the next call overwrites what is returned."""
        if self._program is None:
            self._mask = torch.ones(self.num_worlds, dtype=torch.bool, device=self.device)
            launches = self.launches(wp.from_torch(self._mask))
            self._program = Program(launches, self.num_worlds, self.device, self._cores)
        if mask is None:
            self._mask.fill_(True)
        else:
            self._mask.copy_(torch.as_tensor(mask, device=self.device))
        self._program()
        return self.latest


def stretch(beams: int, device: torch.device) -> int:
    """Return how many beams of a world one thread scans."""
    return min(BEAMS_A_THREAD, beams) if device.type == "cuda" else beams


def beam_angles(beams: int, fov: float, yaw: float = 0.0) -> np.ndarray:
    """Return the angle [rad] of each beam from the vehicle's heading towards its right, float64 [B]."""
    if fov >= 360:
        degrees = yaw - 180 + np.arange(beams) * (360 / beams)
    elif beams == 1:
        degrees = np.array([yaw], dtype=np.float64)
    else:
        degrees = np.linspace(yaw - fov / 2, yaw + fov / 2, beams)
    return np.radians(degrees)


def check_lidar(beams: int, range: float, fov: float, yaw: float, noise: float, drop_out: float, what: str) -> None:
    """Raise ValueError, one line that begins with `what`, for an option of a lidar out of its range."""
    if isinstance(beams, bool) or not isinstance(beams, int) or beams < 1:
        raise ValueError(f"{what} beams is {beams!r}; it must be an integer of at least 1")
    if not is_number(range) or not 0 < range < math.inf:
        raise ValueError(f"{what} range is {range!r}; it must be above 0 m and finite")
    if not is_number(fov) or not 0 < fov <= 360:
        raise ValueError(f"{what} fov is {fov!r}; it must be above 0 and at most 360 degrees")
    if not is_number(yaw) or not math.isfinite(yaw):
        raise ValueError(f"{what} yaw is {yaw!r}; it must be a finite number of degrees")
    if not is_number(noise) or not 0 <= noise < math.inf:
        raise ValueError(f"{what} noise is {noise!r}; it must be a standard deviation of at least 0 m, and finite")
    if not is_number(drop_out) or not 0 <= drop_out <= 1:
        raise ValueError(f"{what} drop_out is {drop_out!r}; it must be a share from 0 to 1")
