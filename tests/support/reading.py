"""Reads of the cluster over one kept connection: what a test waits for is asked many times a second.

A kubectl for each question takes more of the processor than the answer, and what is waited for runs on the same one.
"""

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from tests.support.kubectl import environment

_GROUPS = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def read(kind: str, name: str, *, namespace: str) -> dict[str, Any] | None:
    """Return an object, None if there is none; `kind` as kubectl takes it."""
    return _get(f"{_path(kind, namespace)}/{name}")


def read_all(kind: str, *, namespace: str, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
    """Return all objects of a kind, or those whose labels and fields these selectors name."""
    found = _get(_path(kind, namespace), {"labelSelector": labels, "fieldSelector": fields})
    assert found is not None, f"{kind} in {namespace}: the server does not know the kind any more"
    return [
        {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List"), **it} for it in found["items"]
    ]


def _path(kind: str, namespace: str) -> str:
    if kind not in _paths():
        _paths.cache_clear()  # a definition may have come since
    assert kind in _paths(), f"the server has no resource {kind!r}"
    return _paths()[kind].format(namespace=f"namespaces/{namespace}/")


@cache
def _paths() -> dict[str, str]:
    """Each name that kubectl takes for a resource, and the path of its list; the first group that has one, has it."""
    found: dict[str, str] = {}
    for root, prefix in (("/api", "/api/"), ("/apis", "/apis/{group}/")):
        for group in (_get(root, accept=_GROUPS) or {})["items"]:
            own = group["metadata"].get("name", "")
            version = group["versions"][0]
            for it in version.get("resources", ()):
                space = "{namespace}" if it["scope"] == "Namespaced" else ""
                path = f"{prefix.format(group=own)}{version['version']}/{space}{it['resource']}"
                for name in (it["resource"], it["singularResource"], *it.get("shortNames", ())):
                    found.setdefault(name, path)
                    found.setdefault(f"{name}.{own}", path)
    return found


def _api() -> client.ApiClient:
    return _client(Path(environment()["KUBECONFIG"]).read_text())


@lru_cache(maxsize=1)
def _client(kubeconfig: str) -> client.ApiClient:
    """A connection for as long as the kubeconfig is the same: a cluster that is made anew has other keys."""
    return config.new_client_from_config_dict(yaml.safe_load(kubeconfig))


def _get(path: str, query: dict[str, str] | None = None, *, accept: str = "application/json") -> dict[str, Any] | None:
    """Return what is at a path, None where nothing is.

    Raises:
        AssertionError: with the server's answer, if it refuses.
    """
    asked = [(key, value) for key, value in (query or {}).items() if value]
    request = _api().param_serialize(
        "GET", path, query_params=asked, header_params={"Accept": accept}, auth_settings=["BearerToken"]
    )
    answer = _api().call_api(*request, _request_timeout=30)
    text = answer.read()
    if answer.status == 404:
        return None
    assert answer.status == 200, f"{path}: {answer.status} {text!r}"
    return json.loads(text)
