"""What perception gets wrong, without pictures: errors as large as the stack's own, for training in many worlds.

`NoisyWorlds` shows a learner the features of scenes with these errors in place of the true ones, so that a policy
learns to drive on what the stack will tell it. The figures were measured on the stack with the one-stage detector,
five cameras and 5 looks a second (64 episodes of highway-fast-v0 on seeds 6000000 on, docs/stack.md): by distance, how
far off things are, how often one is lost from a decision to the next, and how often a lost one stays so, hidden ones
included.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sim.scene import Bodies, Scene, SceneFeatures, scene_from_world

DISTANCES = (0.0, 14.0, 32.0, 62.0, 100.0, 160.0)
"""At which the errors below are given [m]; between them they are interpolated."""
BEHIND = 1.8
"""Things behind are seen by a wider camera, as badly as those so many times further ahead."""
PLACE_ALONG = (0.3, 0.4, 0.8, 2.4, 4.6, 8.0)
PLACE_ACROSS = (0.25, 0.2, 0.2, 0.25, 0.7, 1.5)
SPEED_ALONG = (0.5, 0.5, 0.8, 1.6, 2.3, 2.5)
SPEED_ACROSS = (0.25, 0.3, 0.3, 0.3, 0.5, 0.5)
"""Standard deviations along the ego's heading and across it [m], [m/s]."""
LOSES = (0.008, 0.012, 0.015, 0.04, 0.2, 0.5)
"""Probability that a thing seen at one decision is not at the next."""
STAYS_LOST = (0.3, 0.55, 0.55, 0.7, 0.93, 0.99)
"""Probability that a thing not seen at one decision is not at the next either."""
STAYS = 0.6
"""Correlation of an error with that of the decision before."""
INVENTED = 0.15
"""Things a decision that are not there, between `INVENTED_FROM` and `INVENTED_TO` ahead [m]."""
INVENTED_FROM, INVENTED_TO = -45.0, 80.0
INVENTED_ASIDE, INVENTED_SPEED = 4.0, 3.0
"""Standard deviations of where they are aside of the ego [m], and of their speed around the traffic's [m/s]."""
TRAFFIC = 21.0
"""Mean speed of invented things [m/s]."""
PERFECT = 0.25
"""Share of the episodes in which nothing is wrong, so that a policy stays good at those too."""


class SceneNoise:
    """The errors of N worlds: they last from decision to decision, as a tracker's do.

    Args:
        worlds: N. things: how many numbers of things are kept apart.
        scale: of the errors of place and speed, and of what is lost and invented; 1 is as measured, 0 nothing.
        seed: of the errors.

    Raises:
        ValueError: a scale below 0.
    """

    def __init__(
        self, worlds: int, things: int, scale: float = 1.0, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        if not 0 <= scale < float("inf"):
            raise ValueError(f"the scale of the perception's errors is {scale}; it must be a number of at least 0")
        self.scale, self.device = scale, torch.device(device)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._errors = torch.zeros(worlds, things, 4, device=self.device)
        # The last column is nobody's.
        self._lost = torch.zeros(worlds, things + 1, dtype=torch.bool, device=self.device)
        self._level = torch.zeros(worlds, device=self.device)

    def __call__(self, scene: Scene, fresh: Tensor) -> Scene:
        """Return the scene as it is perceived, one decision on.

        Args:
            scene: the true one, [N, K].
            fresh: bool [N], worlds in which an episode begins.
        """
        worlds, things = self._errors.shape[:2]
        begun = (self._uniform(worlds) >= PERFECT).float() * self.scale
        self._level = torch.where(fresh, begun, self._level)
        normal = torch.randn(worlds, things, 4, generator=self._generator, device=self.device)
        following = STAYS * self._errors + (1 - STAYS**2) ** 0.5 * normal
        self._errors = torch.where(fresh[:, None, None], normal, following)
        slot = scene.number.clamp(min=0) % things
        away = scene.tracked.x - scene.ego.x[:, None], scene.tracked.y - scene.ego.y[:, None]
        ahead, aside = _turned(*away, -scene.ego.heading)
        reach = torch.hypot(torch.where(ahead < 0, BEHIND * ahead, ahead), aside)
        lost = self._lose(scene.valid, slot, reach, fresh)
        spread = [_at(reach, table) for table in (PLACE_ALONG, PLACE_ACROSS, SPEED_ALONG, SPEED_ACROSS)]
        error = self._errors.gather(1, slot[..., None].expand(*slot.shape, 4)) * torch.stack(spread, -1)
        error = error * self._level[:, None, None]
        place, speed = (_turned(error[..., k], error[..., k + 1], scene.ego.heading) for k in (0, 2))
        off = zip(("x", "y", "vx", "vy"), (*place, *speed), strict=True)
        there = {name: getattr(scene.tracked, name) + error for name, error in off}
        return self._with_invented(replace(scene, tracked=replace(scene.tracked, **there), valid=scene.valid & ~lost))

    def _lose(self, valid: Tensor, slot: Tensor, reach: Tensor, fresh: Tensor) -> Tensor:
        """Which things [N, K] are not seen now; remembers it."""
        loses, stays = _at(reach, LOSES), _at(reach, STAYS_LOST)
        loses = (loses * self._level[:, None]).clamp(max=1.0)
        chance = torch.where(self._lost.gather(1, slot), stays, loses)
        chance = torch.where(fresh[:, None], loses / (loses + 1 - stays), chance)
        lost = (self._uniform(*slot.shape) < chance) & (self._level > 0)[:, None] & valid
        self._lost = torch.zeros_like(self._lost).scatter(1, torch.where(valid, slot, self._errors.shape[1]), lost)
        return lost

    def _with_invented(self, scene: Scene) -> Scene:
        """The scene with things that are not there, in rows that are free."""
        free = ~scene.valid
        chance = INVENTED / free.sum(1, keepdim=True).clamp(min=1) * self._level[:, None]
        invented = free & (self._uniform(*free.shape) < chance)
        ahead = INVENTED_FROM + (INVENTED_TO - INVENTED_FROM) * self._uniform(*free.shape)
        aside, faster = (torch.randn(free.shape, generator=self._generator, device=self.device) for _ in range(2))
        zero, body, ego = torch.zeros_like(ahead), scene.tracked, scene.ego
        x, y = _turned(ahead, INVENTED_ASIDE * aside, ego.heading)
        vx, vy = _turned(TRAFFIC + INVENTED_SPEED * faster, zero, ego.heading)
        placed = Bodies(
            x=ego.x[:, None] + x,
            y=ego.y[:, None] + y,
            vx=vx,
            vy=vy,
            heading=zero + ego.heading[:, None],
            length=zero + 5.0,
            width=zero + 2.0,
        )
        columns = {
            name: torch.where(invented, values.to(getattr(body, name).dtype), getattr(body, name))
            for name, values in vars(placed).items()
        }
        valid = scene.valid | invented
        columns = {name: torch.where(valid, values, torch.zeros_like(values)) for name, values in columns.items()}
        nobody = 1_000_000 + torch.arange(free.shape[1], device=self.device)
        return replace(
            scene,
            tracked=Bodies(**columns),
            valid=valid,
            still=scene.still & scene.valid,
            number=torch.where(invented, nobody, scene.number),
        )

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator, device=self.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next errors depend on."""
        return {
            "errors": self._errors,
            "lost": self._lost,
            "level": self._level,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned."""
        self._errors, self._lost, self._level = (state[name].to(self.device) for name in ("errors", "lost", "level"))
        self._generator.set_state(state["generator"].cpu())


def _turned(along: Tensor, across: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [N, K] turned by an angle of each world [N] [rad]."""
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    return cosine * along - sine * across, sine * along + cosine * across


def _at(reach: Tensor, table: tuple[float, ...]) -> Tensor:
    """A table over `DISTANCES`, interpolated; beyond the last one it stays."""
    nodes, values = reach.new_tensor(DISTANCES), reach.new_tensor(table)
    right = torch.bucketize(reach, nodes).clamp(1, len(DISTANCES) - 1)
    share = ((reach - nodes[right - 1]) / (nodes[right] - nodes[right - 1])).clamp(0, 1)
    return values[right - 1] + share * (values[right] - values[right - 1])


class NoisyWorlds:
    """A `VectorEnv` whose learner sees what perception would tell it; all else is the environment's own.

    Args:
        envs: a `VectorEnv` of one agent with features and same-step autoreset.
        scale, seed: see `SceneNoise`.
        things: of a scene, at most.

    Raises:
        ValueError: several agents observe, or a scale below 0.
    """

    def __init__(self, envs: Any, scale: float = 1.0, seed: int = 0, things: int = 32) -> None:
        self.envs, self._things = envs, things
        self.perception_noise = scale
        """For the description of the run: worlds with other errors are other worlds."""
        self._features = SceneFeatures(envs, things)
        self._noise = SceneNoise(envs.num_envs, envs.world.x.shape[1], scale, seed, envs.device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def reset(self, **options: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return what is perceived at the start of all worlds, and the environment's info."""
        _, info = self.envs.reset(**options)
        return self._seen(torch.ones(self.envs.num_envs, dtype=torch.bool, device=self.envs.device)), info

    def step(self, actions: Tensor) -> tuple:
        """Return what is perceived after a step, and reward, terminated, truncated, info as they are."""
        _, reward, terminated, truncated, info = self.envs.step(actions)
        return self._seen(terminated | truncated), reward, terminated, truncated, info

    def _seen(self, fresh: Tensor) -> Tensor:
        return self._features(self._noise(scene_from_world(self.envs, self._things), fresh)).clone()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the worlds and of the errors."""
        noise = {f"perception_noise.{name}": value for name, value in self._noise.state_dict().items()}
        return self.envs.state_dict() | noise

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned."""
        head = "perception_noise."
        self._noise.load_state_dict({name[len(head) :]: one for name, one in state.items() if name.startswith(head)})
        self.envs.load_state_dict({name: one for name, one in state.items() if not name.startswith(head)})
