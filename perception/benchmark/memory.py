"""Prints how much memory a detector needs, in bytes; a program of its own, for a fresh process.

    python -m perception.benchmark.memory SOURCE RUNTIME THREADS

What is counted: from before the model is loaded to the highest point while a few pictures go through, one at a time.
The libraries that all need are there before.
"""

import sys

import torch

from perception.benchmark.detection import entrants
from perception.detection.onnx_detector import require_onnxruntime
from perception.latency import growth, pin

PICTURES = 5


def main(source: str, runtime: str, threads: str) -> None:
    """Load a detector, use it, print the growth."""
    pin(int(threads))
    if runtime != "torch":
        require_onnxruntime()

    def work() -> None:
        found, _ = entrants(source, [runtime])
        width, height = 320, 192
        for _ in range(PICTURES):
            found[0].detector.predict(torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8))

    print(growth(work))


if __name__ == "__main__":
    main(*sys.argv[1:])
