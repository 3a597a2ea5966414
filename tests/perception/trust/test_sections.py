import json

import pytest
from PIL import Image

from perception.trust.attacks import AttackReport, AttackRow
from perception.trust.explanation_trial import ExplanationRow
from perception.trust.explanations import Randomised
from perception.trust.sections import FILE, Findings, Section, attack_section, explanation_section


def test_a_section_as_markdown():
    section = Section("Title", ("a", "b"), (("x", 1.25), (2, None)), ("Note.",), digits=1)
    assert section.markdown().splitlines() == [
        "### Title", "", "| a | b |", "| --- | --- |", "| x | 1.2 |", "| 2 | - |", "", "Note.",
    ]  # fmt: skip


def test_a_stopped_run_goes_on_and_another_one_is_refused(tmp_path):
    made = []

    def make():
        made.append(1)
        return [Section("Title", ("a",), (("x",), (1.5,), (None,)), ("n",))]

    first = Findings(tmp_path / "new", {"model": "m", "epsilons": (1, 2)}).add("attacks", make)
    again = Findings(tmp_path / "new", {"model": "m", "epsilons": (1, 2)})
    assert again.add("attacks", make) == first
    again.add("domains", make)
    assert len(made) == 2
    assert set(json.loads((tmp_path / "new" / FILE).read_text("utf-8"))["sections"]) == {"attacks", "domains"}
    with pytest.raises(FileExistsError, match=r"trust\.json is of other epsilons; choose another folder"):
        Findings(tmp_path / "new", {"model": "m", "epsilons": (1, 3)})
    assert set(json.loads((tmp_path / "new" / FILE).read_text("utf-8"))["sections"]) == {"attacks", "domains"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"about": {}, "sections": {"a": [{"b": 1}]}}'])
def test_findings_that_cannot_be_read_are_named(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match=r"trust\.json can't be read: .*; delete it to begin anew"):
        Findings(tmp_path, {})


def test_other_weights_in_the_same_folder_are_another_model(tmp_path):
    made = []

    def make():
        made.append(1)
        return []

    for weights in (b"one", b"one"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        Findings(tmp_path / "out", {}, [tmp_path]).add("attacks", make)
        assert len(made) == 1
    (tmp_path / "model.safetensors").write_bytes(b"two")
    with pytest.raises(FileExistsError, match="is of other weights"):
        Findings(tmp_path / "out", {}, [tmp_path])


def test_a_picture_is_kept_in_the_folder(tmp_path):
    Findings(tmp_path / "new", {}).keep("maps", Image.new("RGB", (3, 2)))
    with Image.open(tmp_path / "new/maps.png") as picture:
        assert picture.size == (3, 2)


def test_attacks_in_percent_and_controls_that_fail_by_name():
    rows = (AttackRow(4 / 255, 0.9, 0.5, 0.25, 1.0, 2.0), AttackRow(8 / 255, 0.9, 0.5, 0.25, 1.0, 2.0, 0.75))
    section = attack_section(AttackReport(0.95, rows, {"one": True, "two": True}), "right answers in %", 20)
    assert section.rows[0] == ("0 (clean)", pytest.approx(95.0), None, None, None)
    assert section.rows[1] == ("4/255", 90.0, 50.0, 25.0, None)
    assert section.rows[2][4] == 75.0
    assert section.notes == ("All 2 controls hold.",)
    failed = attack_section(AttackReport(0.95, rows, {"one": False, "two": True, "three": False}), "x", 20)
    assert failed.notes == ("Controls that FAIL: one, three.",)


def test_explanations_with_their_sanity_checks():
    rows = [
        ExplanationRow("saliency", 0.5, 0.25, 1.0, 0.75, (Randomised("head", 0.5), Randomised("stem", -0.125))),
        ExplanationRow("chance", 0.25, 0.5, None, None),
    ]
    section = explanation_section(rows, 8, 0.0625)
    assert section.rows[0] == ("saliency", 0.5, 0.25, 1.0, 0.75, "head 0.50, stem -0.12")
    assert section.rows[1][3:] == (None, None, None)
    assert "0.062" in section.notes[1]
    assert len(explanation_section(rows, 8, None).notes) == 1
