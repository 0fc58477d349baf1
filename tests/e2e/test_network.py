"""NetworkPolicies as a packet filter holds them: who gets through to a model, and where its pods get to."""

from collections.abc import Generator
from contextlib import ExitStack
from typing import Final

import pytest

from devcluster.layout import BUSYBOX_IMAGE
from llama_operator.names import CONTAINER
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.devcluster import Keeper, a_pod
from tests.support.kubectl import kubectl
from tests.support.network_enforcer import network_enforcer
from tests.support.own_repo import OwnRepo
from tests.support.served import small_llama

pytestmark = pytest.mark.cluster
NAME: Final = "llama"
PODS: Final = f"app.kubernetes.io/instance={NAME}"
CONNECT: Final = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


@pytest.fixture(scope="module")
def enforcer(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """NetworkPolicies hold."""
    with network_enforcer(tmp_path_factory.mktemp("network")):
        yield


@pytest.fixture
def callers() -> Generator[tuple[Keeper, Keeper]]:
    """A pod in each of two other namespaces."""
    with ExitStack() as undo:
        spaces = Namespace.create(), Namespace.create()
        for space in spaces:
            undo.callback(space.delete)
        friend, stranger = map(Keeper, spaces)
        friend.start()
        stranger.start()
        yield friend, stranger


def gets_to(space: Namespace, host: str, port: int) -> bool:
    """Whether the server's container can open a connection."""
    (pod,) = space.list("pods", PODS)
    here = ("--namespace", space.name, "exec", pod["metadata"]["name"], f"--container={CONTAINER}")
    return kubectl(*here, "--", "python", "-c", CONNECT, host, str(port)).returncode == 0


def a_web_server(space: Namespace) -> str:
    """A pod that answers on port 8080; gives its address."""
    container = {"image": BUSYBOX_IMAGE, "command": ["httpd", "-f", "-p", "8080", "-h", "/bin"]}
    space.apply(a_pod("web", container))
    return eventually("it has an address", lambda: space.there("pod", "web").get("status", {}).get("podIP"))


def test_only_who_may_call_reaches_a_model_which_reaches_the_hub_and_nothing_else(
    enforcer: None, space: Namespace, own: OwnRepo, callers: tuple[Keeper, Keeper]
) -> None:
    """It fetches its model and the operator sees it start, both through the policy; without one all get through."""
    friend, stranger = callers
    allowed = {"enabled": True, "allowedNamespaces": [friend.space.name]}
    space.apply(small_llama(NAME, own.name, networkPolicy=allowed))
    space.condition(NAME, "Available", "True Serving", seconds=180)
    address, elsewhere = space.there("service", NAME)["spec"]["clusterIP"], a_web_server(friend.space)
    eventually("who may call gets through", lambda: friend.connects(address, 80))
    assert not stranger.connects(address, 80)
    hub = own.hub.url.removeprefix("http://")
    assert gets_to(space, hub, 80)
    assert not gets_to(space, elsewhere, 8080)
    assert not gets_to(space, "kubernetes.default.svc", 443)
    before = space.list("pods", PODS)[0]["metadata"]["uid"]
    space.patch(LLAMA, NAME, {"spec": {"networkPolicy": {"enabled": False}}})
    eventually("everybody gets through", lambda: stranger.connects(address, 80))
    eventually("to everywhere", lambda: gets_to(space, elsewhere, 8080))
    assert gets_to(space, "kubernetes.default.svc", 443)
    assert space.list("pods", PODS)[0]["metadata"]["uid"] == before
