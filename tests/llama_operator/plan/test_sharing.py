"""A cache that several share: its volume, its Job, who owns it, who waits for it, who lets go of it."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from llama_operator import names
from llama_operator.names import shared_claim
from llama_operator.plan import sharing
from llama_operator.plan.observed import Object, Observed, Plan, PreflightResult, Ref, ref_of
from tests.support.operator_objects import (
    REPO,
    SETTINGS,
    UID,
    a_body,
    a_pod,
    a_secret,
    failing,
    observed,
    plan,
)

COMMIT = "e9149a12809580e8602995856f8098ce973d1080"
CHECKED = PreflightResult(commit=COMMIT, model_bytes=80 * 2**30)
NAME = shared_claim(REPO, COMMIT)
STATUS = {"revision": {"repo": REPO, "requested": "main", "commit": COMMIT}}
SHARED = a_body(cache={"shared": True}, status=STATUS)
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


def found(planned: Plan, kind: str) -> Any:
    """The one desired object of a kind."""
    (obj,) = [obj for obj in planned.desired if obj["kind"] == kind]
    return obj


def applies(planned: Plan) -> list[str]:
    """The kinds that are applied."""
    return [obj["kind"] for obj in planned.apply]


def live(obj: Any, *, uid: str = "uid-of-claim", owners: Iterable[str] = (), status: Object | None = None) -> Any:
    """An object of the plan as it is once applied; `owners` are UIDs of others who own it too."""
    metadata = copy.deepcopy(obj["metadata"])
    metadata["uid"] = uid
    others = [{"kind": names.KIND, "name": f"of-{owner}", "uid": owner} for owner in owners]
    if others or "ownerReferences" in metadata:
        metadata["ownerReferences"] = [*metadata.get("ownerReferences", []), *others]
    return {**obj, "metadata": metadata, "status": status or {}}


def claimed(body: Object = SHARED, **given: Any) -> Any:
    """The shared claim as it is once applied."""
    return live(found(plan(observed(body=body), preflight=CHECKED), "PersistentVolumeClaim"), **given)


def filled(body: Object = SHARED, **given: Any) -> tuple[Any, ...]:
    """The claim, and its Job complete."""
    claim = claimed(body, **given)
    job = found(plan(observed(body=body, children=(claim,))), "Job")
    return claim, live(job, uid="uid-of-job", status=COMPLETE)


def kept(body: Object = SHARED, **given: Any) -> Observed:
    """Everything applied, the model there."""
    shared = filled(body, **given)
    return observed(body=body, children=(*shared, *plan(observed(body=body, children=shared)).apply))


def test_the_name_is_that_of_repository_and_commit() -> None:
    """The same for everybody who loads the same, and fit for the label of a Job's pods."""
    assert found(plan(observed(body=SHARED), preflight=CHECKED), "PersistentVolumeClaim")["metadata"]["name"] == NAME
    assert NAME.startswith("model-llama-2-70b-chat-hf-")
    assert shared_claim(REPO, "another") != NAME != shared_claim("another/repo", COMMIT)
    assert len(shared_claim(f"o/{'x' * 96}", COMMIT)) <= 63


def test_the_volume_comes_first_then_its_job_and_pods_last() -> None:
    """No Deployment before the model is there: no GPU waits for a download."""
    first = plan(observed(body=SHARED), preflight=CHECKED)
    assert applies(first) == ["ServiceAccount", "PersistentVolumeClaim", "Service"]
    assert (first.claims, first.waits, first.cache) == (True, True, NAME)
    around = [obj for obj in first.apply if obj["kind"] != "PersistentVolumeClaim"]
    second = plan(observed(body=SHARED, children=(claimed(), *around)))
    assert applies(second) == ["Job"]
    assert (second.claims, second.waits) == (False, True), "what waits is not checked anew each time"
    third = plan(observed(body=SHARED, children=(*filled(), *around)))
    assert "Deployment" in applies(third)
    assert (third.claims, third.waits) == (True, False)


def test_a_settled_one_needs_nothing() -> None:
    """However many share the volume."""
    again = plan(kept(owners=("uid-of-other",)))
    assert (again.apply, again.prune, again.release) == ((), (), ())


def test_each_is_one_of_the_owners_and_none_the_controller() -> None:
    """The volume goes with the last; where ours is missing it is added, for what others wrote is theirs."""
    claim = claimed()
    assert [row["uid"] for row in claim["metadata"]["ownerReferences"]] == [UID]
    assert "controller" not in claim["metadata"]["ownerReferences"][0]
    claim["metadata"]["ownerReferences"][0]["uid"] = "uid-of-other"
    (added,) = [obj for obj in plan(observed(body=SHARED, children=(claim,))).apply if obj["kind"] != "Job"][1:2]
    assert [row["uid"] for row in added["metadata"]["ownerReferences"]] == [UID]


def test_the_job_has_the_same_owners_and_goes_with_them() -> None:
    """The volume cannot own it: it stays while the Job's pod names it, and the Job would stay until it is gone."""
    claim, job = filled()
    assert [row["uid"] for row in job["metadata"]["ownerReferences"]] == [UID]
    theirs = copy.deepcopy(job)
    theirs["metadata"]["ownerReferences"][0]["uid"] = "uid-of-other"
    theirs["metadata"]["annotations"][names.ANNOTATION_KEEPER] = "uid-of-other"
    shared = claimed(owners=("uid-of-other",))
    (added,) = [obj for obj in plan(observed(body=SHARED, children=(shared, theirs))).apply if obj["kind"] == "Job"]
    assert [row["uid"] for row in added["metadata"]["ownerReferences"]] == [UID]
    assert "spec" not in added, "its template is that of whoever made it"
    assert "annotations" not in added["metadata"]
    assert "Job" not in applies(plan(observed(body=SHARED, children=(claim, job))))


def test_the_job_downloads_under_the_limits_of_the_pods_without_a_gpu() -> None:
    """On nodes that the pods may have, by the same image, with the proxies of a podTemplate; it alone has the token."""
    env = [{"name": "HTTPS_PROXY", "value": "http://proxy"}]
    more = {"spec": {"containers": [{"name": "inference", "env": env}], "imagePullSecrets": [{"name": "registry"}]}}
    body = a_body(cache={"shared": True}, status=STATUS, podTemplate=more, scheduling={"nodeSelector": {"a": "b"}})
    settings = replace(SETTINGS, hub_endpoint="http://mirror")
    seen = observed(body=body, children=(claimed(body),))
    planned = plan(seen, settings=settings)
    pod, serving = (found(planned, kind)["spec"]["template"]["spec"] for kind in ("Job", "Deployment"))
    (container,) = pod["containers"]
    assert container["command"] == ["llama-inference", "download"]
    assert {row["name"]: row["value"] for row in container["env"]} == {
        "HTTPS_PROXY": "http://proxy",
        "LLAMA_INFERENCE_MODEL": REPO,
        "LLAMA_INFERENCE_REVISION": COMMIT,
        "LLAMA_INFERENCE_ENDPOINT": "http://mirror",
        "LLAMA_INFERENCE_CACHE_DIR": names.CACHE_DIR,
        "LLAMA_INFERENCE_TOKEN_FILE": names.TOKEN_FILE,
    }
    same = ("securityContext", "nodeSelector", "tolerations", "affinity", "imagePullSecrets")
    assert {name: pod[name] for name in same} == {name: serving[name] for name in same}
    assert container["securityContext"] == serving["containers"][0]["securityContext"]
    assert container["image"] == serving["containers"][0]["image"]
    assert "limits" not in container["resources"]
    assert "hub-token" in {row["name"] for row in pod["volumes"]}
    assert "hub-token" not in {row["name"] for row in serving["volumes"]}
    assert (
        not names.pod_selector("llama").items()
        <= found(planned, "Job")["spec"]["template"]["metadata"]["labels"].items()
    ), "the Service must not lead to it"


def test_pods_mount_it_read_only_and_ask_no_hub() -> None:
    """What they find is complete, and stays as it is."""
    serving = found(plan(observed(body=SHARED, children=filled())), "Deployment")["spec"]["template"]["spec"]
    (container,) = serving["containers"]
    mounts = {row["name"]: row for row in container["volumeMounts"]}
    assert mounts["cache"] == {"name": "cache", "mountPath": names.CACHE_DIR, "readOnly": True}
    env = {row["name"]: row["value"] for row in container["env"]}
    assert env["LLAMA_INFERENCE_OFFLINE"] == "true"
    assert not {"LLAMA_INFERENCE_TOKEN_FILE", "LLAMA_INFERENCE_ENDPOINT"} & env.keys()


def test_while_another_revision_is_fetched_what_runs_is_left_alone() -> None:
    """Its volume too; fewer pods are let through."""
    before = kept()
    other = {**STATUS, "revision": {"repo": REPO, "requested": "next", "commit": "c" * 40}}
    body = a_body(cache={"shared": True}, model={"repo": REPO, "revision": "next"}, status=other)
    volume = live(found(plan(observed(body=body), preflight=PreflightResult(commit="c" * 40)), "PersistentVolumeClaim"))
    seen = replace(before, body=body, children={**before.children, ref_of(volume): volume})
    planned = plan(seen)
    assert planned.waits
    assert "Deployment" not in applies(planned)
    assert planned.release == ()
    job = live(found(planned, "Job"), status=COMPLETE)
    seen = replace(seen, children={**seen.children, ref_of(job): job})
    assert "Deployment" in applies(plan(seen))
    assert plan(seen).release == (), "the Deployment that runs still has the old volume"


def test_the_old_volume_is_let_go_once_no_pod_has_it() -> None:
    """A pod that is on its way out is still one."""
    seen = kept()
    old = claimed(a_body(cache={"shared": True}, status={"revision": {**STATUS["revision"], "commit": "d" * 40}}))
    old["metadata"]["name"] = "model-old"
    mounting = a_pod()
    mounting["spec"]["volumes"] = [{"name": "cache", "persistentVolumeClaim": {"claimName": "model-old"}}]
    job = copy.deepcopy(filled()[1])
    job["metadata"]["name"] = "model-old"
    seen = replace(seen, children={**seen.children, ref_of(old): old, ref_of(job): job})
    assert plan(replace(seen, pods=(mounting,))).release == ()
    assert plan(seen).release == (Ref("v1", "PersistentVolumeClaim", "model-old"), Ref("batch/v1", "Job", "model-old"))
    leaving = copy.deepcopy(old)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-24T08:10:00Z"
    seen = replace(seen, children={ref: obj for ref, obj in seen.children.items() if ref != ref_of(job)})
    assert plan(replace(seen, children={**seen.children, ref_of(old): leaving})).release == (), "it is on its way"


def test_one_that_somebody_retains_is_owned_by_nobody() -> None:
    """Whoever asked for it; those who owned it before let it go."""
    body = a_body(cache={"shared": True, "retain": True}, status=STATUS)
    assert "ownerReferences" not in claimed(body)["metadata"]
    theirs = claimed(body)
    theirs["metadata"]["ownerReferences"] = [{"kind": names.KIND, "name": "llama", "uid": UID}]
    planned = plan(observed(body=SHARED, children=(theirs,)))
    (again,) = [obj for obj in planned.apply if obj["kind"] == "PersistentVolumeClaim"]
    assert "ownerReferences" not in again["metadata"]
    assert again["metadata"]["annotations"][names.ANNOTATION_RETAIN] == "true"


def test_a_volume_grows_and_never_shrinks_whoever_shares_it() -> None:
    """Two with different sizes would else change it in turn."""
    large = claimed(a_body(cache={"shared": True, "size": "200Gi"}, status=STATUS))
    for size, wanted in (("100Gi", "200Gi"), ("300Gi", "300Gi"), (None, "200Gi")):
        cache = {"shared": True, **({"size": size} if size else {})}
        seen = observed(body=a_body(cache=cache, status=STATUS), children=(large,))
        assert found(plan(seen), "PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"] == wanted


def test_a_name_that_somebody_else_has_is_left_alone() -> None:
    """It is told as any name that is taken."""
    theirs = claimed()
    theirs["metadata"] = {"name": NAME, "namespace": "models", "uid": "x"}
    planned = plan(observed(body=SHARED, children=(theirs,)))
    assert planned.foreign == (Ref("v1", "PersistentVolumeClaim", NAME),)
    assert applies(planned) == ["ServiceAccount", "Service"]


def test_while_another_name_is_taken_no_download_is_begun_and_none_broken_off() -> None:
    """A Job that is there goes on as it is, of another template or not: none would take its place."""
    claim, job = filled()
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "llama"}, "spec": {}}
    assert applies(plan(observed(body=SHARED, children=(claim, service)))) == ["ServiceAccount"]
    renewed = a_body(cache={"shared": True}, engine={"image": "mine:2"}, status=STATUS)
    planned = plan(observed(body=renewed, children=(claim, {**job, "status": {}}, service)))
    assert (applies(planned), planned.prune) == (["ServiceAccount"], ())


def test_an_unfinished_job_of_another_template_is_replaced_by_its_keeper() -> None:
    """An image that cannot be pulled is corrected in the spec; another who shares the volume does not interfere."""
    claim, job = filled()
    running = {**job, "status": {}}
    renewed = a_body(cache={"shared": True}, engine={"image": "mine:2"}, status=STATUS)
    assert plan(observed(body=renewed, children=(claim, running))).prune == (ref_of(job),)
    assert plan(observed(body=renewed, children=(claim, job))).prune == (), "what is complete is complete"
    assert plan(observed(body=SHARED, children=(claim, running))).prune == ()
    theirs = copy.deepcopy(running)
    theirs["metadata"]["annotations"][names.ANNOTATION_KEEPER] = "uid-of-other"
    shared = claimed(owners=("uid-of-other",))
    assert plan(observed(body=renewed, children=(shared, theirs))).prune == ()
    assert plan(observed(body=renewed, children=(claim, theirs))).prune == (ref_of(job),), "its keeper is gone"


def test_the_jobs_pod_hears_of_a_new_token_where_it_is_the_same_secret() -> None:
    """Others have Secrets of their own."""
    pod = a_pod("model-1")
    report = {"model-1": failing("TokenRejected")}
    seen = observed(body=SHARED, children=(claimed(),), secret=a_secret("hf_access_token"), startup=report)
    for secret, touched in (("hf-access-token", {"model-1": {names.ANNOTATION_SECRET_SEEN: "7"}}), ("other", {})):
        pod["spec"]["volumes"] = [{"name": "hub-token", "secret": {"secretName": secret}}]
        assert plan(replace(seen, downloads=(pod,))).touch == touched


def test_the_content_is_written_on_volume_and_job() -> None:
    """The name holds a digest alone."""
    for obj in filled():
        assert obj["metadata"]["annotations"][names.ANNOTATION_CONTENT] == f"{REPO}@{COMMIT}"
        assert sharing.is_shared(obj)
