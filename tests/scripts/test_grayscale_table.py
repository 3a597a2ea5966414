import pytest
import tyro

from scripts import grayscale_table


def call(*arguments):
    """Runs the script in this process; returns its exit code."""
    return grayscale_table.main(tyro.cli(grayscale_table.Arguments, args=[str(argument) for argument in arguments]))


FEW = ["--envs", "merge-v0", "--views", "documented", "--seeds", 2, "--steps", 2, "--processes", 0]


def test_a_table(tmp_path, capsys, device):
    assert call(*FEW, "--markdown", tmp_path / "x.md", "--device", device) == 0
    text = (tmp_path / "x.md").read_text()
    assert capsys.readouterr().out == text
    assert "| merge-v0 | documented | 6 | 100.00% | 0.0000 | 0.0000% | yes |" in text
    assert "2 episodes a row, random actions, ours in float64; limits: mean 2 of 255, 2% of the pixels." in text


def test_other_pictures_are_exit_code_one(capsys, monkeypatch, device):
    monkeypatch.setattr("sim.observations.grayscale.SURFACES", ((120, 120, 120), (255, 255, 255), (60, 60, 60)))
    assert call(*FEW, "--device", device) == 1
    assert "| NO |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--envs", "merge-v9"], "unknown environment id 'merge-v9'; did you mean"),
        (["--views", "documentd"], "unknown view 'documentd'; did you mean 'documented'?"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--device", "tpu"], "device 'tpu' is not available"),
        (["--markdown", "/nowhere/table.md"], "--markdown: the folder /nowhere does not exist"),
    ],
)
def test_wrong_input_stops_before_any_work(arguments, said, capsys):
    assert call(*arguments) == 2
    assert said in capsys.readouterr().err
