"""Lane lines lie where the renderer, which knows nothing of them, has painted; numbered from the camera outwards."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import sim
from perception.data.driving import Source
from perception.data.lanes import ABSENT, LaneLine, LaneLines, by_rows, rows_of
from perception.data.stream import FrameStream, StreamSettings
from sim.sensors.camera.cameras import Camera
from sim.sensors.classes import Semantic

CAMERA = Camera(width=320, height=192)


def view(camera, pose):
    """The eye and the axes in the world of a camera, from the definition of its frame."""
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])  # world -> forward, right, up
    eye = np.array([pose[0], pose[1], 0.0]) + turn.T @ np.array([camera.x, camera.y, camera.z])
    return eye, camera.axes() @ turn


def lines_of(env_id, pose, camera=CAMERA):
    lines = LaneLines(sim.make_vec(env_id, 1).network)
    nothing = np.zeros((camera.height, camera.width), dtype=bool)
    return lines.lines(*view(camera, pose), camera.focal, nothing)


@pytest.mark.parametrize("lane", [0, 1, 2])
def test_lines_of_a_straight_road_are_its_projections(lane):
    pose = (500.0, 4.0 * lane + 0.3, 0.05)
    lines = lines_of("highway-fast-v0", pose)
    # Lanes are 4 m wide and begin at y = -2: the line k is at 4 k - 2, and left of the camera where that is less.
    left = [4.0 * k - 2.0 for k in range(4) if k <= lane]
    assert [line.order for line in lines] == [k - lane - 1 + (k > lane) for k in range(4)]
    for line, y in zip(lines, (4.0 * k - 2.0 for k in range(4)), strict=True):
        assert line.kind == ("continuous" if y in (-2.0, 10.0) else "striped")
        ground = CAMERA.to_ground(line.points[line.points[:, 1] > 110], pose)
        assert len(ground) and np.abs(ground[:, 1] - y).max() < 0.01
        assert (line.points >= 0).all() and (line.points <= [320, 192]).all()
        far = CAMERA.to_ground(line.points[-1:], pose)[0]
        assert math.hypot(far[0] - pose[0], far[1] - pose[1]) == pytest.approx(80, abs=3)
        assert line.points[0, 1] > line.points[-1, 1] and line.seen.all()
    assert sum(line.order < 0 for line in lines) == len(left)


def test_a_camera_that_looks_back_numbers_from_its_own_side():
    back = Camera(width=320, height=192, x=-1.0, yaw=180.0)
    lines = lines_of("highway-fast-v0", (500.0, 0.0, 0.0), back)
    # In the leftmost lane, looking back: the road's edge is to the right, the three other lines to the left.
    assert [line.order for line in lines] == [-3, -2, -1, 1]
    assert [line.kind for line in lines] == ["continuous", "striped", "striped", "continuous"]


@pytest.mark.parametrize("env_id", ["highway-fast-v0", "merge-v0", "roundabout-v0", "racetrack-v0"])
def test_continuous_lines_run_over_paint(env_id):
    settings = StreamSettings(
        sources=(Source(env_id),), domains=("clear",), cameras=(CAMERA,), batch_size=6, frames=2,
        semantic=True, masks=True, lanes=True,
    )  # fmt: skip
    stream = FrameStream(settings, threads=1)
    batches = [next(stream) for _ in range(2)]
    on_paint = total = 0
    for batch in batches:
        for lines, semantic, instance in zip(batch.lanes, batch.semantic, batch.instance, strict=True):
            painted = torch.nn.functional.max_pool2d((semantic == Semantic.MARKING)[None].float(), 3, 1, 1)[0] > 0
            for line in lines:
                column, row = (np.minimum(line.points[:, i].astype(int), (319, 191)[i]) for i in (0, 1))
                assert np.array_equal(line.seen, instance.numpy()[row, column] == 0)
                # Farther away, or along a row, a line is thinner than a pixel.
                along = np.abs(np.gradient(line.points, axis=0))
                near = line.seen & (line.points[:, 1] > 115) & (along[:, 1] > 0.2 * along[:, 0])
                if line.kind == "continuous":
                    on_paint += painted.numpy()[row, column][near].sum()
                    total += near.sum()
    assert total > 150
    assert on_paint >= 0.99 * total, f"{on_paint} of {total} points of continuous lines show paint"


def test_lines_follow_a_camera_that_the_domain_has_moved():
    settings = StreamSettings(
        sources=(Source("racetrack-v0"),), domains=("day",), cameras=(CAMERA,), batch_size=32, frames=1,
        semantic=True, lanes=True,
    )  # fmt: skip
    batch = next(FrameStream(settings, threads=1))
    shifts = []
    for lines, semantic in zip(batch.lanes, batch.semantic, strict=True):
        rows = np.arange(110, 192, 4)
        for line in (line for line in lines if line.kind == "continuous" and line.seen.all()):
            for row, x in zip(rows, line.at_rows(rows + 0.5), strict=True):
                painted = (semantic[row] == Semantic.MARKING).numpy()
                starts, ends = np.flatnonzero(np.diff(painted, prepend=False, append=False)).reshape(-1, 2).T
                middles = ((starts + ends) / 2)[(starts > 0) & (ends < 320)]
                if len(middles) and x != ABSENT:
                    shifts.append(np.abs(middles - x).min())
    assert len(shifts) > 150
    assert np.median(shifts) < 0.25 and np.percentile(shifts, 95) < 0.75


def test_a_car_park_has_lines_but_no_lanes():
    lines = lines_of("parking-v0", (0.0, 0.0, 0.0))
    assert lines and {line.order for line in lines} == {0}


def test_lists_by_rows_interpolate_and_say_where_a_lane_is_absent():
    points = np.array([[10.0, 90.0], [30.0, 50.0], [30.0, 40.0]], dtype=np.float32)
    line = LaneLine(-1, "striped", points, np.ones(3, dtype=bool))
    assert line.at_rows([95, 90, 70, 50, 45, 30]).tolist() == [ABSENT, 10, 20, 30, 30, ABSENT]
    table = by_rows([line, replace(line, order=2), replace(line, order=0)], [70])
    assert table.tolist() == [[ABSENT], [20], [ABSENT], [20]]
    assert rows_of(192, 3) == [96, 144, 191]
