"""A model that may sleep: what stands in front of it, and when its pods stop and start."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from llama_operator import names
from llama_operator.plan import activity, gateway, sleep
from llama_operator.plan.activity import Pods
from llama_operator.plan.observed import Object, Observed, PreflightResult, Ref, ref_of
from llama_operator.plan.wanted import named_refs
from llama_operator.rollout.room import is_asked
from llama_operator.spec.parse import parse
from tests.support.operator_objects import (
    KEY,
    NOW,
    SETTINGS,
    a_body,
    a_pod,
    answers,
    applied,
    observed,
    plan,
    ready,
    report_on,
)

SLEEPY = {"scaling": {"minReplicas": 0}}


def children(*, wanted: bool | None = None, led: bool = True, up: int = 1, **spec: Any) -> list[dict[str, Any]]:
    """All objects of a model that may sleep; `wanted` is its gateway's word, `up` how many gateways answer."""
    found: list[Any] = copy.deepcopy(list(applied(a_body(**{**SLEEPY, **spec}))))
    by_ref = {ref_of(obj): obj for obj in found}
    by_ref[sleep.gateway_ref(KEY)]["status"] = {"availableReplicas": up}
    if led:
        by_ref[Ref("v1", "Service", KEY.name)]["spec"]["selector"] = names.gateway_selector(KEY.name)
    lease = by_ref[sleep.lease_ref(KEY)]
    lease["metadata"]["resourceVersion"] = "7"
    if wanted is not None:
        by_ref[sleep.lease_ref(KEY)] |= activity.written(lease, wanted=wanted, by="gateway-1", now=NOW)
    return found


def seen_with(live: Sequence[Object], *pods: Object, **body: Any) -> Observed:
    """What one look finds."""
    return observed(*pods, body=a_body(**{**SLEEPY, **body}), children=live)


def wanted_pods(seen: Observed) -> int:
    """How many pods the plan wants."""
    at_rest = sleep.at_rest(parse(seen.body), seen)
    return at_rest.replicas


def of(objects: Sequence[Object], ref: Ref) -> Any:
    """One of these objects."""
    return next(obj for obj in objects if ref_of(obj) == ref)


def test_there_is_no_gateway_unless_asked_for() -> None:
    """And what was one is deleted with the wish for it."""
    assert not {ref_of(obj) for obj in applied()} & set(gateway.refs(KEY))
    found = plan(observed(children=children(networkPolicy={"enabled": True})))
    assert set(gateway.refs(KEY)) <= set(found.prune)
    assert of(found.apply, Ref("v1", "Service", "llama"))["spec"]["selector"] == names.pod_selector("llama")


def test_the_gateway_may_write_on_its_lease_and_nothing_else() -> None:
    """One object, by name; and the model's own pods have no token at all."""
    objects = applied(a_body(**SLEEPY))
    (role,) = [obj for obj in objects if obj["kind"] == "Role"]
    (rule,) = role["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
        ["leases"],
        ["llama-activity"],
        ["get", "update"],
    )
    (binding,) = [obj for obj in objects if obj["kind"] == "RoleBinding"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "llama-gateway", "namespace": "models"}]
    pods = of(objects, sleep.gateway_ref(KEY))["spec"]["template"]["spec"]
    assert pods["serviceAccountName"] == "llama-gateway"


def test_the_gateway_is_held_to_the_restricted_level() -> None:
    """As everything else that this operator starts."""
    pod = of(applied(a_body(**SLEEPY)), sleep.gateway_ref(KEY))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_gateway_is_no_way_around_the_network_policy() -> None:
    """Whoever may not call the pods may not call what stands in front of them; and it may call the pods."""
    open_to = {"enabled": True, "allowedNamespaces": ["apps"]}
    objects = applied(a_body(**SLEEPY, networkPolicy=open_to))
    policies = {obj["metadata"]["name"]: obj["spec"] for obj in objects if obj["kind"] == "NetworkPolicy"}
    assert policies["llama-gateway"]["podSelector"]["matchLabels"] == names.gateway_selector("llama")
    predict = [rule for rule in policies["llama-gateway"]["ingress"] if "from" in rule]
    assert predict == policies["llama"]["ingress"]
    labels = of(objects, sleep.gateway_ref(KEY))["spec"]["template"]["metadata"]["labels"]
    own = {"podSelector": {"matchLabels": {names.LABEL_DEPLOYMENT: "llama"}}}
    assert labels[names.LABEL_DEPLOYMENT] == "llama"
    assert any(own in rule["from"] for rule in policies["llama"]["ingress"])


def test_a_gateway_that_comes_is_no_rollout_of_the_pods() -> None:
    """No GPU is looked for on its account."""
    seen = observed(body=a_body(**SLEEPY), children=applied())
    found = plan(seen)
    assert sleep.gateway_ref(KEY) in map(ref_of, found.apply)
    assert not is_asked(parse(seen.body), seen, found, SETTINGS)


def test_whoever_looks_for_the_pods_service_finds_one() -> None:
    """Else a Prometheus would read each pod twice, once by way of the gateway."""
    objects = applied(a_body(**SLEEPY))
    services = [obj["metadata"] for obj in objects if obj["kind"] == "Service"]
    found = [one["name"] for one in services if names.pod_selector("llama").items() <= one["labels"].items()]
    assert found == ["llama-pods"]


def test_whoever_holds_the_gateways_names_is_seen() -> None:
    """Else an object of somebody else's would be taken over."""
    assert set(gateway.refs(KEY)) <= set(named_refs(KEY, a_body(**SLEEPY)))
    assert not set(gateway.refs(KEY)) & set(named_refs(KEY, a_body()))


@pytest.mark.parametrize(("led", "up", "to_gateway"), [(False, 0, False), (False, 1, True), (True, 0, True)])
def test_callers_are_led_to_the_gateway_once_it_answers(led: bool, up: int, to_gateway: bool) -> None:
    """Not before, and no longer elsewhere: a request that comes by another way is not counted."""
    live = children(led=led, up=up)
    service = of(plan(seen_with(live)).desired, Ref("v1", "Service", "llama"))
    chosen = names.gateway_selector("llama") if to_gateway else names.pod_selector("llama")
    assert service["spec"]["selector"] == chosen
    pods = of(plan(seen_with(live)).desired, Ref("v1", "Service", "llama-pods"))
    assert pods["spec"]["selector"] == names.pod_selector("llama")


@pytest.mark.parametrize(
    ("wanted", "led", "replicas", "state", "pods"),
    [
        (None, True, 3, Pods.AWAKE, 3),
        (True, True, 3, Pods.AWAKE, 3),
        (False, True, 3, Pods.ASLEEP, 0),
        (False, False, 3, Pods.AWAKE, 3),
        (False, True, 0, Pods.STOPPED, 0),
        (True, True, 0, Pods.STOPPED, 0),
    ],
    ids=["nothing said", "wanted", "not wanted", "not by the gateway", "stopped", "stopped though wanted"],
)
def test_pods_are_as_many_as_are_wanted(wanted: bool | None, led: bool, replicas: int, state: Pods, pods: int) -> None:
    """What `spec.replicas` says, or none; who writes that number, a person or an autoscaler, is not overruled."""
    seen = seen_with(children(wanted=wanted, led=led), replicas=replicas)
    assert (sleep.state(parse(seen.body), seen), wanted_pods(seen)) == (state, pods)
    lease = of(plan(seen).desired, sleep.lease_ref(KEY))
    assert lease["metadata"]["annotations"][names.ANNOTATION_PODS] == state
    (workload,) = [obj for obj in plan(seen).desired if ref_of(obj) == Ref("apps/v1", "Deployment", "llama")]
    assert workload["spec"]["replicas"] == pods


def test_the_lease_says_so_before_pods_are_stopped() -> None:
    """A gateway that reads it sends nothing on any more; whoever was quicker makes the write fail, and the rest."""
    refs = [ref_of(obj) for obj in plan(seen_with(children(wanted=False))).apply]
    assert refs.index(sleep.lease_ref(KEY)) < refs.index(Ref("apps/v1", "Deployment", "llama"))


def test_a_renewed_lease_needs_no_write() -> None:
    """The gateway's own fields are no difference."""
    seen = seen_with(children(wanted=True))
    assert sleep.lease_ref(KEY) not in map(ref_of, plan(seen).apply)


def test_the_gateway_is_told_how_long_the_last_start_took() -> None:
    """By the status, and over a sleep by the Lease itself."""
    body = a_body(**SLEEPY, status={"startup": {"podName": "x", "seconds": 41.5}})
    started = observed(body=body, children=children())
    lease = of(plan(started).desired, sleep.lease_ref(KEY))
    assert lease["metadata"]["annotations"][names.ANNOTATION_STARTUP] == "41.5"
    live = [lease if ref_of(obj) == sleep.lease_ref(KEY) else obj for obj in children()]
    assert of(plan(seen_with(live)).desired, sleep.lease_ref(KEY)) == lease


def test_neither_gateway_nor_sleep_claims_anything() -> None:
    """Waking does: what the pods need is checked before they are made."""
    failed = PreflightResult(passed=False, reason="SecretNotFound", message="create it")
    asleep = seen_with(children(wanted=False))
    found = plan(asleep, preflight=failed)
    assert not found.claims
    assert of(found.apply, Ref("apps/v1", "Deployment", "llama"))["spec"]["replicas"] == 0
    slept = [found_as(obj, plan(asleep).desired) for obj in children(wanted=True)]
    assert plan(seen_with(slept)).claims


def found_as(obj: Object, others: Sequence[Object]) -> Object:
    """The Deployment of the model as others have it; every other object as it is."""
    ref = Ref("apps/v1", "Deployment", "llama")
    return of(others, ref) if ref_of(obj) == ref else obj


def test_a_sleeping_model_says_how_to_wake_it() -> None:
    """It is not stopped, and nothing is wrong."""
    found = report_on(seen_with(children(wanted=False)))
    assert (found.status["phase"], found.status["ready"]) == ("Asleep", "0/0")
    assert answers(found)["Available"] == "False Asleep"
    assert answers(found)["Degraded"] == "False AllWell"
    row = next(row for row in found.status["conditions"] if row["type"] == "Available")
    assert "a predict request wakes it" in row["message"]


@pytest.mark.parametrize(("led", "available"), [(True, "False GatewayUnavailable"), (False, "True Serving")])
def test_a_gateway_that_does_not_answer_is_told(led: bool, available: str) -> None:
    """It cuts callers off, where they come by it; and where they do not yet, the model never sleeps."""
    live = children(led=led, up=0)
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    of(live, sleep.gateway_ref(KEY))["status"]["conditions"] = [late]
    found = report_on(seen_with(live, ready(a_pod())))
    assert answers(found)["Available"] == available
    assert answers(found)["Degraded"] == "True GatewayUnavailable"


def test_a_gateway_that_is_yet_to_start_is_nothing_wrong() -> None:
    """Callers are not led to it before."""
    found = report_on(seen_with(children(led=False, up=0), ready(a_pod())))
    assert answers(found)["Degraded"] == "False AllWell"
