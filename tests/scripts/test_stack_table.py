"""scripts/stack_table.py: rows on the same seeds, kept in parts, paired with perfect perception."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import sim
from agents import networks, ppo, stack_comparison
from perception.detection.learning import CLASSES
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.model_folder import ModelFacts, save_model
from scripts import stack_table

SMALL = ppo.Config(total_steps=32, horizon=4, minibatch_size=16, network=networks.Config(hidden=(8,)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run whose policy has seen nothing, and a detector that finds nothing."""
    root = tmp_path_factory.mktemp("stack")
    envs = sim.make_vec("highway-fast-v0", 8, config={"vehicles_count": 5, "duration": 2})
    ppo.train(SMALL, envs, root / "x", show_progress=False)
    config = OneStageConfig(CLASSES)
    torch.manual_seed(0)
    save_model(root / "blind", ModelFacts("one-stage", CLASSES, vars(config)), OneStage(config).state_dict())
    return root


def arguments(folders, out, **options):
    detector = {"detector": folders / "blind", "out": out, "stack": "rate=1", "episodes": 3}
    return stack_table.Arguments(**({"runs": (folders / "x",)} | detector | options))


def test_rows_are_paired_and_kept_in_parts(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stack_comparison, "PART", 2)
    assert stack_table.main(arguments(folders, tmp_path, beside=folders / "x", most=100)) == 0
    table = capsys.readouterr().out
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table.splitlines() if "of 3" in line}
    assert list(rows) == ["perfect", "cameras", "detector=oracle", "fusion=oracle", "tracker=oracle", "x"]
    assert rows["perfect"][1] in ("0 of 3", "1 of 3", "2 of 3", "3 of 3")
    assert rows["perfect"][1] == rows["x"][1] and rows["x"][4].startswith("+0.00")  # the features themselves
    assert all(stage in rows["cameras"][5] for stage in ("cameras", "detector", "fusion", "tracker", "policy"))
    parts = sorted(tmp_path.glob("x-cameras-*.json"))
    assert [path.name for path in parts] == ["x-cameras-1000000-2.json", "x-cameras-1000002-1.json"]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    stack_table.main(arguments(folders, tmp_path, beside=folders / "x", most=100))
    assert capsys.readouterr().out == table
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_crashes_that_rise_too_far_fail(folders, tmp_path):
    stack_table.main(arguments(folders, tmp_path))
    (part,) = tmp_path.glob("x-cameras-*.json")
    told = json.loads(part.read_text())
    told["per_episode"]["crashed"] = [True] * 3
    part.write_text(json.dumps(told))
    (perfect,) = tmp_path.glob("x-perfect-*.json")
    before = json.loads(perfect.read_text())
    before["per_episode"]["crashed"] = [False] * 3
    perfect.write_text(json.dumps(before))
    assert stack_table.main(arguments(folders, tmp_path)) == 1
    assert stack_table.main(arguments(folders, tmp_path, most=100)) == 0


def test_results_of_another_stack_are_refused(folders, tmp_path, capsys):
    stack_table.main(arguments(folders, tmp_path))
    assert stack_table.main(arguments(folders, tmp_path, stack="rate=5")) == 2
    assert "is of another stack" in capsys.readouterr().err


def test_mistakes_are_named_before_anything_is_driven(folders, tmp_path, capsys):
    for options, message in (
        ({"detector": folders / "none"}, "holds no model"),
        ({"also": ("rate=9x",)}, "stack rate is '9x'"),
        ({"stack": "runtime=onnx"}, "onnx"),
        ({"also": ("rate=0.5",)}, "stack rate is 0.5 Hz"),
        ({"beside": folders / "none"}, "none"),
        ({"runs": ()}, "give a run folder or more"),
        ({"episodes": 1}, "--episodes of at least 2"),
    ):
        assert stack_table.main(arguments(folders, tmp_path, **options)) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_environment_beside_is_refused(folders, tmp_path, capsys):
    envs = sim.make_vec("merge-v0", 8)
    ppo.train(SMALL, envs, tmp_path / "merge", show_progress=False)
    assert stack_table.main(arguments(folders, tmp_path / "out", beside=tmp_path / "merge")) == 2
    assert "merge drives in another environment (merge-v0) than" in capsys.readouterr().err
    assert stack_table.main(arguments(folders, tmp_path / "out", runs=(folders / "x", tmp_path / "x"))) == 2
    assert "must have different names" in capsys.readouterr().err


def test_parts_of_other_weights_are_refused_and_names_may_have_slashes(folders, tmp_path, capsys):
    shutil.copytree(folders / "x", tmp_path / "x")
    shutil.copytree(folders / "blind", tmp_path / "blind")
    options = {"runs": (tmp_path / "x",), "also": (f"detector={tmp_path / 'blind'}",), "most": 100}
    assert stack_table.main(arguments(folders, tmp_path / "out", **options)) == 0
    assert f"| detector={tmp_path / 'blind'} |" in capsys.readouterr().out
    weights = tmp_path / "x" / "policy.safetensors"
    save_file({name: value + 0.01 for name, value in load_file(weights).items()}, weights)
    assert stack_table.main(arguments(folders, tmp_path / "out", **options)) == 2
    assert "of other weights" in capsys.readouterr().err
