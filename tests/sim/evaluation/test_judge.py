"""The whole of a judgement: what else can be asked for, here and on a cluster."""

import json
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from planning.rule_based import IdmDriver
from sim.evaluation import cluster
from sim.evaluation import judge as module
from sim.evaluation.driver import DriverSpec, IdleDriver, RandomDriver
from sim.evaluation.harness import Settings
from sim.evaluation.judge import Options, judge
from sim.evaluation.robustness import sweep
from sim.evaluation.suites import Group, Suite

FAST = {"vehicles_count": 12, "duration": 10}
SUITE = Suite("small", 2, "crashes", (Group("fast", "highway-fast-v0", FAST, tuple(range(50, 58)), {}),))
SCHEMA = json.loads(Path(module.__file__).with_name("report.schema.json").read_text())


def test_all_of_it_at_once(tmp_path):
    settings = Settings(reference=DriverSpec("idm", IdmDriver))
    options = Options(robustness=3, junit=tmp_path / "junit.xml")
    report = judge(DriverSpec("idle", IdleDriver), SUITE, tmp_path / "out", settings, None, options, False)
    jsonschema.validate(report, SCHEMA)

    crashes = [case for case in report["cases"] if case["contact_frame"] is not None]
    assert 0 < len(crashes) < len(report["cases"])
    for case in report["cases"]:
        told = case["metrics"]["unpreventable"]
        assert (told is None) == (case["contact_frame"] is None)
        assert case["metrics"]["max_imposed_braking"] >= 0
    # to brake in time is all that it takes behind slower traffic
    assert any(case["metrics"]["latest_avoidable_time"] is not None for case in crashes)

    latency = report["robustness"]["action_latency"]
    assert latency["severities"][0] == 0 and len(latency["metrics"]["collision"]) == len(latency["severities"])
    assert latency["metrics"]["return"][0]["difference"] == 0

    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert int(root.get("tests")) == 8
    at_fault = sum(case["metrics"]["at_fault_collision"] == 1 for case in crashes)
    assert int(root.get("failures")) == at_fault


@pytest.mark.slow
def test_a_cluster_gives_the_same_report(tmp_path):
    here = judge(DriverSpec("random", RandomDriver), SUITE, tmp_path / "here", Settings(batch_size=3), progress=False)
    options = Options(cluster="local")
    there = judge(
        DriverSpec("random", RandomDriver), SUITE, tmp_path / "there", Settings(batch_size=3), None, options, False
    )
    for report in (here, there):
        report.pop("run")
    assert there == here


@pytest.mark.slow
def test_robustness_and_cases_share_one_cluster(tmp_path, monkeypatch):
    cluster._imported()
    import ray

    started, start = [], ray.init
    monkeypatch.setattr(ray, "init", lambda *args, **options: started.append(args) or start(*args, **options))
    few = ["action_hold"]
    monkeypatch.setattr("sim.evaluation.judge.sweep", partial(sweep, faults=few, severities={"action_hold": [2]}))
    options = Options(cluster="local", robustness=1)
    report = judge(DriverSpec("random", RandomDriver), SUITE, tmp_path / "x", Settings(), None, options, False)
    assert list(report["robustness"]) == few
    assert len(started) == 1
    assert not ray.is_initialized()


def test_a_suite_without_stress_list_says_so(tmp_path):
    with pytest.raises(ValueError, match="suite small has no stress list"):
        judge(DriverSpec("idle", IdleDriver), SUITE, tmp_path / "x", Settings(), None, Options(stress=True), False)
    assert not (tmp_path / "x").exists()
