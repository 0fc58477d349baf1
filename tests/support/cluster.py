"""A real cluster for tests: a namespace of one's own, and waiting for a condition instead of for time."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import yaml

from llama_operator.names import API_VERSION, GROUP, KIND, PLURAL
from tests.support.kubectl import environment, kubectl_ok
from tests.support.reading import read, read_all

LLAMA = f"{PLURAL}.{GROUP}"
T = TypeVar("T")


def kubeconfig() -> Path:
    """The kubeconfig of the cluster under test: KUBECONFIG's, else the development cluster's."""
    return Path(environment()["KUBECONFIG"])


def eventually(what: str, probe: Callable[[], T | None], *, seconds: float = 30, shows: Callable[[], Any] = str) -> T:
    """Return the first true value of `probe`, asking until then: an empty list is none, nor is an empty text.

    Raises:
        AssertionError: after `seconds`, with what `shows` returns: the last thing that was seen.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {shows()}")
        time.sleep(0.1)


class Namespace:
    """A namespace, and what tests do in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def create(cls) -> "Namespace":
        """Create a fresh one."""
        name = f"t-{uuid4().hex[:8]}"
        kubectl_ok("create", "namespace", name)
        return cls(name)

    def delete(self) -> None:
        """Delete it and everything in it; the cluster goes on with that by itself."""
        kubectl_ok("delete", "namespace", self.name, "--wait=false")

    def run(self, *args: str, stdin: Mapping[str, Any] | None = None) -> str:
        """Run kubectl in the namespace and return what it prints."""
        return kubectl_ok("--namespace", self.name, *args, stdin=stdin)

    def apply(self, obj: Mapping[str, Any]) -> None:
        """Create or change an object."""
        self.run("apply", "-f", "-", stdin=obj)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object; None if there is none."""
        return read(kind, name, namespace=self.name)

    def list(self, kind: str, selector: str = "", *, fields: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind, or those whose labels and fields these selectors name."""
        return read_all(kind, namespace=self.name, labels=selector, fields=fields)

    def patch(self, kind: str, name: str, patch: Mapping[str, Any], *args: str) -> None:
        """Apply a JSON merge patch."""
        self.run("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *args)

    def there(self, kind: str, name: str) -> dict[str, Any]:
        """Wait until an object is there."""
        return eventually(f"{kind} {name} is there", lambda: self.get(kind, name))

    def gone(self, kind: str, name: str) -> None:
        """Wait until an object is gone."""
        eventually(f"{kind} {name} is gone", lambda: self.get(kind, name) is None)

    def condition(self, name: str, kind: str, answer: str, *, seconds: float = 30) -> dict[str, Any]:
        """Wait until a condition of a LlamaDeployment is, for instance, `False SecretNotFound`."""
        seen: list[str] = []

        def probe() -> dict[str, Any] | None:
            status = (self.get(LLAMA, name) or {}).get("status", {})
            seen[:] = [f"{row['type']}: {row['status']} {row['reason']}" for row in status.get("conditions", ())]
            rows = (row for row in status.get("conditions", ()) if row["type"] == kind)
            return next((row for row in rows if f"{row['status']} {row['reason']}" == answer), None)

        return eventually(f"{kind} of {name} is {answer}", probe, seconds=seconds, shows=lambda: seen)


def a_llama(name: str = "llama", **spec: Any) -> dict[str, Any]:
    """A LlamaDeployment whose pods find no node, unchecked; keyword arguments are fields of its spec."""
    nowhere = {"scheduling": {"nodeSelector": {"llama-operator.dev/test": "nowhere"}}, "preflight": {"mode": "off"}}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"model": {"repo": "org/tiny"}, "cache": {"size": "1Gi"}, **nowhere, **spec},
    }


def server() -> dict[str, Any]:
    """How the cluster under test is reached: `server`, `certificate-authority-data`."""
    raw = kubectl_ok("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    return json.loads(raw)["clusters"][0]["cluster"]


def write_kubeconfig(path: Path, token: str, cluster: Mapping[str, Any]) -> None:
    """Write a kubeconfig for a server, such as `server()`, with the identity of a token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": dict(cluster)}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
