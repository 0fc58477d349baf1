"""The ServiceMonitor: where a Prometheus of the Prometheus Operator reads the metrics of the pods."""

from typing import Any

from llama_operator import names
from llama_operator.plan.objects import metadata
from llama_operator.plan.observed import Key, Object
from llama_operator.spec.model import LlamaDeploymentSpec


def service_monitor(spec: LlamaDeploymentSpec, key: Key, owner: Object) -> dict[str, Any]:
    """Return the ServiceMonitor of `key`; its series carry the name of the LlamaDeployment."""
    wanted = spec.monitoring.service_monitor
    meta = metadata(key, key.name, owner=owner)
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {**meta, "labels": {**wanted.labels, **meta["labels"]}},
        "spec": {
            "selector": {"matchLabels": names.pod_selector(key.name)},
            "targetLabels": [names.LABEL_DEPLOYMENT],
            "endpoints": [{"port": names.PORT_NAME, "path": "/metrics", "interval": wanted.interval}],
        },
    }
