"""Compiles the kernels of environments to cubins without a GPU: compile_for_cuda.py PRECISION FOLDER ARCHITECTURES IDS.

Run by test_cuda.py in a process of its own: which functions are outlined is decided when the engine is imported.
Architectures and ids are lists with commas.
"""

import sys
from pathlib import Path

import warp as wp

import sim


def main(precision: str, folder: Path, architectures: list[int], ids: list[str]) -> None:
    """Write FOLDER/KERNEL_NUMBER/*.cubin and print how many kernels there are.

    A module holds one kernel, compiled for all the types that the ids need.
    """
    modules = {}
    for env_id in ids:
        for program in sim.make_vec(env_id, 1, precision=precision)._programs.values():
            for command in program._slices[0]:
                modules[command.kernel.module] = command.kernel.key
    for number, (module, key) in enumerate(modules.items()):
        target = folder / f"{key}_{number}"
        target.mkdir(parents=True)
        wp.compile_aot_module(module, arch=architectures, module_dir=target, use_ptx=False)
    print(len(modules))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [int(arch) for arch in sys.argv[3].split(",")], sys.argv[4].split(","))
