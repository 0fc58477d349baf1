"""What preflight waits for is watched: nobody looks again by himself here, so that only a watch can tell."""

import time
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.integration.hub import REPO, TOKEN, checked
from tests.integration.proxy import ApiProxy
from tests.support.cluster import Namespace, eventually
from tests.support.hub import HubServer
from tests.support.nodes import another_node

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]
REF: Final = {"name": "mine", "key": "token"}
_QUIET_SECONDS: Final = 2.0


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Those of an operator that looks at what waits only when it is told to."""
    return {"RECHECK_SECONDS": "3600", "RESYNC_SECONDS": "3600"}


def open_watches(api: ApiProxy, *parts: str) -> int:
    """How many watches have been asked for whose path holds these parts."""
    return len(api.about("watch=true", "allowWatchBookmarks=false", *parts))


def waits(space: Namespace, api: ApiProxy, reason: str, *watched: str) -> None:
    """Wait until preflight holds for a reason, its watch is open, and nobody looks at it any more."""
    space.condition("llama", "PreflightPassed", f"False {reason}")
    eventually("it is watched", lambda: open_watches(api, *watched) > 0)
    seen, since = -1, time.monotonic()

    def nobody_looks() -> bool:
        nonlocal seen, since
        looks = len(api.about(f"/namespaces/{space.name}/"))
        if looks != seen:
            seen, since = looks, time.monotonic()
        return time.monotonic() - since >= _QUIET_SECONDS

    eventually("nobody looks at it", nobody_looks)


def passes(space: Namespace) -> None:
    """Wait until everything is claimed."""
    space.condition("llama", "PreflightPassed", "True ChecksPassed")
    space.there("deployment", "llama")


def mine(space: Namespace, token: str) -> None:
    """Write the Secret with the token."""
    space.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"token": token}})


def test_a_secret_that_is_created_counts_at_once(space: Namespace, api: ApiProxy) -> None:
    """Its watch is by its name: no other Secret is sent."""
    space.apply(checked(model={"repo": REPO, "tokenSecretRef": REF}))
    waits(space, api, "SecretNotFound", f"/namespaces/{space.name}/secrets", "fieldSelector=metadata.name%3Dmine")
    mine(space, TOKEN)
    passes(space)
    assert not api.about(f"/namespaces/{space.name}/secrets?", "limit=")


def test_a_token_that_is_corrected_counts_at_once(space: Namespace, api: ApiProxy, hub: HubServer) -> None:
    """A Secret that is there and changes."""
    mine(space, "hf_NobodyKnowsThisToken")
    space.apply(checked(model={"repo": REPO, "tokenSecretRef": REF}))
    waits(space, api, "TokenRejected", f"/namespaces/{space.name}/secrets")
    mine(space, TOKEN)
    passes(space)


def test_a_node_that_comes_counts_at_once(space: Namespace, api: ApiProxy) -> None:
    """Though the list of nodes had just been read."""
    mark = {"llama-operator.dev/awaited": uuid4().hex[:8]}
    space.apply(checked(scheduling={"nodeSelector": mark}))
    waits(space, api, "NoMatchingNode", "/api/v1/nodes")
    with another_node(mark, 8):
        passes(space)


def test_a_quota_that_is_raised_counts_at_once(space: Namespace, api: ApiProxy) -> None:
    """What is used of it wakes nobody."""
    quota: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    space.apply({**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}})
    space.apply(checked())
    waits(space, api, "QuotaTooSmall", f"/namespaces/{space.name}/resourcequotas")
    space.patch("resourcequota", "team", {"spec": {"hard": {"requests.nvidia.com/gpu": "100"}}})
    passes(space)
