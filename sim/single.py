"""One world behind Gymnasium's plain interface, NumPy in and out."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from sim.config import complete, require_known
from sim.observations import Observation, mapped
from sim.render import Hud, Renderer
from sim.vector import VectorEnv

if TYPE_CHECKING:
    from sim.overlays import Overlays

RENDER_MODES = ("human", "rgb_array")


class Env(gymnasium.Env):
    """`VectorEnv` with one world and no autoreset; built by `sim.make`.

    Like highway-env: `reset(seed=s)` gives that seed's episode, `reset()` goes on with the stream, and
    `reset(options={"config": {...}})` changes the config for good. `overlays` names what pictures show besides the
    road, of `sim.overlays.OVERLAYS`; config["show_trajectories"] adds "trail", as highway-env's viewer does.
    """

    metadata = {"render_modes": list(RENDER_MODES)}

    def __init__(
        self,
        env_id: str,
        config: dict[str, Any] | None = None,
        precision: str = "float64",
        render_mode: str | None = None,
        overlays: Sequence[str] = (),
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode is {render_mode!r}; allowed: None, {', '.join(RENDER_MODES)}")
        self._id, self._precision = env_id, precision
        self._changes = {} if config is None else copy.deepcopy(config)
        if overlays and render_mode is None:
            raise ValueError(f"overlays are drawn on pictures: {', '.join(overlays)} need a render_mode")
        self.render_mode, self._overlays = render_mode, tuple(overlays)
        self._renderer: Renderer | None = None
        self._build(self._changes)

    def _build(self, changes: dict[str, Any]) -> None:
        envs = VectorEnv(
            self._id,
            num_envs=1,
            precision=self._precision,
            config=changes,
            autoreset_mode=AutoresetMode.DISABLED,
            threads=1,
        )
        self._show, self.envs = self._shown(envs), envs
        self.config = self.envs.config
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self.metadata = self.metadata | {"render_fps": self.config["policy_frequency"]}

    def _shown(self, envs: VectorEnv) -> "Overlays | None":
        """Return what draws the overlays; ValueError where one means nothing."""
        names = [*self._overlays, *(["trail"] if envs.config["show_trajectories"] else [])]
        if not names or self.render_mode is None:
            return None
        from sim.overlays import overlay_of  # the metrics and the recorder, which import this package

        return overlay_of(names, envs)

    @property
    def world(self) -> Any:
        """The state, a `World` of one."""
        return self.envs.world

    @property
    def network(self) -> Any:
        """The road."""
        return self.envs.network

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode and return (observation, info)."""
        super().reset(seed=seed)
        require_known(options or {}, ["config"], "reset option")
        if options and "config" in options:
            complete(self._id, options["config"])
            changes = self._changes | copy.deepcopy(options["config"] or {})
            before = self.envs
            self._build(changes)  # raises before anything has changed
            self._changes = changes
            self.close()
            if before.has_reset:  # the stream goes on
                self.world.rng.copy_(before.world.rng)
                self.envs.has_reset = True
        observation, info = self.envs.reset(seed=None if seed is None else [seed])
        self._note(observation, 0)
        if self.render_mode == "human":
            self.render()
        return _of_first(observation), _first(info)

    def step(self, action: Any) -> tuple[Any, Any, Any, bool, dict[str, Any]]:
        """Advance by one policy step; where the id rewards each agent, reward and terminated are tuples."""
        if isinstance(self.action_space, gymnasium.spaces.Tuple):
            actions = tuple(np.asarray(one)[None] for one in action)
        else:
            actions = np.asarray(action)[None]
        by_frame = self.render_mode == "human" or self._show is not None
        result = self._step_by_frame(actions) if by_frame else self.envs.step(actions)
        observation, reward, terminated, truncated, info = result
        plain = _first({"reward": reward, "terminated": terminated})
        return _of_first(observation), plain["reward"], plain["terminated"], bool(truncated[0]), _first(info)

    def _step_by_frame(self, actions: Any) -> tuple:
        """Step frame by frame; a window shows each, and what is drawn over pictures takes note."""
        frames, first = self.envs.frames(actions), int(self.world.steps[0])
        while True:
            try:
                next(frames)
            except StopIteration as end:
                self._note(end.value[0], 0)
                return end.value
            self._note(None, int(self.world.steps[0]) - first)
            if self.render_mode == "human":
                self.render()

    def _note(self, observation: Observation | None, age: int) -> None:
        """Tell the overlays where things are, `age` frames after the observation that the driver has acted on."""
        if self._show is None:
            return
        from sim.recording.replay import Frame, poses

        if observation is not None:
            self._seen = observation, poses(self.world)
        steps, dt = int(self.world.steps[0]), 1 / self.config["simulation_frequency"]
        self._moment = Frame(self.envs, steps * dt, Hud(), steps, *self._seen, age * dt)
        self._show.note(self._moment)

    def render(self) -> np.ndarray | None:
        """Return a picture `[H, W, 3]` (uint8), or show it in a window."""
        if self.render_mode is None:
            gymnasium.logger.warn("render needs render_mode='rgb_array' or 'human' in sim.make")
            return None
        if self._renderer is None:
            self._renderer = Renderer(
                self.network,
                self.config["screen_width"],
                self.config["screen_height"],
                self.config["scaling"],
                tuple(self.config["centering_position"]),
            )
        drawings = self._show(self._moment, self.world) if self._show is not None else ()
        if self.render_mode == "rgb_array":
            return self._renderer.draw(self.world, 0, None, drawings)
        self._renderer.draw(self.world, 0, Hud(time=float(self.world.time[0])), drawings)
        self._renderer.show()
        return None

    def close(self) -> None:
        """Close the window."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None


def _of_first(observation: Observation) -> Any:
    """Return the only world's observation as NumPy arrays."""
    return mapped(lambda tensor: tensor.numpy()[0], observation)


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """Return the only world's info as plain values; what each agent has as a tuple."""
    plain: dict[str, Any] = {}
    for name, value in info.items():
        if isinstance(value, dict):
            plain[name] = _first(value)
        elif name == "action":
            array = value.numpy()[0]
            plain[name] = array if array.ndim else array.item()
        else:
            plain[name] = value.item() if value.ndim == 1 else tuple(value[0].tolist())
    return plain
