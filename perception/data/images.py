"""Pictures on disk: PNG files that are written whole or not at all, and read with clear words about broken ones."""

import os
from pathlib import Path

import cv2
import numpy as np

COMPRESSION = 3
"""zlib's level in PNG files: a tenth larger than the smallest, three times as fast to write."""
CENTIMETRES = 100.0
"""Units of a depth picture in a metre."""
FARTHEST = 65535
"""Largest value of a depth picture: 655.35 m and beyond."""
SKY = 0
"""Depth where nothing is: the sky."""
PARTIAL = ".partial"


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG of uint8 `[3, H, W]` (RGB) or `[H, W]`, or uint16 `[H, W]`; the same pixels give the same bytes."""
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0))  # OpenCV's pixels are BGR
    whole, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])
    assert whole, "OpenCV refused to encode a PNG"
    return data.tobytes()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: neither a kill nor a full disk leaves a part of it at `path`."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_image(path: str | Path) -> np.ndarray:
    """Return a picture, uint8 RGB `[3, H, W]`; a grey one has three equal channels, transparency is dropped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, or one that breaks off.
    """
    return np.ascontiguousarray(_decoded(path, cv2.IMREAD_COLOR)[..., ::-1].transpose(2, 0, 1))


def read_labels(path: str | Path) -> np.ndarray:
    """Return a picture of one channel, such as classes, uint8 `[H, W]`; errors as of `read_image`."""
    return _decoded(path, cv2.IMREAD_GRAYSCALE)


def depth_pixels(depth: np.ndarray) -> np.ndarray:
    """Return depth [m] `[..., H, W]` as uint16 centimetres: 0 the sky, 65535 for 655.35 m and beyond."""
    centimetres = np.clip(np.rint(np.where(np.isfinite(depth), depth, 0.0) * CENTIMETRES), 1, FARTHEST)
    return np.where(np.isfinite(depth), centimetres, SKY).astype(np.uint16)


def read_depth(path: str | Path) -> np.ndarray:
    """Return depth [m], float32 `[H, W]`, infinite where the sky is; errors as of `read_image`."""
    pixels = _decoded(path, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(f"{path} is no depth picture: it has {pixels.dtype} pixels, not 16-bit grey ones")
    return np.where(pixels == SKY, np.inf, pixels / CENTIMETRES).astype(np.float32)


def _decoded(path: str | Path, how: int) -> np.ndarray:
    path = Path(path)
    data = path.read_bytes()
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data and not _broken_off(data) else None
    except cv2.error:  # a header that states more pixels than OpenCV takes
        pixels = None
    if pixels is None:
        raise ValueError(f"{path} is not a whole picture: {len(data)} bytes that cannot be decoded")
    return pixels


def _broken_off(data: bytes) -> bool:
    """Does a PNG or JPEG lack its end? OpenCV would fill in grey and say nothing but a line on stderr."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-16:]
    return data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-64:]
