"""The operator as a process against the real API server, with exactly the rights that the chart gives it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from llama_operator.cluster.permissions import PERMISSIONS
from llama_operator.spec.crd import crd
from tests.integration.accounts import add_account, granted_everywhere, kubeconfig_of
from tests.integration.hub import REPO, TOKEN, write_model
from tests.integration.operator_process import OperatorProcess, Start
from tests.integration.proxy import ApiProxy
from tests.support.cluster import LLAMA, Namespace, eventually, server
from tests.support.hub import HubServer
from tests.support.kubectl import kubectl, kubectl_ok
from tools.generate import NAMESPACE

ACCOUNT: Final = "operator"


@pytest.fixture(scope="session")
def definition() -> None:
    """The CustomResourceDefinition of this tree, made as Helm would so that Helm may take it over; it stays."""
    others = kubectl_ok("get", "deployments", "-A", "-l", "app.kubernetes.io/name=llama-operator", "--no-headers")
    assert not others, f"another operator serves this cluster, uninstall it first: {others}"
    made = crd()
    made["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    made["metadata"]["annotations"] = {
        "meta.helm.sh/release-name": "llama-operator",
        "meta.helm.sh/release-namespace": NAMESPACE,
    }
    kubectl_ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=made)
    kubectl_ok("wait", "--for=condition=Established", f"crd/{LLAMA}")
    eventually("the kind is served", lambda: kubectl("get", LLAMA).returncode == 0)


@pytest.fixture
def space(definition: None) -> Iterator[Namespace]:
    """A namespace of the test's own."""
    found = Namespace.create()
    yield found
    found.delete()


@pytest.fixture(scope="session")
def home(definition: None) -> Iterator[Namespace]:
    """The operator's own namespace, with its account and the rights of leadership there."""
    found = Namespace.create()
    add_account(found, ACCOUNT)
    yield found
    found.delete()


@pytest.fixture(scope="session")
def everywhere(home: Namespace) -> Iterator[None]:
    """The rights of an operator that serves all namespaces: those and no other."""
    with granted_everywhere(
        [
            rule
            for name in ("cluster", "namespaced", "watchSecrets", "apiKeys", "gateway")
            for rule in PERMISSIONS[name]
        ],
        ACCOUNT,
        home,
    ):
        yield


@pytest.fixture(scope="module")
def api() -> Iterator[ApiProxy]:
    """What the operator speaks to: the real API server, through a proxy that counts and cuts.

    At the end of a module nothing must have been forbidden: the rights are enough.
    """
    with ApiProxy(server()) as found:
        yield found
    assert found.forbidden == []


@pytest.fixture(scope="module")
def kubeconfig(home: Namespace, api: ApiProxy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of the operator's account."""
    return kubeconfig_of(ACCOUNT, home, api, tmp_path_factory.mktemp("operator"))


@pytest.fixture
def start(home: Namespace, kubeconfig: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts processes, which end with the test."""
    started: list[OperatorProcess] = []
    usual = kubeconfig

    def begin(*, kubeconfig: Path | None = None, **settings: str) -> OperatorProcess:
        started.append(OperatorProcess(tmp_path, kubeconfig or usual, home.name, **settings))
        return started[-1]

    yield begin
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub on this machine, where the operator runs too, with a small public model and one account."""
    with HubServer() as found:
        found.add_repo(REPO, write_model(tmp_path_factory.mktemp("model")), licence="apache-2.0")
        found.tokens.add(TOKEN, account="reader")
        yield found


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Settings of a module's operator besides the usual ones; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def operator(
    home: Namespace,
    everywhere: None,
    kubeconfig: Path,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    hub: HubServer,
    settings: dict[str, str],
) -> Iterator[OperatorProcess]:
    """One process for all tests of a module, which serves all namespaces."""
    folder = tmp_path_factory.mktemp("operator")
    # Leadership that outlasts a busy machine: what is tested here is not how it is lost.
    usual = {"LEASE_NAME": "shared", "LEASE_DURATION_SECONDS": "10", "HUB_ENDPOINT": hub.url}
    process = OperatorProcess(folder, kubeconfig, home.name, **usual, **settings)
    yield process.reaches("leading")
    assert process.process.poll() is None, process.said[-2000:]
    try:
        process.stop()  # its lease goes with it, for which the next module's would wait
    finally:
        process.close()
