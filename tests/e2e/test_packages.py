"""Truss packages on the cluster: their environment before any pod, shared; what does not load is named by its line."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import pytest

from llama_operator.names import API_VERSION, KIND
from llama_packages import archive
from tests.support import index_pod, stack
from tests.support.ask import ask
from tests.support.cluster import LLAMA, Namespace
from tests.support.kubectl import kubectl_ok
from tests.support.packages import packed

pytestmark = pytest.mark.cluster

INDEX_NAMESPACE: Final = "llama-index"
JOKES: Final = (
    "from importlib.metadata import version\n\n\n"
    "class Model:\n    def load(self):\n        self.version = version('pyjokes')\n\n"
    "    def predict(self, request):\n        return {'version': self.version, 'asked': request}\n"
)
BROKEN: Final = (
    "class Model:\n    def load(self):\n        return 1 / 0\n\n"
    "    def predict(self, request):\n        return request\n"
)
CONFIG: Final = {"python_version": "py311", "requirements": ["pyjokes==0.8.3"]}


@pytest.fixture(scope="module")
def index() -> str:
    """A package index in the cluster; its image is also the Python that packages run on."""
    stack.namespace(INDEX_NAMESPACE, stack.RESTRICTED)
    stack.apply(*index_pod.objects(INDEX_NAMESPACE, stack.images()["index"]))
    kubectl_ok("--namespace", INDEX_NAMESPACE, "rollout", "status", f"deployment/{index_pod.NAME}", "--timeout=60s")
    return f"http://{index_pod.NAME}.{INDEX_NAMESPACE}.svc/simple"


def push(space: Namespace, name: str, index: str, config: Mapping[str, Any], model: str) -> None:
    """What a user applies: a ConfigMap with the package, and a LlamaDeployment that names it."""
    content = packed({"model_name": name, **config}, **{"model/model.py": model})
    held = {"binaryData": {archive.KEY: base64.b64encode(content).decode()}}
    space.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **held})
    package = {"configMap": name, "indexUrl": index}
    resources = {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"}
    spec = {"package": package, "resources": resources, "cache": {"size": "2Gi"}}
    space.apply({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec})


def test_a_package_is_served_and_a_second_one_downloads_nothing(space: Namespace, index: str) -> None:
    """Its environment is a stage before the first pod; one that wants the same finds it there, index or no index."""
    push(space, "jokes", index, CONFIG, JOKES)
    space.condition("jokes", "Available", "True Serving", seconds=240)
    stages = {row["name"]: row for row in space.there(LLAMA, "jokes")["status"]["startup"]["stages"]}
    assert stages["Environment"]["state"] == "done"
    assert ask(space.name, "jokes", {"prompt": "Hi"}) == {"version": "0.8.3", "asked": {"prompt": "Hi"}}
    kubectl_ok("--namespace", INDEX_NAMESPACE, "scale", f"deployment/{index_pod.NAME}", "--replicas=0")
    try:
        push(space, "more", index, CONFIG, JOKES.replace("'asked'", "'more'"))
        space.condition("more", "Available", "True Serving", seconds=120)
    finally:
        kubectl_ok("--namespace", INDEX_NAMESPACE, "scale", f"deployment/{index_pod.NAME}", "--replicas=1")
    assert ask(space.name, "more", {"prompt": "Hi"})["more"] == {"prompt": "Hi"}
    (volume,) = [row for row in space.list("persistentvolumeclaims") if row["metadata"]["name"].startswith("env-")]
    assert sorted(row["name"] for row in volume["metadata"]["ownerReferences"]) == ["jokes", "more"]


def test_a_package_that_does_not_load_is_named_with_file_and_line(space: Namespace, index: str) -> None:
    """Told in a condition, and no container is started again for it."""
    push(space, "broken", index, CONFIG, BROKEN)
    message = space.condition("broken", "ModelLoaded", "False PackageLoadFailed", seconds=240)["message"]
    assert "ZeroDivisionError" in message
    assert "model/model.py" in message
    assert "line 3" in message
    (pod,) = space.list("pods", "app.kubernetes.io/instance=broken")
    rows = (*pod["status"]["initContainerStatuses"], *pod["status"]["containerStatuses"])
    assert [row["restartCount"] for row in rows] == [0, 0, 0]


def test_requirements_that_cannot_be_met_are_told_before_any_pod(space: Namespace, index: str) -> None:
    """In the resolver's words; nothing else has been claimed."""
    push(space, "unmet", index, {**CONFIG, "requirements": ["pyjokes==99"]}, JOKES)
    space.condition("unmet", "ModelCached", "False RequirementsUnsolvable", seconds=180)
    assert space.get("deployment", "unmet") is None
