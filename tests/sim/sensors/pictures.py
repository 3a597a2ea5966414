"""Pictures without a camera: worlds that have names and nothing else, and what effects make of a given image."""

import torch
import warp as wp

from sim.engine.launch import Program
from sim.sensors.effects.chain import Effects
from sim.sensors.looks.look import CLEAR, FIELD
from sim.sensors.looks.look_sampler import LookSampler
from sim.world import Sizes, World


def named_worlds(episodes, steps=0, precision="float32"):
    """Worlds of the given episodes [N], as many as there are names."""
    world = World.allocate(len(episodes), Sizes(vehicles=3), torch.device("cpu"), precision)
    world.episode[:] = torch.as_tensor(episodes)
    world.steps[:] = torch.as_tensor(steps)
    return world


def everywhere(worlds):
    """A mask of all worlds."""
    return wp.from_torch(torch.ones(worlds, dtype=torch.bool))


def run(launches, worlds, threads=1):
    Program(launches, worlds, torch.device("cpu"), threads)()


def drawn_looks(domain, episodes, threads=1, **options):
    """The sampler of a domain after it has drawn."""
    world = named_worlds(episodes)
    sampler = LookSampler(domain, world.struct(), len(episodes), **options)
    run(sampler.launches(everywhere(len(episodes))), len(episodes), threads)
    sampler.world = world  # a struct does not keep the memory of its world, and some tests draw again
    return sampler


def spoiled(image, fields, only, episodes=(5,), steps=0, cameras=1, threads=1):
    """The pictures uint8 [N, C, 3, H, W] that the effects `only` make of one image [3, H, W].

    `fields` are those of the look that differ from "clear": a number, or one a world.
    """
    world = named_worlds(episodes, steps)
    sampler = LookSampler("clear", world.struct(), len(episodes))
    sampler.tensor[:] = torch.tensor(list(CLEAR.values()))
    for field, value in fields.items():
        sampler.tensor[:, FIELD[field]] = torch.as_tensor(value, dtype=torch.float32)
    rgb = image.repeat(len(episodes), cameras, 1, 1, 1)
    effects = Effects(sampler, world.struct(), rgb, only=only)
    run(effects.launches(everywhere(len(episodes))), len(episodes), threads)
    return rgb
