"""What the scheduler, the kubelet and the server say, turned into what to do."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator import names
from llama_operator.plan.observed import NodeOffer, Object, SecretFact
from llama_operator.preflight.nodes import check
from llama_operator.preflight.pod import read
from llama_operator.spec.parse import parse
from llama_operator.status.reason import Reason
from llama_operator.status.reasons import REASONS
from llama_operator.status.reference import markdown
from llama_operator.status.report import report
from tests.support.operator_objects import (
    REPO,
    a_body,
    a_node,
    a_pod,
    a_report,
    a_secret,
    applied,
    failing,
    observed,
    placed,
    plan,
    ready,
    running,
    unschedulable,
    waiting,
    with_deployment,
)

TOO_FEW = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def available(*pods: Object, body: Object | None = None, **seen: Any) -> tuple[str, str, str]:
    """Phase, reason and message of a deployment that is not available."""
    rest: dict[str, Any] = {"children": applied(), **seen}
    found = observed(*pods, body=body, **rest)
    status = report(parse(found.body), found, plan(found), None).status
    (row,) = [row for row in status["conditions"] if row["type"] == "Available"]
    assert row["status"] == "False"
    return status["phase"], row["reason"], row["message"]


def gpus(**gpu: Any) -> dict[str, Any]:
    """A LlamaDeployment with these GPUs."""
    return a_body(resources={"gpu": gpu})


@pytest.mark.parametrize(
    ("body", "nodes", "reason", "words"),
    [
        (
            gpus(count=64),
            (a_node(8), a_node(4, name="node-2")),
            "TooManyGpus",
            "wants 64 nvidia.com/gpu on one node, and the largest node has 8: lower spec.resources.gpu.count to 8, or",
        ),
        (
            gpus(product="H100"),
            (a_node(8), a_node(8, "Tesla-T4")),
            "NoNodeWithProduct",
            "no node has GPUs of product H100, the cluster has NVIDIA-A100-SXM4-80GB, Tesla-T4: set spec.resources",
        ),
        (gpus(), (a_node(0),), "NoGpuNode", "none of 1 node offers nvidia.com/gpu"),
        (gpus(), (a_node(2),), "GpusInUse", "not free right now"),
        (gpus(product="H100"), (a_node(8, None),), "GpusInUse", "not free right now"),
        (gpus(product="any"), (a_node(8, "Tesla-T4"),), "GpusInUse", "not free right now"),
        (gpus(), (), "GpusInUse", "stop a pod that holds some, or add a node"),
    ],
)
def test_gpus_that_are_missing_are_counted(
    body: dict[str, Any], nodes: tuple[NodeOffer, ...], reason: str, words: str
) -> None:
    """The nodes' own numbers say whether to wait, to ask for less, or to add a node."""
    phase, found, message = available(
        unschedulable(a_pod(), TOO_FEW, body["spec"]["resources"]["gpu"].get("count", 2)), body=body, nodes=nodes
    )
    assert (phase, found) == ("Pending", reason)
    assert words in message


def test_a_rollout_without_gpus_to_spare_is_explained() -> None:
    """The old pod holds what the new one waits for."""
    seen = observed(ready(a_pod("old")), unschedulable(a_pod("new"), TOO_FEW), nodes=(a_node(2),), children=applied())
    status = report(parse(seen.body), seen, plan(seen), None).status
    (row,) = [row for row in status["conditions"] if row["type"] == "PodsScheduled"]
    assert "set spec.rollout maxSurge to 0 and maxUnavailable to 1" in row["message"]


@pytest.mark.parametrize(
    ("words", "reason", "said"),
    [
        ("1 Insufficient memory.", "InsufficientResources", "cpu 500m and memory 2Gi"),
        ("pod has unbound immediate PersistentVolumeClaims.", "CacheNotBound", "kubectl get storageclass"),
        ('persistentvolumeclaim "llama-cache" not found', "CacheNotBound", "default storage class"),
        ("1 node(s) had untolerated taint {a: b}.", "Unschedulable", "untolerated taint {a: b}): see spec.scheduling"),
    ],
)
def test_other_words_of_the_scheduler_are_passed_on(words: str, reason: str, said: str) -> None:
    """With the field that mends it."""
    _, found, message = available(unschedulable(a_pod(), f"0/1 nodes are available: {words}"), nodes=(a_node(8),))
    assert found == reason
    assert said in message


@pytest.mark.parametrize(
    ("node", "spec", "reason"),
    [
        ({"taints": ({"key": names.TAINT_CORDONED, "effect": "NoSchedule"},)}, {}, "NodesTainted"),
        ({"taints": ({"key": "team", "value": "a", "effect": "NoSchedule"},)}, {}, "NodesTainted"),
        ({"labels": {}}, {"nodeSelector": {"pool": "gpus"}}, "NoMatchingNode"),
    ],
    ids=["cordoned", "tainted", "relabelled"],
)
def test_what_befalls_nodes_after_the_checks_is_told_in_the_checks_words(
    node: dict[str, Any], spec: dict[str, Any], reason: str
) -> None:
    """Somebody closes the node between the check and the pod: what mends it is the same."""
    offer = replace(a_node(8), **node)
    pod = unschedulable(a_pod(), "0/1 nodes are available: 1 node(s) were unschedulable.", **spec)
    phase, found, message = available(pod, nodes=(offer,))
    said = check(read(pod["spec"]), parse(a_body()).resources.gpu, (offer,))
    assert (phase, found, message) == ("Pending", reason, said.message)
    assert said.state == "failed"


def test_a_cordoned_node_is_told_with_the_command_that_opens_it() -> None:
    """The scheduler only says that one was unschedulable."""
    closed = replace(a_node(8), taints=({"key": names.TAINT_CORDONED, "effect": "NoSchedule"},))
    message = available(unschedulable(a_pod(), "1 node(s) were unschedulable"), nodes=(closed,))[2]
    assert message.endswith("it is cordoned; kubectl uncordon node-1 lets pods in")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("didn't match pod topology spread constraints", "spec.scheduling.topologySpread"),
        ("didn't match pod anti-affinity rules", "spec.scheduling.affinity"),
        ("didn't have free ports for the requested pod ports", "spec.podTemplate"),
    ],
)
def test_what_runs_already_stands_in_the_way_by_its_field(words: str, field: str) -> None:
    """Which preflight does not look at."""
    _, reason, message = available(unschedulable(a_pod(), words), nodes=(a_node(8),))
    assert reason == "Unschedulable"
    assert field in message


def test_a_pod_the_scheduler_has_not_seen_is_no_problem() -> None:
    """It was created this moment."""
    assert available(a_pod(), nodes=(a_node(0),))[1] == "Starting"


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (
            waiting(a_pod(), "ImagePullBackOff", 'Back-off pulling image "x"'),
            "ImagePullFailed",
            "llama-inference:1 cannot be pulled",
        ),
        (waiting(a_pod(), "ErrImagePull", "not found"), "ImagePullFailed", "name another in spec.engine.image"),
        (
            waiting(a_pod(), "CreateContainerConfigError", 'configmap "x" not found'),
            "ContainerNotCreated",
            'configmap "x" not found',
        ),
        (
            placed(
                a_pod(),
                {"waiting": {"reason": "CrashLoopBackOff"}},
                {"terminated": {"exitCode": 2, "message": "Traceback\nspec.generation.defaults.x: unknown\n\n"}},
            ),
            "Crashing",
            'ended with code 2, and its last words were "spec.generation.defaults.x: unknown"',
        ),
        (
            placed(a_pod(), {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "OutOfMemory",
            "raise spec.resources.memory",
        ),
    ],
)
def test_the_kubelets_words_are_translated(pod: dict[str, Any], reason: str, words: str) -> None:
    """Each with what to do."""
    phase, found, message = available(pod)
    assert (phase, found) == ("Failed", reason)
    assert words in message


def test_an_image_of_the_spec_is_to_be_corrected_there() -> None:
    """One that nobody named cannot be."""
    body = a_body(engine={"image": "mine:1"})
    assert "correct spec.engine.image" in available(waiting(a_pod(), "ErrImagePull", "x"), body=body)[2]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("ErrImagePull", 'failed to pull and unpack image "registry/weights:1": not found'),
        ("ImagePullBackOff", 'Back-off pulling image "registry/weights:1"'),
    ],
)
def test_an_image_with_the_model_is_told_from_the_servers(reason: str, words: str) -> None:
    """The kubelet tells of both as of the container's own."""
    body = a_body(model={"repo": "org/tiny", "source": "oci", "image": {"reference": "registry/weights:1"}})
    answer, found, message = available(waiting(a_pod(), reason, words), body=body)
    assert (answer, found) == ("Failed", "ImagePullFailed")
    assert "image registry/weights:1 with the model cannot be pulled" in message
    assert "correct spec.model.image.reference" in message
    of_server = available(waiting(a_pod(), reason, words.replace("weights", "server")), body=body)[2]
    assert "spec.engine.image" in of_server


def test_a_container_that_is_to_mount_an_image_names_what_nodes_need() -> None:
    """An older container runtime does not know such volumes, and its words do not say so."""
    body = a_body(model={"repo": "org/tiny", "source": "oci", "image": {"reference": "registry/weights:1"}})
    pod = waiting(a_pod(), "CreateContainerError", "failed to generate container spec")
    assert "use nodes that mount images (containerd 2.1" in available(pod, body=body)[2]
    assert "containerd" not in available(pod)[2]


def test_an_out_of_memory_kill_names_the_limit() -> None:
    """The limit is what has to be raised when there is one."""
    pod = placed(a_pod(), {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})
    body = a_body(resources={"memoryLimit": "4Gi"})
    assert "raise spec.resources.memoryLimit (it is 4Gi)" in available(pod, body=body)[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("timeout", "kubectl describe pod"),
        ("Multi-Attach error for volume", "accessMode ReadWriteMany"),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_told(words: str, said: str) -> None:
    """Mount failures come as events only."""
    event = {"reason": "FailedMount", "message": words, "involvedObject": {"kind": "Pod", "name": "llama-1"}}
    other = {"reason": "FailedMount", "message": "other", "involvedObject": {"kind": "Pod", "name": "llama-2"}}
    _, reason, message = available(waiting(a_pod(), "ContainerCreating"), events=(other, event))
    assert reason == "VolumeNotMounted"
    assert said in message


def test_an_old_mount_event_of_a_running_pod_is_past() -> None:
    """Events outlive their cause by an hour."""
    event = {"reason": "FailedMount", "message": "x", "involvedObject": {"kind": "Pod", "name": "llama-1"}}
    assert available(running(a_pod()), events=(event,))[1] == "Starting"


def test_an_eviction_is_told_while_pods_are_missing() -> None:
    """The pod's own words, and room to ask for."""
    evicted = a_pod("gone", reason="Evicted", message="The node was low on resource: memory.")
    evicted["status"]["phase"] = "Failed"
    _, reason, message = available(evicted, a_pod())
    assert reason == "Evicted"
    assert "low on resource: memory" in message
    assert "raise spec.resources.memory" in message


def test_an_eviction_for_the_disk_names_the_disk() -> None:
    """More memory would not help."""
    evicted = a_pod("gone", reason="Evicted", message="The node was low on resource: ephemeral-storage.")
    evicted["status"]["phase"] = "Failed"
    assert "free the node's disk" in available(evicted, a_pod())[2]


def test_a_pod_that_had_to_make_room_names_the_priority() -> None:
    """The scheduler says so in a condition of the pod."""
    why = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "preempting"}
    gone = a_pod("gone", conditions=[why], message="Preempted in order to admit critical pod")
    gone["status"]["phase"] = "Failed"
    _, reason, message = available(gone, a_pod())
    assert reason == "Preempted"
    assert "spec.scheduling.priorityClassName" in message


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: gpus, requested: nvidia.com/gpu=2', "QuotaExceeded"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "PodRefused"),
    ],
)
def test_pods_that_are_refused_are_told(words: str, reason: str) -> None:
    """The Deployment says so; there is no pod to ask."""
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    phase, found, message = available(children=with_deployment({"conditions": [failure]}))
    assert (phase, found) == ("Pending", reason)
    assert words in message


@pytest.mark.parametrize(
    ("scheduling", "field"),
    [({"priorityClassName": "urgent"}, "spec.scheduling.priorityClassName"), ({}, "in spec.podTemplate.spec")],
)
def test_a_class_that_is_gone_is_told_by_the_field_that_names_it(scheduling: dict[str, str], field: str) -> None:
    """The API server's own words name none."""
    words = 'pods "llama-1" is forbidden: no PriorityClass with name urgent was found'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    children = with_deployment({"conditions": [failure]})
    _, reason, message = available(body=a_body(scheduling=scheduling), children=children)
    assert reason == "PriorityClassNotFound"
    assert message.startswith("there is no PriorityClass urgent: correct ")
    assert field in message


def test_a_quota_that_is_used_up_is_told_with_its_numbers_and_the_field() -> None:
    """As preflight tells of one that could never do."""
    words = (
        'pods "x" is forbidden: exceeded quota: team, requested: requests.cpu=500m,requests.nvidia.com/gpu=2, used: '
        "requests.cpu=1,requests.nvidia.com/gpu=7, limited: requests.cpu=8,requests.nvidia.com/gpu=8"
    )
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    _, reason, message = available(children=with_deployment({"conditions": [failure]}))
    assert reason == "QuotaExceeded"
    assert message == (
        "ResourceQuota team allows 8 of requests.nvidia.com/gpu in all, 7 of it are used, and a pod wants 2: raise the "
        "quota, free some of it, or lower spec.resources.gpu.count"
    )


def test_a_stuck_rollout_is_told() -> None:
    """After spec.rollout.progressDeadlineSeconds the Deployment says so."""
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert available(children=with_deployment({"conditions": [stuck]}))[1] == "DeadlineExceeded"


NAMED = a_body(model={"repo": REPO, "tokenSecretRef": {"name": "mine", "key": "token"}})


@pytest.mark.parametrize(
    ("reason", "body", "secret", "words"),
    [
        ("TokenMissing", None, None, "Secret hf-access-token does not exist: create it with kubectl create secret"),
        ("TokenMissing", None, SecretFact(name="hf-access-token", exists=False), "does not exist"),
        ("TokenMissing", None, a_secret("a", "b"), "has no key hf_access_token (its keys: a, b): add the key"),
        ("TokenMissing", None, a_secret("HF_TOKEN"), "but the key HF_TOKEN: set spec.model.tokenSecretRef to name"),
        ("TokenMissing", None, a_secret("hf_access_token"), "is empty or not in the pod yet"),
        ("TokenRejected", None, None, "does not accept the token in Secret hf-access-token, key hf_access_token"),
        ("TokenRejected", NAMED, None, "Secret mine, key token: put a valid token there"),
        ("AccessDenied", None, None, f"may not read {REPO}: accept the licence"),
        ("RepositoryNotFound", None, None, f"no repository {REPO}"),
        ("RevisionNotFound", None, None, "has no revision main: set spec.model.revision"),
        ("HubUnreachable", None, None, "what the server says"),
        ("NoSafetensors", None, None, "what the server says"),
        ("BrokenRepository", None, None, "what the server says"),
        ("HubRateLimited", None, None, "what the server says"),
        ("DiskFull", None, None, "raise spec.cache.size"),
        ("UnsupportedArchitecture", None, None, "Llama family"),
        ("LoadFailed", None, None, "could not be loaded: what the server says"),
        ("GpuOutOfMemory", None, None, "raise spec.resources.gpu.count (it is 2)"),
        ("StartupFailed", None, None, "the server reports"),
    ],
)
def test_the_servers_reasons_name_what_to_mend(
    reason: str, body: dict[str, Any] | None, secret: SecretFact | None, words: str
) -> None:
    """Secret and key, repository, revision, size: by their names in this deployment."""
    report_of = failing("Unheard" if reason == "StartupFailed" else reason)
    phase, found, message = available(running(a_pod()), body=body, startup={"llama-1": report_of}, secret=secret)
    assert (phase, found) == ("Failed", reason)
    assert words in message


def test_the_fix_of_a_model_that_does_not_load_is_that_of_its_cause() -> None:
    """More GPUs mend no missing shard."""
    cause = "model.safetensors.index.json names b.safetensors, which it does not have: choose another revision"
    row = a_report("Load", error={"reason": "LoadFailed", "message": cause, "attempt": 1})
    assert available(running(a_pod()), startup={"llama-1": row})[2] == f"the model could not be loaded: {cause}"


def test_an_interrupted_download_goes_on_by_itself() -> None:
    """It is told, and it is no failure."""
    phase, reason, _ = available(running(a_pod()), startup={"llama-1": failing("DownloadInterrupted")})
    assert (phase, reason) == ("Downloading", "DownloadInterrupted")


@pytest.mark.parametrize(
    ("state", "idle", "said"), [("running", 120.0, True), ("failed", 500.0, True), ("running", 119.0, False)]
)
def test_a_download_without_a_byte_for_long_is_stalled(state: str, idle: float, said: bool) -> None:
    """Whatever the server says of its last try; with how much is there, and no number that moves."""
    stuck = a_report("Download", bytes_done=5_000_000, bytes_total=2 * 10**9, idle_seconds=idle)
    stuck["stages"][1]["state"] = state
    if state == "failed":
        stuck["error"] = {"reason": "DownloadInterrupted", "message": "the transfer fell silent"}
    phase, reason, message = available(running(a_pod()), startup={"llama-1": stuck})
    assert phase == "Downloading"
    assert reason == ("DownloadStalled" if said else "Starting")
    if said:
        assert "no byte has come from the Hub for 120 seconds (5.0 MB of 2.0 GB are there)" in message


def test_a_failure_that_silence_follows_from_is_told_instead() -> None:
    """A full disk takes no bytes either; what to do is another thing."""
    full = failing("DiskFull")
    full["stages"][1] |= {"state": "failed", "idle_seconds": 500.0}
    assert available(running(a_pod()), startup={"llama-1": full})[1] == "DiskFull"


def test_how_long_a_stall_is_can_be_set() -> None:
    """By the operator's settings."""
    seen = observed(running(a_pod()), startup={"llama-1": a_report("Download", idle_seconds=3.0)}, children=applied())
    status = report(parse(seen.body), seen, plan(seen), None, stall_seconds=2.5).status
    assert any(
        row["reason"] == "DownloadStalled" and "for 2.5 seconds" in row["message"] for row in status["conditions"]
    )


def test_a_message_is_one_bounded_line() -> None:
    """Words of others may be long and of many lines."""
    _, _, message = available(waiting(a_pod(), "ErrImagePull", "line\n" * 500))
    assert "\n" not in message
    assert len(message) < 600


def test_every_reason_is_explained() -> None:
    """The page has a row for each, and each problem has cause and fix."""
    page = markdown()
    for reason in Reason:
        entry = REASONS[reason]
        assert f"| `{reason}` |" in page
        assert bool(entry.cause) == bool(entry.fix) == entry.problem
