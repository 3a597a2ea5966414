"""Labels in torchvision's form, made from what a camera rig says about its pictures."""

from typing import Any

import torch
from torch import Tensor

from sim.sensors.camera.frames import Frames
from sim.sensors.classes import Semantic

CATEGORIES: dict[int, str] = {
    category.value - Semantic.CAR + 1: category.name.lower() for category in Semantic if category >= Semantic.CAR
}
"""Names by label: 1 car, 2 van, 3 truck, 4 motorcycle, 5 obstacle, 6 goal. 0 is background, as torchvision has it."""

Target = dict[str, Tensor]


def targets_of(frames: Frames, least_pixels: int = 1, masks: bool = False) -> list[Target]:
    """Return the labels of each picture, world by world and in each world camera by camera: N * C targets.

    Of the K objects that show at least `least_pixels` pixels:

    * boxes float32 `[K, 4]`: x0, y0, x1, y1 [px] around the visible pixels, inside the frame; x1, y1 exclusive
    * labels int64 `[K]`: see `CATEGORIES`
    * area float32 `[K]`: visible pixels; iscrowd int64 `[K]`: 0
    * amodal float32 `[K, 4]`: x0, y0, x1, y1 around the whole body, may reach outside the frame
    * visibility, truncation float32 `[K]`: share of its pixels in the frame that nothing hides; share of the amodal
      box outside the frame. distance float32 `[K]` [m]
    * number int64 `[K]`: names the object within its episode
    * masks bool `[K, H, W]`, where asked for
    """
    objects = frames.objects
    pictures = objects.present.shape[0] * objects.present.shape[1]

    def flat(tensor: Tensor) -> Tensor:
        return tensor.reshape(pictures, *tensor.shape[2:])

    kept = flat(objects.present) & (flat(objects.pixels) >= least_pixels)  # [M, V]
    picture, slot = kept.nonzero(as_tuple=True)
    columns: Target = {
        "boxes": flat(objects.visible)[picture, slot].to(torch.float32),
        "labels": flat(objects.category)[picture, slot].to(torch.int64) - (int(Semantic.CAR) - 1),
        "area": flat(objects.pixels)[picture, slot].to(torch.float32),
        "iscrowd": torch.zeros(len(slot), dtype=torch.int64, device=slot.device),
        "amodal": flat(objects.box)[picture, slot].clone(),
        "visibility": flat(objects.visibility)[picture, slot].clone(),
        "truncation": flat(objects.truncation)[picture, slot].clone(),
        "distance": flat(objects.distance)[picture, slot].clone(),
        "number": flat(objects.number)[picture, slot].to(torch.int64),
    }
    if masks:
        columns["masks"] = flat(frames.instance)[picture] == (slot + 1).to(frames.instance.dtype)[:, None, None]
    counts = kept.sum(1).tolist()
    split = {name: column.split(counts) for name, column in columns.items()}
    return [{name: split[name][i] for name in columns} for i in range(pictures)]


def require_categories(found: dict[int, str], expected: dict[int, str], where: Any) -> None:
    """Raise ValueError unless a data set's label ids mean what is expected; names the first that does not.

    A shifted id trains without an error and scores nothing, which is why this is checked whenever labels are loaded.
    """
    if found == expected:
        return
    for label in sorted({*found, *expected}):
        if found.get(label) != expected.get(label):
            has = repr(found[label]) if label in found else "no such label"
            wanted = repr(expected[label]) if label in expected else "none"
            raise ValueError(f"{where}: label {label} is {has}, expected {wanted}; labels must be {expected}")


def whole_boxes(target: Target, size: tuple[int, int]) -> Tensor:
    """Return the boxes of whole objects, hidden parts too, as far as they are in a frame of `size` (width, height)."""
    limit = torch.tensor([*size, *size], dtype=torch.float32, device=target["amodal"].device)
    return torch.minimum(target["amodal"].clamp(min=0), limit)


def seen_share(target: Target) -> Tensor:
    """Return which share of each object is seen: neither hidden by another nor outside the frame, [K] in 0..1."""
    return target["visibility"] * (1.0 - target["truncation"])
