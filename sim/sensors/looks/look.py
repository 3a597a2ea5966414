"""What the picture of a world looks like: light, weather, colours, mounting and sensor, a row of numbers a world.

Written once an episode by the sampler of a domain, read by the camera's kernels and by `sim.sensors.effects`.
Colours and light are linear: twice the number is twice the light. A surface with albedo a that faces the light shows
a * (ambient + sun * cosine); 1 is the brightest that the sensor can show.
"""

import torch
import warp as wp

CLEAR: dict[str, float] = {
    # Unit vector towards the sun: x, y of the world, height. A third of the way down, behind and to the left of +x.
    "sun_x": -0.5043204,
    "sun_y": -0.3531289,
    "sun_z": 0.7880108,
    "sun": 1.05,  # light of the sun on a surface that faces it
    "ambient": 0.42,  # light of the sky on any surface
    "light_r": 1.0,  # colour of that light: a factor on whatever it falls on
    "light_g": 1.0,
    "light_b": 1.0,
    "top_r": 0.13,  # sky, straight up
    "top_g": 0.29,
    "top_b": 0.66,
    "horizon_r": 0.62,  # sky at the horizon, which is what fog and distance fade to
    "horizon_g": 0.74,
    "horizon_b": 0.87,
    "fog": 0.0008,  # extinction [1/m]; 3 / fog is about how far one sees. Clean air on a summer's day
    "headlights": 0.0,  # light of the camera's own vehicle, 0..1
    "lamps": 0.0,  # how bright other vehicles' lights are, 0..1
    "asphalt_r": 0.09408,
    "asphalt_g": 0.098,
    "asphalt_b": 0.10192,
    "grass_r": 0.14,
    "grass_g": 0.25,
    "grass_b": 0.085,
    "shoulder_r": 0.26,
    "shoulder_g": 0.25,
    "shoulder_b": 0.215,
    "paint_r": 0.8,
    "paint_g": 0.8,
    "paint_b": 0.768,
    "texture": 0.35,  # amplitude of the grain of asphalt, shoulder and grass, 0..1
    "wear": 0.05,  # share of the paint worn off, 0..1
    "wet": 0.0,  # how wet the road is: darker, and mirrors the sky, 0..1
    "hue": 0.0,  # turn of the traffic's palette, 1 is once around
    "camera_x": 0.0,  # how far each camera stands off its mounting: forward, right, up [m]
    "camera_y": 0.0,
    "camera_z": 0.0,
    "camera_yaw": 0.0,  # [rad], to the right
    "camera_pitch": 0.0,  # up
    "camera_roll": 0.0,
    "focal": 1.0,  # factor on the focal length
    # The sensor. From here on `sim.sensors.effects` reads.
    "exposure": 1.0,  # factor on the values
    "contrast": 1.0,  # factor on their distance from the middle
    "gamma": 1.0,  # power
    "blur": 0.0,  # share of a frame's time that the shutter is open: motion blur
    "noise": 0.0,  # standard deviation at middle grey, 0..255
    "jpeg": 0.0,  # quality, 1..100; 0 is no compression
    "dirt": 0.0,  # share of the lens that is dirty, 0..1
    "streaks": 0.0,  # rain drops in the air: how many and how bright, 0..1
    "occlusion": 0.0,  # share of the frame hidden by something on the lens, 0..1
}
"""The fields and what they are in the domain "clear"."""

FIELD = {name: number for number, name in enumerate(CLEAR)}
"""The column of each field in a tensor of looks."""

Look = wp.struct(type("Look", (), {"__annotations__": dict.fromkeys(CLEAR, wp.float32), "__module__": __name__}))
"""A row of looks as kernels see it."""


def clear_looks(worlds: int, device: str | torch.device = "cpu") -> torch.Tensor:
    """Return the look of the domain "clear", float32 `[N, F]`, columns as in `FIELD`."""
    row = torch.tensor(list(CLEAR.values()), dtype=torch.float32, device=device)
    return row.repeat(worlds, 1)


def look_array(looks: torch.Tensor) -> wp.array:
    """Return the view of a tensor of looks, contiguous float32 `[N, F]`, that kernels take: `Look` `[N]`."""
    assert looks.dtype == torch.float32 and looks.is_contiguous() and looks.shape[1] == len(FIELD)
    view = wp.array(ptr=looks.data_ptr(), dtype=Look, shape=(len(looks),), device=str(looks.device))
    view.kept_alive = looks  # the memory is torch's
    return view
