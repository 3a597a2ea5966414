"""Draw a picture of the family: a scene of each kind of road, labelled.

python scripts/family_picture.py docs/family.png
"""

import sys
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image, ImageDraw, ImageFont

from sim.command import command
from sim.evaluation.driver import idle_action
from sim.recording import make_envs
from sim.render import PANEL, TEXT, Renderer

SEED, COLUMNS, WIDTH, HEIGHT, LABEL, GAP = 3, 3, 400, 190, 24, 6  # tiles in px
SCENES = {  # id: policy steps, px/m, where in the tile the first ego stands
    "highway-v0": (4, 5.5, (0.3, 0.55)),
    "exit-v0": (3, 5.5, (0.3, 0.2)),
    "merge-v0": (5, 5.5, (0.3, 0.45)),
    "two-way-v0": (3, 5.5, (0.3, 0.5)),
    "intersection-multi-agent-v0": (3, 4.4, (0.5, 0.75)),
    "roundabout-v0": (2, 2.4, (0.5, 0.8)),
    "roundabout-generic-v0": (4, 2.4, (0.6, 0.7)),
    "u-turn-v0": (2, 2.4, (0.16, 0.72)),
    "lane-keeping-v0": (12, 4.4, (0.4, 0.5)),
    "parking-parked-v0": (0, 4.2, (0.5, 0.5)),
    "racetrack-v0": (5, 2.4, (0.6, 0.7)),
    "racetrack-oval-v0": (5, 2.0, (0.5, 0.75)),
}


def tile(id: str, steps: int, scaling: float, centering: tuple[float, float]) -> np.ndarray:
    """Returns the picture, [HEIGHT, WIDTH, 3], of a scene whose egos have idled for some steps."""
    envs = make_envs(id, None, "float64")
    envs.reset(seed=SEED)
    idle = torch.as_tensor(idle_action(envs.single_action_space, envs.config))[None]
    for _ in range(steps):
        envs.step(idle)
    return Renderer(envs.network, WIDTH, HEIGHT, scaling, centering).draw(envs.world)


@command
def main(out: tyro.conf.Positional[Path] = Path("docs/family.png")) -> None:
    """Writes the picture to a file, `out`."""
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {out.absolute().parent} does not exist")
    size = (COLUMNS * (WIDTH + GAP) - GAP, len(SCENES) // COLUMNS * (HEIGHT + LABEL + GAP) - GAP)
    sheet, font = Image.new("RGB", size, "white"), ImageFont.load_default(15)
    pen = ImageDraw.Draw(sheet)
    for number, (id, view) in enumerate(SCENES.items()):
        left, top = number % COLUMNS * (WIDTH + GAP), number // COLUMNS * (HEIGHT + LABEL + GAP)
        sheet.paste(Image.fromarray(tile(id, *view)), (left, top + LABEL))
        pen.rectangle((left, top, left + WIDTH - 1, top + LABEL - 1), PANEL[:3])
        pen.text((left + 8, top + LABEL // 2), id, TEXT, font, anchor="lm")
    sheet.quantize(128).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(tyro.cli(main))
