"""A gated model: a wrong token is named with its fix, and correcting the Secret is all there is to do."""

import pytest

from tests.support import models
from tests.support.ask import ask
from tests.support.cluster import LLAMA, Namespace
from tests.support.hub.remote import RemoteHub
from tests.support.kubectl import kubectl_ok
from tests.support.served import GATED, TOKEN, small_llama, token_secret
from tools.generate import NAMESPACE

pytestmark = pytest.mark.cluster
WRONG = "hf_NobodyKnowsThisToken"


def everything_written(space: Namespace) -> str:
    """All that may be read by whoever may not read Secrets: objects, events, logs of operator and server."""
    objects = space.run("get", f"{LLAMA},pods,deployments,services,serviceaccounts,events", "-o", "json")
    described = space.run("describe", f"{LLAMA},pods")
    logs = space.run("logs", "--selector=app.kubernetes.io/name=llama-inference", "--tail=-1")
    operator = kubectl_ok("-n", NAMESPACE, "logs", "--selector=app.kubernetes.io/name=llama-operator", "--tail=-1")
    return objects + described + logs + operator


def test_a_wrong_token_is_named_and_its_correction_suffices(space: Namespace) -> None:
    """Before any pod the condition names Secret and fix; with the right token it becomes available untouched."""
    space.apply(token_secret(WRONG))
    space.apply(small_llama("gated", GATED))
    failed = space.condition("gated", "PreflightPassed", "False TokenRejected")
    assert "hf-access-token" in failed["message"]
    assert "hf_access_token" in failed["message"]
    assert space.list("pods", "app.kubernetes.io/instance=gated") == []
    assert space.get("persistentvolumeclaim", "gated-cache") is None
    generation = space.there(LLAMA, "gated")["metadata"]["generation"]
    space.apply(token_secret(TOKEN))
    space.condition("gated", "Available", "True Serving", seconds=180)
    assert space.there(LLAMA, "gated")["metadata"]["generation"] == generation
    assert ask(space.name, "gated", {"prompt": "Hello", "max_new_tokens": 16})["status"] == "success"
    written = everything_written(space)
    assert TOKEN not in written
    assert WRONG not in written


def test_a_token_without_access_names_the_licence(space: Namespace, hub: RemoteHub) -> None:
    """Known account, model not granted: another reason, and another thing to do."""
    stranger = "hf_StrangerToTheModel"
    hub.add_token(stranger, account="stranger")
    space.apply(token_secret(stranger))
    space.apply(small_llama("gated", GATED))
    failed = space.condition("gated", "PreflightPassed", "False AccessDenied")
    assert "licence" in failed["message"]
    assert GATED in failed["message"]
    assert space.list("pods", "app.kubernetes.io/instance=gated") == []


def test_a_token_that_goes_bad_after_the_checks_is_told_by_the_pods(space: Namespace) -> None:
    """Unchecked, to stand for a token that is revoked in between: the same pods go on once it is corrected."""
    space.apply(token_secret(WRONG))
    space.apply(small_llama("gated", GATED, preflight={"mode": "off"}))
    failed = space.condition("gated", "ModelCached", "False TokenRejected", seconds=180)
    assert "hf-access-token" in failed["message"]
    pods = space.list("pods", "app.kubernetes.io/instance=gated")
    space.apply(token_secret(TOKEN))
    space.condition("gated", "Available", "True Serving", seconds=180)
    after = space.list("pods", "app.kubernetes.io/instance=gated")
    assert [pod["metadata"]["uid"] for pod in pods] == [pod["metadata"]["uid"] for pod in after]


def test_a_secret_that_is_named_must_exist_before_a_gpu_is_claimed(space: Namespace) -> None:
    """No pod is made for a Secret that is not there; once it is, everything goes on by itself."""
    space.apply(small_llama("public", model={"repo": models.TINY, "tokenSecretRef": {"name": "mine"}}))
    failed = space.condition("public", "PreflightPassed", "False SecretNotFound")
    assert "mine" in failed["message"]
    assert space.list("pods", "app.kubernetes.io/instance=public") == []
    space.apply(token_secret(TOKEN, "mine"))
    space.condition("public", "Available", "True Serving", seconds=180)
