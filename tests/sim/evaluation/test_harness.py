"""Suites driven whole: what stands in the report, what survives a kill, and what a bad driver costs."""

import json

import numpy as np
import pytest
import torch

from sim.evaluation import harness
from sim.evaluation.driver import DriverSpec, IdleDriver, RandomDriver
from sim.evaluation.harness import Chunk, Folder, Settings, chunks_of, first_difference, run_chunk, step_limit
from sim.evaluation.judge import headline, judge
from sim.evaluation.runner import run_batch
from sim.evaluation.suites import Group, Suite
from sim.recording import Traces

FAST = {"vehicles_count": 8, "duration": 8}
SUITE = Suite(
    "small",
    1,
    "two families",
    (
        Group("fast", "highway-fast-v0", FAST, tuple(range(30, 42)), {}),
        Group("junction", "intersection-v0", {}, (3, 1, 2), {}),
    ),
)
RANDOM = DriverSpec("random", RandomDriver)


class Faulty(IdleDriver):
    """Raises, or answers with NaN, in the episodes of some seeds."""

    def __init__(self, bad=(), nan=False, device="cpu"):
        super().__init__(device)
        self.bad, self.nan, self.steps = set(bad), nan, 0

    def prepare(self, envs, seeds):
        super().prepare(envs, seeds)
        self.seeds, self.steps = list(seeds), 0

    def act(self, observation):
        self.steps += 1
        if self.steps > 2 and self.bad & set(self.seeds):
            if not self.nan:
                raise RuntimeError("lost the plot")
            return torch.full((len(self.seeds), 2), torch.nan)
        return super().act(observation)


def without_times(report):
    return {key: value for key, value in report.items() if key != "run"}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    out = tmp_path_factory.mktemp("judged") / "random"
    return out, judge(RANDOM, SUITE, out, Settings(), progress=False)


def test_a_report_agrees_with_the_episodes_driven_one_by_one(judged):
    _, report = judged
    assert (report["n_planned"], report["n_run"], report["n_error"]) == (15, 15, 0)
    for case in report["cases"]:
        group = next(group for group in SUITE.groups if group.name == case["group"])
        envs = harness.make_envs(Chunk(0, group.name, group.id, group.config, (case["seed"],)), Settings(), 1)
        alone = run_batch(envs, RandomDriver(), [case["seed"]])
        assert case["metrics"]["return"] == pytest.approx(alone["return"][0], rel=1e-6)
        assert case["steps"] == alone["length"][0]
        assert case["metrics"]["collision"] == alone["crashed"][0] == (case["contact_frame"] is not None)
    crashes = [case["metrics"]["collision"] for case in report["cases"]]
    assert report["metrics"]["collision"]["value"] == pytest.approx(np.mean(crashes))


def test_what_the_folder_holds_is_the_report(judged):
    out, report = judged
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert "<html" in (out / "report.html").read_text()[:200]
    for case in report["cases"]:
        name, index = case["trace"]
        traces = Traces.load(out / name, suite=SUITE.sha256)
        assert (traces.seeds[index], traces.steps[index]) == (case["seed"], case["steps"])
    assert "small 1: 15 of 15 cases ran, 0 errors" in headline(report)


def test_another_batch_size_and_a_second_run_give_the_same_report(judged, tmp_path):
    _, report = judged
    again = judge(RANDOM, SUITE, tmp_path / "again", Settings(batch_size=5), progress=False)
    traces = [case.pop("trace") for case in (*report["cases"], *again["cases"])]
    assert without_times(again) == without_times(report)
    for case, trace in zip((*report["cases"], *again["cases"]), traces, strict=True):
        case["trace"] = trace


def test_the_certificate_finds_a_driver_that_looks_at_its_batch(tmp_path, judged):
    assert judged[1]["certificate"]["equal"] == judged[1]["certificate"]["episodes"] >= 2

    class Dependent(RandomDriver):
        def prepare(self, envs, seeds):
            super().prepare(envs, [seed + len(seeds) for seed in seeds])

    report = judge(DriverSpec("dependent", Dependent), SUITE, tmp_path / "x", Settings(), progress=False)
    assert report["certificate"]["equal"] < report["certificate"]["episodes"]
    assert report["certificate"]["first_difference"].startswith("fast/30, step ")


@pytest.mark.parametrize(("nan", "message"), [(False, "RuntimeError: lost the plot"), (True, "Error")])
def test_an_episode_that_raises_is_an_error_and_the_others_stand(tmp_path, nan, message):
    suite = Suite("one", 1, "", SUITE.groups[:1])
    clean = judge(DriverSpec("idle", IdleDriver), suite, tmp_path / "a", Settings(), progress=False)
    spec = DriverSpec("faulty", Faulty, options={"bad": (33, 40), "nan": nan})
    report = judge(spec, suite, tmp_path / "b", Settings(), progress=False)
    assert (report["n_planned"], report["n_run"], report["n_error"]) == (12, 10, 2)
    for case, expected in zip(report["cases"], clean["cases"], strict=True):
        if case["seed"] in (33, 40):
            assert case["status"] == "error" and message in case["error"] and case["metrics"] == {}
        else:
            assert case["metrics"] == expected["metrics"]
    worst = sum(case["metrics"].get("collision", 1) for case in report["cases"]) / 12
    assert report["metrics"]["collision"]["value"] == pytest.approx(worst)  # an exception is no success
    assert report["metrics"]["return"]["n"] == 10


def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path, monkeypatch, judged):
    out, settings, driven = tmp_path / "killed", Settings(batch_size=5), []
    real = harness.run_chunk

    def counted(driver, chunk, settings):
        if len(driven) == 2:
            raise KeyboardInterrupt
        driven.append(chunk)
        return real(driver, chunk, settings)

    monkeypatch.setattr(harness, "run_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        judge(RANDOM, SUITE, out, settings, progress=False)
    with open(out / "cases.jsonl", "a") as file:
        file.write('{"case": "fast/4')  # cut off in the middle of a line

    def resumed(driver, chunk, settings):
        assert chunk not in driven
        return real(driver, chunk, settings)

    monkeypatch.setattr(harness, "run_chunk", resumed)
    report = judge(RANDOM, SUITE, out, settings, progress=False)
    figures = [case["metrics"] for case in report["cases"]]
    assert figures == [case["metrics"] for case in judged[1]["cases"]]


def test_a_folder_of_something_else_is_left_alone(tmp_path, judged):
    with pytest.raises(FileExistsError, match="holds another evaluation: other driver; choose a new --out"):
        judge(DriverSpec("idle", IdleDriver), SUITE, judged[0], Settings(), progress=False)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="is not empty and holds no evaluation"):
        Folder(tmp_path, {"schema": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_driver_that_cannot_drive_the_id_raises_before_any_episode(tmp_path):
    class Picky(IdleDriver):
        def prepare(self, envs, seeds):
            raise ValueError(f"cannot drive {envs.id}")

    with pytest.raises(ValueError, match="cannot drive highway-fast-v0"):
        judge(DriverSpec("picky", Picky), SUITE, tmp_path / "x", Settings(), progress=False)
    assert not (tmp_path / "x").exists()


def test_chunks_hold_every_case_once_and_fit_the_memory():
    chunks = chunks_of(SUITE, Settings(batch_size=7))
    assert [(chunk.group, chunk.seeds) for chunk in chunks] == [
        ("fast", tuple(range(30, 37))),
        ("fast", tuple(range(37, 42))),
        ("junction", (3, 1, 2)),
    ]
    long = Suite("long", 1, "", (Group("v0", "highway-v0", {}, tuple(range(5000)), {}),))
    assert len(chunks_of(long, Settings(batch_size=5000))) > 10
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Settings(batch_size=0)


def test_an_episode_without_an_end_is_cut_off():
    assert step_limit({"duration": 40, "policy_frequency": 2}) == 81
    assert step_limit({"policy_frequency": 1}) == harness.MAX_STEPS
    [record] = run_chunk(RandomDriver(), Chunk(0, "l", "lane-keeping-v0", {}, (1,)), Settings()).records
    assert record["steps"] == 200  # Gymnasium's limit of the id comes first


@pytest.mark.parametrize(
    ("one", "other", "step"),
    [([1, 2, 3], [1, 2, 3], None), ([1, 2, 3], [1, 9, 3], 1), ([1, 2], [1, 2, 3], 2)],
)
def test_the_first_difference(one, other, step):
    assert first_difference(np.array(one), np.array(other)) == step
