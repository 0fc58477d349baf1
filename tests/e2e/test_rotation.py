"""Keys and tokens change while pods serve: the change holds within moments, and no pod restarts for it."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.test_lifecycle import available, selector
from tests.e2e.test_token import everything_written
from tests.support import models
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.hub.remote import RemoteHub
from tests.support.predict import Server
from tests.support.served import GATED, small_llama, token_secret

pytestmark = pytest.mark.cluster
NAME = "llama"
SHORT = {"prompt": "Hello", "max_new_tokens": 16, "num_beams": 1}
FIRST, SECOND, OTHER = "key-FirstOfTheWeb", "key-SecondOfTheWeb", "key-OfTheOtherTeam"
NEXT = "meta-llama/Llama-2-13b-chat-hf"
OLD, NEW, WRONG = "hf_OldTokenOfTheReader", "hf_NewTokenOfTheReader", "hf_NobodyHasThisToken"
SOON = 60
"""Seconds within which a change holds: the operator looks every 15, and the kubelet is told at once."""


def api_keys(name: str, **keys: str) -> dict[str, Any]:
    """A Secret that the LlamaDeployment selects."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"llama-keys": "mine"}},
        "stringData": keys,
    }


def asked(server: Server, key: str | None) -> int:
    """The status of a predict call with a key."""
    headers = {} if key is None else {"Authorization": f"Api-Key {key}"}
    return server.predict(SHORT, **headers).status


def running(space: Namespace) -> Mapping[str, int]:
    """How often the container of each pod has restarted, by the pod's uid."""
    rows = space.list("pods", selector(NAME))
    return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in rows}


def look(space: Namespace) -> None:
    """Let the operator look at once; it would by itself, and is waited for once in these tests."""
    space.run("annotate", LLAMA, NAME, f"look={time.monotonic_ns()}", "--overwrite")


def test_api_keys_come_change_and_go_without_a_restart(space: Namespace) -> None:
    """A key lets in, none or a wrong one does not; each change holds for the pod that runs, and is shown nowhere."""
    space.apply(api_keys("web", site=FIRST))
    space.apply(small_llama(NAME, auth={"apiKeySecretSelector": {"matchLabels": {"llama-keys": "mine"}}}))
    server = available(space)
    assert (asked(server, FIRST), asked(server, None), asked(server, SECOND)) == (200, 401, 403)
    before, generation = running(space), space.there("deployment", NAME)["metadata"]["generation"]

    space.apply(api_keys("web", site=SECOND))
    eventually("the new key lets in", lambda: asked(server, SECOND) == 200, seconds=SOON)
    assert asked(server, FIRST) == 403
    space.apply(api_keys("team", ci=OTHER))
    look(space)
    eventually("another Secret's key lets in", lambda: asked(server, OTHER) == 200, seconds=SOON)
    assert asked(server, SECOND) == 200
    assert sorted(space.there("secret", f"{NAME}-api-keys")["data"]) == ["team.ci", "web.site"]
    space.run("delete", "secret", "team", "web")
    look(space)
    degraded = space.condition(NAME, "Degraded", "True NoApiKeys", seconds=SOON)
    assert "llama-keys=mine" in degraded["message"]
    eventually("keys that are gone let nobody in", lambda: asked(server, SECOND) == 403, seconds=SOON)
    assert asked(server, OTHER) == 403

    assert running(space) == before
    assert space.there("deployment", NAME)["metadata"]["generation"] == generation
    written = everything_written(space)
    assert not [key for key in (FIRST, SECOND, OTHER) if key in written]


def test_a_changed_token_is_checked_and_used_for_the_next_download(space: Namespace, hub: RemoteHub) -> None:
    """A wrong one is told while pods serve on; the right one is, too, and fetches the next model."""
    hub.add_repo(NEXT, models.TINY, gated="manual")
    for known in (OLD, NEW):
        hub.add_token(known, account="rotating", grants=[GATED, NEXT])
    space.apply(token_secret(OLD))
    space.apply(small_llama(NAME, GATED))
    server = available(space)
    before = running(space)

    space.apply(token_secret(WRONG))
    look(space)
    failed = space.condition(NAME, "PreflightPassed", "False TokenRejected", seconds=SOON)
    assert "pods that run need no token" in failed["message"]
    assert (asked(server, None), running(space)) == (200, before)

    space.apply(token_secret(NEW))
    hub.revoke(OLD)
    look(space)
    good = space.condition(NAME, "PreflightPassed", "True ChecksPassed", seconds=SOON)
    assert "is good" in good["message"]
    assert running(space) == before

    space.patch(LLAMA, NAME, {"spec": {"model": {"repo": NEXT}}})
    eventually("the next model serves", lambda: _serves(space, NEXT), seconds=180)
    written = everything_written(space)
    assert not [token for token in (OLD, NEW, WRONG) if token in written]


def _serves(space: Namespace, repo: str) -> bool:
    status = space.there(LLAMA, NAME)["status"]
    newest = status["history"][0]
    return (status["revision"]["repo"], newest["revision"], newest["outcome"]) == (repo, 2, "Succeeded")
