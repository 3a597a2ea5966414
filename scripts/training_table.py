"""Train a driver on every id with one agent, judge it in the real highway-env beside random and idle, print the table.

python scripts/training_table.py --out runs/table --jobs 2     # about 45 minutes on two cores; run again to go on

Each job has one core: training by the default settings of scripts/train.py, then scripts/evaluate.py.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from sim.command import command
from sim.scenarios import SCENARIOS

SCRIPTS = Path(__file__).parent
# Episodes are judged on seeds that training, which starts from 0, never reaches.
FIRST_SEED = 1_000_000
COLUMNS = {"return": (1, ".2f"), "crash_rate": (100, ".0f"), "success_rate": (100, ".0f")}


@dataclass(frozen=True)
class Arguments:
    """Train and judge a driver an id."""

    out: Path = Path("runs/table")
    """Folder of the runs; what is done there is not done again."""
    envs: tuple[str, ...] = tuple(name for name in SCENARIOS if "multi-agent" not in name)
    """Environment ids."""
    time_limit_s: float = 120.0
    """Wall time of each training."""
    episodes: int = 20
    """Episodes of each driver in highway-env."""
    jobs: int = 1
    """How many ids are worked on side by side."""


def work_off(name: str, arguments: Arguments) -> dict[str, dict]:
    """Trains and judges one id as far as that is not done; returns the evaluations by driver."""
    run = arguments.out / name
    if not (run / "done").exists():
        resume = ["--resume"] if (run / "checkpoint.json").exists() else []
        limit = ["--env", name, "--time-limit-s", str(arguments.time_limit_s), "--threads", "1"]
        call("train.py", "--out", str(run), *limit, *resume)
        (run / "done").touch()
    drivers = {"trained": [str(run)], "random": ["--driver", "random"], "idle": ["--driver", "idle"]}
    for driver, choice in drivers.items():
        path = run / f"{driver}.json"
        if not path.exists():
            seeds = ["--seed", str(FIRST_SEED), "--episodes", str(arguments.episodes)]
            where = ["--env", name, "--simulator", "highway-env", "--processes", "1", "--json", str(path)]
            call("evaluate.py", *choice, *seeds, *where)
    return {driver: json.loads((run / f"{driver}.json").read_text(encoding="utf-8")) for driver in drivers}


def call(script: str, *arguments: str) -> None:
    """Runs a script; ChildProcessError with its last line if it fails."""
    done = subprocess.run([sys.executable, str(SCRIPTS / script), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"{script} {' '.join(arguments)}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")


def row(name: str, results: dict[str, dict]) -> str:
    """A line of the table: return with its 95 % interval, crashes and successes [%] of each driver."""
    cells = [name]
    for result in results.values():
        figures = {key: result.get(key) for key in COLUMNS}
        shown = [
            f"{scale * figures[key]['value']:{form}}" if figures[key] else "-" for key, (scale, form) in COLUMNS.items()
        ]
        low, high = figures["return"]["ci95"]
        interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
        cells.append(f"{shown[0]}{interval} | {shown[1]} | {shown[2]}")
    return f"| {' | '.join(cells)} |"


@command
def main(arguments: Arguments) -> None:
    """Works off all ids and prints the table."""
    if arguments.jobs < 1:
        raise ValueError(f"--jobs is {arguments.jobs}; it must be at least 1")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(lambda name: work_off(name, arguments), arguments.envs)
        lines = [row(*pair) for pair in zip(arguments.envs, tqdm(results, total=len(arguments.envs)), strict=True)]
    heads = [f"{driver}: return | crashes [%] | successes [%]" for driver in ("trained", "random", "idle")]
    print(f"| id | {' | '.join(heads)} |", "|---" + "|--:" * 9 + "|", *lines, sep="\n")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
