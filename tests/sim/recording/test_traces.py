import json
import os
from dataclasses import replace

import numpy as np
import pytest

from sim.recording import Case, Origin, States, Trace, Traces

ORIGIN = {
    "id": "highway-fast-v0",
    "config": {"duration": 3},
    "precision": "float32",
    "driver": "idle",
    "sees": "features",
}
LENGTHS = [3, 1, 2]


def states(rng):
    return States(("x", "kind"), rng.random((2, 4, 3), np.float32))


@pytest.fixture
def traces():
    """Three episodes of three steps and fewer, two continuous actions each; the last one with states."""
    rng = np.random.default_rng(0)
    return Traces(
        Origin(**ORIGIN, suite={"name": "smoke", "sha256": "ab12"}, group="fast"),
        seeds=np.array([7, 8, 12]),
        steps=np.array(LENGTHS, np.int32),
        actions=rng.random((4, 3, 2), np.float32),
        rewards=rng.random((4, 3)),
        terminated=np.array([False, True, True]),
        truncated=np.array([True, False, False]),
        hashes=rng.integers(2**64, size=(5, 3), dtype=np.uint64),
        scores=rng.random((4, 3, 5), np.float32),
        states={2: states(rng)},
    )


def same(one, other):
    assert one.case == other.case
    for name in ("actions", "rewards", "terminated", "truncated", "scores", "hashes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert (one.states is None) == (other.states is None)
    if one.states is not None:
        assert one.states.fields == other.states.fields
        np.testing.assert_array_equal(one.states.values, other.states.values)


def test_an_episode_of_a_batch_is_its_part_of_each_array(traces):
    assert len(traces) == 3
    one = traces.episode(2)
    assert one.case == Case(**ORIGIN, suite={"name": "smoke", "sha256": "ab12"}, group="fast", seed=12)
    assert one.actions.shape == (2, 2) and one.scores.shape == (2, 5)
    assert one.actions[1, 0] == traces.actions[1, 2, 0]
    assert one.hashes.tolist() == traces.hashes[:3, 2].tolist()
    assert one.terminated.tolist() == [False, True] and one.truncated.tolist() == [False, False]
    assert traces.episode(0).truncated.tolist() == [False, False, True]
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"no episode {index}"):
            traces.episode(index)


def test_a_batch_survives_the_disk(traces, tmp_path):
    traces.save(tmp_path / "batch.npz")
    loaded = Traces.load(tmp_path / "batch.npz", suite="ab12")
    assert loaded.origin == traces.origin
    for index in range(3):
        same(loaded.episode(index), traces.episode(index))
    assert loaded.actions.shape == (3, 3, 2)  # no row beyond the longest episode
    assert not loaded.actions[1:, 1].any() and not loaded.hashes[2:, 1].any()
    assert [path.name for path in tmp_path.iterdir()] == ["batch.npz"]
    with np.load(tmp_path / "batch.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_the_same_episodes_give_the_same_bytes_at_any_time(traces, tmp_path, monkeypatch):
    traces.save(tmp_path / "one.npz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    garbage = traces.actions.copy()
    garbage[1:, 1] = 9  # after its end
    replace(traces, actions=garbage).save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_single_episodes_are_put_together_and_taken_apart(traces, tmp_path):
    singles = [traces.episode(index) for index in range(3)]
    together = Traces.of(singles)
    for index in range(3):
        same(together.episode(index), singles[index])
    singles[2].save(tmp_path / "single.npz")
    same(Trace.load(tmp_path / "single.npz"), singles[2])
    together.save(tmp_path / "many.npz")
    with pytest.raises(ValueError, match="holds 3 episodes"):
        Trace.load(tmp_path / "many.npz")
    other = replace(singles[0], case=replace(singles[0].case, driver="idm"))
    with pytest.raises(ValueError, match="must have one id"):
        Traces.of([other, singles[1]])
    with pytest.raises(ValueError, match="some have none"):
        Traces.of([singles[0], replace(singles[1], hashes=np.zeros(0, np.uint64))])
    with pytest.raises(ValueError, match="seed 7 goes on after its end"):
        replace(singles[0], terminated=np.array([True, False, False])).save(tmp_path / "x.npz")


def test_an_episode_takes_a_few_bytes_a_step(tmp_path):
    """Bar: about ten, the eight of the hash included."""
    rng = np.random.default_rng(1)
    n, steps = 512, 30
    Traces(
        Origin(**ORIGIN),
        seeds=np.arange(n),
        steps=np.full(n, steps, np.int32),
        actions=rng.integers(5, size=(steps, n)),
        rewards=rng.random((steps, n), np.float32).astype(np.float64),
        terminated=np.zeros(n, bool),
        truncated=np.ones(n, bool),
        hashes=rng.integers(2**64, size=(steps + 1, n), dtype=np.uint64),
    ).save(tmp_path / "batch.npz")
    assert os.path.getsize(tmp_path / "batch.npz") / (n * steps) < 8 + 4 + 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": np.array([3, 1], np.int32)}, r"steps of 3 episodes and 4 steps has the shape \(2,\)"),
        ({"steps": np.array([5, 1, 1], np.int32)}, "must have 1 to 4 steps"),
        ({"steps": np.array([0, 1, 1], np.int32)}, "must have 1 to 4 steps"),
        ({"hashes": np.zeros((4, 3), np.uint64)}, "hashes of 3 episodes"),
        ({"states": {3: states(np.random.default_rng(0))}}, "states of episode 3, but only 3 episodes"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(traces, change, message):
    with pytest.raises(ValueError, match=message):
        replace(traces, **change)


def rewrite(path, **members):
    """Writes some members anew, without a word to the checksums; None takes one out."""
    with np.load(path) as file:
        arrays = dict(file) | members
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def edited_header(path, **changes):
    with np.load(path) as file:
        header = json.loads(str(file["header"])) | changes
    rewrite(path, header=np.array(json.dumps({key: value for key, value in header.items() if value != "gone"})))


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_text("hello"),
    "empty": lambda path: path.write_bytes(b""),
    "field": lambda path: edited_header(path, precision="gone"),
    "unknown field": lambda path: edited_header(path, colour="red"),
    "header": lambda path: edited_header(path, driver="angel"),
    "json": lambda path: rewrite(path, header=np.array("{")),
    "no header": lambda path: rewrite(path, header=None),
    "array": lambda path: rewrite(path, actions=None),
    "steps": lambda path: rewrite(path, rewards=np.zeros((2, 3))),
    "states": lambda path: rewrite(path, states_2=np.zeros((1, 4, 3), np.float32)),
    "objects": lambda path: rewrite(path, seeds=np.zeros(3, np.int64), scores=np.zeros((3, 3, 1), "U4")),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_one_clear_error(traces, tmp_path, how):
    path = tmp_path / "batch.npz"
    traces.save(path)
    DAMAGES[how](path)
    with pytest.raises(ValueError, match=f"{path} (is not a whole trace|was edited)") as caught:
        Traces.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("schema", [1, 3, 99])
def test_another_schema_is_named(traces, tmp_path, schema):
    path = tmp_path / "batch.npz"
    traces.save(path)
    edited_header(path, schema=schema)
    with pytest.raises(ValueError, match=f"is a trace of schema {schema}; this version reads schema 2"):
        Traces.load(path)


def test_a_file_of_schema_1_is_named(tmp_path):
    """As the first version wrote it."""
    case = {"schema": 1, **ORIGIN, "seed": 3, "score_label": "", "versions": {}}
    arrays = {name: np.zeros(2) for name in ("actions", "rewards", "terminated", "truncated", "scores")}
    np.savez_compressed(tmp_path / "old.npz", case=np.array(json.dumps(case)), **arrays)
    with pytest.raises(ValueError, match="schema 1; this version reads schema 2"):
        Trace.load(tmp_path / "old.npz")


def test_a_trace_of_another_suite_is_refused(traces, tmp_path):
    traces.save(tmp_path / "batch.npz")
    with pytest.raises(ValueError, match="of the suite with sha256 ab12, not cd34"):
        Traces.load(tmp_path / "batch.npz", suite="cd34")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such trace"):
        Traces.load(tmp_path / "none.npz")


@pytest.mark.parametrize("name", ["actions", "rewards", "scores", "hashes", "states_2"])
def test_a_flipped_bit_of_the_contents_is_found_and_named(traces, tmp_path, name):
    path = tmp_path / "batch.npz"
    traces.save(path)
    with np.load(path) as file:
        array = file[name].copy()
    words = array.view(np.uint8).reshape(-1)
    where = array.dtype.itemsize * np.ravel_multi_index((1, 2) + (1,) * (array.ndim - 2), array.shape)
    words[where] ^= 1
    rewrite(path, **{name: array})
    part = name.split("_")[0]
    with pytest.raises(ValueError, match=rf"the {part} of episode 2 \(seed 12\) are not those recorded"):
        Traces.load(path)
    loaded = Traces.load(path, check=False)
    assert loaded.edits == ((2, part),)
    assert loaded.episode(2).edits == (part,) and loaded.episode(0).edits == ()


@pytest.mark.parametrize("name", ["seeds", "terminated", "truncated"])
def test_an_edited_end_is_found(traces, tmp_path, name):
    path = tmp_path / "batch.npz"
    traces.save(path)
    with np.load(path) as file:
        array = file[name].copy()
    array[1] = not array[1]
    rewrite(path, **{name: array})
    assert Traces.load(path, check=False).edits == ((1, "ends"),)


def test_a_bit_of_the_file_flipped_anywhere_is_an_error_or_harmless(traces, tmp_path):
    path = tmp_path / "batch.npz"
    traces.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            loaded = Traces.load(path)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            for index in range(3):
                same(loaded.episode(index), traces.episode(index))
    assert refused > 100


def test_a_full_disk_leaves_the_older_file(traces, tmp_path, monkeypatch):
    path = tmp_path / "batch.npz"
    traces.save(path)
    before = path.read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    with pytest.raises(OSError, match="No space"):
        replace(traces, seeds=traces.seeds + 1).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["batch.npz"]
