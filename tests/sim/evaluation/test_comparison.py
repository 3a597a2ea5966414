import numpy as np
import pytest

from sim.evaluation.comparison import compare
from sim.evaluation.comparison_table import as_dict, markdown, verdict
from sim.evaluation.report_files import load_report
from sim.evaluation.statistics import holm, mcnemar_test, tango_interval, wilson_interval
from tests.sim.evaluation.hand_made_reports import SPECS, collisions, record, report, write


@pytest.fixture
def load(tmp_path):
    """Writes a report and reads it back; each gets a folder of its own."""
    folders = (tmp_path / str(i) for i in range(100))
    return lambda content: load_report(write(next(folders), content))


def drives(generator, shift=0.0, n=40, errors=()):
    """A report with all four metrics in two groups; `shift` metres further and as many lane changes."""
    cases = []
    for i in range(n):
        case = f"{'left' if i % 2 else 'right'}/{i}"
        if i in errors:
            cases.append(record(case, error="ValueError: NaN"))
            continue
        metrics = {
            "distance": round(100 * (i % 2) + i + shift + generator.normal(), 6),
            "collision": int(i < 4),
            "success": int(i > 6),
            "lane_changes": float(generator.integers(0, 5) + shift),
        }
        cases.append(record(case, metrics))
    return report(cases)


def by_name(comparison):
    return {row.name: row for row in comparison.rows}


def test_a_table_worked_by_hand(load):
    # Both crash in 3 cases, only A in 9, only B in 2, neither in 26.
    a = load(collisions([1] * 3 + [1] * 9 + [0] * 2 + [0] * 26))
    b = load(collisions([1] * 3 + [0] * 9 + [1] * 2 + [0] * 26))
    (row,) = compare([a], [b]).rows
    assert row.a == wilson_interval(12, 40)
    assert row.b == wilson_interval(5, 40)
    assert row.difference == tango_interval(2, 9, 40)
    assert row.difference.value == pytest.approx(-7 / 40)
    assert row.p == row.p_adjusted == mcnemar_test(2, 9) == pytest.approx(2 * (1 + 11 + 55) / 2048)
    assert row.outcome == (9, 29, 2)
    assert verdict(row).startswith("no difference shown; 80 % power from ")
    assert f"{row.needed} cases" in verdict(row)


def test_clear_differences_are_named_by_direction(load):
    a, b = load(collisions([1] * 12 + [0] * 20)), load(collisions([0] * 32))
    assert verdict(compare([a], [b]).rows[0]) == "B is better"
    assert verdict(compare([b], [a]).rows[0]) == "B is worse"
    generator = np.random.default_rng(0)
    rows = by_name(compare([load(drives(generator))], [load(drives(generator, 5.0))]))
    assert verdict(rows["distance"]) == "B is better"
    assert verdict(rows["lane_changes"]) == "B is higher"
    assert rows["distance"].difference.low < 5 < rows["distance"].difference.high
    assert rows["distance"].outcome == (40, 0, 0)
    assert rows["lane_changes"].outcome is None
    # The groups lie 100 m apart, but pairs compare a case with itself.
    assert rows["distance"].difference.high - rows["distance"].difference.low < 2
    assert verdict(rows["success"]).startswith("the same in all 40 cases; 80 % power from ")


def test_the_primary_metric_stands_first_and_alone(load):
    generator = np.random.default_rng(1)
    a, b = load(drives(generator)), load(drives(generator, 0.3))
    comparison = compare([a], [b])
    assert [row.name for row in comparison.rows] == ["collision", "distance", "success", "lane_changes"]
    alone = compare([a], [b], primary="distance").rows[0]
    assert alone.p_adjusted == alone.p < 0.5
    others = comparison.rows[1:]
    assert [row.p_adjusted for row in others] == pytest.approx(holm([row.p for row in others]))
    assert compare([a], [b], primary="success").rows[0].name == "success"
    with pytest.raises(ValueError, match=r"'comfort' is not in all reports; they share distance, collision"):
        compare([a], [b], primary="comfort")


def test_a_driver_equals_itself(load):
    a = load(drives(np.random.default_rng(0)))
    for row in compare([a], [a]).rows:
        assert row.p == 1
        assert row.difference.value == 0
        assert row.equal
    distance = by_name(compare([a], [a]))["distance"]
    assert distance.difference.low is None  # 40 zeros prove no interval of zero width
    assert distance.difference.note == "the same in all 40 cases"
    assert verdict(distance) == "the same in all 40 cases"


def test_an_exception_is_the_worst_rate_and_no_mean(load):
    clean, raising = (load(drives(np.random.default_rng(3), errors=errors)) for errors in ((), (10, 20)))
    comparison = compare([clean], [raising])
    assert comparison.errors == (("B", 0, "right/10", "ValueError: NaN"), ("B", 0, "right/20", "ValueError: NaN"))
    rows = by_name(comparison)
    assert rows["collision"].b.value == 6 / 40
    assert rows["success"].b.value == 31 / 40
    assert rows["collision"].difference.n == 40
    assert rows["distance"].difference.n == 38
    assert rows["distance"].one_sided == 2
    text = markdown(comparison)
    assert "Errors: 0 on A, 2 on B." in text
    assert "B1, right/10: ValueError: NaN" in text
    both = compare([load(drives(np.random.default_rng(3), errors=(10,)))], [raising])
    assert {error[0] for error in both.errors} == {"A", "B"}
    assert by_name(both)["collision"].outcome == (0, 39, 1)


def test_many_errors_with_ugly_messages_stay_readable(load):
    ugly = "ValueError: one\n| two |\x1b[31m\x00" + "x" * 1000
    text = markdown(compare([load(collisions([0] * 30))], [load(collisions([ugly] * 30))]))
    listed = [line for line in text.splitlines() if line.startswith("- B1, g/")]
    assert len(listed) == 10
    assert all(len(line) < 250 and line.isprintable() for line in listed)
    assert listed[0].startswith("- B1, g/0: ValueError: one | two |[31mxxx")
    assert "- and 20 more" in text


def test_an_error_counts_only_where_the_metric_is_asked(load):
    specs = {name: SPECS[name] for name in ("collision", "success")}
    parking = [record(f"parking/{i}", {"collision": 0, "success": 1}) for i in range(4)]
    highway = [record(f"highway/{i}", {"collision": 0} | ({"success": None} if i else {})) for i in range(4)]
    raising = report([*parking, *highway[:3], record("highway/3", error="E: x")], specs)
    rows = by_name(compare([load(raising)], [load(raising)]))
    assert rows["success"].difference.n == 4
    assert rows["collision"].difference.n == 8
    assert rows["collision"].a.value == rows["collision"].b.value == 1 / 8
    # Of a group where nothing ran at all, that is known from the others.
    nothing = report([*parking, *(record(f"highway/{i}", error="E: x") for i in range(4))], specs)
    rows = by_name(compare([load(nothing)], [load(nothing)]))
    assert rows["collision"].b.value == 4 / 8


def test_pairs_need_a_value_on_both_sides(load):
    cases = [[record(f"g/{i}", {"collision": 0, "distance": value}) for i, value in enumerate(values)]
             for values in ([1.0, None, 3.0, None, 5.0], [2.0, 2.0, None, None, 5.5])]  # fmt: skip
    specs = {name: SPECS[name] for name in ("collision", "distance")}
    a, b = (load(report(part, specs)) for part in cases)
    row = by_name(compare([a], [b]))["distance"]
    assert (row.difference.n, row.one_sided, row.difference.value) == (2, 2, 0.75)
    assert (row.a.value, row.b.value) == (3, 3.75)  # of the pairs, so that they differ by the difference
    assert "cases with a value on one side only, left out: distance 2" in markdown(compare([a], [b]))
    nothing = load(report([record(f"g/{i}", {"collision": 0, "distance": None}) for i in range(5)], specs))
    row = by_name(compare([a], [nothing]))["distance"]
    assert (row.p, row.difference.value, row.outcome) == (None, None, None)
    assert verdict(row) == "not comparable: no case is valid on both sides"


def test_one_case_and_no_events(load):
    one = compare([load(collisions([0]))], [load(collisions([1]))])
    assert one.rows[0].p == 1
    assert verdict(one.rows[0]).startswith("no difference shown; so few cases could show none")
    assert "so few" in markdown(one)
    for outcomes in ([0] * 50, [1] * 50):
        (row,) = compare([load(collisions(outcomes))], [load(collisions(outcomes))]).rows
        assert row.difference.low < 0 < row.difference.high
        assert row.detectable > 6 / 50


def test_the_order_of_cases_and_the_place_of_the_file_change_nothing(load):
    generator = np.random.default_rng(4)
    a, b = drives(generator), drives(generator, 0.5)
    before = as_dict(compare([load(a)], [load(b)]))
    turned = as_dict(compare([load(a | {"cases": a["cases"][::-1]})], [load(b)]))
    assert before["metrics"] == turned["metrics"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "b" * 64}, r"different suites cannot be compared: .*smoke 1 \(aaaaaaaaaaaa\), .*bbbbbbbbbbbb"),
        ({"outcomes": [0, 0]}, "lacks 1 cases that .* has: g/2"),
        ({"outcomes": [0] * 8}, "lacks 5 cases that .* has: g/3, g/4, g/5, ..."),
        ({"group": "h"}, "lacks 3 cases that .* has: g/0, g/1, g/2"),
    ],
)
def test_other_suites_and_cases_are_refused(load, change, message):
    other = collisions(**({"outcomes": [0, 0, 1]} | change))
    with pytest.raises(ValueError, match=message):
        compare([load(collisions([0, 0, 1]))], [load(other)])


def test_metrics_of_another_meaning_are_refused_and_those_of_one_side_listed(load):
    cases = [record("g/0", {"collision": 0, "success": 1}), record("g/1", {"collision": 0, "success": 1})]
    a = load(report(cases, {name: SPECS[name] for name in ("collision", "success")}))
    b = load(collisions([0, 0]))
    assert compare([a], [b]).missing == ("success",)
    assert "metrics on one side only, not compared: success" in markdown(compare([a], [b]))
    changed = collisions([0, 0])
    changed["metrics"]["collision"]["better"] = "higher"
    with pytest.raises(ValueError, match="collision is defined differently"):
        compare([a], [load(changed)])
    with pytest.raises(ValueError, match="collision is a rate, so its values are 0 or 1"):
        compare([b], [load(collisions([0, 2]))])


def test_several_runs_a_side(load):
    generator = np.random.default_rng(6)
    # Each run of B drives 3 m further, give or take a metre that is its own.
    a = [load(drives(generator, generator.normal())) for _ in range(5)]
    b = [load(drives(generator, 3 + generator.normal())) for _ in range(6)]
    comparison = compare(a, b)
    row = by_name(comparison)["distance"]
    single = by_name(compare(a[:1], b[:1]))["distance"]
    assert row.test == "two-level bootstrap"
    assert row.difference.low < 3 < row.difference.high
    # One run a side knows nothing of how trainings differ, and says so nowhere: its interval is too narrow for that.
    assert row.difference.high - row.difference.low > single.difference.high - single.difference.low
    collision = by_name(comparison)["collision"]
    assert collision.equal
    assert collision.difference.low < 0 < collision.difference.high
    assert "at least" not in markdown(comparison)
    assert "1 training run on a side; 5 are the least" in markdown(compare(a[:1], b))
    assert [entry["driver"] for entry in as_dict(comparison)["b"]] == ["idm"] * 6


def test_the_same_run_twice_is_no_second_run(load):
    a = load(collisions([0, 1]))
    with pytest.raises(ValueError, match="side B names a report twice"):
        compare([a], [a, a])
    with pytest.raises(ValueError, match="a report on each side"):
        compare([a], [])


def test_the_gate_wants_proof_and_not_a_lack_of_evidence(load):
    few = compare([load(collisions([0] * 50))], [load(collisions([0] * 50))])
    many = compare([load(collisions([0] * 1000))], [load(collisions([0] * 1000))])
    assert few.gate(0.01)[0] is False
    assert many.gate(0.01)[0] is True
    assert many.gate(0.001)[0] is False
    worse = compare([load(collisions([0] * 1000))], [load(collisions([1] * 30 + [0] * 970))])
    passed, words = worse.gate(0.03)
    assert not passed
    assert words.startswith("GATE FAILED: the collision rate may have risen by up to 4.")
    assert worse.gate(0.05)[0]
    plain = [{"success": 1}, {"success": 0}]
    specs = {"success": SPECS["success"]}
    other = load(report([record(f"g/{i}", metrics) for i, metrics in enumerate(plain)], specs))
    with pytest.raises(ValueError, match="the gate needs the metric 'collision'"):
        compare([other], [other], primary="success").gate(0.1)
