"""Ask for a pod to go as a drain of its node does: the API server may refuse."""

import json
from typing import Any

from kubernetes import config

from tests.support.cluster import Namespace, kubeconfig


def evict(space: Namespace, pod: str) -> tuple[int, dict[str, Any]]:
    """Ask once; the status, and the answer with the reasons of a refusal."""
    with config.new_client_from_config(str(kubeconfig())) as api:
        request = api.param_serialize(
            "POST",
            f"/api/v1/namespaces/{space.name}/pods/{pod}/eviction",
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body={"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}},
            auth_settings=["BearerToken"],
        )
        answer = api.call_api(*request, _request_timeout=30)
        return answer.status, json.loads(answer.read())
