"""The KinematicsGoal observation: where the ego is, and where it should be.

Source: highway_env/envs/common/observation.py `KinematicsGoalObservation`, vehicle/objects.py `to_dict`, 1.12.1.
"""

from typing import Any

import numpy as np
import torch
import warp as wp
from gymnasium import spaces

from sim.config import require_known
from sim.observations.base import Binding, ObservationType, Setting
from sim.observations.kinematics import DEFAULT_FEATURES, KEYS, Feature, feature_of
from sim.scenarios.base import is_number
from sim.scenarios.parking import Parking

PARTS = ("observation", "achieved_goal", "desired_goal")
# A goal is a landmark, and objects have none of these.
VEHICLES_ONLY = ("heading", "long_off", "lat_off", "ang_off")


@wp.kernel(enable_backward=False, module="unique")
def observe_goal(
    lanes: Any,
    world: Any,
    mask: wp.array(dtype=wp.bool),
    agent: int,
    features: wp.array(dtype=wp.int32),
    scales: wp.array(dtype=wp.float64),
    observation: wp.array2d(dtype=wp.float64),
    achieved_goal: wp.array2d(dtype=wp.float64),
    desired_goal: wp.array2d(dtype=wp.float64),
    first: int,
):
    """Write the scaled features of the ego `agent` (twice) and of its goal into `[N, F]` where `mask` is true."""
    w = first + wp.tid()
    if not mask[w]:
        return
    ego = world.ego[w, agent]
    goal = world.goal[w, agent]
    for column in range(features.shape[0]):
        value = wp.float64(feature_of(lanes, world, w, ego, features[column], True)) / scales[column]
        observation[w, column] = value
        achieved_goal[w, column] = value
        desired_goal[w, column] = wp.float64(feature_of(lanes, world, w, goal, features[column], True)) / scales[column]


class KinematicsGoal(ObservationType):
    """A dict of float64 `[F]`: the ego's features, the same as achieved goal, and the goal's, each by its scale."""

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, KEYS | {"scales"}, "observation key")  # highway-env swallows what has no effect here
        if not isinstance(setting.scenario, Parking):
            raise ValueError("the KinematicsGoal observation needs a goal, and only the parking environments have one")
        features = options.get("features") or DEFAULT_FEATURES
        if not isinstance(features, (list, tuple)):
            raise TypeError(f"observation features is {features!r}; it must be a list of names")
        names = [feature.name.lower() for feature in Feature]
        require_known(features, [name for name in names if name not in VEHICLES_ONLY], "observation feature of a goal")
        self.features = [int(Feature[name.upper()]) for name in features]
        self.scales = _scales(options.get("scales"), len(features))
        self.agent = agent
        self.space = spaces.Dict(
            {part: spaces.Box(-np.inf, np.inf, shape=(len(features),), dtype=np.float64) for part in PARTS}
        )

    def bind(self, binding: Binding) -> dict[str, torch.Tensor]:
        """Allocate and return the three parts `[N, F]`."""
        place = str(binding.device)
        out = {
            part: torch.zeros(binding.num_worlds, len(self.features), dtype=torch.float64, device=binding.device)
            for part in PARTS
        }
        features = wp.array(self.features, dtype=wp.int32, device=place)
        scales = wp.array(self.scales, dtype=wp.float64, device=place)
        self._before = [binding.lanes, binding.world]
        self._after = [self.agent, features, scales, *(wp.from_torch(tensor) for tensor in out.values())]
        return out

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the one launch."""
        return [(observe_goal, [*self._before, mask, *self._after])]


def _scales(scales: Any, size: int) -> list[float]:
    """Return one scale a feature; a single number is everyone's, as NumPy broadcasts it.

    Raises:
        ValueError: no numbers, zero, or neither one nor `size` of them.
    """
    given = list(scales) if isinstance(scales, (list, tuple, np.ndarray)) else [scales]
    if len(given) not in (1, size) or not all(is_number(scale) and scale != 0 for scale in given):
        raise ValueError(f"observation scales is {scales!r}; it must be {size} numbers other than 0, one a feature")
    return [float(scale) for scale in given] * (size // len(given))
