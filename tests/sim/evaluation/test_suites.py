"""Suites as files: what is written is read, and what has been changed is refused."""

import json

import pytest

from sim.evaluation.suites import Group, Suite, load_suite, names

SUITE = Suite(
    "mine",
    3,
    "two groups",
    (
        Group("fast", "highway-fast-v0", {"lanes_count": 4}, (5, 6, 7, 20), {5: "idm", 7: "search"}),
        Group("merge", "merge-v0", {}, (1,), {1: "idm"}),
    ),
    (Group("fast", "highway-fast-v0", {"lanes_count": 4}, (9,), {}),),
)


@pytest.fixture
def path(tmp_path):
    SUITE.save(tmp_path / "mine.json")
    return tmp_path / "mine.json"


def test_a_file_gives_the_suite_back(path):
    assert load_suite(path) == SUITE
    assert load_suite(path).cases == 5


def test_the_hash_covers_the_cases_and_not_who_solves_them():
    again = Suite("mine", 3, "other words", SUITE.groups, SUITE.stress)
    solved = Suite("mine", 3, "", (SUITE.groups[0], Group("merge", "merge-v0", {}, (1,), {})), SUITE.stress)
    other = Suite("mine", 3, "", (SUITE.groups[0], Group("merge", "merge-v0", {}, (2,), {})), SUITE.stress)
    assert again.sha256 == solved.sha256 == SUITE.sha256
    assert other.sha256 != SUITE.sha256
    assert Suite("mine", 4, "", SUITE.groups, SUITE.stress).sha256 != SUITE.sha256


def changed(path, change):
    read = json.loads(path.read_text())
    change(read)
    path.write_text(json.dumps(read))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda read: read["groups"][0]["seeds"].append([99, 1]), "has been changed"),
        (lambda read: read["groups"][0]["config"].update(lanes_count=3), "has been changed"),
        (lambda read: read.update(schema=9), "of schema 9; this version reads schema 1"),
        (lambda read: read.pop("groups"), "is not a whole suite: KeyError 'groups'"),
    ],
)
def test_a_changed_file_is_refused(path, change, message):
    changed(path, change)
    with pytest.raises(ValueError, match=message):
        load_suite(path)


def test_half_a_file_is_refused(path):
    path.write_text(path.read_text()[:200])
    with pytest.raises(ValueError, match="is not a whole suite"):
        load_suite(path)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((Group("a", "highway-v9", {}, (1,), {}),), "group 'a': unknown environment id 'highway-v9'"),
        ((Group("a", "highway-v0", {"lane_count": 3}, (1,), {}),), "group 'a': unknown config key 'lane_count'"),
        ((Group("a", "highway-v0", {}, (1, 1), {}),), "group 'a' holds a seed twice"),
        ((Group("a", "highway-v0", {}, (1,), {}), Group("a", "merge-v0", {}, (1,), {})), "two groups 'a'"),
        ((), "holds no case"),
    ],
)
def test_a_suite_that_cannot_be_driven_is_refused(tmp_path, groups, message):
    Suite("bad", 1, "", groups).save(tmp_path / "bad.json")
    with pytest.raises(ValueError, match=message):
        load_suite(tmp_path / "bad.json")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FileNotFoundError, match="no suite 'nothing'; there are "):
        load_suite("nothing")


@pytest.mark.parametrize("name", names())
def test_every_suite_that_comes_along_is_whole(name):
    suite = load_suite(name)
    assert suite.name == name
    for group in suite.groups:
        assert set(group.solvable_by) == set(group.seeds)  # what nobody solves stands on the stress list
