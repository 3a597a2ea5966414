"""Options and fixtures every test can use: `--device`, and one torch thread a test process."""

import os

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="torch device of the tests: cpu (default), cuda, cuda:1")


def pytest_configure(config):
    """Check the device before any test runs, and leave one core to each test process."""
    torch.set_num_threads(1)
    # A window or an audio device must never be needed. SDL_VIDEODRIVER stays as it is: highway-env reads
    # "dummy" as "draw nothing" and would return black images.
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    name = config.getoption("--device")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise pytest.UsageError(f"--device {name!r} is not a torch device; use cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise pytest.UsageError(f"--device {name!r} is not supported; use cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise pytest.UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")


@pytest.fixture(scope="session")
def device(request) -> torch.device:
    """The torch device named by `--device`."""
    return torch.device(request.config.getoption("--device"))
