"""Compiles every kernel to cubins without a GPU: compile_for_cuda.py PRECISION FOLDER ARCHITECTURE...

Run by test_cuda.py in a process of its own: which functions are outlined is decided when the engine is imported.
"""

import sys
from pathlib import Path

import warp as wp

import sim
from sim.engine.step import simulate
from sim.observations.kinematics import observe_kinematics
from sim.scenarios.highway import judge, spawn


def main(precision: str, folder: Path, architectures: list[int]) -> None:
    """Write FOLDER/kernel/*.cubin."""
    sim.make_vec("highway-fast-v0", 1, precision=precision)  # makes the kernels' overloads
    for kernel in (simulate, spawn, judge, observe_kinematics):
        for overload in kernel.overloads.values():
            target = folder / kernel.key
            target.mkdir(parents=True)
            wp.compile_aot_module(overload.module, arch=architectures, module_dir=target, use_ptx=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [int(arch) for arch in sys.argv[3:]])
