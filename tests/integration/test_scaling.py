"""How many pods there are: by whom it is said, and that a sleep and a waking are what a gateway's word makes of it."""

import json
from collections.abc import Generator
from typing import Any, Final

import pytest
import yaml

from llama_operator import names
from tests.support.cluster import LLAMA, Namespace, a_llama, eventually
from tests.support.kubectl import kubectl, kubectl_ok
from tools.generate import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]
NAME: Final = "llama"
AUTOSCALING: Final = ROOT / "manifests" / "autoscaling"


def replicas(space: Namespace) -> int:
    """How many pods the Deployment is to have."""
    return space.there("deployment", NAME)["spec"]["replicas"]


def say(space: Namespace, *, wanted: str) -> None:
    """Write on the Lease as the gateway does, by its own rights."""
    account = f"system:serviceaccount:{space.name}:{names.gateway(NAME)}"
    lease = space.there("lease", names.activity_lease(NAME))
    lease["metadata"]["annotations"][names.ANNOTATION_WANTED] = wanted
    space.run("replace", "-f", "-", f"--as={account}", stdin=lease)


def test_a_gateway_has_its_lease_and_pods_follow_its_word(space: Namespace) -> None:
    """The operator grants it with the rights that it has; spec.replicas stays whoever's it is."""
    space.apply(a_llama(NAME, replicas=2, scaling={"minReplicas": 0}))
    for kind in ("role", "rolebinding", "serviceaccount", "deployment"):
        space.there(kind, names.gateway(NAME))
    space.there("service", names.pods_service(NAME))
    eventually("two pods are wanted", lambda: replicas(space) == 2)
    space.patch("service", NAME, {"spec": {"selector": names.gateway_selector(NAME)}})
    say(space, wanted="false")
    eventually("none is wanted", lambda: replicas(space) == 0)
    # Nor is there a gateway that answers, for want of an image; that is told as well.
    space.condition(NAME, "Progressing", "False Asleep")
    space.condition(NAME, "Available", "False GatewayUnavailable")
    space.run("scale", LLAMA, NAME, "--replicas=3")
    say(space, wanted="true")
    eventually("three are wanted", lambda: replicas(space) == 3)
    lease = space.there("lease", names.activity_lease(NAME))
    assert lease["metadata"]["annotations"][names.ANNOTATION_PODS] == "awake"
    space.patch(LLAMA, NAME, {"spec": {"scaling": {"minReplicas": 1}}})
    space.gone("deployment", names.gateway(NAME))
    space.gone("lease", names.activity_lease(NAME))
    assert space.there("service", NAME)["spec"]["selector"] == names.pod_selector(NAME)


@pytest.mark.parametrize(
    "what",
    [("list", "leases"), ("update", "leases/other"), ("get", "secrets"), ("patch", LLAMA), ("update", "deployments")],
)
def test_a_gateway_may_do_nothing_else(space: Namespace, what: tuple[str, str]) -> None:
    """Not even to the model that it stands for."""
    space.apply(a_llama(NAME, replicas=0, scaling={"minReplicas": 0}))
    space.there("rolebinding", names.gateway(NAME))
    account = f"--as=system:serviceaccount:{space.name}:{names.gateway(NAME)}"
    allowed = kubectl("--namespace", space.name, "auth", "can-i", *what, account)
    assert allowed.stdout.strip() == "no"


@pytest.fixture
def priority() -> Generator[str]:
    """A priority class of the test's own."""
    name = "llama-test-priority"
    made: dict[str, Any] = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
    kubectl_ok("apply", "-f", "-", stdin={**made, "value": 4711})
    yield name
    kubectl_ok("delete", "priorityclass", name)


def test_pods_have_their_priority_their_spread_and_their_budget(space: Namespace, priority: str) -> None:
    """As Kubernetes itself reads them from the objects."""
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    scheduling = {
        "nodeSelector": {"llama-operator.dev/test": "nowhere"},
        "priorityClassName": priority,
        "topologySpread": [spread],
    }
    space.apply(a_llama(NAME, replicas=2, scheduling=scheduling, disruptionBudget={"maxUnavailable": 1}))
    budget = eventually("the budget counts two pods", lambda: _counted(space, 2))
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    pods = space.list("pods", "app.kubernetes.io/instance=llama")
    assert {pod["spec"]["priority"] for pod in pods} == {4711}
    (row,) = pods[0]["spec"]["topologySpreadConstraints"]
    assert row["labelSelector"]["matchLabels"] == names.pod_selector(NAME)
    space.patch(LLAMA, NAME, {"spec": {"disruptionBudget": None}})
    space.gone("poddisruptionbudget", NAME)


def _counted(space: Namespace, pods: int) -> dict[str, Any] | None:
    budget = space.get("poddisruptionbudget", NAME)
    return budget if budget and budget.get("status", {}).get("expectedPods") == pods else None


def test_an_autoscaler_scales_through_the_scale_subresource(space: Namespace) -> None:
    """The sample as it is: Kubernetes' own controller finds what it is to scale; without metrics it leaves it be."""
    autoscaler = yaml.safe_load((AUTOSCALING / "hpa.yaml").read_text())
    name = autoscaler["spec"]["scaleTargetRef"]["name"]
    space.apply(a_llama(name, replicas=2))
    space.there("deployment", name)
    space.run("apply", "--server-side", "--validate=strict", "-f", "-", stdin=autoscaler)
    scale = json.loads(space.run("get", "--raw", _scale_of(space, name)))
    assert scale["spec"]["replicas"] == 2
    found = eventually("it was looked at", lambda: _able(space, name), seconds=60)
    assert (found["status"], found["reason"]) == ("True", "SucceededGetScale")
    assert space.there(LLAMA, name)["spec"]["replicas"] == 2


def _scale_of(space: Namespace, name: str) -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{space.name}/{names.PLURAL}/{name}/scale"


def _able(space: Namespace, name: str) -> dict[str, Any] | None:
    rows = space.there("horizontalpodautoscaler", name).get("status", {}).get("conditions", ())
    return next((row for row in rows if row["type"] == "AbleToScale"), None)
