"""Sheets of all that the sensors can show: every id, camera, domain, label and effect."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import warp as wp
from PIL import Image

from sim.engine.launch import Program
from sim.evaluation.driver import idle_action
from sim.recording import make_envs
from sim.sensors.birdseye import BirdsEye, View
from sim.sensors.camera.cameras import PRESETS, Camera, preset
from sim.sensors.camera.rig import CameraRig
from sim.sensors.colouring import (
    class_picture,
    depth_picture,
    instance_picture,
    rgb_picture,
    sheet,
    with_boxes,
    with_solids,
)
from sim.sensors.looks.domains import DOMAINS, Domain

WIDTH, HEIGHT = 320, 240
"""Of a tile [px]."""
BUSY: tuple[str, int, int, dict[str, Any]] = ("highway-v0", 6, 0, {"vehicles_density": 2.0})
"""The scene that domains and effects change: id, seed, idle policy steps, config."""
LABELLED = (BUSY, ("roundabout-v0", 16, 3, {}), ("intersection-v1", 62, 4, {}), ("parking-parked-v0", 3, 0, {}))
"""The scenes whose labels are shown."""
EFFECTS: dict[str, dict[str, float]] = {
    "none": {},
    "motion blur 1": {"blur": 1.0},
    "streaks 1": {"streaks": 1.0},
    "dirt 0.35": {"dirt": 0.35},
    "occlusion 0.2": {"occlusion": 0.2},
    "exposure 0.5": {"exposure": 0.5},
    "exposure 1.7": {"exposure": 1.7},
    "contrast 0.5": {"contrast": 0.5},
    "gamma 2": {"gamma": 2.0},
    "noise 25": {"noise": 25.0},
    "JPEG 10": {"jpeg": 10.0},
    "wet 1": {"wet": 1.0},
    "wear 0.75": {"wear": 0.75},
    "texture 1": {"texture": 1.0},
    "fog 0.05": {"fog": 0.05},
    "roll, pitch, yaw 3°": {"camera_roll": 0.05, "camera_pitch": 0.05, "camera_yaw": 0.05},
}
"""What is shown of single fields of a look, each as strong as in the worst domains or stronger."""
FROM_ABOVE = 80.0
"""Side of a bird's-eye tile [m]."""
ALONG = ("highway", "exit", "merge", "two-way", "lane-keeping")
"""Families on whose roads one looks ahead, from above too."""


def scene(id: str, seed: int, steps: int = 0, config: dict[str, Any] | None = None) -> Any:
    """Return a world whose egos have idled for some policy steps."""
    envs = make_envs(id, config, "float32")
    envs.reset(seed=seed)
    idle = torch.as_tensor(idle_action(envs.single_action_space, envs.config))[None]
    for _ in range(steps):
        envs.step(idle)
    return envs


def seen(envs: Any, domain: Any = "clear", cameras: Sequence[Camera] | None = None) -> CameraRig:
    """Return cameras on the first ego that have taken their pictures."""
    rig = CameraRig(envs.network, envs.world, cameras or [Camera(width=WIDTH, height=HEIGHT)], domain)
    rig.render()
    return rig


def from_above(envs: Any, side: int = HEIGHT) -> np.ndarray:
    """Return the bird's-eye picture around the first ego, uint8 [side, side, 3]."""
    ego = (0.2, 0.5) if envs.id.startswith(ALONG) else (0.5, 0.5)
    view = View(side, side, scaling=side / FROM_ABOVE, centering=ego)
    lanes = envs.network.table(wp.float32, envs.device, sweep=False)
    shape = tuple(envs.world.buffers["cars"].shape[:2])
    birdseye = BirdsEye(view, envs.network, lanes, envs.world.struct(), shape, envs.device)
    every = wp.from_torch(torch.ones(shape[0], dtype=torch.bool))
    Program(birdseye.launches(every), shape[0], envs.device, 1)()
    return birdseye.pictures[0].permute(1, 2, 0).numpy()


def of_ids(ids: Sequence[str], seed: int = 3) -> Image.Image:
    """Return each id from the driver's seat and from above."""
    tiles = []
    for id in ids:
        envs = scene(id, seed, 0 if id.startswith("parking") else 3)
        tiles += [(id, rgb_picture(seen(envs).frames)), ("", from_above(envs))]
    return sheet(tiles, 6)


def of_domains(
    size: tuple[int, int] = (WIDTH, HEIGHT), names: Sequence[str] = tuple(DOMAINS)
) -> list[tuple[str, np.ndarray]]:
    """Return tiles of one scene in every domain."""
    envs, lens = scene(*BUSY), Camera(width=size[0], height=size[1])
    titles = [f"{name} (held out)" if DOMAINS[name].held_out else name for name in names]
    return [(title, rgb_picture(seen(envs, name, [lens]).frames)) for title, name in zip(titles, names, strict=True)]


def of_seeds(names: Sequence[str] = tuple(DOMAINS), seeds: int = 5) -> Image.Image:
    """Return several episodes of each domain, one row each."""
    scenes = [scene("highway-v0", 20 + seed, 2) for seed in range(seeds)]
    lens = [Camera(width=240, height=160)]
    return sheet([(name, rgb_picture(seen(envs, name, lens).frames)) for name in names for envs in scenes], seeds)


def of_labels(
    size: tuple[int, int] = (WIDTH, HEIGHT), scenes: Sequence[tuple] = LABELLED
) -> list[tuple[str, np.ndarray]]:
    """Return tiles of every kind of label, five a scene."""
    tiles = []
    for one in scenes:
        rig = seen(scene(*one), cameras=[Camera(width=size[0], height=size[1])])
        frames, rgb = rig.frames, rgb_picture(rig.frames)
        tiles += [
            (f"{one[0]}: visible and amodal boxes", with_boxes(rgb, frames)),
            ("depth", depth_picture(frames)),
            ("semantic classes", class_picture(frames)),
            ("instances, visible boxes", with_boxes(instance_picture(frames), frames, amodal=False)),
            ("3-D boxes", with_solids(rgb, frames, rig.cameras[0])),
        ]
    return tiles


def of_cameras() -> Image.Image:
    """Return every preset of cameras, the surround one too."""
    envs, tiles = scene("intersection-v1", 7, 2), []
    for name in PRESETS:
        lenses = preset(name, width=WIDTH, height=HEIGHT)
        frames = seen(envs, cameras=lenses).frames
        tiles += [
            (f"{name}: {lens.name}" if len(lenses) > 1 else name, rgb_picture(frames, 0, k))
            for k, lens in enumerate(lenses)
        ]
    return sheet(tiles, 3)


def of_effects() -> Image.Image:
    """Return one scene with each effect alone."""
    envs = scene(*BUSY)
    domains = {
        text: Domain(text, "", {field: (value, value) for field, value in fields.items()})
        for text, fields in EFFECTS.items()
    }
    return sheet([(text, rgb_picture(seen(envs, domain).frames)) for text, domain in domains.items()], 4)


def for_readme() -> Image.Image:
    """Return the picture of the README: domains and labels of one scene."""
    size = (180, 120)
    names = ["clear", "low-sun", "fog", "rain", "night", "worn-road", "old-camera", "dusk", "storm", "snow"]
    labels = of_labels(size, [LABELLED[2]])
    titles = ("boxes", "depth", "classes", "instances", "3-D boxes")
    tiles = of_domains(size, names) + [(text, picture) for text, (_, picture) in zip(titles, labels, strict=True)]
    return sheet(tiles, 5)


SHEETS: dict[str, Callable[[Sequence[str]], Image.Image]] = {
    "ids": of_ids,
    "domains": lambda ids: sheet(of_domains(), 4),
    "episodes": lambda ids: of_seeds(),
    "labels": lambda ids: sheet(of_labels(), 5),
    "cameras": lambda ids: of_cameras(),
    "effects": lambda ids: of_effects(),
}
"""The sheets by name; each may ask for the ids."""


def write_index(folder: Path, names: Sequence[str]) -> Path:
    """Write a page that shows the sheets of a folder, and return where it is."""
    page = folder / "contact.html"
    body = "".join(f'<h2>{name}</h2><img src="{name}.png" alt="{name}">' for name in names)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><title>Slipstream: sensors</title>{body}\n', encoding="utf-8"
    )
    return page
