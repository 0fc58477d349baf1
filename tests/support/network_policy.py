"""What a NetworkPolicy lets through: its rules evaluated as Kubernetes defines them, for tests of what is planned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal

NAMED_PORTS = {"http": 8080}
"""The ports that the pods have names for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a connection: a pod in a namespace, or an address outside the cluster."""

    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    address: str | None = None


def lets_through(
    policy: Mapping[str, Any], way: Literal["ingress", "egress"], peer: Peer, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the pods that a policy selects may be reached by `peer`, or reach it, at a port."""
    spec, home = policy["spec"], policy["metadata"]["namespace"]
    if way.capitalize() not in spec["policyTypes"]:
        return True
    side = "from" if way == "ingress" else "to"
    return any(
        _has_port(rule.get("ports"), port, protocol)
        and (not rule.get(side) or any(_is(row, peer, home) for row in rule[side]))
        for rule in spec.get(way, ())
    )


def _has_port(rows: Any, port: int, protocol: str) -> bool:
    if not rows:
        return True
    return any(
        row.get("protocol", "TCP") == protocol
        and ("port" not in row or NAMED_PORTS.get(row["port"], row["port"]) == port)
        for row in rows
    )


def _is(row: Mapping[str, Any], peer: Peer, home: str) -> bool:
    if "ipBlock" in row:
        return peer.address is not None and _in_block(row["ipBlock"], peer.address)
    if peer.namespace is None:
        return False
    pods, spaces = row.get("podSelector"), row.get("namespaceSelector")
    names = {"kubernetes.io/metadata.name": peer.namespace}
    there = peer.namespace == home if spaces is None else _selects(spaces, names)
    return there and (pods is None or _selects(pods, peer.labels))


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "write down what the other forms mean first"
    return selector.get("matchLabels", {}).items() <= labels.items()


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    here = ip_address(address)
    return here in ip_network(block["cidr"]) and not any(here in ip_network(row) for row in block.get("except", ()))
