from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import contact_sheet
from scripts.contact_sheet import Arguments
from sim.scenarios import SCENARIOS
from sim.sensors import contact_sheets
from sim.sensors.looks.domains import DOMAINS


def test_sheets_and_their_page_are_written(tmp_path, capsys):
    contact_sheet.main(Arguments(tmp_path / "new", only=("ids", "cameras"), ids=("highway-fast-v0", "roundabout-v0")))
    page = (tmp_path / "new/contact.html").read_text(encoding="utf-8")
    assert "ids.png" in page and "cameras.png" in page and "domains.png" not in page
    with Image.open(tmp_path / "new/ids.png") as image:
        ids = np.array(image)
    assert ids.shape == (240 + 18, 2 * (320 + 4 + 240 + 4) - 4 + 2 * 4, 3)
    assert len(np.unique(ids.reshape(-1, 3), axis=0)) > 1000  # they show something
    assert "contact.html" in capsys.readouterr().out


def test_all_ids_domains_and_effects_are_on_the_sheets_and_the_readme_shows_pictures():
    assert Arguments().ids == tuple(SCENARIOS) and {*Arguments().only} == {*contact_sheets.SHEETS}
    tiles = contact_sheets.of_domains((32, 24))
    assert [title.removesuffix(" (held out)") for title, _ in tiles] == list(DOMAINS)
    assert sum("held out" in title for title, _ in tiles) == sum(one.held_out for one in DOMAINS.values())
    assert len({picture.tobytes() for _, picture in tiles}) == len(DOMAINS)
    picture = Path(__file__).parents[2] / "docs/sensors.png"
    with Image.open(picture) as image:
        assert picture.stat().st_size < 400e3 and image.size[0] > 800


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"only": ("domain",)}, "unknown sheet 'domain'; did you mean 'domains'"),
        ({"ids": ("highway-v9",)}, "unknown environment id 'highway-v9'; did you mean 'highway-v0'"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_written(wrong, message, tmp_path, capsys):
    assert contact_sheet.main(Arguments(tmp_path / "out", **wrong)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
