"""An installed package that carries sign artwork, made of nothing but files."""

from pathlib import Path

from PIL import Image, ImageDraw

from perception.classification.signs import FOLDER, SIGNS


def install(site: Path) -> Path:
    """Write a package `commonroad-io` with a disc for each sign into a folder; return the artwork's folder."""
    folder = site / FOLDER
    folder.mkdir(parents=True)
    about = site / "commonroad_io-2026.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: commonroad-io\nVersion: 2026.1\n", encoding="utf-8")
    for i, number in enumerate(sorted({one.partition(":")[0] for one in SIGNS.values()})):
        sign = Image.new("RGBA", (120, 120), (0, 0, 0, 0))
        ImageDraw.Draw(sign).ellipse((2, 2, 118, 118), fill=(250, 250 - 6 * i, 6 * i, 255))
        sign.save(folder / f"{number}.png")
    return folder
