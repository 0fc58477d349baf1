"""The product as users run it, on the real cluster: chart installed, Hub at hand, a namespace for each test."""

from collections.abc import Generator
from uuid import uuid4

import pytest

from tests.support import models, stack
from tests.support.cluster import LLAMA, Namespace
from tests.support.hub.remote import RemoteHub
from tests.support.kubectl import kubectl
from tests.support.own_repo import OwnRepo
from tests.support.served import CONFIG
from tools.generate import NAMESPACE


@pytest.fixture(scope="package")
def hub() -> RemoteHub:
    """The test Hub in the cluster."""
    return stack.start_hub(models.models_dir(), CONFIG)


@pytest.fixture(scope="package", autouse=True)
def operator(hub: RemoteHub) -> Generator[None]:
    """The operator, installed by its chart as users do, for all namespaces."""
    images = stack.images()
    stack.install_operator(hub=stack.hub_endpoint(), operator=images["operator"], inference=images["inference"])
    yield
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
