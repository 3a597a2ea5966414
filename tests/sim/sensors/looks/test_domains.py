import pytest

from sim.sensors.looks.domains import (
    DOMAINS,
    HELD_OUT,
    KNOBS,
    MIXTURES,
    PLAIN,
    TRAINING,
    Domain,
    domain_named,
    domains_named,
)
from sim.sensors.looks.look import CLEAR, FIELD

# The fields that no knob gives: they follow from the scene.
FOLLOWING = {
    *("sun_x", "sun_y", "sun_z", "sun", "ambient"),
    *(f"{name}_{c}" for name in ("light", "top", "horizon", "asphalt", "grass", "shoulder", "paint") for c in "rgb"),
}


def test_there_are_enough_domains_and_each_is_one_or_the_other():
    assert len(TRAINING) >= 8 and len(HELD_OUT) >= 3
    assert {*TRAINING} | {*HELD_OUT} == {*DOMAINS} and not {*TRAINING} & {*HELD_OUT}
    assert {"clear", "fog", "night", "rain", "worn-road"} <= {*TRAINING}
    assert all(DOMAINS[name].held_out for name in HELD_OUT) and not any(DOMAINS[name].held_out for name in TRAINING)
    assert all(domain.about for domain in DOMAINS.values())


def test_every_field_is_a_knob_or_follows_from_some():
    assert {*PLAIN} | FOLLOWING == {*CLEAR} == {*FIELD} and not {*PLAIN} & FOLLOWING


@pytest.mark.parametrize("name", HELD_OUT)
def test_a_held_out_domain_is_outside_all_training_domains_in_each_knob_it_names(name):
    domain = DOMAINS[name]
    for knob in domain.novel:
        span = domain.span(knob)
        assert span.chance == 1
        seen = [KNOBS[knob]]
        for other in TRAINING:
            seen += [DOMAINS[other].span(knob).low, DOMAINS[other].span(knob).high]
        if knob == "sun_height":  # between day and night, where no training domain is
            day = [DOMAINS[other].span(knob) for other in TRAINING]
            assert all(span.high < other.low or other.high < span.low for other in day)
        else:
            assert span.low > max(seen) or span.high < min(seen)


def test_clear_varies_nothing():
    assert all(DOMAINS["clear"].span(knob) == (value, value, 1) for knob, value in KNOBS.items())


def test_names_mean_one_domain_or_several():
    fog = domain_named("fog")
    assert domains_named("fog") == domains_named(fog) == (fog,)
    assert [domain.name for domain in domains_named("training")] == list(TRAINING)
    assert [domain.name for domain in domains_named("held-out")] == list(HELD_OUT)
    assert len(domains_named("all")) == len(DOMAINS) == len({*MIXTURES["all"]})
    assert [domain.name for domain in domains_named(["rain", fog, "held-out"])] == ["rain", "fog", *HELD_OUT]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("night-time", ValueError, "unknown domain 'night-time'; did you mean 'night'?"),
        ("training-set", ValueError, "did you mean 'training'?"),
        (["fog", "reign"], ValueError, "unknown domain 'reign'"),
        ([], ValueError, "empty"),
        (3, TypeError, "domain is 3"),
        (None, TypeError, "domain is None"),
    ],
)
def test_a_wrong_domain_is_refused(wrong, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        domains_named(wrong)


def test_a_mixture_is_no_domain():
    with pytest.raises(ValueError, match="unknown domain 'training'"):
        domain_named("training")


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ({"fogg": (0, 1)}, "unknown knob of domain 'mine' 'fogg'; did you mean 'fog'"),
        ({"fog": (0.1, 0.0)}, "fog from 0.1 to 0.0"),
        ({"fog": (0.0, 0.1, 1.5)}, "chance 1.5"),
        ({"fog": (float("nan"), 0.1)}, "fog from nan"),
        ({"jpeg": 50}, "jpeg is 50"),
        ({"jpeg": (1, 2, 3, 4)}, "jpeg is "),
        ({"sun_x": (0, 1)}, "unknown knob"),
    ],
)
def test_a_wrong_range_is_refused(spans, message):
    with pytest.raises(ValueError, match=message):
        Domain("mine", "", spans)
