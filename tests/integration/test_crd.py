"""The CRD on a real API server: what it refuses, in whose words, and what it fills in.

Under an API group of its own, so that neither an operator nor an installed CRD takes part.
"""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from llama_operator.names import KIND, PLURAL, VERSION
from llama_operator.spec.crd import crd
from tests.support.kubectl import kubectl, kubectl_ok

pytestmark = pytest.mark.cluster

REPO = "meta-llama/Llama-2-70b-chat-hf"
MODEL: dict[str, Any] = {"repo": REPO}


@pytest.fixture(scope="module")
def group() -> Iterator[str]:
    """A fresh API group that serves the CRD."""
    name = f"t{uuid4().hex[:8]}.llama-operator.dev"
    definition = crd()
    definition["metadata"]["name"] = f"{PLURAL}.{name}"
    definition["spec"]["group"] = name
    kubectl_ok("create", "-f", "-", stdin=definition)
    try:
        _wait_until_served(f"{PLURAL}.{name}")
        yield name
    finally:
        kubectl_ok("delete", "crd", f"{PLURAL}.{name}")


def _wait_until_served(resource: str) -> None:
    """Established says that the names are accepted; the path is there a moment later."""
    kubectl_ok("wait", "--for=condition=Established", f"crd/{resource}", "--timeout=30s")
    deadline = time.monotonic() + 30
    while kubectl("get", resource).returncode:
        assert time.monotonic() < deadline, f"{resource} is not served"


def an_object(group: str, name: str = "llama", **spec: Any) -> dict[str, Any]:
    """A LlamaDeployment of the fresh group."""
    return {
        "apiVersion": f"{group}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"model": MODEL, **spec},
    }


def golden(**prompt: Any) -> dict[str, Any]:
    """A spec with one golden prompt."""
    return {"rollout": {"goldenPrompts": [prompt]}}


def env(**variable: str) -> dict[str, Any]:
    """A pod template with one more variable."""
    return {"podTemplate": {"spec": {"containers": [{"name": "inference", "env": [variable]}]}}}


def test_the_least_object_shows_its_defaults(group: str) -> None:
    """A repository is enough, and `kubectl get -o yaml` shows what it means."""
    stored = json.loads(kubectl_ok("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=an_object(group)))
    spec = stored["spec"]
    assert spec["resources"]["gpu"] == {"count": 2, "nodes": 1, "product": "A100", "resourceName": "nvidia.com/gpu"}
    assert spec["rollout"]["autoRollback"] is True
    assert "maxSurge" not in spec["rollout"]
    assert spec["model"] == {"repo": REPO, "revision": "main", "source": "hub"}
    assert "generation" not in spec
    assert "status" not in stored


@pytest.mark.parametrize(
    "spec",
    [
        {"resources": {"cpu": 2, "memory": "4Gi"}},
        {"engine": {"name": "vllm", "image": "vllm:1"}},
        {"engine": {"name": "tgi", "tgi": {"args": ["--quantize", "awq"]}}},
        {"rollout": {"maxSurge": 0, "maxUnavailable": "25%"}},
        {"rollout": {"strategy": "Recreate", "maxSurge": 0, "maxUnavailable": 0}},
        {"rollout": {"maxSurge": 0}},
        {"auth": {"apiKeySecretSelector": {"matchLabels": {"example.com/keys": "a"}}}},
        {"auth": {"apiKeySecretSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}},
        {"rollout": {"rollbackTo": 3, "paused": True, "autoRollback": False}},
        golden(prompt="Hi", parameters={"num_beams": 1}, expect={"matches": "^H"}),
        golden(name="chat", messages=[{"role": "user", "content": "Hi"}], expect={"startsWith": "H"}),
        {"generation": {"defaults": {"repetition_penalty": 1.1, "num_beams": 2}, "maximums": {"num_beams": 2}}},
        {"podTemplate": {"spec": {"hostNetwork": True, "containers": [{"name": "inference", "tty": True}]}}},
        {"podTemplate": {"spec": {"initContainers": [{"name": "one", "env": [{"name": "LLAMA_INFERENCE_MODEL"}]}]}}},
        {"scheduling": {"affinity": {"nodeAffinity": {}}, "tolerations": [{"key": "a"}], "nodeSelector": {"a": "b"}}},
        {"model": {**MODEL, "endpoint": "http://hub.models.svc:8000", "tokenSecretRef": {"name": "mine"}}},
        {"cache": {"size": "10Gi", "storageClassName": "fast", "accessMode": "ReadWriteMany", "retain": True}},
        {"cache": {"shared": True}},
        {"model": {**MODEL, "source": "pvc", "claim": {"name": "weights", "path": "llama/70b"}}},
        {"model": {**MODEL, "source": "oci", "image": {"reference": "registry/llama:1"}}},
    ],
)
def test_what_can_be_served_is_accepted(group: str, spec: dict[str, Any]) -> None:
    """The rules refuse nothing that works."""
    kubectl_ok("create", "--dry-run=server", "-f", "-", stdin=an_object(group, **spec))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model": {}}, "spec.model.repo: Required value"),
        ({"model": {"repo": "a b"}}, "write the repository as on the Hub"),
        ({"model": {**MODEL, "revision": ""}}, "write a branch, a tag or a commit"),
        ({"model": {**MODEL, "endpoint": "ftp://hub"}}, "write an http or https URL"),
        ({"model": {**MODEL, "source": "pvc"}}, "source pvc needs claim"),
        ({"model": {**MODEL, "image": {"reference": "registry/llama:1"}}}, "source oci needs image"),
        (
            {"model": {**MODEL, "source": "pvc", "claim": {"name": "weights", "path": "../up"}}},
            "write a folder without a slash",
        ),
        (
            {"model": {**MODEL, "source": "pvc", "claim": {"name": "weights"}}, "cache": {"shared": True}},
            "cache.shared is for models from the Hub",
        ),
        ({"engine": {"name": "magic"}}, 'spec.engine.name: Unsupported value: "magic"'),
        ({"engine": {"name": "vllm"}}, "engine vllm needs an image of its own"),
        ({"engine": {"name": "tgi", "dtype": "float32"}}, "TGI has no float32"),
        ({"engine": {"image": "a b"}}, "write an image with its tag or digest"),
        ({"replicas": -1}, "spec.replicas"),
        ({"resources": {"cpu": "much"}}, "write an amount, such as 500m"),
        ({"resources": {"cpu": -2}}, "write an amount, such as 500m"),
        ({"resources": {"gpu": {"resourceName": "gpu"}}}, "write an extended resource, such as nvidia.com/gpu"),
        ({"generation": {"defaults": {"num_beams": 17}}}, "less than or equal to 16"),
        ({"generation": {"defaults": {"top_p": 0}}}, "greater than 0"),
        ({"generation": {"defaults": {"max_new_tokens": 4097}}}, "less than or equal to 4096"),
        (
            {"generation": {"defaults": {"num_beams": 4}, "maximums": {"num_beams": 2}}},
            "defaults.num_beams is above maximums.num_beams; lower the default",
        ),
        ({"rollout": {"maxSurge": "0%", "maxUnavailable": 0}}, "maxSurge and maxUnavailable are both 0"),
        ({"auth": {"apiKeySecretSelector": {}}}, "the selector selects every Secret of the namespace"),
        (
            {"auth": {"apiKeySecretSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
            "In and NotIn need values",
        ),
        (golden(prompt="Hi", expect={}), "exactly one of equals, startsWith, contains and matches"),
        (golden(prompt="Hi", expect={"equals": "a", "contains": "b"}), "exactly one of equals"),
        (golden(expect={"equals": "a"}), "either prompt or messages"),
        (env(name="HF_TOKEN", value="x"), "put it into a Secret and name that in spec.model.tokenSecretRef"),
        (
            {
                "podTemplate": {
                    "spec": {"initContainers": [{"name": "tgi", "env": [{"name": "HF_TOKEN", "value": "x"}]}]}
                }
            },
            "put it into a Secret and name that in spec.model.tokenSecretRef",
        ),
        (env(name="LLAMA_INFERENCE_MODEL", value="x"), "LLAMA_INFERENCE_MODEL is set from other fields of the spec"),
        ({"modle": {}}, 'unknown field "spec.modle"'),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_fix(group: str, spec: dict[str, Any], words: str) -> None:
    """`kubectl apply` itself says what to write instead."""
    done = kubectl("create", "--dry-run=server", "-f", "-", stdin=an_object(group, **spec))
    assert done.returncode != 0
    assert words in done.stderr


DIGEST = "0" * 64
"""A digest of a package."""


@pytest.mark.parametrize(
    "package",
    [
        {"configMap": "chat"},
        {"configMap": "chat", "claim": {"name": "weights", "path": "chat"}, "digest": DIGEST},
        {"image": f"registry.example/chat@sha256:{DIGEST}", "python": "3.11"},
    ],
    ids=["configMap", "claim", "image"],
)
def test_a_package_is_accepted_in_place_of_a_model(group: str, package: dict[str, Any]) -> None:
    """And the defaults of models stay out of its way."""
    made = an_object(group, package=package)
    del made["spec"]["model"]
    kubectl_ok("create", "--dry-run=server", "-f", "-", stdin=made)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "name either model, to serve a model, or package"),
        ({"model": MODEL, "package": {"configMap": "chat"}}, "name either model, to serve a model, or package"),
        ({"package": {"python": "3.11"}}, "kubectl create configmap NAME --from-file=package.tgz"),
        ({"package": {"configMap": "chat", "claim": {"name": "a"}}}, "claim needs digest"),
        ({"package": {"image": "registry.example/chat:1"}}, "write the image with its digest"),
        ({"package": {"configMap": "chat", "python": "3.8"}}, "a Python from 3.9 to 3.14"),
        ({"package": {"configMap": "chat", "digest": "abc"}}, "sha256sum package.tgz"),
        ({"package": {"configMap": "chat"}, "engine": {"name": "mock"}}, "engine.name is for models"),
        ({"package": {"configMap": "chat"}, "engine": {"dtype": "float16"}}, "engine's dtype"),
        ({"package": {"configMap": "chat"}, "cache": {"shared": True}}, "cache.shared is for models"),
        ({"package": {"configMap": "chat"}, "resources": {"gpu": {"nodes": 2}}}, "a package runs on one node"),
        ({"package": {"configMap": "chat", "development": True}, "replicas": 2}, "for one replica"),
    ],
)
def test_a_package_that_cannot_be_served_is_refused_with_the_fix(group: str, spec: dict[str, Any], words: str) -> None:
    """By the API server itself."""
    made = an_object(group)
    made["spec"] = spec
    done = kubectl("create", "--dry-run=server", "-f", "-", stdin=made)
    assert done.returncode != 0
    assert words in done.stderr


def test_a_model_never_becomes_a_package(stored: dict[str, Any]) -> None:
    """What its pods and volumes are for would be another thing."""
    done = _patch(stored, {"spec": {"model": None, "package": {"configMap": "chat"}}})
    assert "a model cannot become a package" in done.stderr


@pytest.mark.parametrize("name", ["1llama", "l" * 53, "lla.ma"])
def test_a_name_must_fit_its_children(group: str, name: str) -> None:
    """Services and labels take less than a custom resource does."""
    done = kubectl("create", "--dry-run=server", "-f", "-", stdin=an_object(group, name))
    assert f'metadata.name is "{name}"; a name has 1 to 52 characters' in done.stderr


@pytest.fixture
def stored(group: str) -> Iterator[dict[str, Any]]:
    """A stored object with a cache of 10Gi."""
    made = an_object(group, f"llama-{uuid4().hex[:8]}", cache={"size": "10Gi", "storageClassName": "fast"})
    kubectl_ok("create", "-f", "-", stdin=made)
    yield made
    kubectl_ok("delete", f"{PLURAL}.{group}", made["metadata"]["name"])


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        ({"size": "9Gi"}, "size cannot shrink from 10Gi to 9Gi"),
        ({"storageClassName": "slow"}, "storageClassName cannot change"),
        ({"storageClassName": None}, "storageClassName cannot change"),
        ({"accessMode": "ReadWriteMany"}, "accessMode cannot change"),
        ({"shared": True}, "shared cannot change"),
    ],
)
def test_a_cache_keeps_what_a_volume_cannot_change(stored: dict[str, Any], cache: dict[str, Any], words: str) -> None:
    """Refused at once, instead of failing on the volume later."""
    done = _patch(stored, {"spec": {"cache": cache}})
    assert done.returncode != 0
    assert words in done.stderr


@pytest.mark.parametrize("size", ["10240Mi", "20Gi", None])
def test_a_cache_may_grow(stored: dict[str, Any], size: str | None) -> None:
    """However the amount is written; leaving it out keeps what there is."""
    assert _patch(stored, {"spec": {"cache": {"size": size}}}).returncode == 0


def test_it_scales(stored: dict[str, Any], group: str) -> None:
    """`kubectl scale` and autoscalers go by the scale subresource."""
    name = stored["metadata"]["name"]
    kubectl_ok("scale", f"{PLURAL}.{group}", name, "--replicas=3")
    assert kubectl_ok("get", f"{PLURAL}.{group}", name, "-o", "jsonpath={.spec.replicas}") == "3"


def _patch(stored: dict[str, Any], patch: dict[str, Any]) -> Any:
    group, name = stored["apiVersion"].partition("/")[0], stored["metadata"]["name"]
    return kubectl("patch", f"{PLURAL}.{group}", name, "--type=merge", "-p", json.dumps(patch))
