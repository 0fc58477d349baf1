"""What holds for every test: one run at a time on the cluster, and no module imported in which nothing would run."""

import gc
import os
import re
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from devcluster.cache import locked

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

CLUSTER: Final = ("tests/chart", "tests/devcluster", "tests/e2e", "tests/integration")
_WHOLE = re.compile(r"^pytestmark = .*\bpytest\.mark\.(slow|cluster)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave modules alone of which the inner loop runs nothing: importing torch, browsers and clients takes seconds."""
    if config.getoption("markexpr") != "not cluster and not slow" or not collection_path.name.startswith("test_"):
        return None
    return True if collection_path.is_file() and _WHOLE.search(collection_path.read_text()) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Scheduling | None":
    """Keep together what several processes may not run at once, where `--dist loadgroup` asks for it."""
    from tests.support.groups_of_tests import Groups  # noqa: PLC0415  (one process needs no xdist, and may have none)

    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test of the cluster run beside others unseen."""
    astray = {
        item.nodeid for item in items if item.get_closest_marker("cluster") and not item.nodeid.startswith(CLUSTER)
    }
    assert not astray, f"tests of the cluster are in one of {CLUSTER}: {sorted(astray)}"


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what stays to the end: it would look at all of it again and again."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Hold the cluster for all processes of a run whose tests are handed out in groups."""
    if config.getoption("dist", "no") == "loadgroup":
        held = ExitStack()
        config.add_cleanup(held.close)
        held.enter_context(_alone())


@pytest.fixture(scope="session", autouse=True)
def the_cluster_to_ourselves(request: pytest.FixtureRequest) -> Generator[None]:
    """Wait until another run with tests of the cluster has ended: they install operators that serve all of it."""
    wanted = any(item.get_closest_marker("cluster") for item in request.session.items)
    with nullcontext() if "PYTEST_XDIST_WORKER" in os.environ or not wanted else _alone():
        yield


@contextmanager
def _alone() -> Generator[None]:
    sys.stderr.write("waiting for other runs on the cluster, if any\n")
    with locked(Path(tempfile.gettempdir()) / "llama-operator-cluster-tests.lock"):
        yield
