import json

from scripts import bench_sensors
from sim.sensors.benchmark import Config


def test_the_table_is_printed_and_every_repeat_written(tmp_path, capsys):
    config = Config(rivals=("birdseye", "lidar"), num_envs=4, repeats=2, seconds=0.02, cores=1, sizes=False)
    bench_sensors.main(bench_sensors.Arguments(config, json=tmp_path / "new" / "figures.json"))
    figures = json.loads((tmp_path / "new" / "figures.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in figures["results"]] == ["birdseye", "lidar"]
    assert all(len(row["frames_per_second"]) == 2 for row in figures["results"])
    assert figures["machine"]["commit"]
    printed = capsys.readouterr().out
    assert "| birdseye: RGB, 84 x 84 |" in printed
    assert figures["machine"]["commit"] in printed
