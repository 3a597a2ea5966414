"""What the camera's kernels hand to each other: where each camera is, and the things before it."""

from typing import Any

import torch
import warp as wp

NEAR = 0.1  # m, nothing closer along the optical axis is seen
FAR = 2000.0  # m, the ground beyond is taken for sky

_MOUNTING = ("focal", "x", "y", "z", "yaw", "pitch", "roll")
Mounting = wp.struct(
    type("Mounting", (), {"__annotations__": dict.fromkeys(_MOUNTING, wp.float32), "__module__": __name__})
)
"""A camera on its vehicle as kernels see it: focal length [px], place [m] and turn [rad] as in `Camera`."""


@wp.struct
class View:
    """A camera in its world: axes in the world's frame (x, y, height), the place relative to its vehicle's middle."""

    right: wp.vec3f
    down: wp.vec3f
    ahead: wp.vec3f
    place: wp.vec3f  # m, from the middle of the vehicle, along the world's axes
    focal: wp.float32  # px
    x: wp.float32  # of the camera in the world [m]
    y: wp.float32
    cosine: wp.float32  # of its vehicle's heading
    sine: wp.float32
    weather: wp.vec2f  # where in the table of grain the episode's clouds and skyline begin
    things: wp.int32  # rows of the table of things in use


PARTS = ("rear", "front", "half", "bottom", "top", "lean_front", "lean_rear", "lean_side")
_THING: dict[str, Any] = {
    "slot": wp.int32,
    "category": wp.int32,
    "parts": wp.int32,
    # Pixels that its body can cover, and its shadow: the end is exclusive.
    "row_0": wp.int32, "row_1": wp.int32, "column_0": wp.int32, "column_1": wp.int32,
    "shade_row_0": wp.int32, "shade_row_1": wp.int32, "shade_column_0": wp.int32, "shade_column_1": wp.int32,
    "cosine": wp.float32,  # of its heading
    "sine": wp.float32,
    "x": wp.float32, "y": wp.float32, "z": wp.float32,  # of the camera in its frame: forward, right, up [m]
    "sun_x": wp.float32, "sun_y": wp.float32,  # towards the sun in its frame
    "shift_x": wp.float32, "shift_y": wp.float32,  # of its shadow in its frame, a metre of height [m]
    "red": wp.float32, "green": wp.float32, "blue": wp.float32,  # linear albedo
    "axle_front": wp.float32, "axle_rear": wp.float32, "wheel": wp.float32,
    "brakes": wp.float32,  # 1 where the brake lights shine
} | {f"{part}_{name}": wp.float32 for part in "ab" for name in PARTS}  # fmt: skip
Thing = wp.struct(type("Thing", (), {"__annotations__": _THING, "__module__": __name__}))
"""What stands before a camera; parts a and b of its body as in `bodies.Body`, scaled [m]."""


@wp.struct
class Tables:
    """The fields of `frames.Objects` as arrays `[N, C, V]`."""

    present: wp.array3d(dtype=wp.bool)
    number: wp.array3d(dtype=wp.int32)
    category: wp.array3d(dtype=wp.uint8)
    box: wp.array4d(dtype=wp.float32)
    visible: wp.array4d(dtype=wp.int32)
    pixels: wp.array3d(dtype=wp.int32)
    whole: wp.array3d(dtype=wp.int32)
    visibility: wp.array3d(dtype=wp.float32)
    truncation: wp.array3d(dtype=wp.float32)
    center: wp.array4d(dtype=wp.float32)
    size: wp.array4d(dtype=wp.float32)
    yaw: wp.array3d(dtype=wp.float32)
    distance: wp.array3d(dtype=wp.float32)


def tables_of(objects: Any) -> Any:
    """Return the Warp struct that views the tensors of `Objects`."""
    tables = Tables()
    for name, tensor in vars(objects).items():
        kind = wp.bool if tensor.dtype == torch.bool else None
        setattr(tables, name, wp.from_torch(tensor, dtype=kind) if kind else wp.from_torch(tensor))
    return tables
