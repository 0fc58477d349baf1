"""The NetworkPolicy, by what it lets through: who may call, and where the pods may go."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from llama_operator import names
from tests.support.network_policy import Peer, lets_through
from tests.support.operator_objects import KEY, SETTINGS, a_body, applied, desired, observed, plan
from tools.generate import ROOT

PREDICT, DNS, HTTPS = 8080, 53, 443
OUTSIDE = Peer(address="8.8.8.8")


def policy(model: dict[str, Any] | None = None, **wanted: Any) -> Any:
    """The NetworkPolicy that fields of spec.networkPolicy lead to."""
    extra = {"model": {"repo": "org/llama", **model}} if model else {}
    return desired("NetworkPolicy", observed(body=a_body(networkPolicy={"enabled": True, **wanted}, **extra)))


def calls(rules: Any, namespace: str, port: int = PREDICT, labels: Mapping[str, str] | None = None) -> bool:
    """Whether a pod of a namespace may call."""
    return lets_through(rules, "ingress", Peer(namespace=namespace, labels=labels or {}), port)


def reaches(rules: Any, peer: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether the pods may go there."""
    return lets_through(rules, "egress", peer, port, protocol)


def test_without_being_asked_for_there_is_none_and_an_old_one_goes() -> None:
    """A policy that nobody asked for would cut callers off."""
    body = a_body(networkPolicy={"enabled": True})
    assert not [obj for obj in plan(observed()).desired if obj["kind"] == "NetworkPolicy"]
    assert [ref.kind for ref in plan(observed(children=applied(body))).prune] == ["NetworkPolicy"]


def test_it_is_there_before_the_pods() -> None:
    """No pod ever runs without it, and it selects the pods of this deployment."""
    kinds = [obj["kind"] for obj in plan(observed(body=a_body(networkPolicy={"enabled": True}))).apply]
    assert kinds.index("NetworkPolicy") < kinds.index("Deployment")
    assert policy()["spec"]["podSelector"] == {"matchLabels": names.pod_selector(KEY.name)}


def test_one_that_is_there_needs_nothing() -> None:
    """One port for UDP and for TCP is two ports."""
    body = a_body(networkPolicy={"enabled": True})
    assert plan(observed(body=body, children=applied(body))).apply == ()


def test_without_namespaces_its_own_may_call() -> None:
    """The predict port and no other, and nobody from elsewhere."""
    rules = policy()
    assert calls(rules, KEY.namespace)
    assert not calls(rules, KEY.namespace, port=9999)
    assert not calls(rules, "other")
    assert not lets_through(rules, "ingress", OUTSIDE, PREDICT)


def test_named_namespaces_may_call_and_then_its_own_may_not() -> None:
    """What is asked for holds, to the letter."""
    rules = policy(allowedNamespaces=["team-a", "team-b"])
    assert calls(rules, "team-a")
    assert calls(rules, "team-b")
    assert not calls(rules, "team-c")
    assert not calls(rules, KEY.namespace)


def test_pods_of_the_deployment_itself_may_always_call() -> None:
    """Such as a gateway in front of them."""
    own = {names.LABEL_DEPLOYMENT: KEY.name}
    rules = policy(allowedNamespaces=["team-a"])
    assert lets_through(rules, "ingress", Peer(namespace=KEY.namespace, labels=own), PREDICT)
    assert not lets_through(rules, "ingress", Peer(namespace="other", labels=own), PREDICT)


def operators_labels() -> dict[str, str]:
    """The labels of the operator's pods, as the chart has them."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text())
    (found,) = [doc for doc in documents if doc and doc["kind"] == "Deployment"]
    return found["spec"]["template"]["metadata"]["labels"]


def test_the_operators_pods_may_always_call_and_what_shares_their_namespace_may_not() -> None:
    """They read how far a start is; without them the status would stand still."""
    rules = policy(allowedNamespaces=["team-a"])
    assert calls(rules, SETTINGS.namespace, labels=operators_labels())
    assert not calls(rules, SETTINGS.namespace)
    assert not calls(rules, "other", labels=operators_labels())


def test_the_gateway_may_call_whoever_else_may() -> None:
    """It stands in the deployment's namespace, which need not be among those that may."""
    body = a_body(networkPolicy={"enabled": True, "allowedNamespaces": ["team-a"]}, scaling={"minReplicas": 0})
    made = {(obj["kind"], obj["metadata"]["name"]): obj for obj in plan(observed(body=body)).desired}
    gateway = made["Deployment", names.gateway(KEY.name)]["spec"]["template"]["metadata"]["labels"]
    assert calls(made["NetworkPolicy", KEY.name], KEY.namespace, labels=gateway)


def test_other_callers_are_written_as_kubernetes_has_them() -> None:
    """An address outside the cluster, such as a load balancer's."""
    wanted: dict[str, Any] = {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}
    rules = policy(**wanted)
    assert lets_through(rules, "ingress", Peer(address="192.0.2.7"), PREDICT)
    assert not lets_through(rules, "ingress", OUTSIDE, PREDICT)


def test_the_public_hub_is_reached_on_its_port_and_nothing_in_private_networks_is() -> None:
    """Its files come from hosts that no policy can name: any public address, on the one port."""
    rules = policy()
    assert reaches(rules, OUTSIDE, HTTPS)
    assert reaches(rules, Peer(address="2001:db8::1"), HTTPS)
    assert not reaches(rules, OUTSIDE, 80)
    for private in ("10.96.0.1", "172.16.4.1", "192.168.1.1", "169.254.169.254", "fd00::1"):
        assert not reaches(rules, Peer(address=private), HTTPS), private
    assert not reaches(rules, Peer(namespace=KEY.namespace), HTTPS)


def test_names_are_looked_up_anywhere() -> None:
    """A node's own cache has an address that no selector knows."""
    for protocol in ("UDP", "TCP"):
        assert reaches(policy(), Peer(namespace="kube-system"), DNS, protocol)
        assert reaches(policy(), Peer(address="169.254.20.10"), DNS, protocol)
        assert reaches(policy(), Peer(namespace="openshift-dns"), 5353, protocol)


@pytest.mark.parametrize(
    ("endpoint", "peer", "port"),
    [
        ("https://hub.example", Peer(address="10.1.2.3"), 443),
        ("http://hub.example:8081/mirror", OUTSIDE, 8081),
        ("http://10.1.2.3:8080", Peer(address="10.1.2.3"), 8080),
        ("http://hub.mirrors.svc.cluster.local", Peer(namespace="mirrors"), 9000),
        ("http://hub.mirrors.svc", Peer(namespace="mirrors"), 9000),
        ("http://hub", Peer(namespace=KEY.namespace), 9000),
    ],
)
def test_a_mirror_is_reached_as_far_as_its_url_tells(endpoint: str, peer: Peer, port: int) -> None:
    """A host elsewhere at its port, an address alone, a Service at whatever port its pods have."""
    rules = policy(model={"endpoint": endpoint})
    assert reaches(rules, peer, port)
    assert not reaches(rules, Peer(namespace="other"), port)
    assert not reaches(rules, Peer(address="169.254.169.254"), port)
    assert not reaches(rules, OUTSIDE, 22)


@pytest.mark.parametrize(
    "model",
    [
        {"source": "pvc", "claim": {"name": "weights"}},
        {"source": "oci", "image": {"reference": "registry.example/llama:1"}},
    ],
)
def test_without_a_hub_there_is_no_way_to_one(model: dict[str, Any]) -> None:
    """Names can be looked up, and that is all."""
    rules = policy(model=model)
    assert not reaches(rules, OUTSIDE, HTTPS)
    assert reaches(rules, Peer(namespace="kube-system"), DNS, "UDP")


def test_more_ways_out_are_written_as_kubernetes_has_them() -> None:
    """Such as a collector of traces."""
    rules = policy(egress=[{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 4318}]}])
    assert reaches(rules, Peer(address="192.0.2.9"), 4318)


def test_the_job_that_fills_a_shared_cache_has_its_own_and_the_pods_lose_the_hub() -> None:
    """Nobody calls it but the operator, and it reaches the Hub, which the pods have no need of."""
    body = a_body(networkPolicy={"enabled": True, "allowedNamespaces": ["web"]}, cache={"shared": True})
    found = {
        obj["metadata"]["name"]: obj for obj in plan(observed(body=body)).desired if obj["kind"] == "NetworkPolicy"
    }
    pods, job = found[KEY.name], found[f"{KEY.name}-download"]
    (claim,) = (obj for obj in plan(observed(body=body)).desired if obj["kind"] == "PersistentVolumeClaim")
    assert job["spec"]["podSelector"]["matchLabels"] == {"batch.kubernetes.io/job-name": claim["metadata"]["name"]}
    assert calls(job, SETTINGS.namespace, labels=operators_labels())
    assert not calls(job, SETTINGS.namespace)
    assert not calls(job, "web")
    assert not calls(job, KEY.namespace)
    assert reaches(job, OUTSIDE, HTTPS)
    assert reaches(pods, OUTSIDE, DNS)
    assert not reaches(pods, OUTSIDE, HTTPS)
    names_in_order = [obj["metadata"]["name"] for obj in plan(observed(body=body)).apply]
    assert names_in_order.index(job["metadata"]["name"]) < names_in_order.index(claim["metadata"]["name"])


def test_without_a_shared_cache_no_job_needs_one() -> None:
    """And one that is left over goes."""
    body = a_body(networkPolicy={"enabled": True}, cache={"shared": True})
    alone = a_body(networkPolicy={"enabled": True})
    pruned = plan(observed(body=alone, children=applied(body))).prune
    assert f"{KEY.name}-download" in [ref.name for ref in pruned]
