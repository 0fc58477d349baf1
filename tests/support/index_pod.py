"""The package index inside a cluster, as objects to apply: what environments of packages are made from in tests."""

from typing import Any, Final

NAME: Final = "index"
_LABELS: Final = {"app.kubernetes.io/name": NAME}


def objects(namespace: str, image: str) -> list[dict[str, Any]]:
    """Build the index: a Deployment of the image of tests/support/package_index, and its Service."""
    metadata = {"name": NAME, "namespace": namespace}
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/simple/", "port": "http"}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": _LABELS},
                "template": {"metadata": {"labels": _LABELS}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": _LABELS, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    ]
