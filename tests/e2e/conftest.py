"""The product as users run it, on the real cluster: chart installed, Hub at hand, a namespace for each test."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from devcluster.cache import locked
from tests.support import models, stack
from tests.support.cluster import LLAMA, Namespace
from tests.support.hub.remote import RemoteHub
from tests.support.kubectl import kubectl
from tests.support.own_repo import OwnRepo
from tests.support.served import CONFIG
from tools.generate import NAMESPACE


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tell what may run beside others: all but what changes the operator itself, or the network of all pods."""
    if item.path.stem not in ("test_operator", "test_network"):
        item.add_marker(pytest.mark.beside)


@pytest.fixture(scope="package")
def run(testrun_uid: str) -> Generator[Path]:
    """A folder with one file for each process of this run that uses the operator."""
    folder = Path(tempfile.gettempdir()) / f"llama-operator-e2e-{testrun_uid}"
    yield folder
    with locked(folder.with_suffix(".lock")):
        if folder.is_dir() and not list(folder.iterdir()):
            shutil.rmtree(folder)


@pytest.fixture(scope="package")
def hub(run: Path) -> RemoteHub:
    """The test Hub in the cluster."""
    with locked(run.with_suffix(".lock")):
        return stack.start_hub(models.models_dir(), CONFIG)


@pytest.fixture(scope="package", autouse=True)
def operator(hub: RemoteHub, run: Path) -> Generator[None]:
    """The operator, installed by its chart as users do, for all namespaces; by the first of several processes."""
    images = stack.images()
    with locked(run.with_suffix(".lock")):
        if not run.is_dir():
            with ExitStack() as undo:  # one that does not come up would be in the way of all later tests
                undo.callback(stack.uninstall_operator)
                stack.install_operator(
                    hub=stack.hub_endpoint(),
                    operator=images["operator"],
                    inference=images["inference"],
                    builder=images["builder"],
                    python=images["index"],
                )
                undo.pop_all()
            run.mkdir()
        mine = run / str(os.getpid())
        mine.touch()
    yield
    with locked(run.with_suffix(".lock")):
        mine.unlink()
        if not list(run.iterdir()):
            stack.uninstall_operator()


@pytest.fixture
def own(hub: RemoteHub) -> Generator[OwnRepo]:
    """A repository with tiny weights that no other test asks for; the Hub does nothing wrong any more afterwards."""
    found = OwnRepo(hub, f"{uuid4().hex[:8]}/{models.TINY.rpartition('/')[2]}")
    found.publish(models.TINY)
    yield found
    hub.clear_faults()


@pytest.fixture
def space() -> Generator[Namespace]:
    """A namespace of the test's own, in which only pods of the restricted level are admitted."""
    with stack.restricted_namespace() as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the cluster says where a test failed."""
    report = yield
    if report.when == "call" and report.failed:
        for what in (("describe", LLAMA), ("describe", "pods", "--selector=app.kubernetes.io/name=llama-inference")):
            report.sections.append((f"kubectl {' '.join(what)}", kubectl(*what, "--all-namespaces").stdout[-8000:]))
        logs = kubectl(
            "--namespace", NAMESPACE, "logs", "--selector=app.kubernetes.io/name=llama-operator", "--tail=60"
        )
        report.sections.append(("the operator's log", logs.stdout))
    return report
