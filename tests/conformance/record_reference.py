"""Plays episodes in the real highway-env and writes them to reference_episodes.npz (about two minutes).

    python tests/conformance/record_reference.py

highway-v0 is too slow to be played live in every test run, so its episodes are kept in this file. The actions are not
kept: they are the random ones of `sim.evaluation.action_styles`, of the episode's seed. Run it again only for a new
release of highway-env; the file says which release it was.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sim.evaluation.oracle import make_real, real_episode

FOLDER = Path(__file__).parent
FILE = FOLDER / "reference_episodes.npz"


def wanted() -> list[dict]:
    """Return the id, config and seed of each episode to record."""
    configs = json.loads((FOLDER / "configs.json").read_text())
    cases = [("highway-v0", None, seed) for seed in range(100, 110)]
    cases += [("highway-v0", config, seed) for config in configs for seed in range(200, 204)]
    cases += [("highway-fast-v0", None, seed) for seed in range(300, 320)]
    return [{"env_id": env_id, "config": config, "seed": seed} for env_id, config, seed in cases]


def main() -> None:
    """Play, write, and say what was written."""
    cases = wanted()
    arrays = {
        "cases": np.array(json.dumps(cases)),
        "highway_env": np.array(importlib.metadata.version("highway-env")),
    }
    steps = 0
    for number, case in enumerate(tqdm(cases, unit="episode", file=sys.stdout)):
        episode = real_episode(make_real(case["env_id"], case["config"]), case["seed"])
        steps += len(episode.rewards)
        arrays[f"{number}_observations"] = episode.observations[""].astype(np.float32)
        arrays[f"{number}_rewards"] = episode.rewards.astype(np.float64)
        arrays[f"{number}_terminated"] = episode.terminated
        arrays[f"{number}_truncated"] = episode.truncated
    np.savez_compressed(FILE, **arrays)
    print(f"{len(cases)} episodes, {steps} steps, {FILE.stat().st_size / 1000:.0f} kB: {FILE}")


if __name__ == "__main__":
    main()
