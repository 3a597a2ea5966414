"""The report page in a real headless Chromium, opened from disk."""

import json

import numpy as np
import pytest

from sim.evaluation.comparison import compare
from sim.evaluation.comparison_page import write_comparison
from sim.evaluation.player import pack
from sim.evaluation.report_files import load_report
from sim.evaluation.report_page import write_page
from sim.evaluation.worst_cases import gallery, worst_first
from tests.sim.evaluation.browser import Tab, chromium
from tests.sim.evaluation.fake_report import NASTY, fake_comparison, fake_report, with_films
from tests.sim.evaluation.metrics.hand_made import Car, episodes

pytestmark = pytest.mark.slow  # needs a browser, which `make test-full` installs


@pytest.fixture(scope="module")
def report():
    return fake_report(420)


@pytest.fixture(scope="module")
def file(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_page(folder / "report.html", report, fake_comparison(folder, 140), with_films(report))
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def test_the_page_opens_from_disk_without_a_word(browser, file):
    tab = Tab(browser, file)
    tab.wait("document.getElementById('frame-counter').textContent.includes('40')")
    assert tab.requests == [file.as_uri()]
    assert tab.console == tab.errors == []
    assert tab.page.evaluate("window.pwned") is None
    assert NASTY.split("'")[0] in tab.text("h1")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The page's policy lets nothing else run, even if some text were not escaped.
    tab.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.pwned = 1'}))"
    )
    assert tab.page.evaluate("window.pwned") is None


def test_the_player_plays(browser, file):
    tab = Tab(browser, file)
    tab.wait("document.getElementById('frame-counter').textContent === 'frame 40 of 59'")  # the worst frame at first
    assert tab.text("#clock") == "4.00 s"
    assert tab.text("#ego-speed") == "ego 20.0 m/s"
    green = tab.pixel(0.5, 0.5)
    assert green[1] > green[0] + 60  # the ego in the middle
    stands = tab.picture()
    tab.page.click("#play")
    tab.wait("Number(document.getElementById('scrub').value) > 42")
    assert tab.picture() != stands
    tab.wait("document.getElementById('play').textContent === 'Play'")  # it stops at the end
    assert tab.text("#frame-counter") == "frame 59 of 59"

    tab.page.get_by_role("button", name="Max DRAC: frame 12").click()
    assert tab.text("#frame-counter") == "frame 12 of 59"
    tab.page.locator("#scrub").fill("30")
    assert tab.text("#frame-counter") == "frame 30 of 59"
    tab.page.locator("#stage").focus()
    for key, frame in (("ArrowRight", 31), ("ArrowLeft", 30), ("Home", 0), ("End", 59)):
        tab.page.keyboard.press(key)
        assert tab.text("#frame-counter") == f"frame {frame} of 59"
    tab.page.keyboard.press("Home")
    tab.page.select_option("#rate", "0.25")
    tab.page.keyboard.press(" ")
    tab.wait("Number(document.getElementById('scrub').value) > 0")
    tab.page.keyboard.press(" ")
    assert tab.text("#play") == "Play"

    tab.page.locator("#scrub").fill("0")
    left, right, beside = (tab.pixel(*at) for at in ((0.02, 0.522), (0.98, 0.522), (0.02, 0.02)))
    assert left == right != beside  # 500 m from the road's beginning there is road on both sides
    near = tab.picture()
    tab.page.click("#farther")
    assert tab.picture() != near
    tab.page.click("#nearer")
    assert tab.picture() == near
    tab.page.uncheck("#follow")
    tab.page.locator("#scrub").fill("59")
    assert tab.pixel(0.5, 0.5)[1] < green[1]  # the ego has left the middle
    assert tab.console == tab.errors == []


def test_a_case_can_be_chosen_and_its_picture_shows_it(browser, file, report):
    tab = Tab(browser, file)
    tab.wait("document.getElementById('frame-counter').textContent.includes('40')")
    names = [f"{case['group']} / {case['seed']}" for case in gallery(report["cases"], 3)]
    first = tab.picture()
    assert tab.text("#film-name") == names[0]
    tab.page.locator(".film").nth(1).click()
    tab.wait("document.querySelectorAll('.film')[1].getAttribute('aria-pressed') === 'true'")
    assert tab.text("#film-name") == names[1]
    assert tab.picture() != first  # the other vehicle is a metre further on
    drawn = "[...document.querySelectorAll('.thumb')].map((one) => one.toDataURL())"
    blank = "document.createElement('canvas').toDataURL()"
    assert len(set(tab.page.evaluate(drawn))) == 3
    assert tab.page.evaluate(blank) not in tab.page.evaluate(drawn)
    tab.page.locator(".watch").nth(2).click()
    tab.wait("document.querySelectorAll('.film')[2].getAttribute('aria-pressed') === 'true'")


def test_the_tables_filter_and_sort(browser, file, report):
    tab = Tab(browser, file)
    rows = "[...document.querySelectorAll('#t-cases tbody tr[data-group]')].filter((row) => !row.hidden)"
    shown = worst_first(report["cases"])[:300]
    assert tab.page.evaluate(f"{rows}.length") == 300
    tab.page.select_option("[data-key=outcome]", "error")
    errors = sum(case["status"] == "error" for case in shown)
    assert tab.page.evaluate(f"{rows}.length") == errors
    assert tab.text("[data-count=t-cases]") == f"{errors} of 300 rows"
    tab.page.select_option("[data-key=group]", "merge")
    in_merge = sum(case["status"] == "error" and case["group"] == "merge" for case in shown)
    assert tab.page.evaluate(f"{rows}.length") == in_merge < errors
    tab.page.select_option("[data-key=outcome]", "")
    tab.page.select_option("[data-key=group]", "")
    tab.page.fill("[data-filter=t-cases]", "Parking  1003")
    assert tab.page.evaluate(f"{rows}.map((row) => row.cells[0].dataset.v)") in ([], ["parking/1003"])
    tab.page.fill("[data-filter=t-cases]", "no such thing")
    assert tab.page.evaluate(f"{rows}.length") == 0
    assert "Nothing matches" in tab.text("#t-cases .none")
    tab.page.fill("[data-filter=t-cases]", "")

    heads = tab.page.locator("#t-cases thead th")
    column = heads.all_inner_texts().index(next(text for text in heads.all_inner_texts() if "Delta" in text))
    values = f"{rows}.map((row) => row.cells[{column}].dataset.v)"
    known = sorted(case["metrics"]["delta_v"] for case in shown if case["metrics"].get("delta_v") is not None)
    for expected, direction in ((known, "ascending"), (known[::-1], "descending")):
        heads.nth(column).locator("button").click()
        assert heads.nth(column).get_attribute("aria-sort") == direction
        found = tab.page.evaluate(values)
        assert [float(value) for value in found[: len(known)]] == expected
        assert set(found[len(known) :]) == {""}  # what is missing comes last, either way

    tab.page.fill("[data-filter=t-metrics]", "ttc")
    assert "Min TTC 2-D" in tab.text("#t-metrics tbody")
    assert "Distance" not in tab.text("#t-metrics tbody")
    assert tab.console == tab.errors == []


def test_the_chosen_column_reads_as_the_others_do(browser, file, report):
    """What the page's script writes is what report_figures writes."""
    tab = Tab(browser, file)
    rows = tab.page.locator("#t-scenarios tbody tr:not(.none)")
    for name, column in (("at_fault_collision", 2), ("return", 5)):
        tab.page.select_option("#chosen-metric", name)
        assert tab.text("#chosen-head") == tab.page.locator("#t-scenarios thead th").nth(column).inner_text()
        for k in range(len(report["groups"])):
            cells = rows.nth(k).locator("td, th")
            assert cells.last.inner_text().split() == cells.nth(column).inner_text().split()
            assert cells.last.locator("svg").count() == 1
    tab.page.select_option("#chosen-metric", "never_valid")
    assert set(tab.page.locator("#t-scenarios .chosen").all_inner_texts()) == {"–"}


@pytest.mark.parametrize("width", [390, 320])
def test_the_page_can_be_read_on_a_phone(browser, file, width):
    tab = Tab(browser, file, width=width, height=844)
    tab.wait("document.getElementById('frame-counter').textContent.includes('40')")
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    outside = """[...document.querySelectorAll('body *')].filter((node) => !node.closest('.scroll, .skip, pre, svg'))
      .filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5)
      .map((node) => node.outerHTML.slice(0, 90))"""
    assert tab.page.evaluate(outside) == []
    assert tab.page.evaluate("document.getElementById('stage').getBoundingClientRect().height") > 150
    sizes = "[...document.querySelectorAll('p, td, th')].map((node) => parseFloat(getComputedStyle(node).fontSize))"
    assert min(tab.page.evaluate(sizes)) >= 12
    assert tab.console == tab.errors == []


def test_the_page_is_dark_where_the_reader_wants_it(browser, file):
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    assert min(Tab(browser, file).page.evaluate(paper)) > 240
    tab = Tab(browser, file, scheme="dark")
    tab.wait("document.getElementById('frame-counter').textContent.includes('40')")
    assert max(tab.page.evaluate(paper)) < 40
    assert max(tab.pixel(0.02, 0.02)) < 60  # the ground beside the road


def test_everything_can_be_reached_by_keyboard(browser, file):
    tab = Tab(browser, file)
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    clickable = "[...document.querySelectorAll('button, input, select, #stage, .scroll, summary, a')]"
    assert tab.page.evaluate(f"{clickable}.every((node) => node.tabIndex === 0)")
    named = """(node) => node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length"""
    assert tab.page.evaluate(f"{clickable}.every({named})")
    tab.page.locator("#t-metrics .sort").first.focus()
    tab.page.keyboard.press("Enter")
    assert tab.page.locator("#t-metrics th").first.get_attribute("aria-sort") == "ascending"


def test_the_cars_stand_on_the_road_where_they_did(browser, tmp_path):
    made = fake_report(30)
    case = gallery(made["cases"], 1)[0]
    case["contact_frame"] = None
    # 12 m from the beginning of the road; the film's own coordinates begin at the ego.
    ego = Car(np.full(20, 12.0), 4.0, 0.0)
    write_page(tmp_path / "report.html", made, None, [pack(episodes([ego]), 0, case)])
    tab = Tab(browser, tmp_path / "report.html")
    tab.wait("document.getElementById('frame-counter').textContent.startsWith('frame')")
    tab.page.locator("#scrub").fill("0")
    width = tab.page.evaluate("document.getElementById('stage').clientWidth")
    across = min(110, max(60, width / 6))  # metres in the picture
    before, after = (tab.pixel(0.5 + (metres - 12) / across, 0.5) for metres in (-5.0, 3.0))
    ground, asphalt = tab.pixel(0.02, 0.02), tab.pixel(0.98, 0.5)
    assert before == ground != after
    assert after == asphalt


def test_a_link_to_a_case_opens_it(browser, file, report):
    third = gallery(report["cases"], 3)[2]["case"]
    tab = Tab(browser, file)
    tab.page.goto("about:blank")
    tab.page.goto(f"{file.as_uri()}#case={third.replace('/', '%2F')}")
    name = " / ".join(third.split("/"))
    tab.wait(f"document.getElementById('film-name').textContent === {name!r}")
    assert third.split("/")[1] in tab.text("#t-cases .asked")
    assert tab.errors == []


def test_a_comparison_has_its_own_page(browser, tmp_path):
    sides = []
    for seed in range(2):
        folder = tmp_path / f"side{seed}"
        folder.mkdir()
        made = fake_report(60, seed)
        (folder / "report.json").write_text(json.dumps(made))
        write_page(folder / "report.html", made, None, with_films(made))
        sides.append([load_report(folder)])
    write_comparison(tmp_path / "comparison.html", compare(*sides))
    tab = Tab(browser, tmp_path / "comparison.html")
    assert tab.console == tab.errors == []
    assert tab.requests == [(tmp_path / "comparison.html").as_uri()]
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rows = tab.page.locator("#t-discordant tbody tr:not(.none)")
    total = rows.count()
    assert total > 3
    tab.page.locator("[data-filter=t-discordant]").fill("at fault")
    shown = tab.page.locator("#t-discordant tbody tr:not(.none):visible").count()
    assert 0 < shown < total
    tab.page.locator("#t-discordant .sort").nth(1).click()
    first = tab.page.locator("#t-discordant tbody tr:visible a").first
    assert first.get_attribute("href").startswith("side0/report.html#case=")
    first.click()
    tab.wait("document.querySelector('#t-cases .asked') !== null")  # the link leads to the case on the report's page
    assert tab.errors == []
