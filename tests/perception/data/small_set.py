"""What the small data set of these tests holds."""

from perception.data.dataset_settings import DatasetSettings
from perception.data.driving import Source
from sim.sensors.camera.cameras import Camera

SETTINGS = DatasetSettings(
    frames=20,
    clips=6,
    clip_length=4,
    splits=("train", "test"),
    sources=(Source("highway-fast-v0", {"vehicles_density": 2}), Source("roundabout-v0")),
    cameras=(Camera(width=96, height=64),),
    masks=True,
    depth=True,
    semantic=True,
    frames_per_seed=3,
    batch_size=4,
)
