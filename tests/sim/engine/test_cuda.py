"""The same source compiles for CUDA, checked without a GPU by Warp's ahead-of-time compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compile_for_cuda.py")
KERNELS = ("simulate", "spawn", "judge", "observe_kinematics")
ELF = b"\x7fELF"


@pytest.mark.parametrize(
    ("precision", "architectures"),
    [("float32", (80, 90)), pytest.param("float64", (80, 90), marks=pytest.mark.slow)],
)
def test_every_kernel_compiles_to_a_cubin(tmp_path: Path, precision: str, architectures: tuple[int, ...]) -> None:
    arguments = [precision, str(tmp_path), *map(str, architectures)]
    environment = os.environ | {"SLIPSTREAM_OUTLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    for kernel in KERNELS:
        cubins = sorted((tmp_path / kernel).glob("*.cubin"))
        assert len(cubins) == len(architectures)
        for cubin, architecture in zip(cubins, architectures, strict=True):
            assert f"sm{architecture}" in cubin.name.replace("_", "")
            assert cubin.read_bytes().startswith(ELF)
