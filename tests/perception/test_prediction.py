import io
import json
from contextlib import redirect_stdout
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from faster_coco_eval import COCO

from perception.data.lanes import ABSENT, rows_of
from perception.data.mot import read_tracks
from perception.detection.postprocess import Detections
from perception.drawing import OPACITY
from perception.lanes import row_anchor, segmentation
from perception.lanes.drawing import GROUP_COLOURS, SLOT_COLOURS
from perception.lanes.models import load_lane_model
from perception.lanes.row_anchor import SLOTS, RowAnchor, RowAnchorConfig
from perception.lanes.segmentation import Segmentation, SegmentationConfig
from perception.model_folder import ModelFacts, save_model
from perception.pictures import Footage, Frame, open_footage
from perception.prediction import Finder, detect, lane_layer
from sim.video import write_video

WIDTH, HEIGHT = 96, 64


class Bright:
    """Finds the box around all that is bright, exactly; another that is uncertain, and one that nobody would tell."""

    kind, classes, size = "bright", ("car", "lamp"), (WIDTH, HEIGHT)

    def __init__(self, score=0.9):
        self.score = score

    def predict(self, images, least_score=0.05):
        found = []
        for image in images:
            rows, columns = (image.float().mean(0) > 150).nonzero(as_tuple=True)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 1, 1]
            boxes = torch.tensor([box, [5, 40, 15, 60], [60, 40, 80, 60]], dtype=torch.float32)
            scores, labels = torch.tensor([self.score, 0.2, 0.01]), torch.tensor([2, 1, 1])
            kept = scores > least_score
            if not len(rows):
                kept[0] = False
            found.append(Detections(boxes[kept], scores[kept], labels[kept]))
        return found


def scene(x, y=10, wide=20, high=12):
    """A bright box on dark ground, [H, W, 3]."""
    picture = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    picture[y : y + high, x : x + wide] = 220
    return picture


def moving(pictures, times=None, begins=(0,), broken_after=None):
    def frames():
        for number, one in enumerate(pictures):
            if number == broken_after:
                raise ValueError("a.avi breaks off")
            time = number / 10 if times is None else times[number]
            yield Frame(f"a {number + 1:06d}", one.transpose(2, 0, 1).copy(), time, number in begins)

    return Footage("a", frames(), len(pictures), 10, True)


def read(path):
    return json.loads(path.read_text())


def results_in(folder, ending=""):
    return read(folder / f"detections{ending}.json")


def frames_in(path):
    video, count = cv2.VideoCapture(str(path)), 0
    while video.read()[0]:
        count += 1
    return count


def test_detections_of_a_folder_are_coco_results(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number, x in enumerate((10, 30, 50)):
        cv2.imwrite(str(photos / f"{number}.{('png', 'jpg', 'bmp')[number]}"), scene(x))
    lines = detect(open_footage(photos), [Finder(Bright())], out, progress=False)
    assert lines[0].startswith("bright: 3 things in 3 pictures; ")
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(out / "images.json"))
        results = truth.loadRes(str(out / "detections.json"))
    assert {one["id"]: one["name"] for one in truth.dataset["categories"]} == {1: "car", 2: "lamp"}
    for number, x in enumerate((10, 30, 50)):
        name = f"{number}.{('png', 'jpg', 'bmp')[number]}"
        (image,) = (one for one in truth.dataset["images"] if one["file_name"] == name)
        assert (image["width"], image["height"]) == (WIDTH, HEIGHT)
        (thing,) = results.imgToAnns[image["id"]]
        assert (thing["category_id"], thing["bbox"], thing["score"]) == (2, [x, 10, 20, 12], 0.9)
        drawn = cv2.imread(str(out / name))
        assert drawn.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(drawn.astype(int) - scene(x)).max() > 100
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.jpg", "2.bmp", "detections.json", "images.json"]


def test_nothing_found_is_an_empty_list(tmp_path):
    detect(moving([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2), [Finder(Bright(), 0.5)], tmp_path, progress=False)
    assert results_in(tmp_path) == []
    assert [image["time"] for image in read(tmp_path / "images.json")["images"]] == [0, 0.1]


def test_a_thing_keeps_its_number_through_a_video(tmp_path):
    write_video(tmp_path / "a.mp4", [scene(5 + 4 * step) for step in range(12)], 12.5)
    detect(open_footage(tmp_path / "a.mp4"), [Finder(Bright(), 0.3, follow=True)], tmp_path / "out", progress=False)
    tracks = read_tracks(tmp_path / "out/tracks.txt", 12)
    assert tracks.track.tolist() == [1] * 12
    assert tracks.frame.tolist() == list(range(1, 13))
    truth = np.array([[5 + 4 * step, 10, 25 + 4 * step, 22] for step in range(12)])
    assert np.abs(tracks.boxes - truth).max() <= 1  # the codec's
    rows = results_in(tmp_path / "out")
    assert [row["track_id"] for row in rows] == [1] * 12
    assert np.allclose([row["bbox"][:2] for row in rows], tracks.boxes[:, :2], atol=0.011)
    assert np.allclose(tracks.score, 0.9, atol=1e-4)
    assert frames_in(tmp_path / "out/a.mp4") == 12


def test_uncertain_things_go_on_a_track_but_begin_none(tmp_path):
    detector = Bright()
    detector.score = 0.9
    pictures = [scene(20)] * 6

    class Fading(Bright):
        def predict(self, images, least_score=0.05):
            self.seen = getattr(self, "seen", 0) + 1
            self.score = 0.9 if self.seen <= 3 else 0.15
            return super().predict(images, least_score)

    detect(moving(pictures), [Finder(Fading(), 0.5, follow=True)], tmp_path, progress=False)
    rows = results_in(tmp_path)
    assert [row["image_id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row["track_id"] for row in rows} == {1}
    assert {row["category_id"] for row in rows} == {2}  # the other one, always at 0.2, was never believed
    detect(moving(pictures), [Finder(Fading(), 0.5)], tmp_path / "alone", progress=False)
    assert [row["image_id"] for row in results_in(tmp_path / "alone")] == [1, 2, 3]


def test_a_track_begins_with_more_than_what_is_told_of_a_single_picture(tmp_path):
    for score, told in ((0.35, 0), (0.45, 4)):
        detect(moving([scene(20)] * 4), [Finder(Bright(score), 0.3, follow=True)], tmp_path, progress=False)
        assert len(results_in(tmp_path)) == told


def test_numbers_go_on_where_another_episode_begins(tmp_path):
    detect(moving([scene(20)] * 6, begins=(0, 3)), [Finder(Bright(), follow=True)], tmp_path, progress=False)
    assert [row["track_id"] for row in results_in(tmp_path)] == [1, 1, 1, 2, 2, 2]


def test_a_pause_is_time_in_which_things_move_on(tmp_path):
    times = [0, 0.1, 0.2, 0.3, 0.4, 1.4, 1.5]
    pictures = [scene(round(5 + 40 * time)) for time in times]
    detect(moving(pictures, times), [Finder(Bright(), follow=True)], tmp_path, progress=False)
    assert [row["track_id"] for row in results_in(tmp_path)] == [1] * 7


def test_footage_that_breaks_off_leaves_what_came_before(tmp_path):
    with pytest.raises(ValueError, match="breaks off"):
        detect(moving([scene(20)] * 9, broken_after=4), [Finder(Bright(), follow=True)], tmp_path, progress=False)
    assert [row["image_id"] for row in results_in(tmp_path)] == [1, 2, 3, 4]
    assert len(read(tmp_path / "images.json")["images"]) == 4
    assert len(read_tracks(tmp_path / "tracks.txt").frame) == 4
    assert frames_in(tmp_path / "a.mp4") == 4


def test_footage_that_breaks_off_at_once_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="breaks off"):
        detect(moving([scene(20)], broken_after=0), [Finder(Bright())], tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_work_that_is_stopped_leaves_whole_files(tmp_path):
    asked = iter([False] * 5 + [True] * 99)
    finder = Finder(Bright(), follow=True)
    (line,) = detect(moving([scene(20)] * 9), [finder], tmp_path, stop=lambda: next(asked), progress=False)
    assert "in 5 pictures, 1 tracks" in line
    assert [row["image_id"] for row in results_in(tmp_path)] == [1, 2, 3, 4, 5]
    assert frames_in(tmp_path / "a.mp4") == 5
    assert len(list(tmp_path.iterdir())) == 4


def test_a_detector_that_fails_leaves_no_parts_and_the_old_files(tmp_path):
    class Failing(Bright):
        def predict(self, images, least_score=0.05):
            raise RuntimeError("out of memory")

    (tmp_path / "detections.json").write_text("old")
    with pytest.raises(RuntimeError):
        detect(moving([scene(20)] * 2), [Finder(Failing())], tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["detections.json"]
    assert (tmp_path / "detections.json").read_text() == "old"


def test_several_models_are_drawn_beside_each_other(tmp_path):
    other = Bright(0.4)
    other.kind = "dim"
    lines = detect(moving([scene(20)] * 3), [Finder(Bright()), Finder(other)], tmp_path, progress=False)
    assert [line.split(":")[0] for line in lines] == ["1 bright", "2 dim"]
    assert [row["score"] for row in results_in(tmp_path)] == [0.9] * 3
    assert [row["score"] for row in results_in(tmp_path, "_2")] == [0.4] * 3
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    drawn = video.read()[1].astype(int)
    left, right = drawn[-HEIGHT:, :WIDTH], drawn[-HEIGHT:, -WIDTH:]
    assert drawn.shape[1] > 2 * WIDTH and drawn.shape[0] > HEIGHT
    for half in (left, right):
        assert np.abs(half[50:] - 30).max() < 25  # dark below the boxes
        assert (np.abs(half[10:22, 20:40] - 220).max(-1) < 40).mean() > 0.4
    assert (tmp_path / "images_2.json").is_file()


def test_drawings_can_be_smaller_than_what_is_drawn_on(tmp_path):
    large = cv2.resize(scene(20), (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "0.png"), large)
    for width, expected in ((WIDTH, WIDTH), (9999, 4 * WIDTH)):
        detect(open_footage(tmp_path / "0.png"), [Finder(Bright())], tmp_path / "out", width=width, progress=False)
        drawn = cv2.imread(str(tmp_path / "out/0.png"))
        assert drawn.shape == (expected * HEIGHT // WIDTH, expected, 3)
        assert results_in(tmp_path / "out")[0]["bbox"] == [80, 40, 80, 48]
    detect(open_footage(tmp_path / "0.png"), [Finder(Bright())], tmp_path / "out", width=WIDTH, progress=False)
    drawn = cv2.imread(str(tmp_path / "out/0.png")).astype(int)
    columns = np.flatnonzero(np.abs(drawn - scene(20)).sum(-1)[16] > 100)
    assert (columns[0], columns[-1]) == (20, 39)
    with pytest.raises(ValueError, match="width is 9; a drawing must have at least 64 px"):
        detect(open_footage(tmp_path / "0.png"), [Finder(Bright())], tmp_path / "out", width=9, progress=False)


def save_network(folder, network, kind, names, **biases):
    """A network that has learnt nothing, except that the outputs of some layers are what we want."""
    with torch.no_grad():
        for name, values in biases.items():
            layer = dict(network.named_modules())[name.replace("_", ".")]
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(values))
    save_model(folder, ModelFacts(kind, names, asdict(network.config)), network.state_dict())


def test_lane_lines_are_drawn_where_the_network_finds_them(tmp_path):
    network = RowAnchor(RowAnchorConfig())
    rows = network.config.rows
    # The first and the fourth line are never there, the others in the lower half of the rows.
    there = [-9.0] * rows + ([-9.0] * (rows // 2) + [9.0] * (rows - rows // 2)) * 2 + [-9.0] * rows
    save_network(tmp_path, network, row_anchor.KIND, SLOTS, exists_2=there)
    frame = Frame("a", np.full((3, 192, 320), 90, np.uint8))
    given = np.full((192, 320, 3), 90, np.uint8)
    drawn = lane_layer(tmp_path)(frame, given)
    found = load_lane_model(tmp_path).predict(torch.from_numpy(frame.pixels)[None])[0]
    changed = (drawn != given).any(-1)
    for slot in (1, 2):
        for x, y in zip(found[slot].tolist(), rows_of(192, rows), strict=True):
            if x != ABSENT and 1 < x < 319 and y < 190:
                assert changed[y, round(x) - 1 : round(x) + 2].any()
    assert {tuple(colour) for colour in drawn[changed].tolist()} <= {SLOT_COLOURS[1], SLOT_COLOURS[2]}
    assert not changed[: rows_of(192, rows)[rows // 2] - 3].any()


def test_pixels_are_tinted_by_what_the_network_takes_them_for(tmp_path):
    network = Segmentation(SegmentationConfig())
    names = network.config.classes
    save_network(tmp_path, network, segmentation.KIND, names, classes=[9.0 * (name == "road") for name in names])
    frame = Frame("a", np.full((3, 100, 150), 90, np.uint8))
    drawn = lane_layer(tmp_path)(frame, np.full((100, 150, 3), 90, np.uint8))
    expected = (1 - OPACITY) * 90 + OPACITY * np.array(GROUP_COLOURS["road"])
    assert np.abs(drawn - expected).max() <= 0.51


def test_layers_are_drawn_under_the_boxes(tmp_path):
    def layer(frame, picture):
        assert frame.pixels.shape == (3, HEIGHT, WIDTH)
        return np.full_like(picture, 120)

    cv2.imwrite(str(tmp_path / "0.png"), scene(20))
    detect(open_footage(tmp_path / "0.png"), [Finder(Bright())], tmp_path / "out", [layer], progress=False)
    drawn = cv2.imread(str(tmp_path / "out/0.png"))
    assert (drawn[50:, :] == 120).all()
    assert (drawn[22 - 1, 20:40] != 120).any()


@pytest.mark.parametrize("name", ["photos", "photos/0.png", "photos/a.mp4"])
def test_results_never_overwrite_what_they_are_of(tmp_path, name):
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "0.png"), scene(10))
    write_video(photos / "a.mp4", [scene(10)], 5)
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(ValueError, match="must not be written beside what they are of"):
        detect(open_footage(tmp_path / name), [Finder(Bright())], tmp_path / "photos/../photos", progress=False)
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


@pytest.mark.parametrize("score", [-0.1, 1.0, float("nan")])
def test_a_score_that_is_none(score):
    with pytest.raises(ValueError, match=r"least_score is .*; it must be at least 0 and below 1"):
        Finder(Bright(), score)
