"""Drivers that tell what they are shown, and scenes to show them through a fault."""

import torch
from gymnasium.vector import AutoresetMode

import sim
from sim.evaluation.driver import DriverSpec
from sim.evaluation.faults import faulty
from sim.sensors.faults import SENSOR_FAULTS

HIGHWAY = {"vehicles_count": 8, "duration": 12}
"""A short highway-fast-v0 with empty rows in its observation."""
GREY = {"type": "GrayscaleObservation", "observation_shape": (24, 16), "stack_size": 2, "weights": [0.3, 0.6, 0.1]}
PICTURES = HIGHWAY | {"observation": GREY | {"scaling": 1.5}}
CAMERA = HIGHWAY | {"observation": {"type": "Camera", "width": 32, "height": 24}}
LIDAR = HIGHWAY | {"observation": {"type": "Lidar", "beams": 40, "channels": ["range", "class", "speed"]}}


def config_for(fault):
    """A scene in which a fault makes sense."""
    if fault == "calibration_drift":
        return CAMERA
    if fault in ("lost_beams", "range_noise"):
        return LIDAR
    return PICTURES if fault in SENSOR_FAULTS else HIGHWAY


class Watcher:
    """Notes what it is shown and steers by it, in sums of two numbers that no batch rounds otherwise."""

    sees = "features"

    def __init__(self, device="cpu"):
        self.seen = []

    def reset(self, mask):
        """Nothing to forget."""

    def act(self, observation):
        self.seen.append(observation)
        table = observation
        while not isinstance(table, torch.Tensor):
            table = table[0] if isinstance(table, tuple) else table["observation"]
        flat = table.reshape(len(table), -1).double()
        if flat.shape[1] > 100:  # pictures and scans count as a whole
            return (flat * torch.arange(flat.shape[1]) * 4096).round().sum(1).long() // 7 % 5
        return ((flat[:, 6 % flat.shape[1]] + flat[:, -1]).abs() * 997).long() % 5

    def scores(self, observation):
        return "probability", observation[:, :, 0]


class Counting:
    """Asks for the step's number plus ten times the world's, and sees the world."""

    sees = "world"

    def __init__(self, device="cpu"):
        self.steps = 0

    def prepare(self, envs, seeds):
        self.worlds = torch.arange(len(seeds)) * 10

    def reset(self, mask):
        """Nothing to forget."""

    def act(self, observation):
        self.steps += 1
        return self.worlds + self.steps


def worlds(id, n, config=None, **options):
    return sim.make_vec(id, n, config=config, autoreset_mode=AutoresetMode.DISABLED, **options)


def ready(envs, fault, severity, seeds, make=Watcher, seed=0):
    """A driver inside a fault, and the first observation of its episodes."""
    driver = faulty(DriverSpec("driver", make), fault, severity, seed).build()
    driver.prepare(envs, list(seeds))
    observation, _ = envs.reset(seed=list(seeds))
    driver.reset(torch.ones(len(seeds), dtype=torch.bool))
    return driver, observation


def shown(envs, fault, severity, seeds, steps=1, seed=0):
    """(what was there, what the driver saw), of each step, while all idle."""
    driver, observation = ready(envs, fault, severity, seeds, seed=seed)
    pairs = []
    for _ in range(steps):
        driver.act(observation)
        pairs.append((observation, driver.driver.seen[-1]))
        observation = envs.step(torch.ones(len(seeds), dtype=torch.int64))[0]
    return pairs
