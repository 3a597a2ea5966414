"""Every driver by the name or file that a command line gives."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import load_policy
from planning.rule_based import IdmDriver
from sim.evaluation.driver import Driver, DriverSpec, IdleDriver, RandomDriver, Sees

BASELINES: dict[str, Callable[..., Driver]] = {"random": RandomDriver, "idle": IdleDriver, "idm": IdmDriver}
SB3_ALGORITHMS = ("ppo", "dqn", "a2c")


def choose_driver(
    run: Path | None = None, name: str | None = None, trust: bool = False, sb3_algo: str = "ppo"
) -> DriverSpec:
    """Returns the spec of a baseline, a Stable-Baselines3 zip or the policy of a run folder.

    Args:
        run: a run folder; used when `name` is None.
        name: "random", "idle", "idm" or the path of a zip that Stable-Baselines3 saved.
        trust: the caller vouches for the zip: loading it runs the pickled code inside.
        sb3_algo: the algorithm that saved the zip.

    Raises ValueError or FileNotFoundError with one line that says what is wrong.
    """
    if name is None:
        if run is None:
            raise ValueError("nothing to drive: give a run folder, or --driver random|idle|idm|FILE.zip")
        return DriverSpec(Path(run).name, load_policy, (str(run),))
    if name in BASELINES:
        return DriverSpec(name, BASELINES[name])
    if not name.endswith(".zip"):
        raise ValueError(f"unknown driver {name!r}; there are {', '.join(BASELINES)} and Stable-Baselines3 files *.zip")
    if not Path(name).is_file():
        raise FileNotFoundError(f"no such file: {name}")
    if not trust:
        raise ValueError(f"{name} carries pickled code that loading would run; add --trust if you trust its author")
    if sb3_algo not in SB3_ALGORITHMS:
        raise ValueError(f"unknown --sb3-algo {sb3_algo!r}; there are {', '.join(SB3_ALGORITHMS)}")
    if not zipfile.is_zipfile(name):
        raise ValueError(f"{name} is not a zip file")
    return DriverSpec(Path(name).name, Sb3Driver, (name, sb3_algo))


class Sb3Driver:
    """A Stable-Baselines3 model, deterministic. Loading runs the pickled code in its file."""

    sees: Sees = "features"

    def __init__(self, path: str, algorithm: str = "ppo", device: str | torch.device = "cpu"):
        import stable_baselines3

        try:
            model = getattr(stable_baselines3, algorithm.upper()).load(path, device=device)
        except Exception as error:  # Stable-Baselines3 raises whatever the damage happens to cause.
            raise ValueError(f"{path} does not load as a {algorithm.upper()} model: {error}") from error
        self.policy = model.policy
        self.device = torch.device(device)

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Tensor) -> Tensor:
        action, _ = self.policy.predict(observation.cpu().numpy().astype(np.float32), deterministic=True)
        return torch.as_tensor(action, device=self.device)
