"""Planned objects on a real API server: accepted, and found again as they were wanted."""

import json
from dataclasses import replace
from typing import Any

import pytest

from llama_operator.names import FIELD_MANAGER
from llama_operator.plan import package
from llama_operator.plan.build import build_plan
from llama_operator.spec.parse import parse
from tests.support.cluster import Namespace
from tests.support.kubectl import kubectl_ok
from tests.support.operator_objects import SETTINGS, a_body, observed, plan
from tests.support.packages import PACKAGES, config_map

pytestmark = pytest.mark.cluster

EVERYTHING: dict[str, Any] = {
    "model": {"repo": "org/llama-7b", "endpoint": "http://hub:8000", "tokenSecretRef": {"name": "mine"}},
    "engine": {"args": ["--port=8080"], "image": "llama-inference:7", "maxContextTokens": 100},
    "resources": {"cpu": 2, "memory": "2048Mi", "memoryLimit": "4Gi", "sharedMemory": "0.5Gi"},
    "generation": {"defaults": {"top_p": 0.5}, "maximums": {"num_beams": 2}},
    "cache": {"size": "10240Mi", "storageClassName": "fast", "retain": True},
    "service": {"type": "NodePort", "port": 8080, "annotations": {"a": "b"}},
    "auth": {"apiKeySecretSelector": {"matchLabels": {"keys": "mine"}}},
    "rollout": {
        "maxUnavailable": "25%",
        "goldenPrompts": [{"prompt": "Hi", "expect": {"contains": "H"}}],
        "paused": True,
    },
    "scheduling": {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "mine", "operator": "Exists"}],
        "topologySpread": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    },
    "networkPolicy": {
        "enabled": True,
        "allowedNamespaces": ["team-a"],
        "from": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}], "ports": [{"port": 443, "protocol": "TCP"}]}],
    },
    "podTemplate": {
        "spec": {
            "hostNetwork": False,
            "containers": [
                {"name": "inference", "env": [{"name": "EMPTY", "value": ""}]},
                {"name": "side", "image": "side:1", "ports": [{"containerPort": 1}, {"containerPort": 2}]},
            ],
            "volumes": [{"name": "more", "emptyDir": {"sizeLimit": "1024Mi"}}],
        }
    },
}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        EVERYTHING,
        {"networkPolicy": {"enabled": True}},
        {"model": {"repo": "org/llama-7b", "source": "pvc", "claim": {"name": "weights"}}},
        {"model": {"repo": "org/llama-7b", "source": "oci", "image": {"reference": "registry/llama:1"}}},
        {"engine": {"name": "tgi"}},
    ],
    ids=["least", "everything", "public-hub-only", "pvc", "oci", "tgi"],
)
def test_what_was_applied_needs_no_second_apply(spec: dict[str, Any]) -> None:
    """Whatever the API server fills in, rewrites or leaves out is no difference."""
    body = a_body(**spec)
    keys = ({"metadata": {"name": "team"}, "data": {"ci": "a2V5"}},) if "auth" in spec else None
    first = plan(observed(body=body, key_secrets=keys)).apply
    live = [_apply(obj) for obj in first]
    assert [obj["kind"] for obj in plan(observed(body=body, children=live, key_secrets=keys)).apply] == []


def test_a_shared_cache_and_its_job_settle() -> None:
    """Everybody then wants the class that the cluster gave the volume; the Job is made once that is there."""
    body = a_body(cache={"shared": True})
    held: dict[str, Any] = {}
    for expected in (["PersistentVolumeClaim"], ["PersistentVolumeClaim", "Job"], []):
        planned = plan(observed(body=body, children=held.values()))
        found = [obj for obj in planned.apply if obj["kind"] in ("PersistentVolumeClaim", "Job")]
        assert [obj["kind"] for obj in found] == expected
        held |= {obj["kind"]: _apply(obj) for obj in found}
    assert held["Job"]["spec"]["backoffLimit"] > 10**6


def test_a_packages_environment_and_its_pods_settle() -> None:
    """A volume, then the Job, then pods of two containers, each taken as it is."""
    body = a_body(resources={"gpu": {"count": 0}}, networkPolicy={"enabled": True})
    del body["spec"]["model"]
    body["spec"]["package"] = {"configMap": "chat", "secrets": [{"name": "token", "secretName": "vault"}]}
    chat = config_map({"secrets": {"token": None}, "environment_variables": {"COLOUR": "red"}})
    held: dict[str, Any] = {}
    for expected in ("PersistentVolumeClaim", "Job", "Deployment", None):
        seen = observed(body=body, children=[chat, *held.values()])
        spec = package.resolve(parse(body), seen, PACKAGES)
        applied = build_plan(spec, seen, replace(SETTINGS, packages=PACKAGES)).apply
        # Of a volume the API server's class is wanted from then on, so that it is applied once more.
        kinds = {obj["kind"] for obj in applied} - ({"PersistentVolumeClaim"} if expected == "Job" else set())
        assert expected in kinds if expected else not kinds
        held |= {f"{obj['kind']} {obj['metadata']['name']}": _apply(obj) for obj in applied}
        for job in [name for name in held if name.startswith("Job")]:
            held[job]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}


def test_an_image_volume_is_what_the_restricted_level_admits() -> None:
    """Its reference and its policy reach the API server as they are."""
    body = a_body(model={"repo": "org/llama-7b", "source": "oci", "image": {"reference": "registry/llama:1"}})
    (workload,) = [obj for obj in plan(observed(body=body)).apply if obj["kind"] == "Deployment"]
    template = workload["spec"]["template"]
    pod: dict[str, Any] = {
        **template,
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "llama", "namespace": "default"},
    }
    pod["spec"] = {**template["spec"], "serviceAccountName": "default"}
    space = Namespace.create()
    try:
        kubectl_ok("label", "namespace", space.name, "pod-security.kubernetes.io/enforce=restricted")
        pod["metadata"]["namespace"] = space.name
        stored = json.loads(space.run("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=pod))
    finally:
        space.delete()
    image = {"reference": "registry/llama:1", "pullPolicy": "IfNotPresent"}
    assert {"name": "model", "image": image} in stored["spec"]["volumes"]


def _apply(obj: Any) -> Any:
    """What the API server would store."""
    here = {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}
    args = ("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--dry-run=server", "-o", "json", "-f", "-")
    stored = json.loads(kubectl_ok(*args, stdin=here))
    return {**stored, "metadata": {**stored["metadata"], "namespace": obj["metadata"]["namespace"]}}
