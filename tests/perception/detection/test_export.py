import hashlib
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from perception.detection import onnx_detector
from perception.detection.detector import load_detector
from perception.detection.export import differences, export, folded, quantise, raw_network
from perception.detection.one_stage import OneStage, OneStageConfig
from perception.detection.torchvision_models import PeerConfig, PeerDetector, build_peer
from perception.model_folder import FACTS, WEIGHTS, ModelFacts, fingerprint, load_facts, save_model

SMALL = OneStageConfig(("car", "van"), 96, 64, channels=(8, 8, 16, 16, 16), blocks=(1, 1, 1, 1), neck=16, bins=6)


def network():
    torch.manual_seed(0)
    made = OneStage(SMALL)
    nn.init.normal_(made.scores.weight, std=0.3)
    nn.init.normal_(made.distances.weight, std=0.3)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if it had been trained: nothing is 0 or 1
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(value.data, 0.5, 1.5)
    return made.eval()


def pictures(count, seed=0, size=(96, 64)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size[1], size[0]), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small one-stage detector with both of its files; made once."""
    folder = tmp_path_factory.mktemp("exported") / "small"
    save_model(folder, ModelFacts("one-stage", SMALL.classes, asdict(SMALL)), network().state_dict())
    export(folder)
    quantise(folder, pictures(32).split(8))
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(exported, tmp_path / "copy")


def test_folding_batch_normalisation_changes_nothing():
    made = network()
    images = pictures(2)
    with torch.no_grad():
        before, after = made.detect(images), folded(made).detect(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(made).modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_onnx_runtime_says_what_torch_says_on_a_hundred_pictures_in_batches_of_any_size(exported):
    onnx.checker.check_model(onnx.load(exported / onnx_detector.FP32_FILE), full_check=True)
    far = differences(exported, [pictures(1, 5), pictures(3, 6), pictures(96, 7)])
    assert far.pictures == 100 and far.boxes < 1e-3 and far.scores < 1e-5
    torch_one, onnx_one = load_detector(exported), load_detector(exported, runtime="onnx")
    assert (onnx_one.kind, onnx_one.classes, onnx_one.size) == ("one-stage", ("car", "van"), (96, 64))
    # Pictures of another size too, which are letterboxed.
    for images in (pictures(2, 8), pictures(2, 9, (200, 60))):
        for one, other in zip(torch_one.predict(images, 0.01), onnx_one.predict(images, 0.01), strict=True):
            assert len(one) > 0 and torch.equal(one.labels, other.labels)
            assert torch.allclose(one.boxes, other.boxes, atol=1e-3)
            assert torch.allclose(one.scores, other.scores, atol=1e-5)


def test_int8_weights_are_a_quarter_and_say_nearly_the_same(exported):
    model = onnx.load(exported / onnx_detector.INT8_FILE)
    stored = {one.name: one.data_type for one in model.graph.initializer}
    given = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in convolutions:  # both the pictures and the kernel come from eight bits
        assert given[node.input[0]].op_type == given[node.input[1]].op_type == "DequantizeLinear"
        assert stored[given[node.input[1]].input[0]] == onnx.TensorProto.INT8
    assert convolutions
    images = pictures(16, 4)
    with torch.no_grad():
        boxes, scores = raw_network(load_detector(exported))(images)
    rough = load_detector(exported, runtime="onnx-int8").raw(images)
    for exact, found in ((boxes, rough[0]), (scores, rough[1])):
        together = np.corrcoef(exact.flatten().numpy(), found.flatten().numpy())[0, 1]
        assert 0.99 < together < 1.0
    assert (rough[1] - scores).abs().max() > 1e-4  # it is not the fp32 file under another name


def test_a_file_of_other_weights_is_refused(copied):
    facts = load_facts(copied)
    torch.manual_seed(1)
    save_model(copied, facts, OneStage(SMALL).state_dict())
    for runtime in ("onnx", "onnx-int8"):
        with pytest.raises(ValueError, match=r"was made of other weights than .*export it again"):
            load_detector(copied, runtime=runtime)


def test_a_file_of_another_model_is_refused(copied):
    facts = json.loads((copied / FACTS).read_text())
    facts["classes"] = facts["network"]["classes"] = ["truck", "van"]
    (copied / FACTS).write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"is of another model: a 'one-stage' of car, van;.*truck, van"):
        load_detector(copied, runtime="onnx")
    with pytest.raises(ValueError, match="unknown runtime 'tensorrt'; known: torch, onnx, onnx-int8"):
        load_detector(copied, runtime="tensorrt")


def test_damaged_missing_and_foreign_files_are_named(copied):
    path = copied / onnx_detector.FP32_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model.onnx cannot be read: .*; export it again"):
        load_detector(copied, runtime="onnx")
    foreign = onnx.load_from_string(whole)
    del foreign.metadata_props[:]
    path.write_bytes(foreign.SerializeToString())
    with pytest.raises(ValueError, match=r"model.onnx is no detector of ours"):
        load_detector(copied, runtime="onnx")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*model.onnx: export it with python scripts"):
        load_detector(copied, runtime="onnx")
    with pytest.raises(FileNotFoundError, match="export the model first"):
        quantise(copied, [pictures(1)])
    (copied / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        fingerprint(copied)


def test_no_pictures_no_int8(copied):
    before = hashlib.sha256((copied / onnx_detector.INT8_FILE).read_bytes()).digest()
    with pytest.raises(ValueError, match="no pictures to take the scales from"):
        quantise(copied, [])
    assert hashlib.sha256((copied / onnx_detector.INT8_FILE).read_bytes()).digest() == before


def test_what_was_exported_names_no_folder_of_the_machine(exported):
    assert b".py" not in (exported / onnx_detector.FP32_FILE).read_bytes()


def test_other_kinds_are_refused_by_name(tmp_path):
    detector = load_small(tmp_path)
    detector.kind = "ensemble"
    detector.__class__ = type("Other", (), {})
    with pytest.raises(ValueError, match="kind 'ensemble' are not exported"):
        raw_network(detector)


def load_small(tmp_path):
    folder = tmp_path / "plain"
    config = replace(SMALL)
    save_model(folder, ModelFacts("one-stage", config.classes, asdict(config)), network().state_dict())
    return load_detector(folder)


def peer(kind):
    """A network of torchvision's with random weights, and what its own end makes of pictures without suppression."""
    torch.manual_seed(0)
    config = PeerConfig(kind, ("car", "van"), backbone="mobilenet-v3", width=96, height=64, channels=32)
    detector = PeerDetector(build_peer(config), config)
    detector.network.nms_thresh = 2.0
    if kind == "ssdlite":  # else its classes differ by no more than rounding
        for module in detector.network.head.classification_head.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.3)
                if module.bias is not None:
                    nn.init.normal_(module.bias)
    return detector


@pytest.mark.parametrize("kind", ["ssdlite", "fcos"])
def test_torchvisions_networks_say_before_suppression_what_they_say_after_it(kind):
    detector = peer(kind)
    images = pictures(2, 3)
    with torch.no_grad():
        boxes, scores = raw_network(detector)(images)
    limit = torch.tensor([96.0, 64, 96, 64])
    for box, score, found in zip(boxes, scores, detector.predict(images, 0.0), strict=True):
        cut = torch.minimum(box.clamp(min=0), limit)
        whole = (cut[:, 2:] > cut[:, :2]).all(-1)  # what is outside the picture may be dropped
        assert len(found) > 50 and found.scores[0] == pytest.approx(score[whole].max().item(), abs=1e-5)
        for k in range(len(found)):
            same = (score[:, found.labels[k] - 1] - found.scores[k]).abs() < 1e-5
            assert ((cut - found.boxes[k]).abs().amax(-1) < 1e-2)[same].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ssdlite", "fcos"])
def test_torchvisions_networks_are_exported_too(tmp_path, kind):
    detector = peer(kind)
    config = detector.network.state_dict()
    facts = ModelFacts(kind, ("car", "van"), asdict(PeerConfig(kind, ("car", "van"), "mobilenet-v3", 96, 64, 32)))
    save_model(tmp_path, facts, config)
    export(tmp_path)
    far = differences(tmp_path, [pictures(3, 6), pictures(1, 5)])
    assert far.boxes < 1e-2 and far.scores < 1e-4


def test_a_two_stage_network_is_refused_by_name():
    with pytest.raises(
        ValueError, match="kind 'faster-rcnn' are not exported to ONNX; known: one-stage, ssdlite, fcos"
    ):
        raw_network(peer("faster-rcnn"))
