import xml.etree.ElementTree as ElementTree

from sim.evaluation.junit import junit, write_junit
from tests.sim.evaluation.fake_report import GROUPS, fake_report


def parsed(report):
    return ElementTree.fromstring(junit(report).encode())


def one_case(**changes):
    """A report of one case, which drove 10 steps without anything to say of it."""
    report = fake_report(len(GROUPS))
    for group in report["groups"]:
        group["n_planned"] = 0
    group = report["groups"][0]
    group["n_planned"] = 1
    case = report["cases"][0] | {"status": "ok", "error": None, "contact_frame": None, "metrics": {}, "frames": {}}
    report["cases"] = [case | changes]
    return report


def test_a_case_is_a_testcase_and_the_totals_add_up():
    report = fake_report(420)
    root = parsed(report)
    cases = root.findall("testsuite/testcase")
    assert len(cases) == 420
    assert {(node.get("classname"), node.get("name")) for node in cases} == {
        (f"highway-core.{case['group']}", case["case"]) for case in report["cases"]
    }
    errors = [case for case in report["cases"] if case["status"] == "error"]
    at_fault = [case for case in report["cases"] if case["metrics"].get("at_fault_collision") == 1]
    assert errors
    assert at_fault
    assert root.get("tests") == "420"
    assert root.get("errors") == str(len(errors)) == str(len(root.findall(".//error")))
    assert root.get("failures") == str(len(at_fault)) == str(len(root.findall(".//failure")))
    for name in ("tests", "errors", "failures"):
        assert sum(int(suite.get(name)) for suite in root.findall("testsuite")) == int(root.get(name))


def test_a_crash_of_the_egos_fault_fails_and_tells_where():
    metrics = {"collision": 1.0, "at_fault_collision": 1.0, "delta_v": 7.5, "min_pet": None}
    failure = parsed(one_case(contact_frame=33, metrics=metrics)).find(".//testcase/failure")
    assert failure.get("type") == "at_fault_collision"
    assert failure.get("message") == "crash, at fault, frame 33"
    assert failure.text.splitlines() == ["collision 1", "at_fault_collision 1", "delta_v 7.5"]


def test_a_crash_of_anothers_fault_passes_and_is_told():
    metrics = {"collision": 1.0, "at_fault_collision": 0.0}
    root = parsed(one_case(contact_frame=33, metrics=metrics))
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    assert root.find(".//testcase/system-out").text == "crash, not at fault, frame 33"


def test_a_crash_that_nobody_judged_fails():
    assert parsed(one_case(contact_frame=33)).get("failures") == "1"
    assert parsed(one_case(metrics={"collision": 1.0, "at_fault_collision": None})).get("failures") == "1"


def test_a_case_without_incident_says_nothing():
    root = parsed(one_case(metrics={"collision": 0.0, "at_fault_collision": 0.0}))
    assert list(root.find(".//testcase")) == []


def test_an_exception_is_an_error_with_its_type():
    root = parsed(one_case(status="error", error="TypeError: action is NaN"))
    error = root.find(".//testcase/error")
    assert (error.get("type"), error.get("message")) == ("TypeError", "TypeError: action is NaN")
    assert (root.get("errors"), root.get("failures")) == ("1", "0")


def test_what_xml_cannot_hold_is_replaced():
    root = parsed(one_case(status="error", error="ValueError: \x00\x1b[31m <tag> ]]> \ud800 \uffff \u00e4"))
    assert root.find(".//error").get("message") == "ValueError: \ufffd\ufffd[31m <tag> ]]> \ufffd \ufffd \u00e4"


def test_planned_cases_that_were_not_driven_fail_their_group():
    report = fake_report(70)
    dropped = report["cases"].pop()
    root = parsed(report)
    failure = [node for node in root.findall(".//failure") if node.get("type") == "not_driven"]
    assert [node.get("message") for node in failure] == ["1 cases were not driven"]
    suite = next(node for node in root.findall("testsuite") if node.get("name") == dropped["group"])
    assert suite.find("testcase[last()]/failure") is failure[0]


def test_the_file_is_written_whole(tmp_path):
    report = fake_report(70)
    write_junit(tmp_path / "gate.xml", report)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.xml"]
    assert (tmp_path / "gate.xml").read_text(encoding="utf-8") == junit(report)
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("tests") == "70"
