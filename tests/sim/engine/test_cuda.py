"""The same source compiles for CUDA, checked without a GPU by Warp's ahead-of-time compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.scenarios import SCENARIOS

SCRIPT = Path(__file__).with_name("compile_for_cuda.py")
ELF = b"\x7fELF"


def compile_kernels(folder: Path, precision: str, ids: list[str], architectures: list[int]) -> None:
    """Compile in a process of its own and look at what came out."""
    arguments = [precision, str(folder), ",".join(map(str, architectures)), ",".join(ids)]
    environment = os.environ | {"SLIPSTREAM_OUTLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment, timeout=3000
    )
    assert done.returncode == 0, done.stderr
    kernels = sorted(folder.iterdir())
    assert len(kernels) == int(done.stdout.split()[-1]) >= 4  # a step, a reset, a verdict, an observation
    for kernel in kernels:
        cubins = sorted(kernel.glob("*.cubin"))
        assert len(cubins) == len(architectures)
        for cubin, architecture in zip(cubins, architectures, strict=True):
            assert f"sm{architecture}" in cubin.name.replace("_", "")
            assert cubin.read_bytes().startswith(ELF)


def test_the_kernels_of_a_highway_compile_to_cubins(tmp_path: Path) -> None:
    compile_kernels(tmp_path, "float32", ["highway-fast-v0"], [90])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_kernel_of_the_family_compiles_to_a_cubin(tmp_path: Path, precision: str) -> None:
    compile_kernels(tmp_path, precision, list(SCENARIOS), [80, 90])
