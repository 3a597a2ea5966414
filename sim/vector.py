"""Thousands of worlds behind Gymnasium's vector interface, all tensors on one device."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
import warp as wp
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from sim import actions as action_types
from sim.config import complete, require_known, scenario
from sim.engine.launch import Program
from sim.engine.random import seeded_streams
from sim.engine.state import PRECISIONS, Kind, model_struct
from sim.engine.step import simulate
from sim.engine.ziggurat import ziggurat_table
from sim.observations import Binding, MultiAgentObservation, Observation, Setting, leaves, mapped, observation_type
from sim.provenance import usable_cores
from sim.scenarios.base import Verdict
from sim.world import World

Info = dict[str, Any]

# Below this error [m, rad] a float32 follower of a straight lane is put exactly on it: its position is not known any
# better, and vehicles exactly on their lane cost no trigonometry. float64 keeps highway-env's asymptotic approach.
SNAP = {"float32": 1e-2, "float64": 0.0}

# IDMVehicle's, which highway-env keeps as class attributes; `Scenario.driver` may give others.
DRIVER = {
    "distance_wanted": 10.0,  # m
    "comfort_acc_max": 3.0,  # m/s2
    "comfort_acc_min": -5.0,  # m/s2
}
REGULATION_FREQUENCY = 2.0  # Hz, of RegulatedRoad
WARM_UP = 3.0  # s, how long a regulated road has been driven on when an episode begins


class VectorEnv(gymnasium.vector.VectorEnv):
    """`num_envs` worlds of one id; observations, rewards and flags are torch tensors on `device`.

    Seeds mean what they mean in highway-env: world i seeded with s plays the episodes that
    `gymnasium.make(id).reset(seed=s)` plays, whatever the batch. Built by `sim.make_vec`.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        config: dict[str, Any] | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        threads: int | None = None,
    ) -> None:
        self.scenario = scenario(env_id)
        self.id = env_id.removeprefix("slipstream/")
        self.config = complete(env_id, config)
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ValueError(f"num_envs is {num_envs!r}; it must be an integer of at least 1")
        require_known([precision], PRECISIONS, "precision")
        self.num_envs = num_envs
        self.precision = precision
        self.device = usable_device(device)
        if not isinstance(autoreset_mode, AutoresetMode):
            require_known([autoreset_mode], [mode.value for mode in AutoresetMode], "autoreset_mode")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self.render_mode = None
        self.network = self.scenario.network(self.config)
        sizes = replace(self.scenario.sizes(self.config, self.network), lanes=len(self.network.lanes))
        self.action_type = action_types.action_type(self.config["action"], sizes.egos)
        setting = Setting(self.config, self.scenario, self.network, self.action_type, sizes.egos)
        self.observation_type = observation_type(self.config["observation"], setting)
        self.single_observation_space = self.observation_type.space
        self.single_action_space = self.action_type.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.world = World.allocate(num_envs, sizes, self.device, precision)
        self.frames_per_step = int(self.config["simulation_frequency"] // self.config["policy_frequency"])
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ValueError(f"threads is {threads!r}; it must be None or an integer of at least 1")
        self._threads = threads or len(usable_cores())
        self.has_reset = False
        self._allocate(sizes.egos)
        self._compile(setting)
        # Last: its bounds are as large as the observation, and whoever makes pictures has now said if they fit.
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def _allocate(self, egos: int) -> None:
        n, real = self.num_envs, self.world.x.dtype

        def zeros(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.zeros(n, *shape, dtype=dtype, device=self.device)

        self._mask, self._active, self._pending = (zeros(dtype=torch.bool) for _ in range(3))
        self._all = torch.ones(n, dtype=torch.bool, device=self.device)
        self._meta = torch.ones(n, egos, dtype=torch.int32, device=self.device)
        self._command = zeros(egos, 2, dtype=real)
        numbers = sum(int(np.prod(space.shape)) for space in _members(self.single_action_space))
        self._action = zeros(numbers, dtype=torch.float64)
        self._neutral = torch.full_like(self._action, self.action_type.neutral)
        self._judged = {
            "terms": zeros(len(self.scenario.rewards), dtype=torch.float64),
            "reward": zeros(dtype=torch.float64),
            "terminated": zeros(dtype=torch.bool),
            "truncated": zeros(dtype=torch.bool),
            "agent_reward": zeros(egos, dtype=torch.float64),
            "agent_terminated": zeros(egos, dtype=torch.bool),
            "success": zeros(egos, dtype=torch.bool),
        }

    def _model(self) -> Any:
        model = model_struct(PRECISIONS[self.precision])()
        frequency = self.config["simulation_frequency"]
        model.dt = 1 / frequency
        model.axis_x, model.axis_y = self.network.axis()
        model.snap = SNAP[self.precision]
        driver = DRIVER | self.scenario.driver
        for name, value in driver.items():
            setattr(model, name, value)
        model.closing_divisor = 2 * np.sqrt(-driver["comfort_acc_max"] * driver["comfort_acc_min"])
        model.ego_speed_min, model.ego_speed_max = self.action_type.speed_range
        model.limited_egos = self._acting_egos()
        model.connected_lanes = int(bool(self.config["neighbour_vehicles_connected_lanes"]))
        model.late_lanes = int(not self.scenario.traffic and self.action_type.kind != Kind.MDP)
        if self.scenario.regulated:
            model.regulation_period = int(1 / (1 / frequency) / REGULATION_FREQUENCY)
            model.regulation_offset = int(WARM_UP * frequency)
        place = str(self.device)
        model.target_speeds = wp.array(self.action_type.target_speeds, dtype=PRECISIONS[self.precision], device=place)
        model.ziggurat = wp.array(ziggurat_table(), dtype=wp.float64, device=place)
        return model

    def _acting_egos(self) -> int:
        """How many egos the actions reach; lane keeping steers whatever `manual_control` says."""
        ignored = self.config["manual_control"] and not self.scenario.observes_first
        return 0 if ignored else self.action_type.agents

    def _compile(self, setting: Setting) -> None:
        """Record the launches of a step and of a reset; Warp compiles the kernels here, or finds them in its cache."""
        real = PRECISIONS[self.precision]
        family = self.scenario
        lanes, world, model = (
            self.network.table(real, self.device, sweep=not self.config["neighbour_vehicles_connected_lanes"]),
            self.world.struct(),
            self._model(),
        )
        rules = family.rules(self.config, self.action_type.kind, self.network, self.device)
        every, masked, active = (wp.from_torch(flag) for flag in (self._all, self._mask, self._active))
        agents = self._acting_egos()
        meta, command = wp.from_torch(self._meta), wp.from_torch(self._command)
        verdict = Verdict()
        for name, tensor in self._judged.items():
            setattr(verdict, name, wp.from_torch(tensor))

        def advance(frames: int, agents: int, period: float) -> tuple:
            return simulate, [lanes, world, model, active, agents, meta, command, frames, wp.float64(period)]

        def judge(mask: Any, action: torch.Tensor) -> tuple:
            return family.judge_kernel, [lanes, world, model, rules, mask, wp.from_torch(action), verdict]

        self.binding = Binding(setting, lanes, world, model, self.num_envs, self.device, real)
        self._observation = self.observation_type.bind(self.binding)
        observe = self.observation_type.launches(active)
        spawn = (family.spawn_kernel, [lanes, world, model, rules, masked])
        after = [(family.after_kernel, [lanes, world, model, rules, active])] if family.after_kernel else []
        period = 0.0 if family.observes_first else 1 / self.config["policy_frequency"]
        if family.observes_first:
            step = [advance(0, agents, period), *observe, advance(self.frames_per_step, 0, 0.0)]
            first = [advance(0, agents, period), *observe, advance(1, 0, 0.0)]
            end = [judge(active, self._action), *after]
        else:
            step = [advance(self.frames_per_step, agents, period)]
            first = [advance(1, agents, period)]
            end = [judge(active, self._action), *observe, *after]
        begin = [spawn, judge(masked, self._neutral), *self.observation_type.launches(masked, reset=True)]
        self._programs = {
            "step": self._program(*step, *end),
            "first frame": self._program(*first),
            "frame": self._program(advance(1, 0, 0.0)),
            "judge": self._program(*end),
            "reset": self._program(*begin),
            "observe": self._program(*self.observation_type.launches(every)),
        }

    def _program(self, *launches: tuple) -> Program:
        return Program(launches, self.num_envs, self.device, self._threads)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start new episodes and return (observation `[N, ...]`, info).

        Args:
            seed: an int seeds world i with `seed + i`; a list seeds each world; None goes on with each world's stream
                (at the first reset: fresh entropy).
            options: `{"reset_mask": bool [N]}` resets only these worlds.

        Raises:
            TypeError, ValueError: a seed that is no integer or negative, not one a world, or an unusable mask.
        """
        options = options or {}
        require_known(options, ["reset_mask"], "reset option")
        mask = options.get("reset_mask")
        mask = self._all if mask is None else torch.as_tensor(mask, device=self.device)
        if mask.shape != (self.num_envs,) or mask.dtype != torch.bool:
            found = f"{mask.dtype} of shape {tuple(mask.shape)}"
            raise ValueError(f"reset_mask is {found}; expected torch.bool of shape ({self.num_envs},)")
        if not self.has_reset and not bool(mask.all()):
            raise ValueError("reset_mask leaves worlds out, but the first reset must begin an episode in each")
        if seed is None and not self.has_reset:
            seed = [int(s) for s in np.random.SeedSequence().generate_state(self.num_envs, dtype=np.uint64)]
        if seed is not None:
            seeds = self._seeds(seed)
            chosen = mask.cpu().numpy().nonzero()[0]
            rows = torch.from_numpy(seeded_streams([seeds[i] for i in chosen])).to(self.device)
            self.world.rng[mask] = rows
        self.has_reset = True
        self._reset(mask)
        self._require_room()
        self._pending &= ~mask
        return mapped(copied, self._observation), self._info()

    def _require_room(self) -> None:
        """Raise RuntimeError if the scenario has placed more than a world holds, now or in an episode begun before."""
        missed = int(self.world.missed.max())
        if missed:
            slots = self.world.buffers["cars"].shape[1]
            raise RuntimeError(
                f"the scenario of {self.id} placed {slots + missed} things in a world that has {slots} slots; "
                "raise Sizes.vehicles, which its sizes() returns"
            )

    def _seeds(self, seed: int | Sequence[int]) -> list[int]:
        if isinstance(seed, (bool, str)) or not isinstance(seed, (int, np.integer, Iterable)):
            raise TypeError(f"seed is {seed!r}; it must be None, an integer or a list of integers")
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} worlds; give one each, or a single int")
        for one in seeds:
            if isinstance(one, bool) or not isinstance(one, (int, np.integer)) or one < 0:
                raise ValueError(f"seed {one!r} is not a non-negative integer")
        return [int(one) for one in seeds]

    def _reset(self, mask: torch.Tensor) -> None:
        """Start new episodes where `mask` is true; leaves their observation and reward terms."""
        self._mask.copy_(mask)
        self._programs["reset"]()

    def step(self, actions: Any) -> tuple[Observation, torch.Tensor, torch.Tensor, torch.Tensor, Info]:
        """Advance every world by one policy step.

        Args:
            actions: integers `[N]` or floats `[N, size]`, tensor (on `device`) or array; of several agents `[N, C]` or
                `[N, C, size]`, or one array an agent.

        Returns:
            observation, reward `[N]`, terminated `[N]`, truncated `[N]`, info; fresh tensors each step. Where the id
            rewards each agent, reward and terminated are `[N, C]`; an autoreset follows the world's end, as always.

        Raises:
            TypeError, ValueError: actions of the wrong type, shape or device, outside the space, or NaN.
        """
        actions = self._take(actions)
        self._programs["step"]()
        return self._finish(actions)

    def frames(self, actions: Any) -> Iterator[int]:
        """Like `step`, but yields after every simulation frame; the generator's value is step's result.

        The last yield, too, comes before an autoreset: it shows how the episode ended.
        """
        actions = self._take(actions)
        for frame in range(self.frames_per_step):
            self._programs["frame" if frame else "first frame"]()
            yield frame
        self._programs["judge"]()
        return self._finish(actions)

    def _take(self, actions: Any) -> torch.Tensor:
        if not self.has_reset:
            raise RuntimeError("call reset before step")
        actions = action_types.checked(actions, self.single_action_space, self.num_envs, self.device)
        self.action_type.encode(actions, self._meta, self._command)
        self._action.copy_(actions.view(self.num_envs, -1))
        torch.logical_not(self._pending, out=self._active)  # in every mode: a loaded state may let worlds stand still
        return actions

    def _finish(self, actions: torch.Tensor) -> tuple[Observation, torch.Tensor, torch.Tensor, torch.Tensor, Info]:
        ended, truncated = copied(self._judged["terminated"]), copied(self._judged["truncated"])
        reward, terminated = self._judged["reward"], ended
        if self.scenario.per_agent:
            reward, terminated = self._judged["agent_reward"], copied(self._judged["agent_terminated"])
        reward = reward.to(self.world.x.dtype, copy=True)
        if self.scenario.max_episode_steps is not None:
            truncated |= self.world.steps >= self.scenario.max_episode_steps * self.frames_per_step
        info = self._info(actions)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            return mapped(copied, self._observation), reward, terminated, truncated, info
        done = ended | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            final, last = mapped(copied, self._observation), info
            if bool(done.any()):
                self._reset(done)
                info = self._info(actions)
            observation = mapped(copied, self._observation)
            info |= {"final_obs": final, "_final_obs": done, "final_info": dict(last), "_final_info": done}
            return observation, reward, terminated, truncated, info
        begun = self._pending.clone()
        if bool(begun.any()):
            self._reset(begun)
            reward[begun] = 0.0
            terminated[begun] = False
            truncated[begun] = False
            info = self._info(actions)
        self._pending.copy_(done & ~begun)
        return mapped(copied, self._observation), reward, terminated, truncated, info

    def _info(self, actions: torch.Tensor | None = None) -> Info:
        ego, judged = self.world.ego[:, :1].long(), self._judged
        info = {
            "speed": self.world.speed.gather(1, ego)[:, 0],
            "crashed": self.world.crashed.gather(1, ego)[:, 0],
        }
        if self.scenario.rewards:
            info["rewards"] = {name: judged["terms"][:, i].clone() for i, name in enumerate(self.scenario.rewards)}
        if "agents_rewards" in self.scenario.reports:
            info["agents_rewards"] = judged["agent_reward"].to(self.world.x.dtype, copy=True)
            info["agents_terminated"] = copied(judged["agent_terminated"])
        if "is_success" in self.scenario.reports:
            of_all = self.scenario.success_of_all and isinstance(self.observation_type, MultiAgentObservation)
            info["is_success"] = judged["success"].clone() if of_all else judged["success"][:, 0].clone()
        return info if actions is None else info | {"action": actions}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return copies of all tensors that decide what happens next."""
        kept = {name: buffer.clone() for name, buffer in self.world.buffers.items()}
        seen = {name: tensor.clone() for name, tensor in leaves(self._observation).items()}
        return kept | {"pending": self._pending.clone()} | seen

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on exactly from a `state_dict` of an environment of the same id, config and size.

        Raises:
            ValueError: a tensor is missing or of another shape.
        """
        targets = self.world.buffers | {"pending": self._pending} | leaves(self._observation)
        for name, target in targets.items():
            if name not in state or state[name].shape != target.shape:
                found = tuple(state[name].shape) if name in state else "missing"
                raise ValueError(f"environment state {name!r} is {found}; expected shape {tuple(target.shape)}")
        for name, target in targets.items():
            target.copy_(state[name])
        self.has_reset = True

    def observe(self) -> Observation:
        """Return the current observation `[N, ...]`, for worlds that were edited by hand."""
        self._programs["observe"]()
        return mapped(copied, self._observation)


def _members(space: gymnasium.Space) -> Sequence[gymnasium.Space]:
    """Return the space of each agent."""
    return space.spaces if isinstance(space, gymnasium.spaces.Tuple) else (space,)


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy.

    On the CPU by one thread: torch would wake its OpenMP workers, which then spin for milliseconds on the cores that
    the next launch needs (measured: 5 ms a copy of 200 kB, half the time of a step).
    """
    return torch.from_numpy(tensor.numpy().copy()) if tensor.device.type == "cpu" else tensor.clone()


def usable_device(device: str | torch.device) -> torch.device:
    """Return a torch device that exists here.

    Raises:
        ValueError: neither cpu nor a CUDA device of this machine.
    """
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = torch.device("meta")
    if chosen.type == "cuda" and (chosen.index or 0) < torch.cuda.device_count():
        return torch.device("cuda", chosen.index or 0)
    if chosen.type != "cpu":
        count = torch.cuda.device_count()
        raise ValueError(f"device {str(device)!r} is not available; allowed: cpu" + ", cuda" * bool(count))
    return torch.device("cpu")
