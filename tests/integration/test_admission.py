"""Admission webhooks of the cluster: what they make of our objects is left so, and one that fails is named."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.proxy import ApiProxy
from tests.integration.test_reconciling import quiet
from tests.support.cluster import LLAMA, Namespace, a_llama, eventually
from tests.support.webhook import NAME, Patch, webhook

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def mirrored(deployment: dict[str, Any]) -> Patch:
    """Images from another registry, pulled always; a toleration; a sidecar: what policy engines and meshes do."""
    pod = deployment["spec"]["template"]["spec"]
    image = f"mirror.example/{pod['containers'][0]['image'].removeprefix('mirror.example/')}"
    container = {**pod["containers"][0], "image": image, "imagePullPolicy": "Always"}
    toleration = {"key": "team", "operator": "Exists"}
    return [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers",
            "value": [container, {"name": "mesh", "image": "m:1"}],
        },
        {"op": "add", "path": "/spec/template/spec/tolerations", "value": [*pod.get("tolerations", ()), toleration]},
    ]


def writes(api: ApiProxy, space: Namespace) -> list[str]:
    """What the operator changes while its Lease is renewed twice."""
    return [request.path for request in quiet(api, space, renewals=2) if request.writes]


def test_what_a_webhook_makes_of_the_deployment_is_left_so(space: Namespace, api: ApiProxy, tmp_path: Path) -> None:
    """It comes to rest, with one rollout, and says which field is not as the spec would have it."""
    with webhook(space, tmp_path) as policy:
        policy.change = mirrored
        space.apply(a_llama(replicas=0))
        space.condition("llama", "Progressing", "False Stopped")
        eventually("it is quiet", lambda: not writes(api, space))
        made = space.there("deployment", "llama")["spec"]["template"]["spec"]
        assert made["containers"][0]["image"].startswith("mirror.example/")
        accepted = space.condition("llama", "Accepted", "True SpecValid")
        assert "a webhook of the cluster has changed: spec.template.spec.containers" in accepted["message"]
        space.patch(LLAMA, "llama", {"spec": {"terminationGracePeriodSeconds": 33}})
        eventually(
            "an edit still arrives",
            lambda: (
                space.there("deployment", "llama")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 33
            ),
        )
        eventually("it is quiet again", lambda: not writes(api, space))
    assert len(space.list("controllerrevisions")) == 2


def test_a_webhook_that_fails_is_named_and_all_else_is_applied(space: Namespace, tmp_path: Path) -> None:
    """The CR says which it is, and what goes without it is there; when it answers again, it goes on by itself."""
    with webhook(space, tmp_path) as policy:
        policy.status = 500
        space.apply(a_llama())
        accepted = space.condition("llama", "Accepted", "False WebhookFailed")
        assert "Deployment llama is not applied" in accepted["message"]
        assert NAME in accepted["message"]
        assert space.there("service", "llama")
        assert space.get("deployment", "llama") is None
        policy.status, policy.denies = 200, "images come from mirror.example alone"
        refused = space.condition("llama", "Accepted", "False ObjectRefused")
        assert f"the admission webhook {NAME} refuses Deployment llama" in refused["message"]
        assert policy.denies in refused["message"]
        policy.denies = ""
        space.condition("llama", "Accepted", "True SpecValid")
        space.there("deployment", "llama")
