import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.sim.sensors.pictures import spoiled


def picture(height=96, width=128, seed=0):
    """Smooth areas, edges, lines and saturated colours, uint8 [3, height, width]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = 128 + 90 * np.sin(x / 17 + np.array([0, 1, 2])[:, None, None]) * np.cos(y / 23)
    for _ in range(12):
        top, left = random.integers(0, height - 4), random.integers(0, width - 4)
        image[:, top : top + random.integers(2, 30), left : left + random.integers(2, 30)] = random.integers(
            0, 256, (3, 1, 1)
        )
    return torch.from_numpy(np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8))


def as_pillow(image, quality):
    """What libjpeg makes of an image [3, H, W]."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "jpeg", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def difference(one, other):
    return float((one.int() - other.int()).abs().float().mean())


@pytest.mark.parametrize("quality", [5, 25, 50, 75, 95])
@pytest.mark.parametrize("size", [(96, 128), (90, 121), (88, 8), (8, 121)])
def test_pictures_are_spoiled_as_libjpeg_spoils_them(quality, size):
    image = picture()[:, : size[0], : size[1]]
    ours = spoiled(image, {"jpeg": quality}, ["jpeg"])[0, 0]
    theirs = as_pillow(image, quality)
    assert difference(ours, theirs) < 0.6  # libjpeg rounds in between, too
    assert difference(ours, theirs) < 0.4 * difference(theirs, image)


def test_a_grey_block_keeps_its_level_and_quality_0_changes_nothing():
    flat = torch.full((3, 32, 32), 77, dtype=torch.uint8)
    assert torch.equal(spoiled(flat, {"jpeg": 60}, ["jpeg"])[0, 0], as_pillow(flat, 60))
    assert torch.equal(spoiled(picture(), {"jpeg": 0}, ["jpeg"])[0, 0], picture())


def test_each_world_has_its_own_quality_and_each_camera_its_own_picture():
    out = spoiled(picture(), {"jpeg": [0, 20, 90]}, ["jpeg"], episodes=(1, 2, 3), cameras=2, threads=2)
    for world, quality in enumerate((0, 20, 90)):
        alone = spoiled(picture(), {"jpeg": quality}, ["jpeg"])[0, 0]
        assert torch.equal(out[world, 0], alone) and torch.equal(out[world, 1], alone)
