"""The plan as a whole: what is applied, kept, pruned, left alone."""

import copy
from dataclasses import replace
from typing import Any

import pytest

from llama_operator import names
from llama_operator.plan.observed import Plan, PreflightResult, Ref, SecretFact, ref_of
from llama_operator.plan.wanted import wanted_refs
from tests.support.operator_objects import (
    KEY,
    SETTINGS,
    UID,
    a_body,
    a_pod,
    a_report,
    a_secret,
    applied,
    desired,
    failing,
    observed,
    plan,
    running,
)

NEW_DEFAULT = replace(SETTINGS, inference_image="llama-inference:2")
FAILED = PreflightResult(passed=False, reason="SecretNotFound", message="create it")
COMMIT = "e9149a12809580e8602995856f8098ce973d1080"
CHECKED = PreflightResult(commit=COMMIT, model_bytes=80 * 2**30)


def kinds(found: Plan) -> list[str]:
    """What a plan applies, besides the notes of rollouts."""
    return [obj["kind"] for obj in found.apply if obj["kind"] != "ControllerRevision"]


def image_of(found: Plan) -> str:
    """The image of the desired pods."""
    (deployment,) = [obj for obj in found.desired if obj["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]["containers"][0]["image"]


def changed(kind: str, change: Any) -> list[Any]:
    """All applied objects, one of them changed by hand."""
    objects = copy.deepcopy(list(applied()))
    change(next(obj for obj in objects if obj["kind"] == kind))
    return objects


def somebody_elses(kind: str) -> list[Any]:
    """An object with a wanted name that another owns."""
    (found,) = [obj for obj in applied() if obj["kind"] == kind]
    return [{**found, "metadata": {"name": found["metadata"]["name"], "labels": {}}}]


def test_a_new_deployment_gets_all_objects_in_order() -> None:
    """What pods need comes before the pods."""
    assert kinds(plan(observed())) == ["ServiceAccount", "PersistentVolumeClaim", "Service", "Deployment"]
    wanted, refs = wanted_refs(KEY), [ref_of(obj) for obj in plan(observed()).apply]
    assert refs[-2] == Ref("apps/v1", "ControllerRevision", "llama-r1")
    assert (*refs[:-2], refs[-1]) == (wanted.account, wanted.cache, wanted.service, wanted.workload)


def test_a_settled_deployment_needs_nothing() -> None:
    """The same state leads to no write at all."""
    found = plan(observed(children=applied()))
    assert (found.apply, found.prune, found.foreign, found.touch) == ((), (), (), {})


def test_what_the_api_server_fills_in_is_no_difference() -> None:
    """Defaults, other people's annotations and other ways to write an amount are left alone."""

    def fill(obj: Any) -> None:
        obj["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "4"
        obj["spec"]["revisionHistoryLimit"] = 10
        pod = obj["spec"]["template"]["spec"]
        pod["dnsPolicy"] = "ClusterFirst"
        pod["containers"][0]["resources"]["requests"] |= {"cpu": "0.5", "memory": "2048Mi"}
        pod["containers"].append({"name": "injected", "image": "sidecar"})

    assert plan(observed(children=changed("Deployment", fill))).apply == ()


def test_what_the_api_server_leaves_out_is_no_difference() -> None:
    """It stores neither an empty string nor a false flag; a second apply would not either."""
    container = {"name": "inference", "env": [{"name": "EMPTY", "value": ""}]}
    body = a_body(podTemplate={"spec": {"hostNetwork": False, "containers": [container]}})
    live = copy.deepcopy(list(applied(body)))
    pod = live[-1]["spec"]["template"]["spec"]
    del pod["hostNetwork"]
    del pod["containers"][0]["env"][-1]["value"]
    assert plan(observed(body=body, children=live)).apply == ()


def test_a_child_changed_by_hand_is_put_right() -> None:
    """A wanted field with another value is applied again."""

    def move(obj: Any) -> None:
        obj["spec"]["ports"][0]["port"] = 81

    assert kinds(plan(observed(children=changed("Service", move)))) == ["Service"]


def test_a_field_that_is_wanted_no_more_is_applied_away() -> None:
    """Nothing wanted differs, yet what was applied before had more."""
    before = applied(a_body(service={"annotations": {"old": "1"}}))
    assert kinds(plan(observed(children=before))) == ["Service"]


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"containers": [{"name": "inference", "resources": {"limits": {"memory": "much"}}}]}},
        {"spec": {"tolerations": [5]}},
        {"spec": {"containers": [{"name": "inference", "ports": [{"containerPort": "5"}]}]}},
        {"spec": None},
    ],
)
def test_nonsense_in_a_template_is_left_to_the_api_server(template: dict[str, Any]) -> None:
    """It is planned like anything else, so that the API server's own words reach the status."""
    live = applied(a_body(resources={"memoryLimit": "4Gi"}))
    assert kinds(plan(observed(body=a_body(podTemplate=template), children=live))) == ["Deployment"]


def test_a_deleted_child_comes_back() -> None:
    """Deployment, Service, cache or account: each is applied when it is not there."""
    for missing in (obj for obj in applied() if obj["kind"] != "ControllerRevision"):
        rest = [obj for obj in applied() if obj != missing]
        assert kinds(plan(observed(children=rest))) == [missing["kind"]]


def test_a_resource_being_deleted_is_left_to_the_garbage_collector() -> None:
    """Applying now would bring back what is on its way out."""
    body = a_body()
    body["metadata"]["deletionTimestamp"] = "2026-11-24T08:00:00Z"
    assert plan(observed(body=body)) == Plan()


def test_a_new_default_image_restarts_no_pod() -> None:
    """An upgrade of the operator alone leaves running pods as they are."""
    found = plan(observed(children=applied()), settings=NEW_DEFAULT)
    assert found.apply == ()
    assert image_of(found) == "llama-inference:1"


def test_pods_that_are_replaced_anyway_take_the_new_default_image() -> None:
    """The first change of the template brings it along."""
    seen = observed(body=a_body(engine={"dtype": "float32"}), children=applied())
    assert image_of(plan(seen, settings=NEW_DEFAULT)) == "llama-inference:2"


def test_scaling_does_not_bring_the_new_default_image() -> None:
    """Replicas are not part of the template."""
    found = plan(observed(body=a_body(replicas=3), children=applied()), settings=NEW_DEFAULT)
    assert image_of(found) == "llama-inference:1"


def test_a_named_image_is_used_and_left_again() -> None:
    """Removing spec.engine.image goes back to the operator's default of now."""
    named = a_body(engine={"image": "mine:7"})
    assert image_of(plan(observed(body=named, children=applied()))) == "mine:7"
    assert image_of(plan(observed(children=applied(named)), settings=NEW_DEFAULT)) == "llama-inference:2"


def test_an_image_changed_by_hand_is_put_right_when_the_spec_names_one() -> None:
    """The spec is the truth."""
    objects = copy.deepcopy(list(applied(a_body(engine={"image": "mine:7"}))))
    objects[-1]["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"
    found = plan(observed(body=a_body(engine={"image": "mine:7"}), children=objects))
    assert kinds(found) == ["Deployment"]


def test_somebody_elses_object_is_never_touched() -> None:
    """It is reported, and neither GPU nor volume is claimed for a deployment that could not be reached."""
    found = plan(observed(children=somebody_elses("Service")))
    assert found.foreign == (Ref("v1", "Service", "llama"),)
    assert kinds(found) == ["ServiceAccount"]


def test_a_taken_name_leaves_nothing_to_check_and_once_it_is_free_the_checks_come_first() -> None:
    """What was held meanwhile is claimed as anything else: only if they pass."""
    found = plan(observed(children=somebody_elses("Service")), preflight=PreflightResult())
    assert not found.claims
    free = observed(children=found.apply)
    assert plan(free).claims
    assert kinds(plan(free, preflight=FAILED)) == ["Service"]
    assert kinds(plan(free, preflight=CHECKED)) == ["PersistentVolumeClaim", "Service", "Deployment"]


def test_a_serving_deployment_outlives_a_taken_name() -> None:
    """It is neither deleted nor changed."""
    children = [obj for obj in applied() if obj["kind"] == "Deployment"] + somebody_elses("Service")
    found = plan(observed(body=a_body(replicas=2), children=children))
    assert "Deployment" not in kinds(found)
    assert found.prune == ()


def test_a_cache_that_is_there_is_kept_from_deletion_also_while_a_name_is_taken() -> None:
    """Only what is not there yet is held."""
    claims = [obj for obj in applied() if obj["kind"] == "PersistentVolumeClaim"]
    found = plan(observed(body=a_body(cache={"retain": True}), children=[*claims, *somebody_elses("Service")]))
    assert kinds(found) == ["ServiceAccount", "PersistentVolumeClaim"]
    assert "ownerReferences" not in found.apply[1]["metadata"]


def test_a_retained_cache_is_taken_up_again() -> None:
    """A cache without owner under the same name and label is ours."""
    (kept,) = [obj for obj in applied(a_body(cache={"retain": True})) if obj["kind"] == "PersistentVolumeClaim"]
    found = plan(observed(children=[kept]))
    assert found.foreign == ()
    assert "PersistentVolumeClaim" in kinds(found)


def test_a_cache_that_is_owned_by_another_is_not_taken_up() -> None:
    """Label and name alone do not make a claim ours."""
    (kept,) = [obj for obj in applied() if obj["kind"] == "PersistentVolumeClaim"]
    other = copy.deepcopy(kept)
    other["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert plan(observed(children=[other])).foreign == (ref_of(kept),)


def test_neither_pod_nor_volume_is_made_before_the_checks_pass() -> None:
    """The rest is made already; it costs nothing."""
    found = plan(observed(), preflight=FAILED)
    assert kinds(found) == ["ServiceAccount", "Service"]
    assert found.claims


def test_a_failing_check_that_only_warns_holds_nothing() -> None:
    """The spec said so."""
    found = plan(observed(), preflight=replace(FAILED, enforced=False))
    assert kinds(found) == ["ServiceAccount", "PersistentVolumeClaim", "Service", "Deployment"]


def deployment_of(found: Plan) -> Any:
    """The Deployment that a plan applies, if it applies one."""
    return next((obj for obj in found.apply if obj["kind"] == "Deployment"), None)


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_fewer_pods_of_the_same_kind_claim_nothing(replicas: int) -> None:
    """Scaling down and stopping are let through, whatever the checks would say."""
    found = plan(observed(body=a_body(replicas=replicas), children=applied(a_body(replicas=3))), preflight=FAILED)
    assert not found.claims
    assert deployment_of(found)["spec"]["replicas"] == replicas


def test_stopping_is_let_through_together_with_an_edit() -> None:
    """Whatever else has changed, no pod is what nobody can lack room for."""
    body = a_body(replicas=0, engine={"maxContextTokens": 100})
    found = plan(observed(body=body, children=applied(a_body(replicas=3))), preflight=FAILED)
    assert not found.claims
    assert deployment_of(found)["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 4},
        {"replicas": 2, "engine": {"maxContextTokens": 100}},
        {"replicas": 3, "scheduling": {}},
    ],
    ids=["more pods", "fewer of another kind", "a field taken away"],
)
def test_pods_that_are_not_there_yet_are_claimed(spec: dict[str, Any]) -> None:
    """Each of them would need its GPUs, also where it replaces another."""
    live = applied(a_body(replicas=3, scheduling={"nodeSelector": {"zone": "a"}} if "scheduling" in spec else {}))
    found = plan(observed(body=a_body(**spec), children=live), preflight=FAILED)
    assert found.claims
    assert deployment_of(found) is None
    assert deployment_of(plan(observed(body=a_body(**spec), children=live))) is not None


def test_what_is_not_about_pods_claims_nothing() -> None:
    """A port, a deadline, a number that stays."""
    body = a_body(service={"port": 8080}, rollout={"progressDeadlineSeconds": 60})
    found = plan(observed(body=body, children=applied()), preflight=FAILED)
    assert not found.claims
    assert kinds(found) == ["Service", "Deployment"]


def test_a_template_changed_by_hand_is_put_right_after_the_checks() -> None:
    """That replaces pods too."""

    def tamper(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"

    found = plan(observed(children=changed("Deployment", tamper)), preflight=FAILED)
    assert (found.claims, deployment_of(found)) == (True, None)


def test_the_pods_get_the_commit_that_was_checked() -> None:
    """A branch is resolved once; the cache is sized by what it holds there."""
    found = plan(observed(), preflight=CHECKED)
    assert revision_of(found) == COMMIT
    (claim,) = [obj for obj in found.apply if obj["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "180Gi"


def revision_of(found: Plan) -> str:
    """The revision that the desired pods load."""
    (deployment,) = [obj for obj in found.desired if obj["kind"] == "Deployment"]
    env = {row["name"]: row["value"] for row in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    return env["LLAMA_INFERENCE_REVISION"]


@pytest.mark.parametrize("spec", [{}, {"replicas": 5}, {"engine": {"maxContextTokens": 100}}])
def test_a_branch_that_moves_on_changes_no_pod(spec: dict[str, Any]) -> None:
    """Whatever else of the spec changes, what was loaded first is what more and new pods load."""
    live = plan(observed(), preflight=CHECKED).desired
    moved = replace(CHECKED, commit="f" * 40)
    found = plan(observed(body=a_body(**spec), children=live), preflight=moved)
    assert revision_of(found) == COMMIT
    assert bool(found.apply) == bool(spec)


@pytest.mark.parametrize("model", [{"repo": "meta-llama/Llama-2-70b-chat-hf", "revision": "v2"}, {"repo": "a/b"}])
def test_another_model_is_another_commit(model: dict[str, str]) -> None:
    """An edit of the repository or the revision is how to take up a newer one."""
    live = plan(observed(), preflight=CHECKED).desired
    found = plan(observed(body=a_body(model=model), children=live), preflight=replace(CHECKED, commit="f" * 40))
    assert revision_of(found) == "f" * 40


def test_a_deleted_deployment_comes_back_with_the_commit_that_its_cache_holds() -> None:
    """The status remembers it, for as long as there is the cache."""
    live = [obj for obj in plan(observed(), preflight=CHECKED).desired if obj["kind"] != "Deployment"]
    revision = {"repo": "meta-llama/Llama-2-70b-chat-hf", "requested": "main", "commit": COMMIT}
    body = a_body(status={"revision": revision})
    moved = replace(CHECKED, commit="f" * 40)
    assert revision_of(plan(observed(body=body, children=live), preflight=moved)) == COMMIT
    assert revision_of(plan(observed(body=body), preflight=moved)) == "f" * 40


def test_a_serving_deployment_outlives_a_failed_check() -> None:
    """A Secret that vanished is not needed by pods that run."""
    found = plan(observed(children=applied()), preflight=FAILED)
    assert (found.apply, found.prune) == ((), ())


def test_what_is_owned_and_wanted_no_more_is_pruned() -> None:
    """Only with our label and our owner: neither ReplicaSets nor what others labelled."""
    owner = {"kind": names.KIND, "name": "llama", "uid": UID}
    labels = names.child_labels("llama")

    def config_map(name: str, **metadata: Any) -> dict[str, Any]:
        meta = {"name": name, "labels": labels, "ownerReferences": [owner], **metadata}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}

    children = [
        *applied(),
        config_map("old"),
        config_map("unlabelled", labels={}),
        config_map("unowned", ownerReferences=[]),
        config_map("replica-set", ownerReferences=[{**owner, "uid": "deployment-uid"}]),
        config_map("going", deletionTimestamp="2026-11-24T08:00:00Z"),
    ]
    assert plan(observed(children=children)).prune == (Ref("v1", "ConfigMap", "old"),)


def test_a_pod_that_waits_for_a_token_is_told_of_a_new_secret() -> None:
    """Touching the pod makes the kubelet refresh the mounted file at once."""
    waits, loads = running(a_pod("waits")), running(a_pod("loads"))
    reports = {"waits": failing("TokenRejected"), "loads": a_report("Load")}
    seen = observed(waits, loads, startup=reports, secret=a_secret("hf_access_token", version="8"))
    assert plan(seen).touch == {"waits": {names.ANNOTATION_SECRET_SEEN: "8"}}


def test_a_pod_is_told_once_of_each_version() -> None:
    """The annotation remembers; a Secret that is not there changes nothing."""
    waits = running(a_pod("waits"))
    waits["metadata"]["annotations"] = {names.ANNOTATION_SECRET_SEEN: "8"}
    reports = {"waits": failing("AccessDenied")}
    assert plan(observed(waits, startup=reports, secret=a_secret(version="8"))).touch == {}
    assert plan(observed(waits, startup=reports, secret=a_secret(version="9"))).touch == {
        "waits": {names.ANNOTATION_SECRET_SEEN: "9"}
    }
    assert plan(observed(waits, startup=reports, secret=SecretFact(name="x", exists=False))).touch == {}


def test_the_token_annotation_is_not_in_the_template() -> None:
    """There it would restart every pod when a Secret changes."""
    assert names.ANNOTATION_SECRET_SEEN not in str(desired("Deployment"))


def test_the_pod_template_keeps_its_digest_across_upgrades() -> None:
    """If this fails, an upgrade of the operator restarts every GPU pod on every cluster: is the change worth it?"""
    annotations = desired("Deployment")["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_DEFAULT_IMAGE] == "cb9c60387950188e"
