"""`make demo` in small: one pass over the whole product leaves what the README promises."""

import json

import cv2

from scripts import demo


def test_the_demo_leaves_a_run_a_table_and_a_video(tmp_path, capsys):
    out = tmp_path / "demo"
    out.mkdir()
    (out / "older.txt").write_text("an older demo")

    demo.main(demo.Arguments(out=out, quick=True))

    assert (tmp_path / "demo-1" / "older.txt").exists()  # renamed, never overwritten
    for name in ("config.json", "policy.safetensors", "metrics.csv"):
        assert (out / name).stat().st_size > 0
    results = json.loads((out / "evaluation.json").read_text())["results"]
    judged = [(result["driver"], result["simulator"], result["episodes"]) for result in results]
    assert judged == [
        ("ppo", "ours", 8),
        ("ppo", "highway-env", 2),
        ("idm", "ours", 8),
        ("idle", "ours", 8),
        ("random", "ours", 8),
    ]
    assert "| ppo | highway-env | 2 |" in capsys.readouterr().out
    video = cv2.VideoCapture(str(out / "replay.mp4"))
    # at most 30 s of 20 pictures, and the last one kept for a while
    assert 2 < video.get(cv2.CAP_PROP_FRAME_COUNT) <= 30 * 20 + 40
    read, frame = video.read()
    assert read
    assert frame.std() > 5  # a picture, not one colour
