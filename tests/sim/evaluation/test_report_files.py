import json

import pytest

from sim.evaluation.report_files import load_report
from tests.sim.evaluation.hand_made_reports import SPECS, collisions, record, report, write


def test_a_folder_and_its_file_are_the_same_report(tmp_path):
    write(tmp_path, collisions([0, 1], driver="tree search", privileged=True))
    found = load_report(tmp_path)
    assert found == load_report(tmp_path / "report.json")
    assert found.driver == "tree search (privileged)"
    assert found.suite == {"name": "smoke", "version": 1, "sha256": "a" * 64}
    assert list(found.cases) == ["g/0", "g/1"]
    assert found.specs["collision"].better == "lower"
    assert found.specs["collision"].rate is True


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nowhere; evaluate.py --suite"):
        load_report(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no report.json in the folder"):
        load_report(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_a_truncated_file_is_refused(tmp_path, keep):
    text = json.dumps(collisions([0, 1, 0]))
    (tmp_path / "report.json").write_text(text[:keep])
    with pytest.raises(ValueError, match=r"report.json is not valid JSON, perhaps truncated"):
        load_report(tmp_path)


def altered(**changes):
    return collisions([0, 1]) | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no 'schema'"),
        ({"id": "highway-v0", "crash_rate": {}}, "no 'schema'"),  # what evaluate.py --json writes
        (altered(schema=2), "has schema 2, this program reads schema 1"),
        (altered(n_planned=5), "unfinished: 2 of 5 cases"),
        (altered(cases=[record("g/0"), record("g/0")]), "holds case g/0 twice"),
        (altered(cases=[record("g/0"), record("g/1", {"collision": "1"})]), "g/1: collision is a number or null"),
        (altered(cases=[{"case": "g/0"}]), "not a report of a suite: KeyError 'status'"),
        (altered(cases=[record("g/0") | {"status": "fine"}]), "'ok' or 'error', not 'fine'"),
        (altered(suite={"name": "smoke"}), "not a report of a suite: KeyError 'version'"),
        (altered(metrics={"collision": {"unit": ""}}), "KeyError 'better'"),
        (report([record("g/0", {"distance": float("nan")})], SPECS), "NaN is no JSON"),
    ],
)
def test_what_no_report_can_hold_is_refused(tmp_path, content, message):
    write(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        load_report(tmp_path)
