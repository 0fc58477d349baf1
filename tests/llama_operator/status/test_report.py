"""The report as a whole: what `kubectl get` shows, when to look again, which events are told."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator.errors import SpecError
from llama_operator.plan.observed import Object, Outcome, PreflightResult, Ref
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.operator_objects import (
    REPO,
    a_body,
    a_pod,
    a_report,
    answers,
    applied,
    condition,
    failing,
    later,
    observed,
    plan,
    preflight,
    ready,
    report_on,
    rolled_out,
    running,
    with_deployment,
)
from tests.support.survey_objects import COMMIT, SURVEY


def downloading(**fields: Any) -> dict[str, Object]:
    """The report of a pod that downloads."""
    return {"llama-1": a_report("Download", bytes_total=138_000_000_000, **fields)}


def test_a_fresh_deployment_is_pending() -> None:
    """Before the first pod all conditions are there, none is a problem."""
    found = report_on(observed())
    assert (found.status["phase"], found.status["ready"], found.requeue_after) == ("Pending", "0/1", 2.0)
    assert answers(found) == {
        "Accepted": "True SpecValid",
        "PreflightPassed": "True ChecksPassed",
        "PodsScheduled": "False Waiting",
        "ModelCached": "False Waiting",
        "ModelLoaded": "False Waiting",
        "Available": "False Starting",
        "Progressing": "True Starting",
        "Degraded": "False AllWell",
    }


def test_a_download_shows_how_far_it_is() -> None:
    """Phase, share and time left."""
    startup = downloading(bytes_done=13_800_000_000, bytes_per_second=1e8 + 0.4, eta_seconds=1242.1)
    found = report_on(observed(running(a_pod()), children=applied(), startup=startup))
    assert found.status["phase"] == "Downloading"
    assert condition(found, "ModelCached")["message"] == f"{REPO} is being fetched: 10% of 138.0 GB"
    assert condition(found, "PodsScheduled")["status"] == "True"
    assert found.status["startup"]["eta"] == "21m"
    assert found.requeue_after == 2.0


def test_loading_follows_the_download() -> None:
    """The model is cached, and not in memory yet."""
    found = report_on(observed(running(a_pod()), children=applied(), startup={"llama-1": a_report("Load")}))
    assert found.status["phase"] == "Loading"
    assert condition(found, "ModelCached")["reason"] == "Cached"
    assert condition(found, "ModelLoaded")["reason"] == "Loading"


def test_all_pods_ready_is_ready_and_settled() -> None:
    """There is nothing left to look at again."""
    found = report_on(observed(ready(a_pod()), children=rolled_out()))
    assert (found.status["phase"], found.status["ready"], found.requeue_after) == ("Ready", "1/1", None)
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["Progressing"] == "False Settled"
    assert answers(found)["Degraded"] == "False AllWell"


def test_it_is_available_only_once_its_service_leads_to_a_pod() -> None:
    """Nobody who waits for Available is refused; one looks again soon, since no event tells of a route."""
    seen = observed(ready(a_pod()), children=rolled_out())
    found = report_on(replace(seen, routed=False))
    assert answers(found)["Available"] == "False Starting"
    assert "Service llama" in condition(found, "Available")["message"]
    assert found.status["phase"] == "Progressing"
    assert found.requeue_after == 2.0


def test_the_status_says_where_and_what() -> None:
    """URL, selector, counts, image, generation."""
    body = a_body(service={"port": 8080})
    status = report_on(observed(ready(a_pod()), body=body, children=rolled_out(body=body))).status
    assert status["url"] == "http://llama.models.svc:8080/predict"
    assert report_on(observed()).status["url"] == "http://llama.models.svc/predict"
    assert status["selector"] == "app.kubernetes.io/instance=llama,app.kubernetes.io/name=llama-inference"
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (1, 1, 3)
    assert status["engineImage"] == "llama-inference:1"


def test_a_rollout_keeps_the_deployment_available() -> None:
    """The old pod answers while the new one starts."""
    children = with_deployment({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1})
    seen = observed(ready(a_pod("old")), running(a_pod("new")), children=children, startup={"new": a_report("Load")})
    found = report_on(seen)
    assert (found.status["phase"], found.status["ready"], found.status["replicas"]) == ("Progressing", "1/1", 2)
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["Progressing"] == "True RollingOut"
    assert found.requeue_after == 2.0


def test_an_apply_that_is_under_way_is_not_settled() -> None:
    """The pods of the last spec being ready says nothing about the new one."""
    body = a_body(engine={"dtype": "bfloat16"})
    found = report_on(observed(ready(a_pod()), body=body, children=rolled_out()))
    assert (found.status["phase"], found.requeue_after) == ("Progressing", 2.0)


def test_a_pod_that_is_lost_unsettles_before_the_deployment_counts_it() -> None:
    """The pods are the newer news."""
    found = report_on(observed(running(a_pod()), children=rolled_out()))
    assert answers(found)["Progressing"] == "True Starting"
    assert found.requeue_after == 2.0


def test_somebody_elses_deployment_says_nothing_about_this_one() -> None:
    """Neither its image nor its progress."""
    foreign = [{**obj, "metadata": {**obj["metadata"], "ownerReferences": []}} for obj in rolled_out()]
    found = report_on(observed(children=foreign))
    assert "engineImage" not in found.status
    assert answers(found)["Progressing"] == "False Waiting"


def test_zero_replicas_are_stopped_and_no_problem() -> None:
    """The cache stays, nothing is degraded, nobody looks again."""
    body = a_body(replicas=0)
    found = report_on(observed(body=body, children=rolled_out(0, body)))
    assert (found.status["phase"], found.status["ready"], found.requeue_after) == ("Stopped", "0/0", None)
    assert answers(found)["Available"] == "False Stopped"
    assert answers(found)["Degraded"] == "False AllWell"


def test_a_problem_while_pods_serve_is_degraded() -> None:
    """Available stays True; Degraded names the problem."""
    children = with_deployment({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1})
    body = a_body(replicas=2)
    seen = observed(
        ready(a_pod("a")), running(a_pod("b")), body=body, children=children, startup={"b": failing("DiskFull")}
    )
    found = report_on(seen)
    assert (found.status["phase"], found.status["ready"], found.requeue_after) == ("Degraded", "1/2", 3.0)
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["Degraded"] == "True DiskFull"


def test_available_repeats_what_is_wrong() -> None:
    """Whoever looks there only finds the cause and the fix."""
    found = report_on(observed(running(a_pod()), children=applied(), startup={"llama-1": failing("TokenRejected")}))
    assert condition(found, "Available")["message"] == condition(found, "ModelCached")["message"]
    assert found.status["phase"] == "Failed"


def test_a_failed_check_holds_the_pods() -> None:
    """Pending, with the Secret's name, and looked at again."""
    body = a_body(model={"repo": REPO, "tokenSecretRef": {"name": "mine"}})
    found = report_on(observed(body=body))
    assert (found.status["phase"], found.requeue_after) == ("Pending", 3.0)
    assert answers(found)["PreflightPassed"] == "False SecretNotFound"
    assert answers(found)["Progressing"] == "False Waiting"


def test_what_waits_says_for_what() -> None:
    """For another condition where something is wrong there, else for the next step."""
    named = a_body(model={"repo": REPO, "tokenSecretRef": {"name": "mine"}})
    rejected = {"llama-1": failing("TokenRejected")}
    cases = (
        (observed(body=named), "PodsScheduled", "waits until PreflightPassed is mended: its message says how"),
        (observed(running(a_pod()), startup=rejected), "ModelLoaded", "waits until ModelCached is mended: its mes"),
        (observed(a_pod()), "ModelCached", "waits until a pod has its node"),
        (observed(running(a_pod())), "ModelCached", "waits until the server in the pod has started"),
    )
    for seen, kind, words in cases:
        row = condition(report_on(seen), kind)
        assert (row["status"], row["reason"]) == ("False", "Waiting")
        assert row["message"].startswith(words)


def test_a_taken_name_is_told() -> None:
    """The message names kind, name and the way out."""
    (service,) = [obj for obj in applied() if obj["kind"] == "Service"]
    taken = {**service, "metadata": {"name": "llama"}}
    found = report_on(observed(children=[taken]))
    assert answers(found)["Accepted"] == "False NameTaken"
    assert "Service llama belongs to somebody else" in condition(found, "Accepted")["message"]
    assert found.status["phase"] == "Failed"


def test_leftovers_of_the_last_one_are_waited_for() -> None:
    """A LlamaDeployment deleted and created again at once."""
    old = [{**obj, "metadata": {**obj["metadata"]}} for obj in applied()]
    for obj in old:
        obj["metadata"]["ownerReferences"] = [{"kind": "LlamaDeployment", "name": "llama", "uid": "earlier"}]
    found = report_on(observed(children=old))
    assert answers(found)["Accepted"] == "False LeftoverDeleting"
    assert (found.status["phase"], found.requeue_after) == ("Pending", 15.0)


def test_a_refused_object_is_told_in_the_api_servers_words() -> None:
    """Kind, name, and why."""
    outcome = Outcome(refused={Ref("apps/v1", "Deployment", "llama"): "spec.foo: field not declared in schema"})
    found = report_on(observed(), outcome)
    assert answers(found)["Accepted"] == "False ObjectRefused"
    assert "refuses Deployment llama: spec.foo: field not declared" in condition(found, "Accepted")["message"]


@pytest.mark.parametrize(
    ("words", "reason", "said"),
    [
        (
            'Internal error occurred: failed calling webhook "policy.acme.example": failed to call webhook: EOF',
            "WebhookFailed",
            "Deployment llama is not applied, for the admission webhook policy.acme.example fails",
        ),
        (
            'admission webhook "policy.acme.example" denied the request: images are from acme.example alone',
            "ObjectRefused",
            "the admission webhook policy.acme.example refuses Deployment llama",
        ),
    ],
)
def test_a_webhook_is_named_whether_it_fails_or_refuses(words: str, reason: str, said: str) -> None:
    """One has to be mended, the other obeyed."""
    found = report_on(observed(), Outcome(refused={Ref("apps/v1", "Deployment", "llama"): words}))
    assert answers(found)["Accepted"] == f"False {reason}"
    assert said in condition(found, "Accepted")["message"]


def test_a_spec_that_cannot_be_read_leaves_the_rest_as_it_was() -> None:
    """Only Accepted and Degraded change; the pods go on serving."""
    seen = observed(ready(a_pod()), children=rolled_out())
    before = report_on(seen)
    error = SpecError("spec.podTemplate.spec.volumes[0]", "it needs the field name")
    found = report(error, later(seen, before.status), None, None)
    assert answers(found)["Accepted"] == "False InvalidSpec"
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["Degraded"] == "True InvalidSpec"
    assert "spec.podTemplate.spec.volumes[0]" in condition(found, "Accepted")["message"]
    assert (found.status["phase"], found.requeue_after) == ("Degraded", None)


def test_the_commit_is_remembered() -> None:
    """A ready pod is asked no more; the commit stays until another revision is wanted."""
    report_with_commit = {**a_report("Load"), "commit": "abc123"}
    seen = observed(running(a_pod()), children=applied(), startup={"llama-1": report_with_commit})
    first = report_on(seen)
    assert first.status["revision"] == {"repo": REPO, "requested": "main", "commit": "abc123"}
    second = report_on(later(seen, first.status, ready(a_pod()), startup={}))
    assert second.status["revision"]["commit"] == "abc123"
    other = a_body(model={"repo": REPO, "revision": "v2"}, status=second.status)
    seen = observed(ready(a_pod()), body=other, startup={"llama-1": report_with_commit})
    third = report_on(seen, survey=replace(SURVEY, model=None))
    assert third.status["revision"] == {"repo": REPO, "requested": "v2"}


def test_the_commit_and_the_licence_are_known_before_a_pod_is() -> None:
    """From the checks; the licence stays when they are made no more."""
    first = report_on(observed())
    expected = {"repo": REPO, "requested": "main", "commit": COMMIT, "licence": "llama2"}
    assert first.status["revision"] == expected
    live = plan(observed(), preflight=preflight(observed())).desired
    body = a_body(status=first.status)
    assert report_on(observed(ready(a_pod()), body=body, children=live)).status["revision"] == expected


def test_a_cached_model_stays_cached_while_a_pod_restarts() -> None:
    """The volume still holds it, until a pod fetches another."""
    seen = observed(ready(a_pod()), children=rolled_out())
    status = report_on(seen).status
    assert answers(report_on(later(seen, status, a_pod("llama-2"))))["ModelCached"] == "True Cached"
    fetching = later(seen, status, running(a_pod()), startup=downloading())
    assert answers(report_on(fetching))["ModelCached"] == "False Downloading"


def test_pods_that_are_going_do_not_count() -> None:
    """A pod being deleted answers no new request."""
    going = ready(a_pod())
    going["metadata"]["deletionTimestamp"] = "2026-11-24T08:00:00Z"
    found = report_on(observed(going, children=rolled_out()))
    assert (found.status["replicas"], found.status["readyReplicas"]) == (0, 0)


@pytest.mark.parametrize("status", [{"phase": "Unheard of"}, {"conditions": "none"}, {"newer": {"field": 1}}])
def test_a_status_of_another_version_is_replaced(status: dict[str, Any]) -> None:
    """The operator never stops over what it finds there."""
    assert report_on(observed(body=a_body(status=status))).status["phase"] == "Pending"


def test_a_check_that_nobody_made_counts_as_passed() -> None:
    """The argument may be left out."""
    seen = observed()
    assert report(parse(seen.body), seen, plan(seen), None).status["phase"] == "Pending"
    failed = report(parse(seen.body), seen, plan(seen), None, PreflightResult(passed=False, reason="SecretNotFound"))
    assert answers(failed)["PreflightPassed"] == "False SecretNotFound"


def test_conditions_of_a_newer_operator_are_kept_while_the_spec_cannot_be_read() -> None:
    """After a downgrade the status may hold reasons that this operator does not know."""
    status = report_on(observed(ready(a_pod()), children=rolled_out())).status
    rows = [{**row, "reason": "Unheard"} if row["type"] == "ModelLoaded" else row for row in status["conditions"]]
    seen = observed(ready(a_pod()), body=a_body(status={**status, "conditions": rows}))
    found = report(SpecError("spec.x", "wrong"), seen, None, None)
    assert condition(found, "ModelLoaded")["reason"] == "Unheard"
    assert [event.reason for event in found.events] == ["InvalidSpec"]
