import json
import math

import pytest

from perception.benchmark import run as benchmark
from perception.benchmark.report import draw, markdown
from perception.benchmark.run import Config, sources_of, task_of
from perception.model_folder import ModelFacts, save_model
from scripts import bench_perception


def model(folder, kind):
    save_model(folder, ModelFacts(kind, ("car",), {}), {})
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("one-stage", "detection"),
        ("faster-rcnn", "detection"),
        ("row-anchor", "lanes"),
        ("segmentation", "lanes"),
        ("lstm-motion", "tracking"),
        ("classifier", "classification"),
    ],
)
def test_a_models_kind_says_what_it_is_measured_for(tmp_path, kind, task):
    assert task_of(model(tmp_path / "m", kind)) == task


def test_models_are_named_by_folder_or_found_in_runs(tmp_path):
    one, lanes = model(tmp_path / "one", "one-stage"), model(tmp_path / "lanes", "row-anchor")
    named = sources_of(Config(models=f"{one}, lanes,nanodet:peers", runs=tmp_path))
    assert named == {"detection": [one, "nanodet:peers"], "tracking": [], "lanes": [lanes], "classification": []}
    assert sources_of(Config(runs=tmp_path))["detection"] == [one]
    assert not any(sources_of(Config(runs=tmp_path, quick=True)).values())


def test_models_that_are_not_there_or_share_a_name_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model in .*; name some with --models, or use --quick"):
        sources_of(Config(runs=tmp_path))
    with pytest.raises(FileNotFoundError, match="nothing holds no model"):
        sources_of(Config(models="nothing", runs=tmp_path))
    one, other = model(tmp_path / "a" / "one", "one-stage"), model(tmp_path / "b" / "one", "one-stage")
    with pytest.raises(ValueError, match="two models are called one"):
        sources_of(Config(models=f"{one},{other}"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "detection,parking"}, "--tasks has 'parking'; known: detection, tracking, lanes, classification"),
        ({"runtimes": "tensorrt"}, "--runtimes has 'tensorrt'; known: torch, onnx, onnx-int8"),
        ({"tasks": ","}, "--tasks has 'nothing'"),
        ({"timed": 0}, "--timed is 0; it must be at least 1"),
        ({"lane_pictures": -1}, "--lane-pictures is -1"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    arguments = bench_perception.Arguments(Config(models=str(tmp_path / "gone")), out=tmp_path / "out")
    assert bench_perception.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[-1].startswith("error: ") and "holds no model" in said.err
    (tmp_path / "file").write_text("mine")
    arguments = bench_perception.Arguments(Config(models=str(tmp_path / "gone")), out=tmp_path / "file")
    assert bench_perception.main(arguments) == 2
    assert "file" in capsys.readouterr().err  # said before models are looked for


def test_trackers_need_no_model_and_amounts_are_as_given(tmp_path):
    assert not any(sources_of(Config(tasks="tracking", runs=tmp_path)).values())
    for quick, pictures, clips in ((False, 400, 12), (True, 120, 4)):
        assert [Config(quick=quick).amount(name) for name in ("pictures", "clips")] == [pictures, clips]
        assert Config(quick=quick, pictures=7).amount("pictures") == 7
    save_model(tmp_path / "motion", ModelFacts("lstm-motion", (), {}), {})
    assert sources_of(Config(tasks="tracking", runs=tmp_path))["tracking"] == [str(tmp_path / "motion")]
    with pytest.raises(ValueError, match="--peers: there is no program nowhere/python"):
        Config(peers="nowhere/python")


def timings(others=0.01, **medians):
    each = {name: {"median": s, "p90": 2 * s, "least": s, "runs": 100} for name, s in medians.items()}
    return {"timings": each, "load": 0.2, "others": others, "threads": 2}


def scores(ap):
    row = {"AP": ap, "AP50": ap + 0.1, "AP75": ap, "objects": 50}
    names = ("plainly visible", "plainly visible, any vehicle", "all more than half visible")
    return dict.fromkeys((*names, "height 12 to 24 px", "distance 10 to 20 m"), row)


def results(others=0.01):
    row = {"parameters": 1_020_000, "flops": 5e8, "bytes": 4_100_000, "memory": 30_000_000, "size": [320, 192]}
    rows = [
        row | {"name": "one", "kind": "one-stage", "runtime": "onnx", "scores": scores(0.625)},
        row | {"name": "nanodet", "kind": "nanodet", "runtime": "torch", "scores": scores(0.125), "parameters": None},
    ]
    taken = timings(others, **{"one (onnx)": 0.0125, "nanodet (torch)": 0.25})
    tracks = [
        {"rate": rate, "occlusion": "none", "tracker": name, "IDF1": value, "MOTA": 0.5, "HOTA": 0.4}
        for rate, value in (("15/s", 0.75), ("5/s", 0.25))
        for name in ("Kalman", "OC-SORT")
    ]
    lanes = {"name": "rows", "kind": "row-anchor", "scores": {"f1_50": 0.875, "tusimple_accuracy": 0.9, "pictures": 80}}
    mask = {"name": "mask", "kind": "segmentation", "scores": {"miou": 0.5, "pictures": 80}}
    signs = {"name": "plain", "kind": "plain", "data": "signs", "scores": {"top1": 0.9, "ece": None, "count": 10}}
    needs = {"parameters": 10, "flops": 10, "bytes": 10}
    machine = {"cpu": "A processor", "cores": 2, "commit": "abc", "uncommitted_changes": False, "date": "today"}
    machine |= {"python": "3.11", "versions": {"torch": "2", "trackers": None}, "command": "bench", "load_average": 0.1}
    return {
        "machine": machine,
        "threads": 2,
        "notes": ["a note"],
        "detection": {
            "pictures": 400, "domains": ["dusk", "fog"], "batch": 8, "rows": rows,
            "timings": {"end to end": taken, "model": taken, "batch": taken},
        },
        "tracking": {
            "clips": {"clips": 4, "seconds": 20.0, "objects": 9, "boxes": 99}, "rows": tracks,
            "timings": {"update": timings(others, Kalman=0.002)},
        },
        "lanes": {"rows": [lanes | needs, mask | needs], "timings": {"end to end": timings(others, rows=0.01)}},
        "classification": {"rows": [signs | needs], "timings": {"end to end": timings(others, plain=0.001)}},
    }  # fmt: skip


def cells(text, first):
    """The cells of the line of a table that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_hold_each_figure_with_its_number_and_its_machine():
    text = markdown(results())
    assert cells(text, "one | onnx") == [
        "one", "onnx", "0.625", "0.725", "0.625", "0.625", "0.725", "12.50", "25.00", "12.50", "25.00", "1.56",
        "1.02", "0.50", "30", "4.10",
    ]  # fmt: skip
    assert cells(text, "nanodet | torch")[2:5] == ["-"] * 3  # other classes
    assert text.index("| one | onnx") < text.index("| nanodet | torch")
    assert "n = 50 objects" in text and "400 pictures" in text and "dusk, fog" in text and "n = 100 each" in text
    assert cells(text, "mean")[1:] == ["0.500 / 0.500 / 0.400"] * 2
    assert cells(text, "rows | row-anchor")[2:7] == ["0.875", "-", "0.900", "-", "80"]
    assert cells(text, "plain | signs")[2:5] == ["0.900", "-", "10"]
    assert "A processor, 2 threads of 2 cores, commit abc" in text and "* a note" in text and "trackers" not in text
    assert "no results" not in text


@pytest.mark.parametrize(("others", "said"), [(0.3, "The machine was busy"), (None, "is not known on this system")])
def test_times_of_a_busy_machine_are_called_none(others, said):
    assert said in markdown(results(others))


def test_plots_are_drawn(tmp_path):
    paths = draw(results(), tmp_path / "plots")
    assert [path.name for path in paths] == ["accuracy_and_time.png", "distance.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 5000 for path in paths)
    assert draw({}, tmp_path) == []


def test_what_is_no_number_is_nothing_in_json():
    value = {"a": [math.nan, 1.0, (math.inf,)], "b": {"c": "x", "d": None, "e": 2}}
    assert benchmark._finite(value) == {"a": [None, 1.0, [None]], "b": {"c": "x", "d": None, "e": 2}}
    json.dumps(benchmark._finite(value), allow_nan=False)
