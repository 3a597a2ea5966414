import re

import numpy as np
import pytest

from sim.evaluation.report_figures import (
    clean,
    curve,
    difference_bar,
    histogram,
    interval,
    interval_bar,
    label,
    number,
    shares_bar,
    span,
    unit,
)


@pytest.mark.parametrize(
    ("value", "rate", "text"),
    [
        (None, False, "–"),
        (float("nan"), False, "–"),
        (float("inf"), True, "–"),
        (0.0, False, "0"),
        (0.0, True, "0\u2009%"),
        (1.0, True, "100\u2009%"),
        (0.01234, True, "1.23\u2009%"),
        (0.000046, True, "0.0046\u2009%"),
        (22.6549, False, "22.65"),
        (-0.5, False, "\u22120.5"),
        (1234567.8, False, "1,234,568"),
        (123.45, False, "123.5"),
        (0.0123, False, "0.0123"),
        (2.5e-7, False, "2.5e\u221207"),
    ],
)
def test_numbers_as_text(value, rate, text):
    assert number(value, rate) == text


def test_intervals_as_text():
    assert interval([0.01, 0.025], rate=True) == "1 to 2.5\u2009%"
    assert interval([-1.0, 2.0]) == "\u22121 to 2"
    assert interval([None, 2.0]) == interval(None) == "–"


def test_names_as_words():
    assert label("min_ttc_2d") == "Min TTC 2-D"
    assert label("at_fault_collision") == "At-fault collision"
    assert label("nuplan16") == "nuPlan score"
    assert label("<script>") == "<script>"
    assert unit("m/s2") == "m/s²"
    assert unit("s2/km") == "s²/km"
    assert unit("1/km") == "1/km"


def rectangles(svg, cls):
    """(x, width, y, height) of the rectangles of a class."""
    found = re.findall(rf'<rect class="{cls}" x="([-\d.]+)" y="([-\d.]+)" width="([-\d.]+)" height="([-\d.]+)"', svg)
    return [(float(x), float(width), float(y), float(height)) for x, y, width, height in found]


def test_an_interval_bar_stands_where_its_figures_are():
    svg = interval_bar({"value": 5.0, "ci95": [2.5, 7.5]}, (0.0, 10.0))
    ((x, width, _, _),) = rectangles(svg, "range")
    assert (x, width) == (25, 50)
    ((x, width, _, _),) = rectangles(svg, "mark")
    assert x + width / 2 == pytest.approx(50)
    assert rectangles(interval_bar({"value": 5.0, "ci95": [None, None]}, (0.0, 10.0)), "range") == []
    assert interval_bar({"value": None, "ci95": None}, (0.0, 10.0)) == interval_bar(None, None) == ""


def test_a_difference_bar_has_zero_in_its_middle():
    svg = difference_bar({"value": -1.0, "ci95": [-4.0, 2.0]})
    ((x, width, _, _),) = rectangles(svg, "range")
    assert (x, x + width) == (0, 75)
    assert 'class="zero"' in svg


def test_the_span_of_estimates():
    some = [{"value": 2.0, "ci95": [1.0, 3.0]}, None, {"value": 4.0, "ci95": [None, None]}]
    assert span(some, zero=False) == (1.0, 4.0)
    assert span(some, zero=True) == (0.0, 4.0)
    assert span([{"value": None, "ci95": None}], zero=True) is None
    low, high = span([{"value": 0.0, "ci95": [0.0, 0.0]}], zero=True)
    assert low < high


def test_a_histogram_counts_every_case_once():
    values = np.random.default_rng(0).normal(size=500)
    svg = histogram("speed", "m/s", values, values > 1)
    counts = [int(text) for text in re.findall(r"<title>(\d+) cases", svg)]
    assert sum(counts) == 500
    assert sum(int(text) for text in re.findall(r"; (\d+) crashed", svg)) == (values > 1).sum()
    heights = [height for *_, height in rectangles(svg, "all")]
    tallest = int(np.argmax(counts))
    assert heights[tallest] == max(heights) == 120
    np.testing.assert_allclose(heights, [120 * n / max(counts) for n in counts], atol=1)
    assert len(counts) <= 33


def test_far_values_share_the_last_bin_of_a_histogram():
    values = [*np.linspace(0, 5, 100), 4000.0, 9000.0]
    svg = histogram("min_ttc", "s", values, [False] * 102)
    assert "2 cases, " in svg
    assert "or more s" in svg
    assert float(re.findall("≥\u2009([0-9.,]+)", svg)[0]) < 30
    assert 'class="bound"' in svg  # 1.5 s lies within
    assert "≥" not in histogram("min_ttc", "s", values[:-2], [False] * 100)


def test_a_histogram_reaches_past_the_bound_of_its_metric():
    svg = histogram("min_ttc", "s", [*np.linspace(0, 0.1, 90), *np.linspace(2, 40, 10)], [False] * 100)
    assert 'class="bound"' in svg
    assert "≥\u20093" in svg


def test_rounding_errors_are_no_distribution():
    svg = histogram("speed", "m/s", 25 + np.random.default_rng(0).normal(0, 1e-6, 100), [False] * 100)
    assert len(re.findall("<title>", svg)) <= 2
    ticks = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert ticks[0] != ticks[-1]


def test_a_histogram_of_two_values():
    svg = histogram("speed", "m/s", [3.0, 3.0, 3.0, 7.0], [False] * 4)
    assert re.findall(r"<title>(\d+) cases", svg) == ["3", "1"]


def test_a_curve_goes_through_its_points():
    points = [{"value": 1.0, "ci95": [0.5, 1.5]}, {"value": None, "ci95": None}, {"value": 3.0, "ci95": [None, None]}]
    svg = curve("return", [0, 1, 4], points, rate=False)
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert len(dots) == 2
    assert dots[0][1] > dots[1][1]  # y goes down
    assert svg.count('class="whisker"') == 1
    assert curve("return", [0], [{"value": None, "ci95": None}], rate=False) == ""


def test_the_shares_fill_the_bar():
    svg = shares_bar([("error", "error", 1), ("ok", "no <incident>", 3)])
    assert rectangles(svg, "error")[0][:2] == (0, 25)
    assert rectangles(svg, "ok")[0][:2] == (25, 75)
    assert "<incident>" not in svg
    assert "rect" not in shares_bar([])


def test_characters_that_no_page_can_hold():
    assert clean("a\tb\n\x00\x1b\ud83d\uffffä😀") == "a\tb\n\ufffd\ufffd\ufffd\ufffdä😀"
