"""One run of tests at a time on the cluster: they install operators that serve all of it, and take it down."""

import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from devcluster.cache import locked


@pytest.fixture(scope="session", autouse=True)
def the_cluster_to_ourselves(request: pytest.FixtureRequest) -> Generator[None]:
    """Wait until another run has ended, where any test of this one needs the cluster."""
    if not any(item.get_closest_marker("cluster") for item in request.session.items):
        yield
        return
    lock = Path(tempfile.gettempdir()) / "llama-operator-cluster-tests.lock"
    sys.stderr.write("waiting for other runs on the cluster, if any\n")
    with locked(lock):
        yield
