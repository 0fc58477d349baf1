"""While a Job fills a shared cache: what the status says, whom it follows, and what stays of it afterwards."""

from dataclasses import replace
from typing import Any

from llama_operator import names
from llama_operator.names import shared_claim
from llama_operator.plan.observed import Object, Observed, PreflightResult, Report, ref_of
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.operator_objects import (
    REPO,
    a_body,
    a_pod,
    a_report,
    answers,
    condition,
    observed,
    placed,
    plan,
    ready,
    running,
)

COMMIT = "e9149a12809580e8602995856f8098ce973d1080"
NAME = shared_claim(REPO, COMMIT)
BODY = a_body(cache={"shared": True}, status={"revision": {"repo": REPO, "requested": "main", "commit": COMMIT}})
JOB = f"{NAME}-x7k2p"


def fetching(pod: Any, *, job: str = NAME) -> dict[str, Any]:
    """The pod as one of a Job."""
    return {**pod, "metadata": {**pod["metadata"], "labels": {**names.shared_labels(), names.LABEL_JOB: job}}}


def seen(*pods: Object, downloads: tuple[Object, ...] = (), complete: bool = False, **given: Any) -> Observed:
    """A LlamaDeployment whose shared volume is there, with the Job that fills it."""
    first = plan(observed(body=BODY), preflight=PreflightResult(commit=COMMIT))
    claim = next(obj for obj in first.desired if obj["kind"] == "PersistentVolumeClaim")
    claim = {**claim, "metadata": {**claim["metadata"], "uid": "uid-of-claim"}}
    job = next(obj for obj in plan(observed(body=BODY, children=(claim,))).desired if obj["kind"] == "Job")
    if complete:
        job = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    found = observed(*pods, body=BODY, children=(claim, job), **given)
    around = {ref_of(obj): obj for obj in plan(found).apply}
    return replace(found, downloads=downloads, children={**around, **found.children})


def told(found: Observed, previous: Object | None = None) -> Report:
    """The report on it."""
    body = {**BODY, "status": {**BODY["status"], **(previous or {})}}
    found = replace(found, body=body)
    return report(parse(body), found, plan(found), None)


def test_the_jobs_pod_is_followed_while_no_other_pod_is_made() -> None:
    """Bytes, rate and time left are its; the conditions say what waits for what."""
    words = a_report("Download", bytes_done=10**9, bytes_total=4 * 10**9, bytes_per_second=1e7, eta_seconds=300)
    found = told(seen(downloads=(fetching(running(a_pod(JOB))),), startup={JOB: words}))
    assert (found.status["phase"], found.requeue_after) == ("Downloading", 2.0)
    startup = found.status["startup"]
    assert (startup["podName"], startup["stage"], startup["eta"]) == (JOB, "Download", "5m")
    assert answers(found)["ModelCached"] == "False Downloading"
    assert "25% of 4.0 GB" in condition(found, "ModelCached")["message"]
    assert answers(found)["PodsScheduled"] == "False Waiting"
    assert "no GPU claimed before" in condition(found, "PodsScheduled")["message"]


def test_what_stops_the_job_is_told_as_of_any_pod() -> None:
    """Its image, its node, its last words."""
    stopped = fetching(placed(a_pod(JOB), {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}))
    found = told(seen(downloads=(stopped,)))
    assert answers(found)["Available"] == "False ImagePullFailed"


def test_a_pod_of_the_job_that_is_refused_is_told() -> None:
    """The Job says so in an event; once a pod is there, it is past."""
    words = 'Error creating: pods "x" is forbidden: exceeded quota: team, requested: requests.memory=256Mi'
    about = {"kind": "Job", "name": NAME}
    event = {"reason": "FailedCreate", "type": "Warning", "involvedObject": about, "message": words}
    found = told(seen(events=(event,)))
    assert answers(found)["PodsScheduled"] == "False QuotaExceeded"
    assert "requests.memory=256Mi" in condition(found, "PodsScheduled")["message"]
    later = told(seen(events=(event,), downloads=(fetching(running(a_pod(JOB))),)))
    assert answers(later)["PodsScheduled"] == "False Waiting"


def test_a_job_of_another_model_is_not_followed() -> None:
    """Several may fill caches of one namespace."""
    others = fetching(running(a_pod("other")), job="model-other")
    found = told(seen(downloads=(others,), startup={"other": a_report("Download", bytes_done=1, bytes_total=2)}))
    assert "podName" not in found.status["startup"]


def test_the_download_stays_in_the_timeline_of_the_pods_it_was_done_for() -> None:
    """They find everything there, which is not how long it took."""
    words = a_report("Download", bytes_done=10**9, bytes_total=4 * 10**9)
    before = told(seen(downloads=(fetching(running(a_pod(JOB))),), startup={JOB: words})).status
    ending = fetching({**running(a_pod(JOB)), "status": {"phase": "Succeeded"}})
    last = told(seen(downloads=(ending,)), before).status
    between = told(seen(complete=True), last)
    assert answers(between)["ModelCached"] == "True Cached"
    between = between.status
    after = told(seen(running(a_pod()), complete=True, startup={"llama-1": a_report("Load")}), between)
    assert after.status["startup"]["podName"] == "llama-1"
    rows = {row["name"]: row for row in after.status["startup"]["stages"]}
    assert rows["Download"]["bytesDone"] == rows["Download"]["bytesTotal"] == 4 * 10**9
    assert rows["Download"]["started"] == "2026-11-24T08:05:10Z"
    assert rows["Load"]["state"] == "running"
    assert answers(after)["ModelCached"] == "True Cached"
    over = told(seen(ready(a_pod()), complete=True, startup={"llama-1": a_report("Golden")}), after.status)
    assert rows["Download"] in over.status["startup"]["stages"]
    assert NAME in condition(after, "ModelCached")["message"]


def test_what_serves_goes_on_while_another_revision_is_fetched() -> None:
    """It is available, and not settled."""
    found = told(seen(ready(a_pod()), downloads=(fetching(running(a_pod(JOB))),)))
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["ModelCached"] == "False Waiting"
    assert found.status["phase"] == "Progressing"


def test_a_model_in_a_volume_is_there_from_the_beginning() -> None:
    """Nothing is fetched."""
    body = a_body(model={"repo": REPO, "source": "pvc", "claim": {"name": "weights"}})
    found = observed(body=body)
    assert condition(report(parse(body), found, plan(found), None), "ModelCached")["message"] == (
        f"{REPO} is read from PersistentVolumeClaim weights"
    )
