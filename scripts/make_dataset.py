"""Write labelled pictures (COCO) and clips (MOT17) from the simulator, split by scenario seed and domain.

python scripts/make_dataset.py --out runs/data --frames 2000 --clips 20 --masks --depth
python scripts/make_dataset.py --out runs/data --verify
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro

import sim
from agents.drivers import choose_driver
from perception.data.dataset import DatasetWriter
from perception.data.dataset_settings import DatasetSettings
from perception.data.driving import MixedDriver, Source
from perception.data.manifest import verify
from perception.data.splits import SPLITS
from perception.data.stream import DEFAULT_SOURCES
from sim.command import command
from sim.sensors.camera.cameras import preset


@dataclass(frozen=True)
class Arguments:
    """Write a data set, or go on with one that was stopped."""

    out: Path
    """Its folder: new or empty, or of the same data set."""
    frames: int = 1000
    """Pictures of all splits together."""
    clips: int = 0
    """Clips of all splits together."""
    clip_length: int = 100
    """Pictures of a clip; fewer where its episode ends."""
    fps: float = 5.0
    """Pictures a second in clips."""
    env: tuple[str, ...] = ()
    """ID, or ID:KEY=VALUE,KEY=VALUE such as highway-v0:vehicles_density=2. Ten by default."""
    domain: tuple[str, ...] = ()
    """Domains; those held out go to the test split alone. All by default."""
    camera: str = "front"
    """Mounting: front, wide, rear, left, right, far or surround."""
    width: int = 320
    height: int = 192
    split: tuple[str, ...] = SPLITS
    depth: bool = False
    """Write depth: PNG of 16 bits, centimetres, 0 where the sky is."""
    semantic: bool = False
    """Write a class for each pixel."""
    masks: bool = False
    """Write a mask for each object."""
    driver: tuple[str, ...] = ("random", "idle", "idm")
    """Named as for scripts/evaluate.py; the scenario seed decides among several."""
    clip_driver: tuple[str, ...] = ("idle", "idm")
    seed: int = 0
    """Data sets of different seeds share no scenario."""
    scenario: Path | None = None
    """Python file that registers environments with sim.register."""
    threads: int | None = None
    """CPU threads that render; one a core if left out."""
    verify: bool = False
    """Only check the files of --out against its manifest."""


@command
def main(arguments: Arguments) -> int:
    """Writes or verifies the data set and returns the exit code."""
    if arguments.verify:
        problems = verify(arguments.out)
        print("\n".join([*problems[:20], f"{arguments.out}: {len(problems) or 'no'} problems"]))
        return 1 if problems else 0
    if arguments.scenario:
        sim.load_scenarios(arguments.scenario)
    names = (arguments.driver, arguments.clip_driver)
    drivers = [partial(MixedDriver, [choose_driver(name=name).build for name in some]) for some in names]
    settings = DatasetSettings(
        splits=arguments.split,
        sources=tuple(map(Source.parse, arguments.env)) or DEFAULT_SOURCES,
        domains=arguments.domain or None,
        cameras=tuple(preset(arguments.camera, width=arguments.width, height=arguments.height)),
        drivers=names,
        **{key: value for key, value in vars(arguments).items() if key in DatasetSettings.__dataclass_fields__},
    )
    print(settings.about(), file=sys.stderr)
    writer = DatasetWriter(arguments.out, settings, tuple(drivers), arguments.threads)
    splits = writer.write(sys.stderr.isatty())["splits"]
    counts = [f"{name} {one['images']} frames and {len(one['clips'])} clips" for name, one in splits.items()]
    print(f"{arguments.out}: {', '.join(counts)}")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments)))
