"""Reports of a suite, written by hand: the schema with nothing in it that a comparison does not read."""

import json

SPECS = {
    "distance": {"unit": "m", "better": "higher", "rate": False, "about": "driven"},
    "collision": {"unit": "", "better": "lower", "rate": True, "about": "any contact"},
    "success": {"unit": "", "better": "higher", "rate": True, "about": "reached its goal"},
    "lane_changes": {"unit": "", "better": "", "rate": False, "about": "how many"},
}


def record(case, metrics=None, error=None):
    """A case named GROUP/SEED; one with an error has no metrics."""
    group, seed = case.split("/")
    head = {"case": case, "group": group, "id": "highway-v0", "seed": int(seed)}
    return head | {"status": "error" if error else "ok", "error": error, "metrics": metrics or {}}


def report(cases, specs=SPECS, driver="idm", sha256="a" * 64, privileged=False):
    """A report of `cases`, the records."""
    errors = sum(case["status"] == "error" for case in cases)
    return {
        "schema": 1,
        "suite": {"name": "smoke", "version": 1, "sha256": sha256, "groups": [], "cases": len(cases)},
        "driver": {"name": driver, "sees": "features", "privileged": privileged, "weights_sha256": None},
        "n_planned": len(cases),
        "n_run": len(cases) - errors,
        "n_error": errors,
        "metrics": {name: {**spec, "value": None, "ci95": [None, None]} for name, spec in specs.items()},
        "cases": cases,
    }


def collisions(outcomes, group="g", **more):
    """A report with nothing but collisions, 0 or 1 a case; a text is the message of an error."""
    cases = [
        record(f"{group}/{seed}", error=value)
        if isinstance(value, str)
        else record(f"{group}/{seed}", {"collision": value})
        for seed, value in enumerate(outcomes)
    ]
    return report(cases, {"collision": SPECS["collision"]}, **more)


def write(folder, content):
    """Writes a report into `folder`, as evaluate.py does; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(content))
    return folder
