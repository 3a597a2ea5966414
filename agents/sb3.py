"""Stable-Baselines3 models as drivers. The one place that opens their zips, which carry pickled code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sim.evaluation.driver import Sees
from sim.observations import mapped

ALGORITHMS = ("ppo", "dqn", "a2c", "sac", "td3", "ddpg")

# A driver learns no more. Hindsight's buffer would even ask for an environment.
NO_REPLAY = {"buffer_size": 1, "replay_buffer_class": None, "replay_buffer_kwargs": {}}


class Sb3Driver:
    """A Stable-Baselines3 model, deterministic. Loading runs the pickled code in its file."""

    sees: Sees = "features"

    def __init__(self, path: str, algorithm: str = "ppo", device: str | torch.device = "cpu"):
        import stable_baselines3  # Takes two seconds, which no other driver should wait for.

        try:
            model = getattr(stable_baselines3, algorithm.upper()).load(path, device=device, custom_objects=NO_REPLAY)
        except Exception as error:  # Stable-Baselines3 raises whatever the damage happens to cause.
            raise ValueError(f"{path} does not load as a {algorithm.upper()} model: {error}") from error
        self.policy = model.policy
        self.device = torch.device(device)

    def reset(self, mask: Tensor) -> None:
        """Nothing to forget."""

    def act(self, observation: Any) -> Tensor:
        action, _ = self.policy.predict(mapped(lambda tensor: tensor.cpu().numpy(), observation), deterministic=True)
        return torch.as_tensor(action, device=self.device)
