"""Splits: no scenario seed and no held-out domain is met in two of them."""

import pytest

from perception.data.splits import SPLITS, domains_of, scenario_seed, split_of
from sim.sensors.looks.domains import HELD_OUT, TRAINING


def test_splits_share_no_scenario_seed():
    seeds = {split: {scenario_seed(split, number) for number in range(1000)} for split in SPLITS}
    assert all(len(some) == 1000 for some in seeds.values())
    assert not seeds["train"] & seeds["val"] and not (seeds["train"] | seeds["val"]) & seeds["test"]
    assert all(split_of(seed) == split for split, some in seeds.items() for seed in some)


def test_streams_of_different_seeds_share_no_scenario_seed():
    one, other = ({scenario_seed("train", number, seed) for number in range(1000)} for seed in (0, 1))
    assert not one & other
    assert all(split_of(seed) == "train" for seed in other)


def test_held_out_domains_are_met_in_the_test_split_alone():
    assert domains_of("train") == domains_of("val") == TRAINING
    assert domains_of("test") == HELD_OUT
    assert not set(TRAINING) & set(HELD_OUT) and HELD_OUT


def test_a_list_of_domains_is_shared_out():
    named = ["clear", HELD_OUT[0], "fog", "clear"]
    assert domains_of("train", named) == ("clear", "fog")
    assert domains_of("test", named) == (HELD_OUT[0],)
    assert domains_of("test", ["clear"]) == ("clear",)
    assert domains_of("val", "training") == TRAINING


@pytest.mark.parametrize(
    ("split", "named", "message"),
    [
        ("training", None, "unknown split 'training'; did you mean 'train'"),
        ("train", [HELD_OUT[0]], f"split 'train' has no domain: {HELD_OUT[0]} are held out for test"),
        ("val", "held-out", "split 'val' has no domain"),
        ("test", ["sunshine"], "unknown domain 'sunshine'"),
        ("test", [], "empty list"),
    ],
)
def test_what_cannot_be_is_refused(split, named, message):
    with pytest.raises(ValueError, match=message):
        domains_of(split, named)


def test_negative_numbers_are_no_seeds():
    with pytest.raises(ValueError, match="at least 0"):
        scenario_seed("train", -1)
