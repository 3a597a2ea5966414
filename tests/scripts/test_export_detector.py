"""scripts/export_detector.py: files beside the weights, whatever the input's size; mistakes are one line."""

from perception.detection.detector import load_detector
from perception.detection.recipe import Recipe, train
from scripts.export_detector import Arguments, main
from tests.perception.detection.small_folders import write_coco


def test_a_small_detector_of_other_classes_is_exported(tmp_path, capsys):
    run = tmp_path / "run"
    train(Recipe(data=write_coco(tmp_path / "data"), steps=2, batch=4, width=64, height=64), run, False)
    for options, message in (
        ({"folder": tmp_path / "gone"}, "holds no model"),
        ({"calibration": 0}, "--calibration must be at least 1"),
        ({"threads": 0}, "--threads is 0"),
    ):
        assert main(Arguments(**({"folder": run} | options))) == 2
        assert message in capsys.readouterr().err
    assert not (run / "model.onnx").exists()

    assert main(Arguments(run, calibration=4, verify=4)) == 0
    shown = capsys.readouterr().out
    assert "scales from " in shown and "it knows other classes than the simulator's" in shown
    assert load_detector(run, runtime="onnx").size == load_detector(run, runtime="onnx-int8").size == (64, 64)
