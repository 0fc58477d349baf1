"""What the cluster holds from the start: the default StorageClass, and a node that says which GPUs it has."""

import time
from typing import Any, Final

from devcluster.api import Api
from devcluster.errors import DevclusterError
from devcluster.layout import GPU_COUNT, NODE

STORAGE_NAMESPACE: Final = "local-path-storage"
READY_WITHIN_S: Final = 60.0

# As NVIDIA's GPU feature discovery labels a node.
GPU_LABELS: Final = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.count": str(GPU_COUNT),
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu.family": "ampere",
    "nvidia.com/gpu.memory": "81920",
    "nvidia.com/gpu.machine": "devcluster",
}


def storage_objects() -> dict[str, dict[str, Any]]:
    """What local-path-provisioner needs: path at the API server → object."""
    core = f"/api/v1/namespaces/{STORAGE_NAMESPACE}"
    folder = '[ -n "$VOL_DIR" ]'
    return {
        core: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STORAGE_NAMESPACE}},
        f"{core}/serviceaccounts/local-path-provisioner-service-account": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "local-path-provisioner-service-account", "namespace": STORAGE_NAMESPACE},
        },
        f"{core}/configmaps/local-path-config": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "local-path-config", "namespace": STORAGE_NAMESPACE},
            "data": {
                # Open to all: the kubelet does not give a host path to a pod's fsGroup.
                "setup": f'set -eu\n{folder}\nmkdir -m 0777 -p "$VOL_DIR"\n',
                "teardown": f'set -eu\n{folder}\nrm -rf "$VOL_DIR"\n',
            },
        },
        "/apis/storage.k8s.io/v1/storageclasses/local-path": {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "local-path",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
    }


def label_node(api: Api) -> None:
    """Give the node the labels of GPU feature discovery."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": GPU_LABELS}}
    api.apply(f"/api/v1/nodes/{NODE}", node)


def node_problem(node: dict[str, Any] | None) -> str | None:
    """Say what the node still lacks; None when it can run pods that ask for GPUs."""
    if node is None:
        return "the kubelet has not registered its node"
    ready = next((c for c in node["status"].get("conditions", ()) if c["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        return f"the node is not ready: {ready['message'] if ready else 'it has not reported yet'}"
    if any(taint["key"] == "node.kubernetes.io/not-ready" for taint in node["spec"].get("taints", ())):
        return "the node still carries the taint not-ready"
    gpus = node["status"].get("allocatable", {}).get("nvidia.com/gpu", "0")
    if gpus != str(GPU_COUNT):
        return f"the node offers {gpus} nvidia.com/gpu instead of {GPU_COUNT}"
    return None


def wait_until_usable(api: Api) -> None:
    """Wait until pods are admitted and the node can run them.

    Raises:
        DevclusterError: That is not so after READY_WITHIN_S.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while problem := _problem(api):
        if time.monotonic() > deadline:
            raise DevclusterError(problem, hint="see `devcluster logs kubelet` and `kube-controller-manager`")
        time.sleep(0.1)


def _problem(api: Api) -> str | None:
    if problem := node_problem(api.get(f"/api/v1/nodes/{NODE}")):
        return problem
    # Without it no pod is admitted to the namespace.
    if api.get("/api/v1/namespaces/default/serviceaccounts/default") is None:
        return "the namespace default has no ServiceAccount yet"
    return None
