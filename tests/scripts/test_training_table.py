"""The training table in small, and stopped in the middle."""

import json

from scripts import training_table


def test_it_trains_judges_and_goes_on_where_it_stopped(tmp_path, capsys):
    arguments = training_table.Arguments(tmp_path, ("lane-keeping-v0",), time_limit_s=1.0, episodes=1)
    training_table.main(arguments)
    run = tmp_path / "lane-keeping-v0"
    first = capsys.readouterr().out
    value = json.loads((run / "trained.json").read_text())["return"]["value"]
    assert f"| lane-keeping-v0 | {value:.2f} |" in first

    (run / "random.json").unlink()
    trained = (run / "policy.safetensors").stat().st_mtime_ns
    training_table.main(arguments)
    assert capsys.readouterr().out == first  # random draws the same actions again
    assert (run / "policy.safetensors").stat().st_mtime_ns == trained


def test_a_failure_is_one_line_that_names_the_script(tmp_path, capsys):
    arguments = training_table.Arguments(tmp_path, ("no-such-v0",), time_limit_s=1.0)
    assert training_table.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("error: train.py ") and "no-such-v0" in line
