"""A made-up report.json of any size, with errors, nulls and names that would break a page that forgets to escape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sim.evaluation.comparison import compare
from sim.evaluation.comparison_table import as_dict
from sim.evaluation.player import pack
from sim.evaluation.report_files import load_report
from sim.evaluation.worst_cases import gallery
from tests.sim.evaluation.metrics.hand_made import Car, cruise, episodes

NASTY = "<script>window.pwned = 1</script> & \"PPO\" '\u2028' </script><!-- {{ 7 * 7 }}"
NASTY_ERROR = "ValueError: <img src=x onerror='window.pwned = 1'> ]]> \x00 NaN & more"
NASTY_GROUP = 'dense "&" <b>bold</b> </script>'

FRAMES, CONTACT = 60, 40

# name -> (unit, better, rate, about)
SPECS: dict[str, tuple[str, str, bool, str]] = {
    "collision": ("", "lower", True, "the ego touches something"),
    "at_fault_collision": ("", "lower", True, "a collision that is the ego's fault by nuPlan's classes"),
    "off_road": ("", "lower", True, "a corner of the ego is more than 0.3 m off every lane"),
    "success": ("", "higher", True, "the goal of the scenario is reached"),
    "return": ("", "higher", False, "sum of the rewards"),
    "delta_v": ("m/s", "lower", False, "change of the ego's velocity in its first collision"),
    "min_ttc": ("s", "higher", False, "smallest time to collision with the leader"),
    "min_ttc_2d": ("s", "higher", False, "smallest time until two boxes at constant velocity overlap"),
    "tet": ("s", "lower", False, "time with a TTC below 1.5 s"),
    "min_thw": ("s", "higher", False, "smallest time headway"),
    "max_drac": ("m/s2", "lower", False, "largest deceleration needed to avoid a crash"),
    "min_pet": ("s", "higher", False, "smallest post-encroachment time"),
    "min_gap": ("m", "higher", False, "smallest gap to anything"),
    "rss_dense_traffic": ("", "lower", False, "share of time at a dangerous RSS distance"),
    "speed": ("m/s", "higher", False, "mean speed"),
    "distance": ("m", "higher", False, "distance driven"),
    "lane_changes_per_km": ("1/km", "", False, "lane changes"),
    "rms_jerk": ("m/s3", "lower", False, "root mean square of the longitudinal jerk"),
    "nuplan16": ("", "higher", False, "nuPlan's closed-loop score"),
    "carla21": ("", "higher", False, "CARLA leaderboard 2.1's driving score"),
    "never_valid": ("s", "lower", False, "a metric that says nothing of any case"),
}
GROUPS = {
    "highway-fast": ("highway-fast-v0", {}),
    NASTY_GROUP: ("highway-v0", {"vehicles_count": 80, "comment": "</script><script>window.pwned = 1</script>"}),
    "merge": ("merge-v0", {"duration": 40}),
    "intersection": ("intersection-v1", {"spawn_probability": 0.6, "initial_vehicle_count": 12}),
    "roundabout": ("roundabout-v0", {}),
    "parking": ("parking-v0", {}),
    "racetrack-oval-with-a-long-name": ("racetrack-oval-v0", {}),
}


def fake_report(cases: int = 420, seed: int = 0) -> dict[str, Any]:
    """Returns a report of `cases` cases in seven groups, about one in eighty of them an error."""
    random = np.random.default_rng(seed)
    names = list(GROUPS)
    made = [_case(random, names[k % len(names)], 1000 + k // len(names)) for k in range(cases)]
    groups = []
    for name, (env, config) in GROUPS.items():
        own = [case for case in made if case["group"] == name]
        groups.append({"name": name, "id": env, "config": config, **_counts(own), "metrics": _estimates(own)})
    about = ("unit", "better", "rate", "about")
    metrics = {name: dict(zip(about, SPECS[name], strict=True)) | one for name, one in _estimates(made).items()}
    return {
        "schema": 1,
        "suite": {
            "name": "highway-core",
            "version": "1.0",
            "sha256": "5c" * 32,
            "stress": False,
            "groups": names,
            "cases": cases,
        },
        "driver": {"name": NASTY, "sees": "features", "privileged": False, "weights_sha256": "a1" * 32},
        **_counts(made),
        "metrics": metrics,
        "groups": groups,
        "cases": made,
        "scores": {name: _estimates(made)[name] for name in ("nuplan16", "carla21")},
        "certificate": {"episodes": 84, "batch_size": 7, "equal": 84, "first_difference": None},
        "robustness": _robustness(random),
        "run": {
            "command": "python scripts/evaluate.py runs/ppo --suite highway-core --out runs/judged --junit gate.xml",
            "commit": "0123456789ab",
            "dirty": True,
            "machine": {"cpu": "Intel Xeon (cpu family 6 model 143)", "cores": 2, "load_average": 1.4, "gpu": None},
            "versions": {"slipstream": "0.1.0", "torch": "2.14.1", "warp-lang": "1.19.0", "highway-env": None},
            "started": "2026-11-22T04:25:00+00:00",
            "seconds": 182.4,
            "decision_latency_ms": {"p50": 0.0123, "p95": 0.0301, "p99": 0.0527},
            "batch_size": 512,
        },
    }


def _case(random: np.random.Generator, group: str, seed: int) -> dict[str, Any]:
    head = {"case": f"{group}/{seed}", "group": group, "id": GROUPS[group][0], "seed": seed}
    if random.random() < 1 / 80:
        nothing = {"steps": 0, "contact_frame": None, "metrics": {}, "frames": {}, "others": {}, "trace": None}
        return head | {"status": "error", "error": NASTY_ERROR} | nothing
    crashed = random.random() < 0.08
    fault = crashed and random.random() < 0.7
    steps = int(random.integers(20, 150))
    metrics: dict[str, float | None] = dict.fromkeys(SPECS)
    metrics |= {"collision": float(crashed), "at_fault_collision": float(fault), "off_road": 0.0}
    metrics |= {"return": round(random.normal(24, 4) * (0.4 if crashed else 1), 4), "speed": random.normal(23, 2)}
    metrics |= {"min_ttc_2d": min(random.gamma(3, 1.2), 10.0), "min_thw": random.gamma(4, 0.3)}
    metrics |= {"max_drac": random.gamma(1.2, 1.5), "min_gap": random.gamma(2, 4), "tet": random.gamma(0.4, 0.7)}
    metrics |= {"distance": random.normal(700, 60), "lane_changes_per_km": random.gamma(2, 1.5)}
    metrics |= {"rms_jerk": random.gamma(3, 0.4), "rss_dense_traffic": random.beta(1, 9)}
    metrics |= {"nuplan16": 0.0 if fault else random.beta(9, 2), "carla21": random.beta(5, 2)}
    metrics["min_ttc"] = metrics["min_ttc_2d"] if random.random() < 0.7 else None
    metrics["min_pet"] = random.gamma(2, 1.0) if GROUPS[group][0] == "intersection-v1" else None
    metrics["success"] = float(random.random() < 0.8) if group in ("parking", "intersection") else None
    metrics["delta_v"] = random.gamma(2, 2.5) if crashed else None
    metrics = {name: None if value is None else float(f"{value:.9g}") for name, value in metrics.items()}
    frames = {"min_ttc_2d": int(random.integers(0, steps)), "max_drac": int(random.integers(0, steps))}
    others = {"min_ttc_2d": int(random.integers(1, 20))} | ({"collision": 1} if crashed else {})
    body = {"status": "ok", "error": None, "steps": steps, "contact_frame": steps if crashed else None}
    return head | body | {"metrics": metrics, "frames": frames, "others": others, "trace": ["traces/x-0-0.npz", seed]}


def _counts(cases: list[dict]) -> dict[str, int]:
    errors = sum(case["status"] == "error" for case in cases)
    return {"n_planned": len(cases), "n_run": len(cases) - errors, "n_error": errors}


def _estimates(cases: list[dict]) -> dict[str, dict]:
    """Means with an interval of some width: what it is worth is the statistics' own test."""
    found = {}
    ran = [case for case in cases if case["status"] == "ok"]
    for name, (*_, rate, _) in SPECS.items():
        values = np.array([case["metrics"][name] for case in ran if case["metrics"][name] is not None])
        n = len(values)
        value, ends = None, [None, None]
        if n:
            value = float(values.mean())
            reach = 1.96 * float(values.std() + 0.05) / n**0.5
            ends = [max(value - reach, 0.0) if rate else value - reach, value + reach]
        found[name] = {"value": value, "ci95": ends, "n": n, "n_invalid": len(ran) - n, "rate": rate}
    return found


def _robustness(random: np.random.Generator) -> dict[str, Any]:
    faults = {
        "position_noise": [0, 0.25, 0.5, 1, 2],
        "action_latency": [0, 1, 2, 3, 4, 5],
        "missed_objects": [0, 0.1, 0.3],
    }
    found = {}
    for number, (fault, severities) in enumerate(faults.items()):
        metrics: dict[str, list] = {"collision": [], "return": []}
        for k in range(len(severities)):
            for name, points in metrics.items():
                base, slope = (0.05, 0.03) if name == "collision" else (24.0, -1.2)
                difference = slope * k + float(random.normal(0, abs(slope) / 5)) if k else 0.0
                reach = abs(slope) * 0.8
                ends = [difference - reach, difference + reach] if k else [None, None]
                value = base + difference
                point = {"value": value, "ci95": [max(value - reach, 0.0), value + reach]}
                points.append(point | {"difference": difference, "difference_ci95": ends})
        critical = severities[2] if number != 1 else None
        counts = {"n_planned": [9] * len(severities), "n_run": [9] * len(severities), "n_error": [0] * len(severities)}
        rest = {"unit": "m", "area": dict.fromkeys(metrics, 0.1), "critical_severity": critical}
        found[fault] = {"severities": severities, "metrics": metrics, **counts, **rest}
    return found


def with_films(report: dict[str, Any], count: int = 3) -> list[dict[str, Any]]:
    """The report's worst cases, each with a replay: the ego runs into a slower vehicle at frame `CONTACT`."""
    films = []
    for place, case in enumerate(gallery(report["cases"], count)):
        t = np.arange(FRAMES) * 0.1
        ego = cruise(500.0, 0.0, 20.0, frames=FRAMES).crashing(CONTACT)
        other = Car(515.0 + 17.5 * t + place, 0.0, speed=17.5, number=1).crashing(CONTACT)
        case["contact_frame"] = CONTACT
        case["frames"] = {"min_ttc_2d": CONTACT - 1, "max_drac": 12}
        case["others"] = {"collision": 1, "min_ttc_2d": 1}
        films.append(pack(episodes([ego, other, cruise(530.0, 8.0, 17.0, frames=FRAMES)]), 0, case))
    return films


def fake_comparison(folder: Path, cases: int) -> dict[str, Any]:
    """The comparison of two made-up drivers, by the program itself."""
    paths = []
    for seed in range(2):
        path = folder / f"{seed}.json"
        path.write_text(json.dumps(fake_report(cases, seed)))
        paths.append(path)
    return as_dict(compare(*([load_report(path)] for path in paths)))
