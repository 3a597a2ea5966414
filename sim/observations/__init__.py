"""The observation types, one file each; this table is the only place that lists them.

Source: highway_env/envs/common/observation.py, 1.12.1.
"""

from typing import Any

from gymnasium import spaces

from sim.config import require_known
from sim.observations.attributes import AttributesObservation
from sim.observations.base import Binding, Observation, ObservationType, Setting, leaves, mapped
from sim.observations.birdseye import BirdsEyeObservation
from sim.observations.camera import CameraObservation
from sim.observations.goal import KinematicsGoal
from sim.observations.grayscale import GrayscaleObservation
from sim.observations.kinematics import ExitObservation, Kinematics
from sim.observations.lidar import LidarObservation
from sim.observations.occupancy_grid import OccupancyGrid
from sim.observations.scan import Lidar
from sim.observations.time_to_collision import TimeToCollision

__all__ = ["Binding", "Observation", "ObservationType", "Setting", "leaves", "mapped", "observation_type"]


class TupleObservation(ObservationType):
    """Several observations of one ego."""

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, ["type", "observation_configs"], "observation key")
        configs = options.get("observation_configs")
        if not isinstance(configs, (list, tuple)) or not configs:
            raise ValueError(f"observation_configs is {configs!r}; it must be a list of observation configs")
        self.members = [observation_type(config, setting, agent) for config in configs]
        self.space = spaces.Tuple([member.space for member in self.members])

    def bind(self, binding: Binding) -> Observation:
        """Allocate and return the tensors of all members."""
        return tuple(member.bind(binding) for member in self.members)

    def launches(self, mask: Any, reset: bool = False) -> list[tuple[Any, list[Any]]]:
        """Return the launches of all members, in order; at a reset all spaces are asked for before any is observed."""
        asked = self.space_launches(mask) * 2 + self.begin_launches(mask) if reset else []
        return asked + [launch for member in self.members for launch in member.launches(mask)]

    def begin_launches(self, mask: Any) -> list[tuple]:
        """Return the launches that make the members forget the last episode."""
        return [launch for member in self.members for launch in member.begin_launches(mask)]

    def space_launches(self, mask: Any) -> list[tuple[Any, list[Any]]]:
        """Return what the members' spaces draw."""
        return [launch for member in self.members for launch in member.space_launches(mask)]


class MultiAgentObservation(TupleObservation):
    """The same observation for each controlled vehicle."""

    def __init__(self, options: dict[str, Any], setting: Setting, agent: int = 0) -> None:
        require_known(options, ["type", "observation_config"], "observation key")
        config = options.get("observation_config")
        self.members = [observation_type(config, setting, agent) for agent in range(setting.egos)]
        self.space = spaces.Tuple([member.space for member in self.members])


OBSERVATION_TYPES: dict[str, type[ObservationType]] = {
    "Kinematics": Kinematics,
    "ExitObservation": ExitObservation,
    "OccupancyGrid": OccupancyGrid,
    "TimeToCollision": TimeToCollision,
    "LidarObservation": LidarObservation,
    "Lidar": Lidar,
    "KinematicsGoal": KinematicsGoal,
    "AttributesObservation": AttributesObservation,
    "GrayscaleObservation": GrayscaleObservation,
    "BirdsEye": BirdsEyeObservation,
    "Camera": CameraObservation,
    "TupleObservation": TupleObservation,
    "MultiAgentObservation": MultiAgentObservation,
}


def observation_type(config: dict[str, Any], setting: Setting, agent: int = 0) -> ObservationType:
    """Return the observation type that `config["observation"]` describes.

    Raises:
        TypeError, ValueError: unknown type, key or feature, a value out of range, or a type that does not fit.
    """
    if not isinstance(config, dict):
        raise TypeError(f"an observation config is {config!r}; it must be a dict")
    require_known([config.get("type", "(missing)")], OBSERVATION_TYPES, "observation type")
    return OBSERVATION_TYPES[config["type"]](config, setting, agent)
