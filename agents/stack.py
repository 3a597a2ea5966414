"""The driving stack: sensors, detector, fusion, tracker and policy as one driver; the environment's meta-actions steer.

Each stage can be its oracle, which shows what the stage costs: `detector=oracle` sees the true boxes, `fusion=oracle`
knows where the things stand that the detector found, `tracker=oracle` knows which is which and how fast they are; all
three together are perfect perception (`scene_from_world`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.cameras import HEIGHT, RIG, WIDTH
from perception.detection.detector import RUNTIMES, load_detector
from perception.detection.learning import CLASSES
from perception.fusion import Boxes, Sweep
from perception.oracles import identified, true_boxes, true_places, true_velocities
from perception.scene import ScenePerception, SceneSettings
from sim.evaluation.driver import Driver, DriverSpec, Sees, prepare
from sim.scene import Scene, SceneFeatures, own_body, scene_from_world
from sim.sensors.camera.frames import Frames
from sim.sensors.camera.rig import CameraRig
from sim.sensors.lidar import LidarSensor
from sim.sensors.looks.domains import DOMAINS, MIXTURES

PICTURES = 16
"""Pictures that a detector gets at once, always as many: what it finds must not depend on how many worlds there are."""
ORACLE_SCALE = 4
"""By how much smaller the pictures are of which an oracle detector reads the labels: nobody looks at them."""
ORACLE = "oracle"
LIDAR_BEAMS, LIDAR_RANGE, LIDAR_NOISE = 720, 100.0, 0.05


@dataclass(frozen=True)
class StackSettings:
    """What a stack is made of.

    Attributes:
        detector: a model folder, or "oracle". fusion: "cameras" or "oracle". tracker: "ground" or "oracle".
        runtime: of the detector: "torch", "onnx" or "onnx-int8".
        cameras: names of those used, with "+" between them, or "all"; see `perception.cameras.RIG`.
        domain: what the pictures look like: the name of a domain or of a mixture of them.
        rate: looks a second [Hz], as whole simulation frames allow; the last one before a decision is always looked at.
        lidar: is there one (720 beams, 100 m, 5 cm of noise).
        things: tracked at most.

    Raises:
        ValueError: something else.
    """

    detector: str = ORACLE
    fusion: str = "cameras"
    tracker: str = "ground"
    runtime: str = "torch"
    cameras: str = "all"
    domain: str = "training"
    rate: float = 5.0
    lidar: bool = False
    things: int = 32

    def __post_init__(self) -> None:
        names = [camera.name for camera in RIG]
        choices = {
            "fusion": ("cameras", ORACLE),
            "tracker": ("ground", ORACLE),
            "runtime": RUNTIMES,
            "domain": (*MIXTURES, *DOMAINS),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"stack {name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        if self.cameras != "all" and not set(self.cameras.split("+")) <= set(names):
            raise ValueError(f"stack cameras are {self.cameras!r}; they must be all, or some of {'+'.join(names)}")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"stack rate is {self.rate!r}; it must be above 0 Hz")

    @property
    def perfect(self) -> bool:
        """Is everything before the policy an oracle."""
        return self.detector == self.fusion == self.tracker == ORACLE

    @classmethod
    def parse(cls, text: str) -> tuple[str | None, StackSettings]:
        """Return policy and settings of "RUN,detector=FOLDER,rate=5"; None where no policy is named.

        Raises:
            ValueError: an unknown setting or value; the message says which are known.
        """
        policy, found = None, {}
        kinds = {part.name: type(part.default) for part in fields(cls)}
        for number, part in enumerate(filter(None, text.split(","))):
            key, equals, value = part.partition("=")
            if not equals and number == 0:
                policy = part
            elif key == "policy" and value:
                policy = value
            elif key in kinds and value:
                found[key] = _read(key, value, kinds[key])
            else:
                known = ", ".join(["policy", *kinds])
                raise ValueError(
                    f"stack setting {part!r} must be one of {known}, as in stack:RUN,detector=FOLDER,rate=5"
                )
        return policy, cls(**found)


def _read(key: str, value: str, kind: type) -> Any:
    """A setting from its text."""
    if kind is bool:
        if value not in ("on", "off"):
            raise ValueError(f"stack {key} is {value!r}; it must be on or off")
        return value == "on"
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"stack {key} is {value!r}; it must be a number") from None


class StackDriver:
    """Perception, policy and control behind the wheel of N worlds, each with cameras and tracks of its own.

    Between decisions it looks at the simulation frames that its rate asks for (`sense`); where nobody calls that, at
    every decision only.

    Args:
        policy: makes the driver that decides on the features of the perceived scene; it must see features.
        settings: what is before the policy.
        device: where networks run and actions live.
        perception: how boxes become a scene.

    Raises:
        FileNotFoundError, ValueError: there is no such model, or the policy has senses of its own.
    """

    def __init__(
        self,
        policy: DriverSpec,
        settings: StackSettings | None = None,
        perception: SceneSettings | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.settings = settings or StackSettings()
        self.policy: Driver = policy.build(device)
        if self.policy.sees != "features":
            raise ValueError(f"the policy of a stack must see features; {policy.name} sees {self.policy.sees}")
        self.sees: Sees = "scene" if self.settings.perfect else "frames"
        self._detector = None
        if self.settings.detector != ORACLE:
            self._detector = load_detector(Path(self.settings.detector), device, self.settings.runtime)
            if tuple(self._detector.classes) != CLASSES:
                raise ValueError(f"the detector knows {self._detector.classes}; the stack needs {CLASSES}")
        self._how = replace(perception or SceneSettings(), things=self.settings.things)
        self._seconds: dict[str, list[float]] = {}
        self.envs = None
        if hasattr(self.policy, "scores"):
            self.scores = self._scores

    def prepare(self, envs: Any, seeds: Sequence[int]) -> None:
        """Mounts the sensors; ValueError where there are no frames to see or the rate does not fit."""
        if not hasattr(envs, "frames") or not hasattr(envs, "binding"):
            raise ValueError(f"the stack looks at worlds of our own simulator; {envs.id} is of another")
        prepare(self.policy, envs, seeds)
        if envs is self.envs:
            return
        frequency = envs.config["simulation_frequency"]
        self._interval = max(1, round(frequency / self.settings.rate))
        if self._interval > envs.frames_per_step or self.settings.rate > frequency:
            raise ValueError(
                f"stack rate is {self.settings.rate:g} Hz, but {envs.id} decides {envs.config['policy_frequency']:g} "
                f"times a second and has {frequency:g} frames; it must be from the one to the other"
            )
        self.envs, self._dt = envs, 1 / frequency
        self.features = SceneFeatures(envs, self.settings.things)
        if not self.settings.perfect:
            self._mount(envs)
        self._latest: Scene | None = None
        self._fresh = torch.ones(envs.num_envs, dtype=torch.bool, device=envs.device)
        self._steps = torch.zeros(envs.num_envs, dtype=torch.int64, device=envs.device)
        self._frame = 0

    def _mount(self, envs: Any) -> None:
        """Sensors and what follows them."""
        settings = self.settings
        names = [one.name for one in RIG] if settings.cameras == "all" else settings.cameras.split("+")
        cameras = [one for one in RIG if one.name in names]
        self._scale = ORACLE_SCALE if self._detector is None else 1
        small = [replace(one, width=WIDTH // self._scale, height=HEIGHT // self._scale) for one in cameras]
        labelled = ORACLE in (settings.detector, settings.fusion, settings.tracker)
        self.rig = CameraRig(envs.network, envs.world, small, domain=settings.domain, objects=labelled)
        self.perception = ScenePerception(envs, (WIDTH, HEIGHT), CLASSES, self._how)
        self._lidar = None
        if settings.lidar:
            self._lidar = LidarSensor(envs.world, beams=LIDAR_BEAMS, range=LIDAR_RANGE, noise=LIDAR_NOISE)

    def reset(self, mask: Tensor) -> None:
        """Forgets the past of the worlds in `mask`."""
        self.policy.reset(mask)
        self._fresh |= mask.to(self._fresh.device)
        self._frame, self._latest = 0, None

    def sense(self) -> None:
        """Looks at this simulation frame, if its turn has come."""
        self._frame += 1
        if not self.settings.perfect and (self.envs.frames_per_step - self._frame) % self._interval == 0:
            self._look()

    def act(self, observation: Any) -> Tensor:
        """Returns the policy's actions on what is perceived; the environment's observation is not looked at."""
        scene = self.scene()
        self._frame, self._latest = 0, None
        with self._timed("features"):
            seen = self.features(scene)
        with self._timed("policy"):
            return self.policy.act(seen)

    def _scores(self, observation: Any) -> tuple[str, Tensor]:
        """The policy's figures for what is perceived."""
        return self.policy.scores(self.features(self.scene()))

    def scene(self) -> Scene:
        """Returns what is perceived now; looks first if nobody has."""
        if self._latest is None:
            self._latest = self._perceived()
        return self._latest

    def _perceived(self) -> Scene:
        if self.settings.perfect:
            return scene_from_world(self.envs, self.settings.things)
        if bool((self._fresh | (self._steps != self.envs.world.steps)).any()):
            self._look()
        velocity = None
        if self.settings.tracker == ORACLE:
            velocity = true_velocities(self.perception.tracks(), self.envs.world)
        with self._timed("scene"):
            return self.perception.scene(velocity)

    def _look(self) -> None:
        """Takes in one more moment of the worlds that have moved on; who has crashed needs no eyes."""
        world, settings = self.envs.world, self.settings
        steps = world.steps.long()
        crashed = world.crashed.gather(1, world.ego[:, :1].long())[:, 0]
        looked = (self._fresh | (steps != self._steps)) & ~crashed
        elapsed = torch.where(self._fresh, 0.0, (steps - self._steps) * self._dt)
        count = int(looked.sum())
        with self._timed("cameras", count):
            frames, poses = self.rig.render(looked), self.rig.poses()
        by_identity = settings.tracker == ORACLE
        with self._timed("detector", count):
            found = self._found(frames, looked)
        with self._timed("fusion", count):
            poses = replace(poses, focal=poses.focal * self._scale)
            things = self.perception.measure(found, poses, by_identity)
            if self._lidar is not None:
                things = self.perception.ranged(things, self._sweep())
            if settings.fusion == ORACLE:
                things = true_places(things, world)
        with self._timed("tracker", count):
            self.perception.follow(things, elapsed, self._fresh, looked, by_identity)
        self._fresh, self._steps, self._latest = torch.zeros_like(self._fresh), steps.clone(), None

    def _found(self, frames: Frames, looked: Tensor) -> Boxes:
        """The boxes in the pictures of the worlds that were looked at."""
        size = (WIDTH, HEIGHT)
        if self._detector is None:
            boxes = true_boxes(frames, size)
        else:
            pictures = frames.rgb[looked].flatten(0, 1)
            count, found = len(pictures), []
            for start in range(0, count, PICTURES):
                part = pictures[start : start + PICTURES]
                missing = PICTURES - len(part)
                padded = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
                found += self._detector.predict(padded, self._how.least_score)[: len(part)]
            some = Boxes.of(found, int(looked.sum()), frames.rgb.shape[1]) if found else None
            boxes = _spread_out(some, looked, frames.rgb.shape[1])
            if ORACLE in (self.settings.fusion, self.settings.tracker):
                boxes = identified(boxes, frames, size)
        nothing = looked[:, None, None]
        return Boxes(boxes.boxes, boxes.scores, torch.where(nothing, boxes.labels, 0), boxes.identity)

    def _sweep(self) -> Sweep:
        ego = own_body(self.envs)
        angles = torch.from_numpy(np.asarray(self._lidar.angles)).to(self.envs.device)
        x, y, heading = (value.double() for value in (ego.x, ego.y, ego.heading))
        return Sweep(self._lidar.scan(), self._lidar.range, angles, x, y, heading)

    @contextmanager
    def _timed(self, stage: str, worlds: int | None = None) -> Any:
        """Notes how long a stage took a world, of those it worked on: all if not said."""
        begun = time.perf_counter()
        yield
        seconds = time.perf_counter() - begun
        self._seconds.setdefault(stage, []).append(seconds / max(1, self.envs.num_envs if worlds is None else worlds))

    def notes(self) -> dict[str, Any]:
        """Returns how long each stage took a world: median and 90th percentile over its calls, and a decision's sum."""
        decisions = max(1, len(self._seconds.get("policy", [])))
        rows = {
            stage: {
                "median_ms": round(1000 * float(np.median(seconds)), 3),
                "p90_ms": round(1000 * float(np.percentile(seconds, 90)), 3),
                "calls": len(seconds),
                "ms_a_decision": round(1000 * sum(seconds) / decisions, 3),
            }
            for stage, seconds in self._seconds.items()
        }
        return {"stages, a world": rows, "worlds": self.envs.num_envs if self.envs is not None else 0}


def _spread_out(some: Boxes | None, looked: Tensor, cameras: int) -> Boxes:
    """Boxes of some worlds as those of all; none in the others."""
    most = 1 if some is None else some.scores.shape[2]
    shape = (len(looked), cameras, most)
    device = looked.device
    out = Boxes(
        torch.zeros(*shape, 4, device=device),
        torch.zeros(shape, device=device),
        torch.zeros(shape, dtype=torch.int64, device=device),
        torch.full(shape, -1, dtype=torch.int64, device=device),
    )
    if some is not None:
        for part in fields(Boxes):
            getattr(out, part.name)[looked] = getattr(some, part.name)
    return out
