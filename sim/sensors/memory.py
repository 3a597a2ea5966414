"""How much memory there is, asked before pictures are allocated."""

import os
from pathlib import Path

import torch

SPARED = 0.05  # share of what is free that is left alone


def available_bytes(device: torch.device) -> int:
    """Return the memory that can still be had on a device [B]; on a CPU the least of machine and control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        rows = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free.append(int(rows["MemAvailable"].split()[0]) * 1024)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        free.append(int(limit.read_text()) - int(used.read_text()))
    if not free:
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(free)


def require_memory(needed: int, device: torch.device, about: str) -> None:
    """Refuse what does not fit.

    Raises:
        MemoryError: `needed` bytes are more than there are; the message names both and what they are for.
    """
    available = int(available_bytes(device) * (1 - SPARED))
    if needed > available:
        raise MemoryError(
            f"{about} need {needed / 1e9:,.1f} GB on {device}, {available / 1e9:,.1f} GB are available; "
            "take fewer worlds or smaller pictures"
        )
