"""The run folder: settings, weights and checkpoints as JSON and safetensors, never pickle.

    config.json             algorithm, environment, spaces, all settings, versions
    policy.safetensors      weights of the policy, for drivers
    checkpoint.safetensors  all that training needs to go on to the same weights; the header holds counters
    checkpoint.json         the same counters, for people
    metrics.csv, events.*   one row (scalar) an iteration, written by agents.run

Each file is written beside its place and moved there, so a kill at any moment leaves the previous one whole.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any, Literal, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from agents import networks
from agents.spaces import Spaces, flat, spaces_of, stored_spaces
from sim.vector import usable_device

CONFIG, POLICY, METRICS = "config.json", "policy.safetensors", "metrics.csv"
CHECKPOINT, COUNTERS = "checkpoint.safetensors", "checkpoint.json"
ConfigType = TypeVar("ConfigType")
PACKAGES = ("slipstream", "torch", "warp-lang", "gymnasium", "numpy")

# Settings that may differ between a run and its resumption: they say when to stop, not what is learned.
BUDGET_FIELDS = ("total_steps", "time_limit_s", "checkpoint_every_s")


def describe(algo: str, config: Any, envs: Any, spaces: Spaces) -> dict[str, Any]:
    """The content of `config.json`: what was trained, on what, with which settings and versions."""
    return {
        "algo": algo,
        "env": {
            "id": getattr(envs, "id", type(envs).__name__),
            "config": dict(getattr(envs, "config", None) or {}),
            "num_envs": envs.num_envs,
            "precision": getattr(envs, "precision", "float32"),
        }
        | ({"perception_noise": envs.perception_noise} if hasattr(envs, "perception_noise") else {}),
        "spaces": dataclasses.asdict(spaces),
        "config": dataclasses.asdict(config),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2, default=lambda value: value.tolist()) + "\n")
    os.replace(temporary, path)


def _write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, str] | None = None) -> None:
    temporary = path.with_name(path.name + ".tmp")
    safetensors.torch.save_file({name: _owned(tensor) for name, tensor in tensors.items()}, temporary, header)
    os.replace(temporary, path)


def _owned(tensor: Tensor) -> Tensor:
    """The tensor on the CPU and alone in its storage, as safetensors wants it; copied only if need be."""
    tensor = tensor.detach().cpu()
    alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if alone else tensor.clone(memory_format=torch.contiguous_format)


def _read_json(path: Path) -> dict[str, Any]:
    _require(path)
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is corrupt: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is corrupt: expected a JSON object")
    return content


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    _require(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is corrupt: {error}") from error


def _require(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"run folder {path.parent} does not exist")
    if not path.is_file():
        raise FileNotFoundError(f"run folder {path.parent} has no {path.name}")


def check_free(run_dir: str | Path) -> None:
    """FileExistsError if the folder already holds something, so that no run is overwritten."""
    run_dir = Path(run_dir)
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise FileExistsError(f"run folder {run_dir} is not empty: pick another, or resume the run in it")


def create(run_dir: str | Path, description: dict[str, Any]) -> None:
    """Starts a run folder with its `config.json`; FileExistsError if the folder is in use."""
    check_free(run_dir)
    Path(run_dir).mkdir(parents=True, exist_ok=True)
    _write_json(Path(run_dir) / CONFIG, description)


def save(run_dir: str | Path, policy: nn.Module, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Writes the policy and a checkpoint; its counters travel in the tensors' file, so the two agree."""
    run_dir = Path(run_dir)
    _write_tensors(run_dir / CHECKPOINT, tensors, {"counters": json.dumps(counters)})
    _write_json(run_dir / COUNTERS, counters)
    _write_tensors(run_dir / POLICY, policy.state_dict())


def load(run_dir: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and counters of the last checkpoint; FileNotFoundError or ValueError if there is none."""
    path = Path(run_dir) / CHECKPOINT
    tensors, header = _read_tensors(path)
    try:
        return tensors, json.loads(header["counters"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is corrupt: its header holds no counters") from error


def load_config(run_dir: str | Path) -> dict[str, Any]:
    """The content of `config.json`; FileNotFoundError or ValueError with one clear line."""
    path = Path(run_dir) / CONFIG
    content = _read_json(path)
    missing = [key for key in ("algo", "env", "spaces", "config") if key not in content]
    env = content.get("env")
    missing += [f"env.{key}" for key in ("id", "config", "num_envs", "precision") if env is not None and key not in env]
    if missing:
        raise ValueError(f"{path} is corrupt: it lacks {', '.join(missing)}")
    if content["algo"] not in ("ppo", "dqn"):
        raise ValueError(f"{path}: unknown algorithm {content['algo']!r}: expected 'ppo' or 'dqn'")
    return content


def restored(config_type: type[ConfigType], stored: dict[str, Any]) -> ConfigType:
    """The algorithm's settings from their place in `config.json`; ValueError if they are not its settings."""
    try:
        network = networks.Config(**_tuples(stored["network"]))
        return config_type(**_tuples(stored) | {"network": network})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{CONFIG} holds settings of another version: {error}") from error


def check_same_run(run_dir: str | Path, description: dict[str, Any]) -> None:
    """ValueError naming the first setting in which a resumption differs from the run in the folder."""
    stored = _flat(load_config(run_dir) | {"versions": {}})
    asked = _flat(json.loads(json.dumps(description | {"versions": {}}, default=lambda value: value.tolist())))
    for key in sorted(stored.keys() | asked.keys()):
        if stored.get(key) != asked.get(key) and key.rpartition(".")[2] not in BUDGET_FIELDS:
            old, new = stored.get(key), asked.get(key)
            raise ValueError(f"cannot resume {run_dir} with another {key}: it has {old!r}, asked for {new!r}")


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def part(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors saved under `prefix.name`, by their names alone."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: `parameter number.field`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{field}": tensor for number, fields in state.items() for field, tensor in fields.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` took out."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, field = name.split(".", 1)
        state.setdefault(int(number), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


class LearnedDriver:
    """A trained policy behind the wheel: greedy, without memory between steps."""

    sees: Literal["features"] = "features"

    def __init__(self, policy: networks.ActorCritic | networks.QNetwork, config: dict[str, Any]):
        self.policy = policy
        self.config = config
        """The run's `config.json`."""

    @property
    def device(self) -> torch.device:
        return next(self.policy.parameters()).device

    def prepare(self, envs: Any, seeds: Any = None) -> None:
        """ValueError if the policy was not trained for such observations and actions."""
        trained, found = stored_spaces(_tuples(self.config["spaces"])), spaces_of(envs)
        for name in ("observation", "actions", "continuous"):
            if getattr(trained, name) != getattr(found, name):
                raise ValueError(
                    f"the policy, trained in {self.config['env']['id']}, does not fit {envs.id}: "
                    f"{_sizes(trained)}, not {_sizes(found)}"
                )

    def reset(self, mask: Any = None) -> None:
        """Nothing to forget."""

    @torch.no_grad()
    def act(self, observation: Any) -> Tensor:
        """Observations [N, ...] (torch or NumPy, dicts and tuples of them) to actions: int64 [N], or float32 [N, A]."""
        return self.policy.greedy(self._checked(observation))

    @torch.no_grad()
    def scores(self, observation: Any) -> tuple[str, Tensor]:
        """What the figures are, and one an action, [N, A]: probabilities, Q values, or means."""
        return self.policy.scores(self._checked(observation))

    def _checked(self, observation: Any) -> Tensor:
        observation = flat(observation, self.device)
        expected = tuple(self.config["spaces"]["observation"])
        if tuple(observation.shape[1:]) != expected:
            raise ValueError(f"this policy takes observations [N, {expected}], got shape {list(observation.shape)}")
        return observation


def _sizes(spaces: Spaces) -> str:
    kind = "dimensions of a continuous action" if spaces.continuous else "discrete actions"
    return f"observations {list(spaces.observation)} and {spaces.actions} {kind}"


def load_policy(run_dir: str | Path, device: str | torch.device = "cpu") -> LearnedDriver:
    """The driver trained in a run folder.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: a file is corrupt, weights and settings disagree, or the device is not there.
    """
    device = usable_device(device)
    content = load_config(run_dir)
    weights, _ = _read_tensors(Path(run_dir) / POLICY)
    try:
        policy = build_policy(content)
        policy.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{run_dir}: {POLICY} does not fit {CONFIG}: {reason}") from error
    return LearnedDriver(policy.to(device).eval(), content)


def start_from(run_dir: str | Path, algo: str, *policies: nn.Module) -> None:
    """Gives policies that are about to be trained the weights of a run's.

    Raises:
        FileNotFoundError, ValueError: see `load_policy`; or the run is of another algorithm, size or space.
    """
    trained = load_policy(run_dir)
    if trained.config["algo"] != algo:
        raise ValueError(f"cannot start from {run_dir}: it was trained with {trained.config['algo']}, not {algo}")
    for policy in policies:
        try:
            policy.load_state_dict(trained.policy.state_dict())
        except RuntimeError as error:
            raise ValueError(f"cannot start from {run_dir}: its network or spaces differ from this run's") from error


def build_policy(content: dict[str, Any]) -> networks.ActorCritic | networks.QNetwork:
    """An untrained policy of the shape that `config.json` describes."""
    spaces = stored_spaces(_tuples(content["spaces"]))
    network = networks.Config(**_tuples(content["config"]["network"]))
    generator = torch.Generator().manual_seed(content["config"]["seed"])
    if content["algo"] == "ppo":
        return networks.ActorCritic(network, spaces, generator)
    return networks.QNetwork(network, spaces, generator, content["config"]["dueling"])


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples: lists become them again."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
