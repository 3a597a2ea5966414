"""Compares our GrayscaleObservation with the real highway-env's, pixel by pixel, and prints a Markdown table.

python scripts/grayscale_table.py --seeds 50                    # every id, to the end of its episodes
python scripts/grayscale_table.py --envs highway-fast-v0 --seeds 5 --steps 10
Exit code 1 if a row is beyond the limits of sim/evaluation/pictures.py, 2 for wrong input.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from tqdm import tqdm

from sim.command import command
from sim.config import require_known
from sim.evaluation.pictures import FAR_APART, MEAN_LIMIT, SHARE_LIMIT, VIEWS, Gap, compare_pictures, picture_config
from sim.provenance import provenance, usable_cores
from sim.scenarios import SCENARIOS
from sim.vector import usable_device


@dataclass(frozen=True)
class Arguments:
    """What to compare."""

    envs: tuple[str, ...] = tuple(SCENARIOS)
    """Environment ids."""
    views: tuple[str, ...] = tuple(VIEWS)
    """Observations: documented (128 x 64 pixels, 4 of them, 1.75 px/m), own scaling (160 x 120, 2, the id's)."""
    seeds: int = 50
    """Episodes of each id and view: the seeds are 0, 1, ..."""
    steps: int | None = None
    """Longest episode; without it until the end, 300 steps where there is none."""
    precision: str = "float64"
    """Of ours: float64 or float32."""
    processes: int = len(usable_cores())
    """Processes for the real highway-env; 0 plays it in this one."""
    device: str = "cpu"
    """Where ours runs: cpu, cuda or cuda:N."""
    markdown: Path | None = None
    """File for the table."""


def row(env_id: str, view: str, gap: Gap) -> str:
    """Returns a line of the table."""
    figures = f"{gap.frames:,} | {gap.exact / gap.frames:.2%} | {gap.mean:.4f} | {gap.share:.4%}"
    verdict = "yes" if gap.close else "NO" + ", other lengths" * bool(gap.unequal_lengths)
    return f"| {env_id} | {view} | {figures} | {verdict} |"


@command
def main(arguments: Arguments) -> int:
    """Compares and prints; returns the exit code."""
    a = arguments
    usable_device(a.device)
    require_known(a.views, VIEWS, "view")
    if a.seeds < 1 or a.processes < 0 or (a.steps is not None and a.steps < 0):
        raise ValueError("--seeds must be at least 1, --processes and --steps at least 0")
    if a.markdown and not a.markdown.absolute().parent.is_dir():
        raise FileNotFoundError(f"--markdown: the folder {a.markdown.absolute().parent} does not exist")
    cases = [(env_id, view) for env_id in a.envs for view in a.views]
    for case in cases:
        picture_config(*case)
    lines = [
        f"| id | view | observations | equal | mean difference of 255 | pixels more than {FAR_APART} apart | ok |",
        "|---|---|---|---|---|---|---|",
    ]
    with tqdm(total=len(cases) * a.seeds, unit="episode", disable=None) as bar:
        seeds = range(a.seeds)
        gaps = list(compare_pictures(cases, seeds, a.steps, a.processes, a.device, a.precision, bar.update))
    lines += [row(*case, gap) for case, gap in zip(cases, gaps, strict=True)]
    made = provenance()
    limits = f"limits: mean {MEAN_LIMIT:g} of 255, {SHARE_LIMIT:.0%} of the pixels"
    lines += [f"\n{a.seeds} episodes a row, random actions, ours in {a.precision}; {limits}."]
    lines += [
        f"`{made['command']}`, commit {made['commit']}, {made['date']}, highway-env {made['versions']['highway-env']}."
    ]
    print(text := "\n".join(lines))
    if a.markdown:
        a.markdown.write_text(text + "\n")
    return int(not all(gap.close for gap in gaps))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
