"""A small evaluation folder, as scripts/evaluate.py --suite leaves it."""

import json

from sim.evaluation.driver import RandomDriver
from sim.recording import Traces, make_envs, record_episode

SUITE = {"name": "tiny", "sha256": "5a" * 32}
SHORT = {"vehicles_count": 5, "duration": 6}


def record(id, config, seeds, driver=None, name="random", full=(), precision="float32", device="cpu"):
    """The episodes of these seeds, each driven alone; those in `full` with their states."""
    envs = make_envs(id, config, precision, device)
    driver = driver or RandomDriver(device=envs.device)
    return Traces.of([record_episode(driver, envs, seed, name, seed in full) for seed in seeds])


def write_folder(path, groups):
    """Writes `groups`, {name: (Traces, metrics of each case)}; returns the path."""
    from dataclasses import replace

    (path / "traces").mkdir(parents=True)
    cases = []
    for group, (traces, metrics) in groups.items():
        file = f"traces/{group}-0-0.npz"
        replace(traces, origin=replace(traces.origin, suite=SUITE, group=group)).save(path / file)
        for index, seed in enumerate(map(int, traces.seeds)):
            figures = metrics[index]
            head = {"case": f"{group}/{seed}", "group": group, "id": traces.origin.id, "seed": seed}
            outcome = {"status": "ok", "error": None, "steps": int(traces.steps[index]), "contact_frame": None}
            found = {"metrics": figures, "frames": {"min_ttc": 10}, "others": {}, "trace": [file, index]}
            cases.append(head | outcome | found)
    cases.append(
        cases[0] | {"case": "fast/99", "status": "error", "error": "ValueError: NaN", "trace": None, "metrics": {}}
    )
    report = {"schema": 1, "suite": SUITE | {"version": 1}, "cases": cases}
    (path / "report.json").write_text(json.dumps(report))
    return path
