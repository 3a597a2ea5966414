"""Run lengths are COCO's, byte for byte: faster-coco-eval's C++ is the oracle."""

import numpy as np
import pytest
from faster_coco_eval.core import mask as oracle

from perception.data import rle


def masks():
    random = np.random.default_rng(0)
    for density in (0.0, 0.02, 0.5, 0.98, 1.0):
        for size in ((1, 1), (1, 9), (9, 1), (48, 64), (37, 91), (192, 320)):
            yield random.random(size) < density
    box = np.zeros((192, 320), dtype=bool)
    box[50:120, 80:170] = True
    yield box


def test_the_text_is_that_of_coco():
    for mask in masks():
        expected = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert rle.encode(mask) == {"size": list(mask.shape), "counts": _text(expected)}


def test_masks_come_back_from_text_and_from_plain_lists():
    for mask in masks():
        packed = rle.encode(mask)
        assert np.array_equal(rle.decode(packed), mask)
        assert np.array_equal(oracle.decode(packed).astype(bool), mask)
        plain = {"size": packed["size"], "counts": rle.run_lengths(mask).tolist()}
        assert np.array_equal(rle.decode(plain), mask)


def test_broken_run_lengths_are_refused():
    packed = rle.encode(next(mask for mask in masks() if mask.shape == (48, 64) and mask.any()))
    with pytest.raises(ValueError, match=r"run lengths of .* pixels for a mask of 64x47"):
        rle.decode({"size": [47, 64], "counts": packed["counts"]})
    with pytest.raises(ValueError, match="break off in the middle"):
        rle.unpacked("o")


def _text(counts):
    return counts.decode() if isinstance(counts, bytes) else counts
