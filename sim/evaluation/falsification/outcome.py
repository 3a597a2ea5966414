"""What a search amounts to: rates beside those of random seeds, failures that hold, made small, sorted and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.evaluation.driver import Driver
from sim.evaluation.falsification.check import avoiding_plans, confirmed, repeated
from sim.evaluation.falsification.cluster import Cluster, clusters, describe, spread
from sim.evaluation.falsification.estimate import FailureProbability, failure_probability, failure_proposal
from sim.evaluation.falsification.ground import Cases, ProvingGround
from sim.evaluation.falsification.margin import FEATURES, SIDES
from sim.evaluation.falsification.scene import Edit, EditedEnvs
from sim.evaluation.falsification.search import BASELINE, ESTIMATE, HIGHEST_SEED, SCHEMA, Failures
from sim.evaluation.falsification.shrink import shrink
from sim.evaluation.falsification.space import Space
from sim.evaluation.report_files import write_text
from sim.evaluation.statistics.intervals import Estimate, garwood_interval
from sim.recording import DivergenceError, Trace, camera, frame_rate, make_envs, pictures, record_episode, replay
from sim.video import check_video_path, write_video
from sim.world import Kind

FAILURES = "failures.json"
HOUR = 3600.0  # s


@dataclass(frozen=True)
class Rate:
    """Failures and the time it took to see them.

    Attributes:
        episodes, failures: how many. seconds: simulated with the driver. dropped: failures that did not happen again.
        excused: contacts that count for nothing.
    """

    episodes: int
    failures: int
    seconds: float
    dropped: int
    excused: int

    @property
    def per_hour(self) -> Estimate:
        """Failures per simulated hour, with Garwood's interval."""
        return garwood_interval(self.failures, self.seconds / HOUR)


def nominal_rate(ground: ProvingGround, episodes: int, seed: int) -> Rate:
    """Drives random seeds of the scenario as it is and returns the failures among them, judged as a search's are."""
    seeds = np.random.default_rng([seed, BASELINE]).integers(HIGHEST_SEED, size=episodes).tolist()
    cases = Cases([{}] * episodes, seeds, np.zeros((episodes, 0, 4)))
    before = ground.simulated
    outcomes = ground.run(cases)
    seconds = ground.simulated - before
    cases = outcomes.explicit(cases)
    outcomes = confirmed(ground, cases, outcomes)
    rows = np.flatnonzero(outcomes.failed)
    again = _repeats(ground, cases.pick(rows), outcomes.time[rows])
    return Rate(episodes, int(again.sum()), seconds, int((~again).sum()), int(outcomes.excused.sum()))


def held(ground: ProvingGround, found: Failures) -> tuple[Failures, Rate]:
    """Returns the failures that happen again in another batch, and their rate."""
    again = _repeats(ground, found.cases, found.times)
    rows = np.flatnonzero(again)
    kept = replace(
        found, cases=found.cases.pick(rows), points=found.points[rows], log_proposal=found.log_proposal[rows],
        times=found.times[rows], features=found.features[rows],
    )  # fmt: skip
    return kept, Rate(found.episodes, len(rows), found.seconds, len(found) - len(rows), found.excused)


def _repeats(ground: ProvingGround, cases: Cases, times: np.ndarray) -> np.ndarray:
    return repeated(ground, cases, times) if len(cases) else np.zeros(0, dtype=bool)


def estimated(ground: ProvingGround, space: Space, found: Failures, episodes: int, seed: int) -> FailureProbability:
    """Returns how likely a failure is under the space's nominal distribution, from fresh episodes."""
    random = np.random.default_rng([seed, ESTIMATE])
    mixture = failure_proposal(found.points, found.log_proposal)
    points = mixture.draw(episodes, space.size, random)
    cases = Cases(space.configs(points), random.integers(HIGHEST_SEED, size=episodes).tolist(), space.edits(points))
    outcomes = ground.run(cases)
    outcomes = confirmed(ground, outcomes.explicit(cases), outcomes)
    return failure_probability(mixture.weights(points), outcomes.failed, mixture.nominal_share)


@dataclass(frozen=True)
class Small:
    """Failures that were made small; M of them.

    Attributes:
        cases: the scenes. times, features: of the contacts. avoided_by: the plan that avoids each. vehicles: how many
            others are left in each. rows: which of the failures they were.
    """

    cases: Cases
    times: np.ndarray
    features: np.ndarray
    avoided_by: list[Any]
    vehicles: list[int]
    rows: np.ndarray


def made_small(ground: ProvingGround, found: Failures, count: int) -> Small:
    """Returns at most `count` failures of all kinds, shrunk; one whose small form no plan avoids stays as it was."""
    rows = spread(found.features, count)
    whole = found.cases.pick(rows)
    seen = ground.run(whole)
    cases = shrink(ground, whole, seen)
    after = confirmed(ground, cases, ground.run(cases))
    for place in np.flatnonzero(~after.failed):
        for name in ("configs", "removed"):
            getattr(cases, name)[place] = getattr(whole, name)[place]
        cases.edits[place], cases.slots[place] = whole.edits[place], whole.slots[place]
    after = ground.run(cases)
    cases = after.explicit(cases)  # without the changes that could not be made
    plans = avoiding_plans(ground, cases, after.time)
    rows_kept = np.flatnonzero(after.failed & np.array([plan is not None for plan in plans], dtype=bool))
    vehicles = (after.traffic.sum(1) - [len(gone) for gone in cases.removed]).tolist()
    return Small(
        cases.pick(rows_kept), after.time[rows_kept], after.features[rows_kept],
        [plans[row] for row in rows_kept], [vehicles[row] for row in rows_kept], rows[rows_kept],
    )  # fmt: skip


def write(
    folder: Path, ground: ProvingGround, name: str, small: Small, summary: dict[str, Any], say: Callable[[], Any]
) -> tuple[int, list[Cluster]]:
    """Writes failures.json and a trace of each failure that its replay confirms.

    Args:
        folder: where.
        ground: where they were found.
        name: the driver's.
        small: the failures.
        summary: what else to write.
        say: called after each.

    Returns how many did not replay and were dropped, and the clusters of the others.
    """
    (folder / "traces").mkdir(parents=True, exist_ok=True)
    kept = []
    for row in range(len(small.cases)):
        trace = recorded(ground, small.cases, row, name)
        if trace is not None and _replays(ground, small.cases, row, trace, small.times[row]):
            trace.save(folder / "traces" / f"{len(kept):04d}.npz")
            kept.append(row)
        say()
    kinds = clusters(small.features[kept])
    of = {int(member): number for number, kind in enumerate(kinds) for member in kind.members}
    cases = [_as_dict(ground, small, row, place, of[place]) for place, row in enumerate(kept)]
    head = {"schema": SCHEMA, "id": ground.id, "precision": ground.precision, **summary}
    head["clusters"] = [
        {"about": kind.about, "cases": [f"{int(member):04d}" for member in kind.members]} for kind in kinds
    ]
    text = json.dumps(head | {"cases": cases}, indent=1, allow_nan=False) + "\n"
    write_text(folder / FAILURES, text)
    return len(small.cases) - len(kept), kinds


def _scene(ground: ProvingGround, config: dict[str, Any], edits: list, removed: tuple[int, ...]) -> EditedEnvs:
    envs = make_envs(ground.id, config, ground.precision, ground.device)
    return EditedEnvs(envs, [edits], [removed])


def recorded(ground: ProvingGround, cases: Cases, row: int, name: str) -> Trace | None:
    """Drives a case alone and returns its trace, for `replay` in the same edited scene; None without a contact."""
    config = ground.config | cases.configs[row]
    envs = _scene(ground, config, cases.edits_of(row), cases.removed[row])
    trace = record_episode(ground.driver, envs, cases.seeds[row], name)
    return trace if bool(envs.world.crashed[0, envs.world.ego[0].long()].any()) else None


def _replays(ground: ProvingGround, cases: Cases, row: int, trace: Trace, time: float) -> bool:
    """Does a replay of the recorded actions keep to every state hash and crash at the same time."""
    envs = _scene(ground, ground.config | cases.configs[row], cases.edits_of(row), cases.removed[row])
    try:
        for frame in replay(trace, envs, ground.driver if trace.case.sees == "world" else None):
            if bool(envs.world.crashed[0, envs.world.ego[0].long()].any()):
                return abs(frame.time - time) < 1e-6
    except DivergenceError:
        return False
    return False


def _as_dict(ground: ProvingGround, small: Small, row: int, place: int, cluster: int) -> dict[str, Any]:
    """A failure for JSON."""
    features = dict(zip(FEATURES, small.features[row].tolist(), strict=True))
    contact = features | {
        "side": SIDES[int(features["side"])],
        "kind": Kind(int(features["kind"])).name.lower(),
        "number": int(features["number"]),
    }
    contact |= {key: bool(features[key]) for key in ("same_lane", "ego_changes_lane", "other_changes_lane")}
    return {
        "case": f"{place:04d}",
        "about": describe(small.features[row]),
        "cluster": cluster,
        "id": ground.id,
        "config": ground.changes | small.cases.configs[row],
        "seed": small.cases.seeds[row],
        "edits": [asdict(edit) for edit in small.cases.edits_of(row)],
        "removed": [int(slot) for slot in small.cases.removed[row]],
        "vehicles": int(small.vehicles[row]),
        "contact": contact,
        "avoided_by": small.avoided_by[row],
        "trace": f"traces/{place:04d}.npz",
    }


def load_failure(folder: str | Path, case: str) -> tuple[dict[str, Any], Trace]:
    """Returns a case of failures.json and its trace; FileNotFoundError or ValueError if there is none."""
    path = Path(folder) / FAILURES
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {FAILURES}: the search has not been finished")
    cases = {one["case"]: one for one in json.loads(path.read_text())["cases"]}
    if case not in cases:
        raise ValueError(f"no case {case!r} in {path}; there are {', '.join(cases) or 'none'}")
    return cases[case], Trace.load(Path(folder) / cases[case]["trace"])


def edited_envs(case: dict[str, Any], trace: Trace, device: str = "cpu") -> EditedEnvs:
    """Returns the one world of a case of failures.json, edited at each reset, in which its trace replays."""
    envs = make_envs(trace.case.id, trace.case.config, trace.case.precision, device)
    return EditedEnvs(envs, [[Edit(**edit) for edit in case["edits"]]], [tuple(case["removed"])])


def film(folder: str | Path, name: str, path: Path, driver: Driver, device: str = "cpu") -> str:
    """Writes a video (.mp4, .gif) of a case that `write` wrote; returns what there is to say.

    Args:
        folder: with failures.json.
        name: of the case.
        path: of the video.
        driver: that failed; only one that sees the world is needed, to begin the episode.
        device: to simulate on.
    """
    check_video_path(path)
    case, trace = load_failure(folder, name)
    envs = edited_envs(case, trace, device)
    images, fps = pictures(camera(envs), replay(trace, envs, driver), frame_rate(envs))
    return f"{path}: {write_video(path, images, fps)} pictures, {case['about']}"
