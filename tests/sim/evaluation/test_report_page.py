import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

import sim.evaluation.report_page
from sim.evaluation.report_figures import number
from sim.evaluation.report_page import render, write_page
from sim.evaluation.worst_cases import worst_first
from tests.sim.evaluation.fake_report import (
    NASTY,
    NASTY_ERROR,
    NASTY_GROUP,
    fake_comparison,
    fake_report,
    with_films,
)

SCHEMA = json.loads((Path(sim.evaluation.report_page.__file__).parent / "report.schema.json").read_text())
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Structure(HTMLParser):
    """Elements, ids and references of a page; `problems` are unbalanced tags and double ids."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.problems, self.ids, self.links = [], [], Counter(), []
        self.text = []
        self.feed(page)
        self.close()
        self.problems += [f"{tag} is never closed" for tag in self.open]
        self.problems += [f"id {name} twice" for name, count in self.ids.items() if count > 1]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update([values["id"]] if "id" in values else [])
        self.links += [values[name] for name in ("src", "href", "action", "srcset", "data") if values.get(name)]
        for name in ("for", "aria-labelledby", "data-filter", "data-count", "data-select"):
            if name in values:
                self.links.append("#" + values[name])
        if any(name.startswith("on") or name == "style" for name in values):
            self.problems.append(f"{tag} has a handler or a style that the page's policy forbids")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing, line {self.getpos()}")

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report():
    return fake_report(420)


@pytest.fixture(scope="module")
def films(report):
    return with_films(report, 7)


@pytest.fixture(scope="module")
def page(report, films, tmp_path_factory):
    return render(report, fake_comparison(tmp_path_factory.mktemp("compared"), 140), films)


def test_the_schema_accepts_a_report(report):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(report, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema"], 2),
        (["n_error"], -1),
        (["suite", "sha256"], "abc"),
        (["metrics", "collision", "better"], "smaller"),
        (["metrics", "collision", "ci95"], [0.1]),
        (["groups", 0, "metrics", "collision", "value"], "0.1"),
        (["cases", 0, "status"], "crashed"),
        (["cases", 0, "metrics", "collision"], True),
        (["cases", 0, "seed"], 1.5),
        (["cases", 0, "trace"], ["traces/x.npz"]),
        (["cases", 0, "surprise"], 1),
        (["certificate", "equal"], None),
        (["robustness", "position_noise", "severities"], []),
        (["run", "seconds"], None),
    ],
)
def test_the_schema_refuses_what_is_no_report(path, value):
    broken = fake_report(21)
    part = broken
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_the_schema_asks_for_a_message_with_each_error(report):
    broken = fake_report(420)
    next(case for case in broken["cases"] if case["status"] == "error")["error"] = None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_the_page_is_whole_and_stands_alone(page):
    structure = Structure(page)
    assert structure.problems == []
    assert {link for link in structure.links if not link.startswith("#")} == {"data:,"}
    assert {link[1:] for link in structure.links if link.startswith("#")} <= set(structure.ids)
    assert "://" not in re.sub(r'"http://www.w3.org/2000/svg"', "", page)
    assert len(page.encode()) < 600_000


def test_the_structure_check_bites(page):
    assert Structure(page.replace("</table>", "", 1)).problems
    assert Structure(page.replace('id="worst"', 'id="cases"')).problems


def test_what_comes_from_data_is_text_and_nothing_else(page):
    said = "".join(Structure(page).text)
    for nasty in (NASTY, NASTY_GROUP, NASTY_ERROR.replace("\x00", "\ufffd")):
        assert nasty in said
    assert page.count("<script") == 3  # the data, the tables, the player
    assert "<b>bold" not in page
    assert "<img" not in page
    assert "\x00" not in page


def test_the_page_shows_the_figures(page, report):
    said = " ".join("".join(Structure(page).text).split())
    for name in ("at_fault_collision", "collision", "success", "return"):
        shown = number(report["metrics"][name]["value"], report["metrics"][name]["rate"])
        assert " ".join(shown.split()) in said
    for text in ("5c" * 32, "a1" * 32, "0123456789ab", "with changes", report["run"]["command"], "84 of 84"):
        assert text in said
    assert f"{report['n_error']} of 420 cases ended in an error" in said
    assert "0.0527 ms 99th percentile" in said
    assert "The worst 300 of 420" in said


def test_what_is_missing_is_a_dash(page):
    table = page[page.index('id="t-metrics"') :]
    row = re.search(r'<tr>\s*<th scope="row" data-v="never_valid">.*?</tr>', table, re.DOTALL)[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[:2] == ["–", "–"]
    assert "None" not in page
    assert not re.search(r"\b(nan|undefined|Infinity|inf)\b", "".join(Structure(page.split("<script")[0]).text))


def test_cases_are_listed_from_the_worst(page, report):
    table = page[page.index('id="t-cases"') :]
    listed = re.findall(r'<tr data-group="[^"]*" data-outcome="(\w+)">\s*<th scope="row" data-v="([^"]*)"', table)
    expected = [case["case"].split("/")[-1] for case in worst_first(report["cases"])[:300]]
    assert [name.split("/")[-1] for _, name in listed] == expected
    assert listed[0][0] == "error"


def test_ten_thousand_cases_are_a_small_page():
    report = fake_report(10_000)
    page = render(report, None, with_films(report, 12))
    assert len(page.encode()) < 1_500_000
    assert "The worst 300 of 10,000" in page
    assert page.count('<tr data-group="') == 300


def test_a_report_of_nothing_but_errors():
    report = fake_report(14)
    for case in report["cases"]:
        case |= {"status": "error", "error": "TypeError: x", "metrics": {}, "contact_frame": None}
    nothing = {"value": None, "ci95": [None, None], "n": 0, "n_invalid": 0}
    for part in (report, *report["groups"]):
        part |= {"n_run": 0, "n_error": part["n_planned"]}
        for metric in part["metrics"].values():
            metric |= nothing
    report |= {"certificate": None, "robustness": None}
    report["run"] |= {"decision_latency_ms": {"p50": None, "p95": None, "p99": None}}
    jsonschema.validate(report, SCHEMA)
    page = render(report)
    assert Structure(page).problems == []
    assert "14 of 14 cases ended in an error" in page
    assert "Determinism was not checked" in page
    for section in ("worst", "distributions", "robustness", "comparison"):
        assert f'id="{section}"' not in page


def test_cases_that_were_never_driven_are_told():
    report = fake_report(70)
    report["n_planned"] += 5
    assert "5 of 75 planned cases have not been driven" in " ".join(render(report).split())


def test_a_failed_certificate_names_the_first_difference():
    report = fake_report(14)
    report["certificate"] |= {"equal": 83, "first_difference": "merge/1003, step 7"}
    page = render(report)
    assert "Not deterministic" in page
    assert "merge/1003, step 7" in page


def test_roads_are_stored_once(page):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert len(data["replays"]) == 7
    assert NASTY_GROUP in {film["group"] for film in data["replays"]}
    assert len(data["roads"]) == 1


def test_what_cannot_be_shown_is_named(report, films):
    with pytest.raises(ValueError, match="report of schema 2; this version shows schema 1"):
        render(report | {"schema": 2})
    with pytest.raises(ValueError, match="a replay of 'x/1', which is no case of the report"):
        render(report, None, [films[0] | {"case": "x/1"}])


def test_the_file_is_written_whole(tmp_path):
    report = fake_report(21)
    write_page(tmp_path / "report.html", report)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(report)
