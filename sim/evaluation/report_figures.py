"""Numbers as a reader wants them, and the small SVG charts of the report page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

DASH = "–"
"""Stands for what is missing."""
BINS = 32
"""Of a histogram, at most one more."""
FINEST = 1e-3
"""Narrowest bin of a histogram, as a share of the largest value."""
TAIL = 2.0
"""A histogram's last bin holds all that lies further above the 90th percentile than this times the range from the 10th
to it: a few far values (times to collision go to infinity) must not squeeze the others into one bar."""
THIN = "\u2009"

# metric -> bound used in the literature, the reference's section 3.2: SUMO, the criticality catalogue, UN R157
BOUNDS = {"min_ttc": 1.5, "min_ttc_2d": 1.5, "min_mttc": 1.5, "min_thw": 1.0, "min_pet": 1.5, "max_drac": 3.4}
# What neither HTML nor XML 1.0 can hold, escaped or not.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_EXPONENT = re.compile("(?<=[a-z])[23]")
ACRONYMS = {"ttc", "mttc", "thw", "drac", "pet", "rss", "tet", "tit", "rms", "mdrac"}


NAMES = {"nuplan16": "nuPlan score", "carla21": "CARLA score"}
"""Metrics that are called something else than their words."""


def clean(text: str) -> str:
    """Returns text for a page or an XML file, each character that neither can hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def label(name: str) -> str:
    """Returns a metric's name as words."""
    if name in NAMES:
        return NAMES[name]
    words = [word.upper() if word in ACRONYMS else {"2d": "2-D"}.get(word, word) for word in name.split("_")]
    text = " ".join(words).replace("at fault", "at-fault").replace("delta v", "delta-v")
    return text[:1].upper() + text[1:]


def unit(text: str) -> str:
    """Returns a unit with its exponents raised: m/s2 as m/s²."""
    return _EXPONENT.sub(lambda found: "²³"[int(found[0]) - 2], text)


def number(value: float | None, rate: bool = False) -> str:
    """Returns about three or four significant digits; a rate in per cent; a dash for None."""
    if value is None or not math.isfinite(value):
        return DASH
    if rate:
        return f"{_decimal(100 * value, (10, 1), (1, 2), (0.01, 2))}{THIN}%"
    return _decimal(value, (1000, 0), (100, 1), (0.1, 2), (0.001, 4))


def _decimal(value: float, *digits: tuple[float, int]) -> str:
    """With as many decimals as the first bound that |value| reaches allows; below all of them, two digits."""
    size = abs(value)
    places = next((count for bound, count in digits if size >= bound), None)
    text = f"{value:.2g}" if places is None and size else f"{value:,.{places or 0}f}"
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "\u2212")  # a minus sign, not a hyphen


def interval(bounds: Sequence[float | None] | None, rate: bool = False) -> str:
    """Returns `low to high`, or a dash where either is missing."""
    if bounds is None or any(bound is None for bound in bounds):
        return DASH
    low, high = (number(bound, rate) for bound in bounds)
    return f"{low.removesuffix(f'{THIN}%')} to {high}"


def span(estimates: Sequence[dict[str, Any] | None], zero: bool) -> tuple[float, float] | None:
    """Returns the range that all values and intervals lie in, from zero where `zero`; None without any."""
    ends = [end for one in estimates if one for end in (one["value"], *(one["ci95"] or ())) if end is not None]
    if not ends:
        return None
    low, high = min(ends), max(ends)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    return (low, high) if high > low else (low, low + 1.0)


def interval_bar(estimate: dict[str, Any] | None, over: tuple[float, float] | None) -> Markup:
    """Returns a bar from the low to the high end of an interval with a mark at its value, on the scale `over`."""
    if not estimate or estimate["value"] is None or over is None:
        return Markup("")
    low, high = over

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    ends = [end for end in estimate["ci95"] or () if end is not None]
    parts = []
    if len(ends) == 2:
        left, right = at(ends[0]), at(ends[1])
        parts.append(f'<rect class="range" x="{left}" y="4" width="{max(right - left, 0.6):.2f}" height="4"/>')
    parts.append(f'<rect class="mark" x="{at(estimate["value"]) - 0.9:.2f}" y="0" width="1.8" height="12"/>')
    head = '<svg class="bar" viewBox="-1 0 102 12" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f'{head}<rect class="rail" x="0" y="5.5" width="100" height="1"/>{"".join(parts)}</svg>')


def difference_bar(estimate: dict[str, Any]) -> Markup:
    """Returns the bar of a difference, zero in its middle."""
    ends = [abs(end) for end in (estimate["value"], *(estimate["ci95"] or ())) if end is not None]
    reach = max(ends, default=0.0) or 1.0
    bar = interval_bar(estimate, (-reach, reach))
    return bar.replace("</svg>", Markup('<rect class="zero" x="49.7" y="0" width="0.6" height="12"/></svg>'))


def shares_bar(parts: Sequence[tuple[str, str, int]]) -> Markup:
    """Returns one bar cut into the shares of the parts.

    Args:
        parts: of each its class in the styles, what it is, and how many.
    """
    total, left, cut = sum(count for _, _, count in parts) or 1, 0.0, []
    for cls, text, count in parts:
        wide = 100 * count / total
        said = escape(f"{text}: {count} of {total}")
        cut.append(
            f'<rect class="{cls}" x="{left:.3f}" y="0" width="{wide:.3f}" height="10"><title>{said}</title></rect>'
        )
        left += wide
    said = escape("; ".join(f"{text}: {count}" for _, text, count in parts))
    head = f'<svg class="shares" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{said}">'
    return Markup(f"{head}{''.join(cut)}</svg>")


def histogram(name: str, unit: str, values: Sequence[float], bad: Sequence[bool]) -> Markup:
    """Returns a histogram; the share of each bar that is `bad` (crashed) stands out.

    Args:
        name: the metric.
        unit: its unit.
        values: one a case, finite.
        bad: of each case.
    """
    data, bad = np.asarray(values, dtype=float), np.asarray(bad, dtype=bool)
    edges, cut = _bins(data, BOUNDS.get(name, 0.0))
    bins = len(edges) - 1
    clipped = np.clip(data, edges[0], edges[-1])
    everyone, crashed = (np.histogram(part, edges)[0] for part in (clipped, clipped[bad]))
    width, height, tallest = 320, 120, max(int(everyone.max()), 1)
    step, parts = width / bins, []
    for k, (total, red) in enumerate(zip(everyone.tolist(), crashed.tolist(), strict=True)):
        if not total:
            continue
        reach = "or more" if cut and k == bins - 1 else f"to {number(edges[k + 1])}"
        said = f"{total} cases, {number(edges[k])} {reach} {unit}" + f"; {red} crashed" * bool(red)
        parts.append(f"<g><title>{escape(said.strip())}</title>")
        for cls, count in (("all", total), ("crashed", red)):
            tall = max(height * count / tallest, 1.0) if count else 0.0
            if tall:
                place = f'x="{k * step + 0.5:.1f}" y="{height - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}"'
                parts.append(f'<rect class="{cls}" {place}/>')
        parts.append("</g>")
    bound = BOUNDS.get(name)
    if bound is not None and edges[0] < bound < edges[-1]:
        x = width * (bound - edges[0]) / (edges[-1] - edges[0])
        parts.append(f'<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="-12" y2="{height}"/>')
        side = f'x="{x + 4:.1f}"' if x < width * 0.7 else f'x="{x - 4:.1f}" text-anchor="end"'
        parts.append(f'<text {side} y="-3">{number(bound)}</text>')
    middle = bins // 2
    ticks = [(0, "start", number(edges[0])), (middle * step, "middle", number(edges[middle]))]
    ticks.append((width, "end", f"≥{THIN}{number(edges[-1])}" if cut else number(edges[-1])))
    parts += [f'<text x="{x:g}" y="{height + 15}" text-anchor="{anchor}">{text}</text>' for x, anchor, text in ticks]
    q05, q50, q95 = (number(float(q)) for q in np.percentile(data, [5, 50, 95]))
    said = escape(f"{label(name)}: {len(data)} cases, median {q50} {unit}, 5th to 95th percentile {q05} to {q95}")
    base = f'<line class="axis" x1="0" x2="{width}" y1="{height}" y2="{height}"/>'
    head = f'<svg class="chart" viewBox="-4 -14 {width + 8} {height + 34}" role="img" aria-label="{said}">'
    return Markup(f"{head}{''.join(parts)}{base}</svg>")


def _bins(data: np.ndarray, bound: float) -> tuple[np.ndarray, bool]:
    """Edges at round numbers, and whether the last bin holds the far tail too, which never begins near the bound."""
    low, high = float(data.min()), float(data.max())
    q10, q90 = (float(q) for q in np.percentile(data, [10, 90]))
    end = max(q90 + TAIL * (q90 - q10), 2 * bound) if q90 > q10 else high
    cut = high > end
    reach = min(end, high) - low
    # What differs by a rounding error belongs in one bin.
    fine = max(reach / BINS, FINEST * max(abs(low), abs(high))) or 1.0
    power = 10.0 ** math.floor(math.log10(fine))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= fine * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil((low + reach) / step - 1e-9))
    return np.round(np.arange(first, last + 1) * step, 12), cut


def curve(name: str, severities: Sequence[float], points: Sequence[dict[str, Any]], rate: bool) -> Markup:
    """Returns a metric against the severity of a fault, with its intervals.

    Args:
        name: the metric.
        severities: of the fault.
        points: of each severity {"value", "ci95"}; points without a value are left out.
        rate: is the metric a rate.
    """
    over = span(points, zero=rate)
    if over is None:
        return Markup("")
    width, height, left = 280, 120, 44
    low, high = over
    start, reach = float(severities[0]), float(severities[-1]) - float(severities[0]) or 1.0

    def at(severity: float, value: float) -> tuple[float, float]:
        across = left + 8 + (width - left - 16) * (severity - start) / reach
        return round(across, 1), round(height - (height - 8) * (value - low) / (high - low), 1)

    parts = []
    for value in (low, (low + high) / 2, high):
        _, y = at(start, value)
        parts.append(f'<line class="grid" x1="{left}" x2="{width}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{number(value, rate)}</text>')
    for severity in severities:
        parts.append(f'<text x="{at(severity, low)[0]}" y="{height + 16}" text-anchor="middle">{severity:g}</text>')
    shown = [(s, p) for s, p in zip(severities, points, strict=True) if p and p["value"] is not None]
    places = [at(severity, point["value"]) for severity, point in shown]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in places)}"/>')
    for (severity, point), (x, y) in zip(shown, places, strict=True):
        ends = [end for end in point["ci95"] or () if end is not None]
        if len(ends) == 2:
            (_, bottom), (_, peak) = (at(severity, end) for end in ends)
            parts.append(f'<path class="whisker" d="M{x} {bottom}V{peak}M{x - 3} {bottom}h6M{x - 3} {peak}h6"/>')
        said = f"severity {severity:g}: {number(point['value'], rate)} ({interval(point['ci95'], rate)})"
        parts.append(f'<circle cx="{x}" cy="{y}" r="3"><title>{escape(said)}</title></circle>')
    said = escape(f"{label(name)} against severity, {len(shown)} points; the table below has the figures")
    head = f'<svg class="chart" viewBox="0 -8 {width + 6} {height + 30}" role="img" aria-label="{said}">'
    return Markup(f"{head}{''.join(parts)}</svg>")
