"""Every kernel compiles for CUDA devices, which needs no GPU: Warp brings its own compiler."""

from pathlib import Path

import pytest
import warp as wp

import sim
from sim import observations
from sim.engine import step
from sim.scenarios import SCENARIOS

ARCHITECTURES = {"sm_80": 80, "sm_90": 90}


def kernels() -> dict[str, wp.Kernel]:
    """All kernels of the simulator by name."""
    found = [
        value for module in (step, observations) for value in vars(module).values() if isinstance(value, wp.Kernel)
    ]
    found += [kernel for scenario in SCENARIOS.values() for kernel in (scenario.spawn_kernel, scenario.judge_kernel)]
    return {kernel.key: kernel for kernel in found}


@pytest.fixture(scope="module", params=["float32", pytest.param("float64", marks=pytest.mark.slow)])
def precision(request) -> str:
    """A precision, after an environment has instantiated the kernels for it."""
    sim.make_vec("highway-fast-v0", num_envs=1, precision=request.param)
    return request.param


def compiled(kernel: wp.Kernel, precision: str, architecture: str, folder: Path) -> Path:
    """The cubin of a kernel's instance for one precision."""
    instances = [one for signature, one in kernel.overloads.items() if f"Worlds_{precision}" in signature]
    assert len(instances) == 1, f"{kernel.key}: instances {list(kernel.overloads)}"
    number = ARCHITECTURES[architecture]
    paths = wp.compile_aot_module(instances[0].module, arch=number, module_dir=folder, use_ptx=False)
    (path,) = paths
    assert path.name.endswith(f".sm{number}.cubin")
    return path


def is_cuda_program(path: Path) -> bool:
    """Is this an ELF file of machine type EM_CUDA (190) with code in it?"""
    content = path.read_bytes()
    return content[:4] == b"\x7fELF" and int.from_bytes(content[18:20], "little") == 190 and b".text." in content


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", sorted(kernels().keys() - {"simulate"}))
def test_kernels_compile(name: str, precision: str, architecture: str, tmp_path: Path) -> None:
    assert is_cuda_program(compiled(kernels()[name], precision, architecture, tmp_path))


# The simulation kernel is one large inlined function: about a minute an architecture.
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_simulation_compiles(precision: str, architecture: str, tmp_path: Path) -> None:
    assert is_cuda_program(compiled(kernels()["simulate"], precision, architecture, tmp_path))


def test_no_kernel_is_forgotten() -> None:
    """Whatever `sim` defines as a kernel is compiled above."""
    sources = Path(sim.__file__).parent.rglob("*.py")
    defined = sum(source.read_text(encoding="utf-8").count("@wp.kernel") for source in sources)
    assert len(kernels()) == defined


def test_a_broken_kernel_does_not_pass(tmp_path: Path) -> None:
    """The check itself: what is no CUDA program is told apart."""
    path = tmp_path / "kernel.sm80.cubin"
    path.write_bytes(b"\x7fELF" + bytes(100))
    assert not is_cuda_program(path)
