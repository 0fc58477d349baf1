"""The model cache: shared by several, filled once before any GPU is claimed; and models that need no Hub at all."""

import json
from typing import Any, Final

import pytest

from tests.support import model_image, models
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.own_repo import OwnRepo
from tests.support.predict import Server
from tests.support.served import small_llama
from tests.support.small_volume import other_weights, small_volume

pytestmark = pytest.mark.cluster
SHORT: Final = {"prompt": "Hello", "max_new_tokens": 16}
SHARED: Final = {"size": "64Mi", "shared": True}
CLAIMS: Final = "llama-operator.dev/deployment=shared.cache"


def serves(space: Namespace, name: str) -> None:
    """Wait until it answers, and ask it."""
    space.condition(name, "Available", "True Serving", seconds=180)
    server = Server(space.run("get", "service", name, "-o", "jsonpath={.spec.clusterIP}"))
    assert server.predict(SHORT).status == 200


def owners(space: Namespace) -> list[list[str]]:
    """The owners of each shared claim."""
    return [
        sorted(row["name"] for row in claim["metadata"].get("ownerReferences", ()))
        for claim in space.list("persistentvolumeclaims", CLAIMS)
    ]


def pods(space: Namespace, name: str) -> list[dict[str, Any]]:
    """The serving pods."""
    return space.list("pods", f"app.kubernetes.io/instance={name}")


def test_a_second_one_that_shares_the_cache_downloads_nothing(space: Namespace, own: OwnRepo) -> None:
    """One Job fetches it before a pod claims a GPU, two replicas and another LlamaDeployment start from there.

    It goes with the last of them, and not before.
    """
    own.fault("stall", after=200_000, times=1)
    space.apply(small_llama("first", own.name, cache=SHARED, replicas=2))
    fetching = space.condition("first", "ModelCached", "False DownloadStalled", seconds=90)
    assert "of 514.8 kB are there" in fetching["message"]
    assert pods(space, "first") == [], "no GPU is claimed before the model is there"
    startup = space.there(LLAMA, "first")["status"]["startup"]
    assert startup["stage"] == "Download"
    (claim,) = space.list("persistentvolumeclaims", CLAIMS)
    assert startup["podName"].startswith(claim["metadata"]["name"])
    own.hub.clear_faults()
    serves(space, "first")
    download = next(
        row for row in space.there(LLAMA, "first")["status"]["startup"]["stages"] if row["name"] == "Download"
    )
    assert download["bytesDone"] == download["bytesTotal"] == 514_795
    space.apply(small_llama("second", own.name, cache=SHARED))
    serves(space, "second")
    assert [record.sent for record in own.transfers] == [499_048]
    assert owners(space) == [["first", "second"]]
    (pod,) = pods(space, "second")
    mounts = {row["name"]: row for row in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["cache"]["readOnly"]
    assert "hub-token" not in mounts
    space.run("delete", LLAMA, "first")
    eventually("only the second owns it", lambda: owners(space) == [["second"]])
    space.run("delete", LLAMA, "second")
    eventually("it goes with the last", lambda: owners(space) == [], seconds=60)
    eventually("and its Job", lambda: not space.list("jobs"), seconds=60)


def test_a_download_whose_pod_is_lost_goes_on_in_another_one_at_its_byte(space: Namespace, own: OwnRepo) -> None:
    """What the first had written is on the volume; the next asks the Hub for what is missing alone."""
    own.fault("stall", after=200_000, times=1)
    space.apply(small_llama("llama", own.name, cache=SHARED))
    space.condition("llama", "ModelCached", "False DownloadStalled", seconds=90)
    (lost,) = space.list("pods", CLAIMS)
    space.run("delete", "pod", lost["metadata"]["name"])
    serves(space, "llama")
    first, second = own.transfers
    assert (first.range, first.sent) == (None, 200_000)
    start = int((second.range or "").removeprefix("bytes=").removesuffix("-"))
    # What stood in a buffer of the process that was lost is fetched again, and nothing else.
    assert 0 < start <= first.sent
    assert (second.range, second.sent) == (f"bytes={start}-", 499_048 - start)


def test_another_revision_is_fetched_beside_and_switched_to(space: Namespace, own: OwnRepo) -> None:
    """The old pods answer from the old volume until the new ones are ready; then that volume goes."""
    own.publish(models.SMOLLM2, revision="next")
    space.apply(small_llama("llama", own.name, cache={"size": "512Mi", "shared": True}))
    serves(space, "llama")
    (old,) = space.list("persistentvolumeclaims", CLAIMS)
    own.fault("stall", after=200_000)
    space.patch(LLAMA, "llama", {"spec": {"model": {"revision": "next"}}})
    space.condition("llama", "ModelCached", "False DownloadStalled", seconds=90)
    serves(space, "llama")
    names = {claim["metadata"]["name"] for claim in space.list("persistentvolumeclaims", CLAIMS)}
    assert len(names) == 2
    own.hub.clear_faults()
    eventually("the old volume is gone", lambda: space.get("pvc", old["metadata"]["name"]) is None, seconds=180)
    serves(space, "llama")
    (pod,) = [pod for pod in pods(space, "llama") if "deletionTimestamp" not in pod["metadata"]]
    used = {
        row["persistentVolumeClaim"]["claimName"] for row in pod["spec"]["volumes"] if "persistentVolumeClaim" in row
    }
    assert used == names - {old["metadata"]["name"]}


def test_a_model_in_a_volume_is_served_without_the_hub(space: Namespace, own: OwnRepo) -> None:
    """A claim that does not exist is named; there is one that was retained, and no request goes to the Hub."""
    there = {"name": "weights", "path": "model"}
    local = small_llama("local", model={"repo": own.name, "source": "pvc", "claim": there})
    del local["spec"]["cache"]
    space.apply(local)
    missing = space.condition("local", "PreflightPassed", "False ModelClaimNotFound")
    assert "there is no PersistentVolumeClaim weights" in missing["message"]
    space.apply(small_llama("filler", own.name, cache={**SHARED, "retain": True}))
    serves(space, "filler")
    (claim,) = space.list("persistentvolumeclaims", CLAIMS)
    assert "ownerReferences" not in claim["metadata"]
    commit = space.there(LLAMA, "filler")["status"]["revision"]["commit"]
    space.run("delete", LLAMA, "filler")
    asked = len(own.requests)
    path = f"hub/models--{own.name.replace('/', '--')}/snapshots/{commit}"
    space.patch(LLAMA, "local", {"spec": {"model": {"claim": {"name": claim["metadata"]["name"], "path": path}}}})
    serves(space, "local")
    assert len(own.requests) == asked
    assert space.get("pvc", claim["metadata"]["name"]) is not None
    told = json.dumps(space.there(LLAMA, "local")["status"]["conditions"])
    assert f"is read from PersistentVolumeClaim {claim['metadata']['name']}" in told


def test_a_model_in_an_image_is_served_without_the_hub(space: Namespace, own: OwnRepo) -> None:
    """The kubelet mounts the image; until it is to be had, the field that names it is told, and nothing is lost."""
    reference = model_image.unused_reference()
    inside = {"reference": reference, "path": "weights"}
    local = small_llama("local", model={"repo": own.name, "source": "oci", "image": inside})
    del local["spec"]["cache"]
    asked = len(own.requests)
    space.apply(local)
    missing = space.condition("local", "ModelLoaded", "False ImagePullFailed")
    assert f"image {reference} with the model cannot be pulled" in missing["message"]
    assert "correct spec.model.image.reference" in missing["message"]
    with model_image.on_the_node(reference, models.models_dir() / models.TINY, path=inside["path"]):
        serves(space, "local")
        assert len(own.requests) == asked
        assert space.list("persistentvolumeclaims") == []
        told = json.dumps(space.there(LLAMA, "local")["status"]["conditions"])
        assert f"is read from image {reference}" in told
        space.run("delete", LLAMA, "local")
        eventually("the image is in no use", lambda: pods(space, "local") == [], seconds=60)


def test_weights_used_longest_ago_make_way_on_a_volume_that_is_full(space: Namespace, own: OwnRepo) -> None:
    """A volume with room for two sets gets a third: the first goes; what serves meanwhile, the way back, stays."""
    with small_volume("1300k") as volume, other_weights(2) as others:
        commits = [own.publish(models.TINY), own.publish(others[0], revision="two")]
        commits.append(own.publish(others[1], revision="three"))
        cache = {"size": "64Mi", "storageClassName": volume.storage_class}
        space.apply(small_llama("llama", own.name, cache=cache))
        serves(space, "llama")
        for revision, commit in zip(("two", "three"), commits[1:], strict=True):
            space.patch(LLAMA, "llama", {"spec": {"model": {"revision": revision}}})
            eventually("it serves", lambda commit=commit: loaded(space) == commit, seconds=120)
            space.condition("llama", "Progressing", "False Settled", seconds=120)
        kept = {path.name for path in volume.folder.glob("hub/models--*/snapshots/*")}
        assert kept == set(commits[1:])
        (pod,) = [pod for pod in pods(space, "llama") if "deletionTimestamp" not in pod["metadata"]]
        assert "models that were used longest ago are removed" in space.run("logs", pod["metadata"]["name"])
        space.run("delete", LLAMA, "llama")
        eventually("the volume is in no use", lambda: not pods(space, "llama"), seconds=60)


def loaded(space: Namespace) -> str:
    """The commit that serves, once its rollout has ended."""
    status = space.there(LLAMA, "llama")["status"]
    last = status["history"][0]
    return status["revision"]["commit"] if last["outcome"] == "Succeeded" else ""


def test_what_is_cached_restarts_and_grows_while_the_hub_is_away(space: Namespace, own: OwnRepo) -> None:
    """A pod that is lost comes again and another one beside it, from the cache; the condition says why that will do."""
    space.apply(small_llama("llama", own.name))
    serves(space, "llama")
    eventually("its rollout is noted", lambda: loaded(space), seconds=60)
    own.hub.fault("error", repo=own.name, status=503)
    (first,) = pods(space, "llama")
    space.run("delete", "pod", first["metadata"]["name"])
    space.run("scale", LLAMA, "llama", "--replicas=2")
    eventually("two pods are ready", lambda: space.there(LLAMA, "llama")["status"].get("ready") == "2/2", seconds=180)
    assert first["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in pods(space, "llama")}
    serves(space, "llama")


def test_another_model_is_not_cached_while_new_pods_fetch_it(space: Namespace, own: OwnRepo) -> None:
    """The condition tells of the one that is being fetched, and that the old pod goes on; Available stays."""
    commit = own.publish(models.SMOLLM2, revision="next")
    space.apply(small_llama("llama", own.name, cache={"size": "512Mi"}))
    serves(space, "llama")
    eventually("its rollout is noted", lambda: loaded(space), seconds=60)
    own.fault("slow", bytes_per_second=2_000_000)
    space.patch(LLAMA, "llama", {"spec": {"model": {"revision": "next"}}})
    fetching = space.condition("llama", "ModelCached", "False Downloading", seconds=90)
    assert f"{own.name} at next is being fetched" in fetching["message"]
    assert f"the pods that are ready go on serving {own.name} at main" in fetching["message"]
    space.condition("llama", "Available", "True Serving")
    own.hub.clear_faults()
    space.condition("llama", "ModelCached", "True Cached", seconds=120)
    eventually("it serves", lambda: loaded(space) == commit, seconds=180)
