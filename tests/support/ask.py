"""Call predict from a pod inside the cluster, through the Service, as applications do."""

import json
from collections.abc import Mapping
from typing import Any, Final

from tests.support.kubectl import kubectl_ok

LOCAL_IMAGE: Final = "localhost/llama-devcluster/busybox:1"
POD: Final = "ask"


def ask(namespace: str, name: str, body: Mapping[str, Any], *, image: str = LOCAL_IMAGE) -> dict[str, Any]:
    """POST `body` to the predict Service `name` of a namespace; return the answer.

    Raises:
        AssertionError: the pod did not end well within 50 s, or the server did not answer 200.
    """
    here = ("--namespace", namespace)
    kubectl_ok(*here, "delete", "pod", POD, "--ignore-not-found", "--wait", "--grace-period=1")
    kubectl_ok(*here, "create", "-f", "-", stdin=_pod(f"http://{name}/predict", json.dumps(body), image))
    kubectl_ok(*here, "wait", f"pod/{POD}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=50s")
    return json.loads(kubectl_ok(*here, "logs", POD))


def _pod(url: str, body: str, image: str) -> dict[str, Any]:
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    wget = ["wget", "-q", "-O", "-", "--header", "Content-Type: application/json", "--post-data", body, url]
    container = {"name": POD, "image": image, "command": wget, "securityContext": security}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
