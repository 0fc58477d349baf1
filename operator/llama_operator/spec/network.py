"""`spec.networkPolicy` and `spec.monitoring`: who may reach the pods, what these may reach, who reads their metrics."""

from typing import Annotated, Any

from pydantic import Field, StrictBool, WithJsonSchema

from llama_operator.spec.part import Part, Words
from llama_operator.spec.values import OPEN, Duration, NamespaceName

Rules = Annotated[tuple[dict[str, Any], ...], WithJsonSchema({"type": "array", "items": OPEN, "maxItems": 64})]


class NetworkPolicy(Part):
    """Which traffic the pods take and start; a cluster's network plugin enforces it, if it can."""

    enabled: StrictBool = Field(default=False, description="Restrict the pods' traffic by a NetworkPolicy.")
    allowed_namespaces: Annotated[tuple[NamespaceName, ...], Field(max_length=64)] = Field(
        default=(),
        description="Namespaces whose pods may call predict, by name. With this and from empty: the deployment's own. "
        "The operator's pods may always, for they read how far a start is.",
    )
    from_: Rules = Field(
        default=(),
        alias="from",
        description="More callers, as in the ingress.from of a NetworkPolicy: podSelector, namespaceSelector, ipBlock.",
    )
    egress: Rules = Field(
        default=(),
        description="What the pods may reach besides DNS and the Hub, as in the egress of a NetworkPolicy.",
    )


class ServiceMonitor(Part):
    """Prometheus Operator's ServiceMonitor of the pods' metrics."""

    enabled: StrictBool = Field(default=False, description="Create a ServiceMonitor, where the cluster knows the kind.")
    interval: Duration = Field(default="30s", description="How often the pods' metrics are read.")
    labels: Words = Field(default_factory=dict, description="Labels that a Prometheus selects ServiceMonitors by.")


class Monitoring(Part):
    """Who reads the pods' metrics."""

    service_monitor: ServiceMonitor = Field(
        default_factory=ServiceMonitor, description="Prometheus Operator's ServiceMonitor."
    )
