"""Draws everything that the cameras can show: every id, camera, domain, label and effect, and the README's picture.

python scripts/contact_sheet.py --out runs/contact          # then look at runs/contact/contact.html
python scripts/contact_sheet.py --out runs/contact --only domains --readme docs/sensors.png
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from tqdm import tqdm

from sim.command import command
from sim.config import require_known
from sim.scenarios import SCENARIOS
from sim.sensors.contact_sheets import SHEETS, for_readme, write_index


@dataclass(frozen=True)
class Arguments:
    """Pictures of all that the sensors show."""

    out: Path = Path("runs/contact")
    """Folder of the sheets; sheets that are there are replaced."""
    only: tuple[str, ...] = tuple(SHEETS)
    """The sheets wanted."""
    ids: tuple[str, ...] = tuple(SCENARIOS)
    """The ids of the sheet of ids."""
    readme: Path | None = None
    """Write the README's picture to this file, too."""


@command
def main(arguments: Arguments) -> None:
    """Draws and writes the sheets."""
    require_known(arguments.only, SHEETS, "sheet")
    require_known(arguments.ids, SCENARIOS, "environment id")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in tqdm(arguments.only, unit="sheet", disable=None):
        SHEETS[name](arguments.ids).save(arguments.out / f"{name}.png")
    print(write_index(arguments.out, arguments.only))
    if arguments.readme is not None:
        for_readme().save(arguments.readme, optimize=True)
        print(f"{arguments.readme}: {arguments.readme.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
