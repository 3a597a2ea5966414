"""One small data set, written once for all tests that read it."""

import pytest

from perception.data.dataset import DatasetWriter
from tests.perception.data.small_set import SETTINGS


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder of a data set and its manifest."""
    folder = tmp_path_factory.mktemp("data") / "set"
    return folder, DatasetWriter(folder, SETTINGS, threads=1).write(progress=False)
