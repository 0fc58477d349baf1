"""From the spec to the first answer: each stage in the status, and what stops on the way is named with its fix."""

import re
from typing import Any, Final

import pytest

from llama_operator.names import CACHE_DIR, CONTAINER
from tests.support import models
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.kubectl import kubectl_ok
from tests.support.own_repo import WEIGHTS, OwnRepo
from tests.support.predict import Server
from tests.support.served import small_llama
from tests.support.small_volume import other_weights
from tools.generate import NAMESPACE

pytestmark = pytest.mark.cluster
NAME: Final = "llama"
FILLS_SHARED_MEMORY: Final = """
import mmap, os
number, size = os.open("/dev/shm/part", os.O_RDWR | os.O_CREAT), 96 << 20
os.ftruncate(number, size)
part = mmap.mmap(number, size)
for at in range(0, size, mmap.PAGESIZE):
    part[at] = 1
os.unlink("/dev/shm/part")
os.execvp("llama-inference", ["llama-inference", "serve"])
"""
"""As ranks that exchange data would; the server follows where there was room."""
FILLS_A_GPU: Final = "raise SystemExit('torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.')"
"""In the words and with the code of a server for which a GPU is too small, for here is none."""
STAGES: Final = [
    "Preflight",
    "Scheduling",
    "ImagePull",
    "Start",
    "Resolve",
    "Download",
    "Load",
    "WarmUp",
    "Golden",
    "Ready",
]


def startup(space: Namespace) -> dict[str, Any]:
    """status.startup."""
    return space.there(LLAMA, NAME).get("status", {}).get("startup", {})


def stage(space: Namespace, name: str) -> dict[str, Any]:
    """One stage of it."""
    return next((row for row in startup(space).get("stages", ()) if row["name"] == name), {})


def column(space: Namespace, title: str) -> str:
    """What kubectl get shows under a title."""
    heads, row = space.run("get", LLAMA, NAME).splitlines()
    begin = heads.index(title)
    end = re.compile(r"\S+\s+").match(heads, begin)
    return row[begin : end.end() if end else None].strip()


def warnings(space: Namespace) -> dict[str, str]:
    """The reason and message of each Warning event of the LlamaDeployment."""
    uid = space.there(LLAMA, NAME)["metadata"]["uid"]
    found = space.list("events", fields=f"involvedObject.uid={uid},type=Warning")
    return {event["reason"]: event["message"] for event in found}


def metrics() -> str:
    """The operator's metrics."""
    find = ("get", "pods", "-l", "app.kubernetes.io/name=llama-operator", "-o", "jsonpath={.items[0].status.podIP}")
    status, text = Server(kubectl_ok("--namespace", NAMESPACE, *find), 8080).get("/metrics")
    assert status == 200
    return text


def cached_in(size: str) -> dict[str, Any]:
    """A podTemplate that mounts a volume of this very size in place of the cache."""
    mount = {"name": "small", "mountPath": CACHE_DIR}
    volume = {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    return {"spec": {"containers": [{"name": CONTAINER, "volumeMounts": [mount]}], "volumes": [volume]}}


def first_running(program: str) -> dict[str, Any]:
    """A podTemplate whose server's container runs a program of Python in the server's place."""
    return {"spec": {"containers": [{"name": CONTAINER, "command": ["python3", "-c", program]}]}}


def test_a_download_that_is_cut_goes_on_at_its_byte_and_one_that_stalls_is_told(space: Namespace, own: OwnRepo) -> None:
    """The next request asks for what is missing alone; then a condition and an event say that no byte comes."""
    own.fault("cut", after=200_000, times=1)
    own.fault("stall", after=250_000, times=2)
    space.apply(small_llama(NAME, own.name))
    stalled = space.condition(NAME, "ModelCached", "False DownloadStalled", seconds=90)
    assert "no byte has come from the Hub for 3 seconds" in stalled["message"]
    assert "(465.7 kB of 514.8 kB are there)" in stalled["message"]
    assert space.there(LLAMA, NAME)["status"]["phase"] == "Downloading"
    eventually("an event says so", lambda: "DownloadStalled" in warnings(space))
    own.hub.clear_faults()
    space.condition(NAME, "Available", "True Serving", seconds=120)
    first, second = own.transfers
    assert (first.sent, second.range) == (200_000, "bytes=200000-")
    assert first.sent + second.sent == 499_048
    rows = startup(space)["stages"]
    assert [row["name"] for row in rows] == STAGES
    assert all(row["state"] == "done" and row["seconds"] >= 0 for row in rows)
    download = stage(space, "Download")
    assert download["bytesDone"] == download["bytesTotal"] > 499_048
    written = metrics()
    assert all(f'llama_operator_startup_stage_seconds_count{{stage="{name}"}}' in written for name in STAGES)
    starting = [line for line in written.splitlines() if line.startswith("llama_operator_starting")]
    assert not [line for line in starting if space.name in line], "what is over is named no more"


def test_a_download_under_way_tells_its_rate_and_the_time_that_is_left(space: Namespace, own: OwnRepo) -> None:
    """In the status as numbers, and in the table of kubectl get for people; once it serves, no time is left."""
    own.fault("slow", bytes_per_second=5_000)
    space.apply(small_llama(NAME, own.name))
    eventually("the table shows a time", lambda: re.fullmatch(r"\d+[sm]", column(space, "ETA")), seconds=90)
    found = startup(space)
    row = next(row for row in found["stages"] if row["name"] == "Download")
    assert (found["stage"], row["state"], row["bytesTotal"]) == ("Download", "running", 514_795)
    assert row["bytesPerSecond"] > 0
    assert row["etaSeconds"] > 0
    assert 0 < row["bytesDone"] < row["bytesTotal"]
    own.hub.clear_faults()
    space.condition(NAME, "Available", "True Serving", seconds=120)
    eventually("the table shows none any more", lambda: column(space, "ETA") == "")
    assert "etaSeconds" not in stage(space, "Download")


def test_weights_that_arrive_spoilt_are_never_served_and_fetched_anew(space: Namespace, own: OwnRepo) -> None:
    """Each file is held against the Hub's hash, and what is not that is thrown away, whole."""
    with other_weights(1) as (folder,):
        own.publish(folder)
        weights = models.models_dir() / folder / WEIGHTS
        right = weights.read_bytes()
        weights.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        space.apply(small_llama(NAME, own.name))
        eventually("it is fetched anew", lambda: len(own.transfers) >= 2, seconds=90)
        assert {record.range for record in own.transfers} == {None}
        told = {row["type"]: row["status"] for row in space.there(LLAMA, NAME)["status"]["conditions"]}
        assert (told["ModelCached"], told["Available"]) == ("False", "False")
        weights.write_bytes(right)
        space.condition(NAME, "Available", "True Serving", seconds=120)


def test_a_full_disk_is_told_with_numbers_before_the_first_byte(space: Namespace, own: OwnRepo) -> None:
    """The volume is smaller than it says; a larger one is all it takes."""
    space.apply(small_llama(NAME, own.name, podTemplate=cached_in("256Ki"), rollout={"strategy": "Recreate"}))
    full = space.condition(NAME, "ModelCached", "False DiskFull", seconds=90)
    assert "has 0.00 GB free" in full["message"]
    assert own.transfers == []
    space.patch(LLAMA, NAME, {"spec": {"podTemplate": cached_in("8Mi")}})
    space.condition(NAME, "Available", "True Serving", seconds=120)


def test_an_image_that_does_not_exist_is_named_and_another_is_taken(space: Namespace) -> None:
    """In ImagePull, with the field that names it."""
    space.apply(
        small_llama(NAME, engine={"image": "llama-operator.invalid/nobody:1"}, rollout={"strategy": "Recreate"})
    )
    failed = space.condition(NAME, "ModelLoaded", "False ImagePullFailed", seconds=60)
    assert "image llama-operator.invalid/nobody:1 cannot be pulled" in failed["message"]
    assert "correct spec.engine.image" in failed["message"]
    assert startup(space)["stage"] == "ImagePull"
    space.patch(LLAMA, NAME, {"spec": {"engine": {"image": None}}})
    space.condition(NAME, "Available", "True Serving", seconds=120)


def test_too_little_memory_to_load_is_told_and_more_suffices(space: Namespace) -> None:
    """The kernel kills the server in the middle of the weights; the limit is the field to raise."""
    tight = {"gpu": {"count": 1}, "cpu": "100m", "memory": "256Mi", "memoryLimit": "420Mi", "sharedMemory": "64Mi"}
    space.apply(
        small_llama(NAME, models.SMOLLM2, resources=tight, cache={"size": "512Mi"}, rollout={"strategy": "Recreate"})
    )
    killed = space.condition(NAME, "ModelLoaded", "False OutOfMemory", seconds=120)
    assert "raise spec.resources.memoryLimit (it is 420Mi)" in killed["message"]
    space.patch(LLAMA, NAME, {"spec": {"resources": {"memoryLimit": "3Gi"}}})
    space.condition(NAME, "Available", "True Serving", seconds=180)


def test_too_little_shared_memory_is_told_and_more_suffices(space: Namespace) -> None:
    """A page of /dev/shm that there is no room for kills the server; its size is the field to raise."""
    space.apply(small_llama(NAME, podTemplate=first_running(FILLS_SHARED_MEMORY), rollout={"strategy": "Recreate"}))
    killed = space.condition(NAME, "ModelLoaded", "False SharedMemoryTooSmall", seconds=120)
    assert "raise spec.resources.sharedMemory (it is 64Mi)" in killed["message"]
    space.patch(LLAMA, NAME, {"spec": {"resources": {"sharedMemory": "128Mi"}}})
    space.condition(NAME, "Available", "True Serving", seconds=120)


def test_too_little_memory_of_a_gpu_is_told_by_the_servers_last_words(space: Namespace) -> None:
    """The kubelet hands them on; what asks for less of a GPU is the fix."""
    space.apply(small_llama(NAME, podTemplate=first_running(FILLS_A_GPU), rollout={"strategy": "Recreate"}))
    told = space.condition(NAME, "ModelLoaded", "False GpuOutOfMemory", seconds=120)
    assert "CUDA out of memory. Tried to allocate 2.00 GiB" in told["message"]
    assert "raise spec.resources.gpu.count (it is 1)" in told["message"]
    space.patch(LLAMA, NAME, {"spec": {"podTemplate": None}})
    space.condition(NAME, "Available", "True Serving", seconds=120)
