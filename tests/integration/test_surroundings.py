"""What is made around the pods: the NetworkPolicy, and the ServiceMonitor where the cluster knows the kind."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.support.cluster import LLAMA, Namespace, a_llama, eventually
from tests.support.kubectl import kubectl, kubectl_ok

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]
MONITORS: Final = "servicemonitors.monitoring.coreos.com"


@contextmanager
def kind_of_monitors() -> Generator[None]:
    """The Prometheus Operator's kind ServiceMonitor, without the rest of it."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    kind = {"plural": "servicemonitors", "singular": "servicemonitor", "kind": "ServiceMonitor"}
    spec = {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": kind, "versions": [version]}
    definition: dict[str, Any] = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    # As its own chart has it: the API server keeps this group for who says that it was approved.
    kubectl_ok("create", "-f", "-", stdin={**definition, "metadata": {"name": MONITORS}, "spec": spec})
    try:
        eventually("the kind is served", lambda: kubectl("get", MONITORS).returncode == 0)
        yield
    finally:
        kubectl_ok("delete", "crd", MONITORS)


def test_a_network_policy_comes_and_goes_with_the_spec(space: Namespace) -> None:
    """The API server takes it as planned, with the operator's rights."""
    wanted = {"enabled": True, "allowedNamespaces": ["team-a"]}
    space.apply(a_llama(replicas=0, networkPolicy=wanted))
    policy = space.there("networkpolicy", "llama")
    assert policy["spec"]["ingress"][0]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "team-a"}}}
    ]
    space.patch(LLAMA, "llama", {"spec": {"networkPolicy": {"enabled": False}}})
    space.gone("networkpolicy", "llama")


def test_a_service_monitor_waits_for_its_kind(space: Namespace) -> None:
    """What to install is said; once it is there the object is made, and goes when it is asked for no more."""
    if kubectl_ok("get", "crd", MONITORS, "--ignore-not-found"):
        pytest.skip("the cluster has the Prometheus Operator")
    space.apply(a_llama(replicas=0, monitoring={"serviceMonitor": {"enabled": True}}))
    row = space.condition("llama", "Degraded", "True KindNotInstalled")
    assert "install the Prometheus Operator" in row["message"]
    space.condition("llama", "Accepted", "True SpecValid")
    with kind_of_monitors():
        space.condition("llama", "Degraded", "False AllWell", seconds=60)
        monitor = space.there(MONITORS, "llama")
        assert monitor["spec"]["endpoints"][0]["port"] == "http"
        space.patch(LLAMA, "llama", {"spec": {"monitoring": {"serviceMonitor": {"enabled": False}}}})
        space.gone(MONITORS, "llama")
