"""The NetworkPolicy of the pods: predict for those who may call, and the way out to DNS and the Hub alone.

A NetworkPolicy knows pods, namespaces and addresses, no host names; what it can hold of a Hub's URL is its port, and
of a Service in the cluster its namespace (docs/networking.md).
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from llama_operator import names
from llama_operator.plan import source
from llama_operator.plan.objects import metadata
from llama_operator.plan.observed import Key, Object
from llama_operator.plan.package import Resolved
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.survey import PUBLIC_HUB
from llama_operator.spec.model import LlamaDeploymentSpec

PUBLIC_INDEX: Final = "https://pypi.org/simple"
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
"""Kubernetes itself puts this label on every namespace."""
_JOB_NAME: Final = "batch.kubernetes.io/job-name"
"""Kubernetes itself puts this label on the pods of a Job."""
_PREDICT: Final = {"port": names.PORT_NAME, "protocol": "TCP"}
_LINK_LOCAL: Final = ("169.254.0.0/16", "fe80::/10")
"""Where clouds answer with an instance's credentials; never a Hub."""
_PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", *_LINK_LOCAL)

Rule = dict[str, Any]


def policy(spec: LlamaDeploymentSpec, key: Key, owner: Object, settings: PlanSettings) -> dict[str, Any]:
    """Return the NetworkPolicy of the pods of `key`."""
    ranks = [{"to": [_own(key)]}] if spec.resources.gpu.nodes > 1 else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key, key.name, owner=owner),
        "spec": {
            "podSelector": {"matchLabels": names.pod_selector(key.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": _callers(spec, key, settings),
            "egress": [*_ways_out(spec, settings, asks_hub=source.asks_hub(spec) or spec.package is not None), *ranks],
        },
    }


def download_policy(
    spec: LlamaDeploymentSpec, key: Key, owner: Object, settings: PlanSettings, revision: str
) -> dict[str, Any]:
    """Return the NetworkPolicy of the Job that fills a shared cache: nobody calls its pods but the operator.

    Each LlamaDeployment that shares the cache has its own for the same pods, which may do what any of them allows.
    """
    job = {_JOB_NAME: names.shared_claim(spec.model.repo, revision)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key, names.download_policy(key.name), owner=owner),
        "spec": {
            "podSelector": {"matchLabels": job},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [_operator(settings)],
            "egress": _ways_out(spec, settings, asks_hub=True),
        },
    }


def environment_policy(
    spec: LlamaDeploymentSpec, key: Key, owner: Object, settings: PlanSettings, package: Resolved
) -> dict[str, Any]:
    """Return the NetworkPolicy of the Job that makes a package's environment: DNS and the package index."""
    index = package.index_url or settings.packages.index_url
    wheels = settings.packages.wheelhouse_claim is not None and index is None
    ways = [] if wheels else [_hub(index or PUBLIC_INDEX)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key, names.environment_policy(key.name), owner=owner),
        "spec": {
            "podSelector": {"matchLabels": names.environment_labels(key.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [_operator(settings)],
            "egress": [_dns(), *ways, *spec.network_policy.egress],
        },
    }


def gateway_policy(spec: LlamaDeploymentSpec, key: Key, owner: Object, settings: PlanSettings) -> dict[str, Any]:
    """Return the NetworkPolicy of the gateway: who may call the model may call what stands in front of it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(key, names.gateway(key.name), owner=owner),
        "spec": {
            "podSelector": {"matchLabels": names.gateway_selector(key.name)},
            "policyTypes": ["Ingress"],
            "ingress": [*_callers(spec, key, settings), {"ports": [{"port": "admin", "protocol": "TCP"}]}],
        },
    }


def _ways_out(spec: LlamaDeploymentSpec, settings: PlanSettings, *, asks_hub: bool) -> list[Rule]:
    hub = spec.model.endpoint or settings.hub_endpoint or PUBLIC_HUB
    return [_dns(), *([_hub(hub)] if asks_hub else []), *spec.network_policy.egress]


def _own(key: Key) -> Rule:
    return {"podSelector": {"matchLabels": {names.LABEL_DEPLOYMENT: key.name}}}


def _callers(spec: LlamaDeploymentSpec, key: Key, settings: PlanSettings) -> list[Rule]:
    wanted = spec.network_policy
    callers = [*map(_namespace, wanted.allowed_namespaces), *wanted.from_] or [{"podSelector": {}}]
    return [
        {"from": callers, "ports": [_PREDICT]},
        _operator(settings),
        # The ranks of a model over several nodes speak to each other on ports of their choice.
        {"from": [_own(key)], **({"ports": [_PREDICT]} if spec.resources.gpu.nodes == 1 else {})},
    ]


def _operator(settings: PlanSettings) -> Rule:
    pods = {"podSelector": {"matchLabels": {names.LABEL_NAME: names.OPERATOR_APP}}}
    return {"from": [{**_namespace(settings.namespace), **pods}], "ports": [_PREDICT]}


def _namespace(name: str) -> Rule:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: name}}}


def _dns() -> Rule:
    # To any address: a node's own cache answers from a link-local one, which no selector names.
    # 5353 is where OpenShift's DNS pods listen: its network judges by the port behind the Service.
    return {"ports": [{"port": port, "protocol": protocol} for port in (53, 5353) for protocol in ("UDP", "TCP")]}


def _hub(endpoint: str) -> Rule:
    url = urlsplit(endpoint)
    host = url.hostname or ""
    inside = _service_namespace(host)
    if inside is not None:
        # Without a port: a policy sees the port of the pod behind the Service, which the URL does not tell.
        return {"to": [inside]}
    ports = [{"port": url.port or (443 if url.scheme == "https" else 80), "protocol": "TCP"}]
    address = _address(host)
    if address is not None:
        return {"to": [{"ipBlock": {"cidr": address}}], "ports": ports}
    never = _PRIVATE if endpoint in (PUBLIC_HUB, PUBLIC_INDEX) else _LINK_LOCAL
    return {"to": [_any("0.0.0.0/0", never), _any("::/0", never)], "ports": ports}


def _any(cidr: str, never: Sequence[str]) -> Rule:
    return {"ipBlock": {"cidr": cidr, "except": [row for row in never if (":" in row) == (":" in cidr)]}}


def _service_namespace(host: str) -> Mapping[str, Any] | None:
    """Return the peer behind a Service's name: `hub`, or `hub.NAMESPACE.svc`; None for a host elsewhere."""
    if _address(host):
        return None
    parts = host.split(".")
    if len(parts) == 1:
        return {"podSelector": {}}
    return _namespace(parts[1]) if parts[2:3] == ["svc"] else None


def _address(host: str) -> str | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return f"{address}/{address.max_prefixlen}"
