"""What a workload may expect of the cluster: limits, names, volumes, accounts and GPUs that are counted."""

import json
from collections.abc import Generator

import pytest

from devcluster.layout import BUSYBOX_IMAGE, GPU_COUNT, NODE
from tests.support.cluster import Namespace, eventually
from tests.support.devcluster import a_pod, devcluster, ended, run_once

pytestmark = pytest.mark.cluster

GPU = "nvidia.com/gpu"
ASK_API = """
import json, pathlib, socket, ssl, sys, urllib.request
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
context = ssl.create_default_context(cafile=account / "ca.crt")
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + (account / "token").read_text()})
try:
    print(urllib.request.urlopen(request, context=context, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["message"])
"""


@pytest.fixture(scope="module")
def python() -> str:
    """An image with Python: the operator's."""
    devcluster("build", "--load", "operator")
    return json.loads(devcluster("images"))["operator"]


@pytest.fixture
def space() -> Generator[Namespace]:
    """A namespace of the test's own."""
    space = Namespace.create()
    yield space
    space.delete()


def test_a_container_that_takes_more_memory_than_its_limit_is_killed(space: Namespace) -> None:
    """The limit is the kernel's, on either version of cgroups."""
    greedy = {
        "image": BUSYBOX_IMAGE,
        "command": ["sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"],
        "resources": {"limits": {"memory": "32Mi"}},
    }
    space.apply(a_pod("greedy", greedy))
    assert ended(space, "greedy")["exitCode"] != 0
    assert space.run("logs", "greedy") == ""


def test_a_pod_finds_the_api_server_by_name_and_is_known_to_it(space: Namespace, python: str) -> None:
    """Name server, Service, certificate and token are what they are on any cluster; rights are refused by RBAC."""
    version = run_once(space, "version", python, "python", "-c", ASK_API, "https://kubernetes.default.svc/version")
    assert version == "200\n"
    secrets = f"https://kubernetes.default.svc/api/v1/namespaces/{space.name}/secrets"
    answer = run_once(space, "secrets", python, "python", "-c", ASK_API, secrets)
    assert answer.startswith(f'403 secrets is forbidden: User "system:serviceaccount:{space.name}:default"')


def test_a_claim_is_given_a_volume_that_keeps_what_is_written(space: Namespace) -> None:
    """By the default StorageClass, and also to a user who is not root."""
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "cache"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        }
    )
    volumes = {"/cache": {"persistentVolumeClaim": {"claimName": "cache"}}}
    run_once(space, "writer", BUSYBOX_IMAGE, "sh", "-c", "echo kept > /cache/file", volumes=volumes)
    assert run_once(space, "reader", BUSYBOX_IMAGE, "cat", "/cache/file", volumes=volumes) == "kept\n"


def test_gpus_are_counted_and_handed_out(space: Namespace) -> None:
    """Each container sees the ones that it was given, and no others."""
    container = {
        "image": BUSYBOX_IMAGE,
        "command": ["sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES"],
        "resources": {"limits": {GPU: "2"}},
    }
    space.apply(a_pod("two", container, nodeSelector={"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}))
    assert ended(space, "two")["exitCode"] == 0
    devices = space.run("logs", "two").strip().split(",")
    assert len(set(devices)) == 2
    assert all(device.startswith("GPU-") for device in devices)


def test_more_gpus_than_there_are_keep_a_pod_waiting(space: Namespace) -> None:
    """The scheduler says why."""
    node = json.loads(space.run("get", "node", NODE, "-o", "json"))
    assert node["status"]["allocatable"][GPU] == str(GPU_COUNT)
    container = {"image": BUSYBOX_IMAGE, "command": ["true"], "resources": {"limits": {GPU: str(GPU_COUNT + 1)}}}
    space.apply(a_pod("many", container))

    def refused() -> str | None:
        conditions = (space.get("pod", "many") or {}).get("status", {}).get("conditions", ())
        return next((row["message"] for row in conditions if row.get("reason") == "Unschedulable"), None)

    assert f"Insufficient {GPU}" in eventually("the scheduler has refused it", refused)
