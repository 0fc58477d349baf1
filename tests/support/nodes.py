"""Nodes that are nothing but what the API server knows of them."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from tests.support.kubectl import kubectl_ok


@contextmanager
def another_node(labels: Mapping[str, str], gpus: int) -> Generator[str]:
    """A node with these labels and so many GPUs, for as long as the block; its name."""
    name = f"n-{uuid4().hex[:8]}"
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}
    kubectl_ok("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    try:
        has = {"cpu": "64", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        # Its kubelet would say so again and again: without it the node counts as lost after a while.
        ready: dict[str, Any] = {"type": "Ready", "status": "True", "reason": "Test", "message": "made by hand"}
        status = {"capacity": has, "allocatable": has, "conditions": [ready]}
        kubectl_ok("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        yield name
    finally:
        kubectl_ok("delete", "node", name)
