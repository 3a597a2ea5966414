"""Masks as COCO's run lengths: columns from left to right, alternately empty and full, packed as COCO packs them.

Source: cocoapi, common/maskApi.c (rleEncode, rleToString, rleFrString), 2.0.
"""

from typing import Any

import numpy as np

BITS = 5
"""Payload of a character; a sixth bit says that more follow."""
FIRST = 48
"""The character of 0."""


def encode(mask: np.ndarray) -> dict[str, Any]:
    """Return the compressed run lengths of a mask, bool or 0/1 `[H, W]`."""
    mask = np.asarray(mask, dtype=bool)
    return {"size": [int(side) for side in mask.shape], "counts": packed(run_lengths(mask))}


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return the lengths of a mask's runs `[R]`, the first of them empty, down each column."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False)) if len(flat) else np.zeros(0, dtype=int)
    return np.diff(changes, prepend=0, append=len(flat))


def packed(counts: np.ndarray) -> str:
    """Return run lengths as COCO's text: from the fourth on the difference to the one before last, 5 bits a sign."""
    values = np.array(counts, dtype=np.int64)
    values[3:] -= np.asarray(counts, dtype=np.int64)[1:-2]
    signs = np.empty((len(values), 13), dtype=np.uint8)
    kept = np.zeros(signs.shape, dtype=bool)
    left, open_ = values, np.ones(len(values), dtype=bool)
    for place in range(signs.shape[1]):
        bits, left = left & 31, left >> BITS
        more = open_ & ~np.where(bits & 16, left == -1, left == 0)  # the rest is not the sign bit repeated
        signs[:, place] = FIRST + (bits | (more << BITS))
        kept[:, place], open_ = open_, more
        if not more.any():
            break
    return signs[kept].tobytes().decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """Return the run lengths in COCO's text; ValueError if it breaks off."""
    counts: list[int] = []
    value = shift = 0
    for sign in text.encode("ascii"):
        bits = sign - FIRST
        value |= (bits & 31) << shift
        shift += BITS
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError(f"run lengths break off in the middle of a number: {text[-20:]!r}")
    return np.array(counts, dtype=np.int64)


def decode(segmentation: dict[str, Any]) -> np.ndarray:
    """Return the mask, bool `[H, W]`, of run lengths, compressed or a plain list.

    Raises:
        ValueError: they do not fill the mask.
    """
    counts = segmentation["counts"]
    lengths = unpacked(counts) if isinstance(counts, str) else np.asarray(counts, dtype=np.int64)
    height, width = segmentation["size"]
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"run lengths of {int(lengths.sum())} pixels for a mask of {width}x{height}")
    full = np.arange(len(lengths)) % 2 == 1
    return np.repeat(full, lengths).reshape((height, width), order="F")
