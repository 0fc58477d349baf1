"""API keys: selected Secrets become one that the pods mount; keys come, change and go without a rollout."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from llama_operator import names
from llama_operator.plan.keys import compiled
from llama_operator.plan.observed import Object, Observed, Ref
from tests.support.operator_objects import (
    a_body,
    a_pod,
    condition,
    failing,
    observed,
    plan,
    pod_spec,
    report_on,
    running,
    server,
)
from tests.support.rollouts import World

SELECTOR = {"apiKeySecretSelector": {"matchLabels": {"llama-keys": "mine"}}}
BODY = a_body(auth=SELECTOR)
KEYS = Ref("v1", "Secret", "llama-api-keys")


def encoded(text: str) -> str:
    """A value as Secrets hold it."""
    return base64.b64encode(text.encode()).decode()


def a_secret(name: str, labels: Any = None, **keys: str) -> dict[str, Any]:
    """A Secret with API keys."""
    data = {key: encoded(value) for key, value in keys.items()}
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def live(*secrets: Object) -> tuple[Object, ...]:
    """All objects once these keys were applied."""
    return plan(observed(body=BODY, key_secrets=secrets)).desired


def test_a_key_is_named_by_its_secret() -> None:
    """Each value of each Secret is one; nothing of it is in a repr."""
    found = compiled([a_secret("b", ci="two"), a_secret("a", web="one")])
    assert found.data == {"a.web": encoded("one"), "b.ci": encoded("two")}
    assert encoded("one") not in repr(found)


def test_what_cannot_be_used_is_named() -> None:
    """A name that is taken, one that is too long, and no value at all; the others count."""
    found = compiled([a_secret("a", **{"b.c": "one"}), a_secret("a.b", c="two", empty=""), a_secret("x" * 253, y="z")])
    assert found.data == {"a.b.c": encoded("one")}
    assert [row.partition(" ")[0] for row in found.ignored] == ["a.b.c", "a.b.empty", "x" * 60 + "…"]


def test_what_was_compiled_is_no_source() -> None:
    """A selector may match the Secret that was made of it."""
    assert compiled([a_secret("llama-api-keys", names.child_labels("llama"), key="one")]).data == {}


def test_the_pods_mount_the_folder_whatever_the_keys() -> None:
    """So that keys restart no pod; a spec without a selector has pods as before there were keys."""
    container = server(auth=SELECTOR)
    assert {"name": "LLAMA_INFERENCE_API_KEYS_DIR", "value": names.KEYS_DIR} in container["env"]
    assert {"name": "api-keys", "mountPath": names.KEYS_DIR, "readOnly": True} in container["volumeMounts"]
    (volume,) = [row for row in pod_spec(auth=SELECTOR)["volumes"] if row["name"] == "api-keys"]
    assert volume["secret"] == {"secretName": "llama-api-keys", "optional": True, "defaultMode": 0o440}
    assert "api-keys" not in str(pod_spec())


@pytest.mark.parametrize(
    "secrets",
    [(a_secret("a", web="changed"),), (a_secret("a", web="one", ci="more"),), ()],
    ids=["changed", "added", "removed"],
)
def test_a_change_of_keys_changes_their_secret_alone(secrets: tuple[Object, ...]) -> None:
    """The pods stay; what is not wanted any more is taken out."""
    children = live(a_secret("a", web="one"))
    found = plan(observed(body=BODY, children=children, key_secrets=secrets))
    assert [obj["kind"] for obj in found.apply] == ["Secret"]
    same = plan(observed(body=BODY, children=found.desired, key_secrets=secrets))
    assert same.apply == ()


def test_no_digest_tells_of_a_value() -> None:
    """`kubectl describe` hides the values of a Secret and shows its annotations."""
    one, two = (
        next(obj for obj in live(a_secret("a", web=value)) if obj["kind"] == "Secret") for value in ("one", "two")
    )
    assert one["metadata"] == two["metadata"]


class Keyed(World):
    """One whose selected Secrets have a key."""

    def seen(self) -> Observed:
        """What one pass over the cluster finds."""
        selects = "apiKeySecretSelector" in self.body["spec"].get("auth", {})
        return replace(super().seen(), key_secrets=(a_secret("a", web="one"),) if selects else None)


def test_without_a_selector_the_secret_goes_once_nothing_can_need_it() -> None:
    """Pods that have it serve until the new ones do, and may come back."""
    world = Keyed(auth=SELECTOR)
    world.settle()
    world.edit(auth={})
    world.step()
    assert KEYS in world.children
    world.complete()
    (new,) = world.pods
    old = running(a_pod("old"))
    old["spec"]["volumes"] = pod_spec(auth=SELECTOR)["volumes"]
    world.pods = (new, old)
    world.step()
    assert KEYS in world.children
    world.pods = (new,)
    world.step()
    assert KEYS not in world.children


def test_a_way_back_to_pods_with_keys_finds_them() -> None:
    """The rollout that was to do without has failed."""
    world = Keyed(auth=SELECTOR)
    world.settle()
    world.edit(auth={})
    world.step()
    world.starting(2, report=failing("UnsupportedArchitecture"))
    world.step()
    world.complete()
    world.step()
    assert (world.running, KEYS in world.children) == (1, True)


def test_somebody_elses_secret_of_that_name_is_left_alone() -> None:
    """And no pod is made that would trust what is in it, nor a gateway."""
    taken = {**a_secret("llama-api-keys", web="x"), "apiVersion": "v1", "kind": "Secret"}
    sleepy = a_body(auth=SELECTOR, scaling={"minReplicas": 0})
    found = plan(observed(body=sleepy, children=[taken], key_secrets=()))
    assert found.foreign == (KEYS,)
    assert {obj["kind"] for obj in found.apply}.isdisjoint({"Secret", "Deployment"})


def test_the_gateway_mounts_what_the_pods_do() -> None:
    """It wakes no model for who has no key; without a selector it is as it was before there were keys."""
    sleepy = {"scaling": {"minReplicas": 0}}
    with_keys, without = gateway_pod(**sleepy, auth=SELECTOR), gateway_pod(**sleepy)
    (container,), (before,) = with_keys["containers"], without["containers"]
    assert with_keys["volumes"] == [row for row in pod_spec(auth=SELECTOR)["volumes"] if row["name"] == "api-keys"]
    (mount,) = container["volumeMounts"]
    assert {"name": "LLAMA_GATEWAY_API_KEYS_DIR", "value": mount["mountPath"]} in container["env"]
    # Its files belong to a group, which the gateway has to be of.
    assert with_keys["securityContext"]["fsGroup"] == with_keys["securityContext"]["runAsGroup"]
    assert {"volumes", "fsGroup"}.isdisjoint({*without, *without["securityContext"]})
    assert "volumeMounts" not in before


def gateway_pod(**spec: Any) -> dict[str, Any]:
    """The pods of a gateway."""
    secrets = () if "auth" in spec else None
    return next(
        obj["spec"]["template"]["spec"]
        for obj in plan(observed(body=a_body(**spec), key_secrets=secrets)).desired
        if obj["kind"] == "Deployment" and obj["metadata"]["name"] == "llama-gateway"
    )


def test_a_gateway_is_told_of_each_version_as_well() -> None:
    """Else a new key would be refused in front of pods that know it."""
    secret = a_secret("a", web="one")
    stored = [{**obj, "metadata": {**obj["metadata"], "resourceVersion": "7"}} for obj in live(secret)]
    stored = [obj for obj in stored if obj["kind"] == "Secret"]
    up = running(a_pod("gateway"))
    up["spec"]["volumes"] = gateway_pod(scaling={"minReplicas": 0}, auth=SELECTOR)["volumes"]
    seen = replace(observed(body=BODY, children=stored, key_secrets=(secret,)), gateways=(up,))
    assert plan(seen).touch == {"gateway": {names.ANNOTATION_KEYS_SEEN: "7"}}


def test_pods_are_told_once_of_each_version() -> None:
    """The kubelet then refreshes the folder at once; a pod without a node will have it fresh."""
    children = [
        {**obj, "metadata": {**obj["metadata"], "resourceVersion": "7"}} if obj["kind"] == "Secret" else obj
        for obj in live(a_secret("a", web="one"))
    ]
    volumes = pod_spec(auth=SELECTOR)["volumes"]
    up, other, unplaced = running(a_pod("up")), running(a_pod("other")), a_pod("unplaced")
    for pod in (up, unplaced):
        pod["spec"]["volumes"] = volumes
    seen = observed(up, other, unplaced, body=BODY, children=children, key_secrets=(a_secret("a", web="one"),))
    assert plan(seen).touch == {"up": {names.ANNOTATION_KEYS_SEEN: "7"}}
    up["metadata"]["annotations"] = {names.ANNOTATION_KEYS_SEEN: "7"}
    assert plan(seen).touch == {}


def test_no_key_at_all_is_told() -> None:
    """Nobody may call then: better than everybody, and somebody has to know."""
    degraded = condition(report_on(observed(body=BODY, key_secrets=())), "Degraded")
    assert degraded["reason"] == "NoApiKeys"
    assert "llama-keys=mine" in degraded["message"]


def test_keys_that_cannot_be_used_are_told_by_name() -> None:
    """Without their values."""
    secrets = (a_secret("a", web="one", empty=""),)
    degraded = condition(report_on(observed(body=BODY, key_secrets=secrets)), "Degraded")
    assert degraded["reason"] == "ApiKeysIgnored"
    assert "a.empty (empty)" in degraded["message"]


def test_keys_are_looked_at_again_by_themselves() -> None:
    """No event tells of a Secret; a settled deployment is looked at all the same."""
    found = report_on(observed(body=BODY, key_secrets=(a_secret("a", web="one"),)))
    assert found.requeue_after is not None
    assert found.requeue_after <= 15
