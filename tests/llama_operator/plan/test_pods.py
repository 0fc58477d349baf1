"""The pod template: what the server is told, what it may do, what it gets."""

import json
from typing import Any

import pytest

from llama_operator.errors import SpecError
from tests.support.operator_objects import REPO, SETTINGS, a_body, desired, observed, pod_spec, server


def env_of(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container."""
    return {row["name"]: row["value"] for row in container["env"]}


def test_the_server_is_told_what_the_architecture_page_lists() -> None:
    """Each variable has the name and value that the server reads."""
    env = env_of(
        server(
            model={"repo": REPO, "revision": "v2", "endpoint": "http://hub:8000"},
            engine={"name": "transformers", "dtype": "float16", "maxContextTokens": 2048, "maxQueuedRequests": 8},
            generation={"defaults": {"top_k": 5, "do_sample": True}, "maximums": {"num_beams": 2}},
            terminationGracePeriodSeconds=60,
        )
    )
    assert json.loads(env.pop("LLAMA_INFERENCE_GENERATION_DEFAULTS")) == {"top_k": 5, "do_sample": True}
    assert json.loads(env.pop("LLAMA_INFERENCE_GENERATION_MAXIMUMS")) == {"num_beams": 2}
    assert env == {
        "LLAMA_INFERENCE_MODEL": REPO,
        "LLAMA_INFERENCE_REVISION": "v2",
        "LLAMA_INFERENCE_SERVED_NAME": "llama",
        "LLAMA_INFERENCE_ENDPOINT": "http://hub:8000",
        "LLAMA_INFERENCE_CACHE_DIR": "/var/cache/llama",
        "LLAMA_INFERENCE_TOKEN_FILE": "/run/secrets/llama-operator.dev/hub/token",
        "LLAMA_INFERENCE_BACKEND": "transformers",
        "LLAMA_INFERENCE_DTYPE": "float16",
        "LLAMA_INFERENCE_MAX_CONTEXT_TOKENS": "2048",
        "LLAMA_INFERENCE_MAX_QUEUE": "8",
        "LLAMA_INFERENCE_DRAIN_SECONDS": "50",
    }


def test_what_is_unset_is_not_told() -> None:
    """The server's own defaults hold for what nobody set."""
    assert not {"LLAMA_INFERENCE_ENDPOINT", "LLAMA_INFERENCE_MAX_CONTEXT_TOKENS"} & set(env_of(server()))


def test_requests_drain_within_the_grace_period() -> None:
    """However short the period, draining ends before the kubelet kills."""
    for grace in (1, 5, 30, 600):
        drain = int(env_of(server(terminationGracePeriodSeconds=grace))["LLAMA_INFERENCE_DRAIN_SECONDS"])
        assert 0 <= drain < grace


def test_a_pod_asks_for_two_gpus_by_default() -> None:
    """Requests and limits of GPUs are equal; memory has no limit unless one is set."""
    resources = server()["resources"]
    assert resources["limits"] == {"nvidia.com/gpu": "2"}
    assert resources["requests"] == {"cpu": "500m", "memory": "2Gi", "nvidia.com/gpu": "2"}
    assert server(resources={"memoryLimit": "8Gi"})["resources"]["limits"]["memory"] == "8Gi"


def test_the_token_is_a_file_and_nothing_else() -> None:
    """The Secret is mounted, readable by the group only, and appears in no variable and no argument."""
    pod = pod_spec(model={"repo": REPO, "tokenSecretRef": {"name": "mine", "key": "token-key"}})
    secret = next(row["secret"] for row in pod["volumes"] if row["name"] == "hub-token")
    assert secret == {
        "secretName": "mine",
        "optional": True,
        "defaultMode": 0o440,
        "items": [{"key": "token-key", "path": "token"}],
    }
    mount = next(row for row in pod["containers"][0]["volumeMounts"] if row["name"] == "hub-token")
    assert mount == {"name": "hub-token", "mountPath": "/run/secrets/llama-operator.dev/hub", "readOnly": True}
    assert "mine" not in json.dumps(pod["containers"])


def test_the_pod_meets_the_restricted_standard() -> None:
    """No root, no privileges, no writable image, no token of the cluster."""
    pod = pod_spec()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_kubelet_never_kills_a_server_that_loads() -> None:
    """Liveness and start-up ask for life, only readiness asks for the model."""
    container = server()
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_service_variables_are_kept_out() -> None:
    """A Service named llama-inference would set LLAMA_INFERENCE_PORT otherwise."""
    assert pod_spec()["enableServiceLinks"] is False


def test_scheduling_is_passed_on() -> None:
    """Selectors, classes and spread stand in the pod; a spread counts this deployment's pods unless it says else."""
    pod = pod_spec(
        scheduling={
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "mine", "operator": "Exists"}],
            "priorityClassName": "high",
            "runtimeClassName": "nvidia",
            "topologySpread": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        }
    )
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"pool": "gpu"}, "high")
    assert pod["runtimeClassName"] == "nvidia"
    assert [row["key"] for row in pod["tolerations"]] == ["nvidia.com/gpu", "mine"]
    assert pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "llama"


def test_the_pod_template_has_the_last_word() -> None:
    """It adds a variable, a volume and a sidecar, changes a limit, and removes a probe."""
    template = {
        "metadata": {"annotations": {"team": "ml"}},
        "spec": {
            "hostIPC": True,
            "containers": [
                {
                    "name": "inference",
                    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
                    "volumeMounts": [{"mountPath": "/tmp", "name": "scratch"}],
                    "startupProbe": None,
                },
                {"name": "sidecar", "image": "proxy:1"},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory"}}],
        },
    }
    pod = pod_spec(podTemplate=template)
    container, sidecar = pod["containers"]
    assert env_of(container)["NCCL_DEBUG"] == "INFO"
    assert env_of(container)["LLAMA_INFERENCE_MODEL"] == REPO
    assert [row["name"] for row in container["volumeMounts"] if row["mountPath"] == "/tmp"] == ["scratch"]
    assert "startupProbe" not in container
    assert "livenessProbe" in container
    assert sidecar == {"name": "sidecar", "image": "proxy:1"}
    assert pod["hostIPC"] is True


def test_the_pod_template_cannot_leave_the_selector() -> None:
    """Pods that the Deployment does not select would be made for ever."""
    template = {"metadata": {"labels": {"app.kubernetes.io/instance": "other", "mine": "yes"}}}
    deployment = desired("Deployment", observed(body=a_body(podTemplate=template)))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["mine"] == "yes"
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"spec": {"volumes": [{"emptyDir": {}}]}}, "spec.podTemplate.spec.volumes[0]"),
        ({"spec": {"volumes": "none"}}, "spec.podTemplate.spec.volumes"),
        ({"spec": {"volumes": [{"name": ["a"]}]}}, "spec.podTemplate.spec.volumes[0]"),
        ({"spec": {"initContainers": [5]}}, "spec.podTemplate.spec.initContainers[0]"),
        ({"spec": {"initContainers": {"name": "a"}}}, "spec.podTemplate.spec.initContainers"),
        ({"spec": ["none"]}, "spec.podTemplate.spec"),
        ({"metadata": {"labels": "none"}}, "spec.podTemplate.metadata.labels"),
    ],
)
def test_a_pod_template_that_cannot_be_merged_is_refused(template: dict[str, Any], path: str) -> None:
    """The error names the place in the spec."""
    with pytest.raises(SpecError) as caught:
        pod_spec(podTemplate=template)
    assert caught.value.field == path


def test_arguments_follow_the_command() -> None:
    """`spec.engine.args` are the server's own arguments."""
    container = server(engine={"args": ["--port", "8080"]})
    assert (container["command"], container["args"]) == (["llama-inference", "serve"], ["--port", "8080"])
    assert container["imagePullPolicy"] == SETTINGS.image_pull_policy


@pytest.mark.parametrize("template", [{"metadata": None}, {"metadata": {"labels": None}}])
def test_removed_metadata_keeps_the_labels_that_select_the_pods(template: dict[str, Any]) -> None:
    """Whatever a template takes away, the pods stay this deployment's."""
    deployment = desired("Deployment", observed(body=a_body(podTemplate=template)))
    assert deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"] == "llama"


def test_golden_prompts_are_the_servers_to_ask() -> None:
    """As they are written; without any the pods are those of before there were golden prompts."""
    golden = [{"prompt": "Hi", "parameters": {"max_new_tokens": 8}, "expect": {"startsWith": "Hello"}}]
    found = env_of(server(rollout={"goldenPrompts": golden}))["LLAMA_INFERENCE_GOLDEN_PROMPTS"]
    assert json.loads(found) == golden
    assert "LLAMA_INFERENCE_GOLDEN_PROMPTS" not in env_of(server())
