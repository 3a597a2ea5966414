import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from perception.classification.signs import BACKGROUNDS, SIGNS, SPLITS, SignClasses, render_split, sign_artwork
from tests.perception.classification.artwork import install


@pytest.fixture
def artwork(tmp_path, monkeypatch):
    folder = install(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return folder


@pytest.fixture
def classes(artwork):
    return SignClasses.from_package()


def test_there_are_43_different_classes(classes):
    assert len(SIGNS) == len(set(SIGNS.values())) == len(classes.names) == 43
    assert classes.artwork.shape == (43, 96, 96, 4)
    limits = classes.artwork[:8]  # one blank sign, different figures
    assert all((limits[i] != limits[j]).any() for i in range(8) for j in range(i))


def test_a_picture_depends_on_its_split_and_number_alone(classes):
    images, labels = render_split(classes, "train", 50)
    assert images.shape == (50, 3, 32, 32)
    assert labels.tolist() == [*range(43), *range(7)]
    again, _ = render_split(classes, "train", 20)
    assert np.array_equal(images[:20], again)
    assert len({one.tobytes() for one in images}) == 50
    seen, _ = render_split(classes, "seen", 20)
    assert not (seen == again).all(axis=(1, 2, 3)).any()


def test_the_held_out_domain_shares_no_background_and_is_darker(classes):
    day, hard = SPLITS["train"][1], SPLITS["held-out"][1]
    assert SPLITS["seen"][1] == day
    assert not set(day.backgrounds) & set(hard.backgrounds)
    assert set(day.backgrounds) | set(hard.backgrounds) == set(BACKGROUNDS)
    brightness = [render_split(classes, split, 86)[0].mean() for split in ("seen", "held-out")]
    assert brightness[1] < 0.7 * brightness[0]


def test_the_sign_fills_the_middle_and_leaves_the_corners():
    magenta = np.tile(np.array([255, 0, 255, 255], np.uint8), (1, 96, 96, 1))  # no background is so
    for split in SPLITS:
        images, labels = render_split(SignClasses(magenta, ("square",)), split, 40, size=48)
        assert images.shape == (40, 3, 48, 48)
        assert labels.tolist() == [0] * 40
        purple = np.minimum(images[:, 0], images[:, 2]).astype(int) - images[:, 1]
        assert (purple[:, 20:28, 20:28].mean((1, 2)) > purple[:, :3, :3].mean((1, 2)) + 20).mean() > 0.9
        share = (purple > 30).mean()
        assert 0.15 < share < 0.75


def test_white_corners_are_paper_and_not_sign(tmp_path):
    paper = Image.new("RGB", (100, 100), "white")
    ImageDraw.Draw(paper).ellipse((1, 1, 99, 99), fill="white", outline="red", width=10)
    paper.save(tmp_path / "disc.png")
    sign = sign_artwork(tmp_path / "disc.png")
    assert sign[2, 2, 3] == 0
    assert sign[48, 48].tolist() == [255, 255, 255, 255]


def test_broken_artwork_is_named(artwork):
    path = artwork / "206.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"206\.png is not a whole picture"):
        SignClasses.from_package()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no .*206\.png"):
        SignClasses.from_package()


def test_an_unknown_split_is_refused(classes):
    with pytest.raises(ValueError, match="must be one of train, seen, held-out"):
        render_split(classes, "test", 1)
