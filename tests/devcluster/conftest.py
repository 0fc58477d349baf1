"""The folders of a cluster that is not there."""

from pathlib import Path

import pytest

from devcluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Folders below the test's own."""
    return Layout(cache=tmp_path / "cache", state=tmp_path / "state", run=tmp_path / "run")
