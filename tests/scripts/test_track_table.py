"""scripts/track_table.py: clips are recorded once, tables are printed, and mistakes are one line."""

import json

from scripts import track_table
from scripts.track_table import Arguments


def test_clips_are_recorded_once_and_followed(tmp_path, capsys):
    arguments = Arguments(tmp_path / "clips", clips=1, seconds=1.0, json=tmp_path / "rows.json")
    assert track_table.main(arguments) == 0
    shown = capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["tracker"] for row in rows} == {"Kalman"} and len(rows) == 9
    assert f"| Kalman | {sum(row['IDF1'] for row in rows) / 9:.3f} |" in shown
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").rglob("*") if path.is_file()}
    assert track_table.main(arguments) == 0
    assert capsys.readouterr().out == shown  # the same trouble is made again
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").rglob("*") if path.is_file()}

    assert track_table.main(Arguments(tmp_path / "clips", detector=tmp_path / "gone")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert track_table.main(Arguments(tmp_path / "clips", lstm=tmp_path / "gone")) == 2
    assert str(tmp_path / "gone") in capsys.readouterr().err
