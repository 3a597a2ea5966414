import json
from types import SimpleNamespace

import numpy as np
import pytest

from sim.recording import Origin, Traces
from sim.recording.folder import EvaluationFolder, around
from tests.sim.recording.evaluations import write_folder

METRICS = [
    {"min_ttc": 0.4, "success": 1, "collision": 0},
    {"min_ttc": 0.2, "success": 0, "collision": 1},
    {"min_ttc": None, "success": 0, "collision": 0},
]


@pytest.fixture
def folder(tmp_path):
    """Three made-up cases, and one that ended in an error."""
    origin = Origin(id="highway-fast-v0", config={}, precision="float32", driver="idle", sees="features")
    flags = np.zeros(3, bool)
    traces = Traces(
        origin, np.array([4, 5, 17]), np.ones(3, np.int32), np.arange(3)[None], np.zeros((1, 3)), flags, ~flags,
        np.zeros((2, 3), np.uint64),
    )  # fmt: skip
    return write_folder(tmp_path / "judged", {"fast": (traces, METRICS)})


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("collision", [5]),
        ("not collision", [4, 17]),
        ("min_ttc < 0.5", [4, 5]),
        ("min_ttc<=0.2", [5]),
        ("min_ttc >= 0.3", [4]),
        ("min_ttc != 0.2", [4]),
        ("success == 1", [4]),
        ("min_ttc < 5e-1 and not success", [5]),
        ("min_ttc > 10", []),
    ],
)
def test_cases_are_found_by_their_figures(folder, text, seeds):
    assert [case["seed"] for case in EvaluationFolder(folder).where(text)] == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colision", "no metric 'colision'; did you mean collision?"),
        ("min_ttc <", "cannot read the condition 'min_ttc <'"),
        ("not min_ttc < 1", "cannot read the condition"),
        ("min_ttc < fast", "'fast' in the condition 'min_ttc < fast' is not a number"),
        ("", "cannot read the condition"),
        ("min_ttc; import os", "cannot read the condition"),
    ],
)
def test_a_condition_that_cannot_be_read_is_one_line(folder, text, message):
    with pytest.raises(ValueError, match=message):
        EvaluationFolder(folder).where(text)


def test_a_case_has_its_trace_and_its_worst_frame(folder):
    evaluation = EvaluationFolder(folder)
    case = evaluation.case("fast/17")
    assert evaluation.trace(case).case.seed == 17
    assert evaluation.trace(case).actions.tolist() == [2]
    assert evaluation.worst_frame(case, "min_ttc") == 10
    assert evaluation.files == ["traces/fast-0-0.npz"]
    with pytest.raises(ValueError, match="no worst frame of 'tet'; there are: min_ttc"):
        evaluation.worst_frame(case, "tet")
    with pytest.raises(ValueError, match=r"has no case fast/18; did you mean fast/17\?"):
        evaluation.case("fast/18")
    with pytest.raises(ValueError, match="fast/99 ended in an error and has no trace: ValueError: NaN"):
        evaluation.case("fast/99")


def test_a_folder_can_be_moved(folder, tmp_path):
    folder.rename(tmp_path / "elsewhere")
    evaluation = EvaluationFolder(tmp_path / "elsewhere")
    assert evaluation.trace(evaluation.case("fast/5")).case.seed == 5


def test_traces_of_another_suite_are_refused(folder):
    report = json.loads((folder / "report.json").read_text())
    report["suite"]["sha256"] = "other"
    (folder / "report.json").write_text(json.dumps(report))
    evaluation = EvaluationFolder(folder)
    with pytest.raises(ValueError, match=r"of the suite with sha256 5a5a.*, not other"):
        evaluation.trace(evaluation.case("fast/5"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no report.json"),
        ("{", "not a whole report"),
        ("[]", "not a whole report"),
        ("schema", "schema 7"),
    ],
)
def test_a_folder_without_a_report_is_one_line(folder, text, message):
    report = folder / "report.json"
    if text is None:
        report.unlink()
    elif text == "schema":
        report.write_text(json.dumps(json.loads(report.read_text()) | {"schema": 7}))
    else:
        report.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        EvaluationFolder(folder)
    assert "\n" not in str(caught.value)


def test_the_seconds_around_a_frame():
    frames = (SimpleNamespace(index=index) for index in range(1000))
    shown = [frame.index for frame in around(frames, 100, 5.0)]
    assert shown == list(range(80, 111))
    assert next(frames).index == 112  # the rest was not simulated
