import numpy as np
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from sim.evaluation.statistics import kaplan_meier, wilson_interval


def test_hand_worked():
    # Six episodes; events at 1, 3 (two) and 5, censored at 3 and 4. At risk 6, 5, 1.
    # S(1) = 5/6, S(3) = 5/6 * 3/5 = 1/2, S(5) = 0; Greenwood at 3: 1/(6*5) + 2/(5*3) = 1/6.
    found = kaplan_meier([3, 1, 3, 3, 5, 4], [True, True, False, True, True, False])
    assert found.time.tolist() == [1, 3, 5]
    assert found.at_risk.tolist() == [6, 5, 1]
    assert found.events.tolist() == [1, 2, 1]
    assert found.share == pytest.approx([5 / 6, 1 / 2, 0])
    assert found.spread[1] == pytest.approx(1 / 6)
    assert found.at(2.9).value == pytest.approx(5 / 6)
    assert found.at(0).value == 1
    assert found.quantile(0.5).value == 3
    assert found.quantile(0.6).value == 5
    # The area under the steps: 1 * 1 + 2 * 5/6 + 2 * 1/2.
    assert found.mean(5).value == pytest.approx(1 + 10 / 6 + 1)
    assert found.mean(4).value == pytest.approx(1 + 10 / 6 + 1 / 2)


def test_curve_and_standard_error_equal_statsmodels():
    generator = np.random.default_rng(0)
    times = np.ceil(generator.exponential(20, 300))  # with ties
    events = generator.random(300) < 0.6
    reference = SurvfuncRight(times, events)
    found = kaplan_meier(times, events)
    places = np.searchsorted(found.time, reference.surv_times)
    assert found.time[places] == pytest.approx(reference.surv_times)
    assert found.share[places] == pytest.approx(reference.surv_prob)
    assert found.at_risk[places].tolist() == reference.n_risk.tolist()
    inner = reference.surv_prob > 0
    error = found.share[places][inner] * np.sqrt(found.spread[places][inner])
    assert error == pytest.approx(reference.surv_prob_se[inner])
    assert found.quantile(0.5).value == reference.quantile(0.5)


def test_without_censoring_it_is_the_plain_share_with_wilsons_interval():
    times = [1, 2, 2, 4, 6, 8, 9, 9]
    found = kaplan_meier(times, [True] * 8)
    for time in (0.5, 1, 3, 8.5, 9, 50):
        alive = sum(t > time for t in times)
        expected = wilson_interval(alive, 8)
        at = found.at(time)
        assert (at.value, at.low, at.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.mean(9).value == pytest.approx(np.mean(times))


def test_episodes_that_ended_before_the_first_event_add_no_certainty():
    found = kaplan_meier([1, 1, 1, 1, 1, 2, 3, 4, 5], [False] * 5 + [True, True, False, False])
    expected = wilson_interval(2, 4)
    at = found.at(3)
    assert (at.value, at.low, at.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_no_event_is_no_certainty():
    found = kaplan_meier([10, 20, 20, 30], [False] * 4)
    assert found.at(15).as_dict() == wilson_interval(3, 3).as_dict()  # three were still watched
    assert found.at(31).value is None
    assert found.at(31).note == "no episode was watched that long"
    assert found.quantile().as_dict() == {"value": None, "ci95": [None, None]}
    assert found.mean(30).as_dict() == {"value": 30, "ci95": [None, None]}
    assert found.mean(30).note == "no event"


def test_nothing_and_one_episode():
    nothing = kaplan_meier([], [])
    assert nothing.at(1).value is None
    assert nothing.mean(1).value is None
    one = kaplan_meier([4], [True])
    assert one.at(3).as_dict() == wilson_interval(1, 1).as_dict()
    assert one.at(4).as_dict() == wilson_interval(0, 1).as_dict()
    assert one.quantile().value == 4


def test_early_crashes_do_not_count_twice():
    # Every driver crashes at a rate of 0.02 a second; episodes are cut at 30 s. Counted per driven second or per
    # episode, the length of the episodes decides; the curve does not know where it was cut.
    crash = np.random.default_rng(0).exponential(50, 20_000)
    for cut in (10, 30):
        found = kaplan_meier(np.minimum(crash, cut), crash <= cut)
        assert found.at(9.99).value == pytest.approx(np.exp(-0.2), abs=0.01)


def test_bad_input_is_refused():
    for times, events, message in (([1, 2], [True], "one event an episode"), ([-1.0], [True], "not negative")):
        with pytest.raises(ValueError, match=message):
            kaplan_meier(times, events)
    found = kaplan_meier([5, 6], [True, False])
    with pytest.raises(ValueError, match="the longest episode, 6, got 7"):
        found.mean(7)
    with pytest.raises(ValueError, match="got 1"):
        found.quantile(1)


def test_coverage_with_a_third_censored():
    generator = np.random.default_rng(2)
    runs = 1500
    crash = generator.exponential(50, (runs, 80))
    end = generator.uniform(30, 120, (runs, 80))
    held = {"share": 0, "median": 0, "mean": 0}
    for times, events in zip(np.minimum(crash, end), crash <= end, strict=True):
        found = kaplan_meier(times, events)
        share, median, mean = found.at(40), found.quantile(0.5), found.mean(60)
        held["share"] += share.low <= np.exp(-0.8) <= share.high
        held["median"] += median.low <= 50 * np.log(2) <= (median.high or np.inf)
        held["mean"] += mean.low <= 50 * (1 - np.exp(-1.2)) <= mean.high
    for name, count in held.items():
        assert 0.93 < count / runs < 0.97, name
