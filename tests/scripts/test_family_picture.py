import numpy as np
from PIL import Image

from scripts import family_picture
from sim import render
from sim.scenarios import SCENARIOS


def test_a_sheet_of_labelled_scenes(tmp_path, monkeypatch):
    assert set(family_picture.SCENES) <= set(SCENARIOS)
    two = ("highway-v0", "roundabout-v0")
    monkeypatch.setattr(family_picture, "SCENES", {id: family_picture.SCENES[id] for id in two})
    monkeypatch.setattr(family_picture, "COLUMNS", 2)
    family_picture.main(tmp_path / "x.png")
    image = np.array(Image.open(tmp_path / "x.png").convert("RGB")).astype(int)
    assert image.shape == (190 + 24, 2 * 400 + 6, 3)
    for left in (0, 406):
        label, scene = image[:24, left : left + 400], image[24:, left : left + 400]
        assert 0 < (label.min(axis=2) > 150).mean() < 0.3
        for colour in (render.GRASS, render.ASPHALT, render.EGO):
            assert (np.abs(scene - colour).max(axis=2) < 20).any()
