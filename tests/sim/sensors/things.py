"""Worlds made by hand: a few rectangles around an ego, without a road."""

import numpy as np
import torch

from sim.world import Kind, Sizes, World

FIELDS = {"kind": Kind.VEHICLE, "x": 0.0, "y": 0.0, "heading": 0.0, "speed": 0.0, "length": 5.0, "width": 2.0}


def thing(x, y, heading=0.0, **others):
    return {"x": x, "y": y, "heading": heading} | others


def world_of(scenes, precision="float32", device="cpu", episodes=None, steps=0, egos=1):
    """A world a scene: a list of `thing`, the first `egos` of which carry sensors."""
    most = max(len(things) for things in scenes)
    world = World.allocate(len(scenes), Sizes(vehicles=most, egos=egos), torch.device(device), precision)
    for w, things in enumerate(scenes):
        for v, values in enumerate(things):
            for name, value in (FIELDS | {"number": v} | values).items():
                getattr(world, name)[w, v] = value
        world.count[w] = len(things)
        world.ego[w] = torch.arange(egos)
    angles = world.heading.double()
    world.cos_heading.copy_(angles.cos())
    world.sin_heading.copy_(angles.sin())
    world.steps.fill_(steps)
    world.episode.copy_(torch.arange(len(scenes)) * 7919 + 13 if episodes is None else torch.as_tensor(episodes))
    return world


def random_scenes(count, things=12, seed=0, far=0.0, spread=60.0):
    """Vehicles, obstacles and walls at any place and heading around an ego that is about `far` m from the origin."""
    rng = np.random.default_rng(seed)
    scenes = []
    for _ in range(count):
        x, y = far + rng.uniform(-5, 5, 2)
        scene = [thing(x, y, rng.uniform(-7, 7), speed=rng.uniform(0, 40))]
        while len(scene) < things:
            dx, dy = rng.uniform(-spread, spread, 2)
            if np.hypot(dx, dy) < 4:
                continue
            one = thing(x + dx, y + dy, rng.uniform(-4, 4), speed=rng.uniform(-10, 40))
            if rng.random() < 0.3:
                length, width = rng.uniform(1, 25), rng.uniform(0.3, 3)
                if np.hypot(dx, dy) < length:
                    continue
                one |= {"kind": Kind.OBSTACLE, "length": length, "width": width, "speed": 0.0}
            scene.append(one)
        scenes.append(scene)
    return scenes
