"""The test Hub inside a cluster, as objects to apply: ConfigMap, Deployment, Service; `hub.RemoteHub` steers it.

The folder of models is mounted from the node, so this suits a cluster whose node sees this machine's files.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

NAME: Final = "hub"
PORT: Final = 8080
USER: Final = 65532
_LABELS: Final = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "test-hub"}


def objects(namespace: str, image: str, models: Path, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Build all that the Hub consists of.

    Args:
        namespace: one of the Hub's own, at the privileged level of Pod Security: the restricted one has no hostPath.
        image: built from tests/support/hub; it must be on the node, it is never pulled.
        models: folder on the node that relative paths in `config` start from, see `models.models_dir`.
        config: repositories and tokens, see `hub.config`.
    """
    text = json.dumps(dict(config), indent=1, sort_keys=True)
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(namespace), "data": {"config.json": text}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata(namespace),
            "spec": {
                "replicas": 1,
                # Two at once would disagree about requests and faults.
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": _LABELS},
                "template": {
                    # The configuration is read once: another one is another pod.
                    "metadata": {"labels": _LABELS, "annotations": {"checksum/config": _sha256(text)}},
                    "spec": _pod(image, models),
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(namespace),
            "spec": {"selector": _LABELS, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
    ]


def _pod(image: str, models: Path) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": NAME,
                "image": image,
                "imagePullPolicy": "Never",
                "args": ["--config", "/etc/hub/config.json"],
                "ports": [{"name": "http", "containerPort": PORT}],
                # Hashing the weights comes before listening: the first answer may take some seconds.
                "readinessProbe": {"httpGet": {"path": "/_control/healthz", "port": "http"}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "models", "mountPath": "/models", "readOnly": True},
                    {"name": "config", "mountPath": "/etc/hub", "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "models", "hostPath": {"path": str(models.resolve()), "type": "Directory"}},
            {"name": "config", "configMap": {"name": NAME}},
        ],
    }


def _metadata(namespace: str) -> dict[str, Any]:
    return {"name": NAME, "namespace": namespace, "labels": _LABELS}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
