"""What the status says of a package: its environment on the way, there, or failed, and the checks before it."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator import names
from llama_operator.errors import PackageError
from llama_operator.plan import package
from llama_operator.plan.build import build_plan
from llama_operator.plan.observed import Object, Observed, Ref, Report, SecretFact
from llama_operator.plan.settings import PackageSettings
from llama_operator.preflight.case import ask
from llama_operator.preflight.judge import judge
from llama_operator.rollout.decide import decide
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.operator_objects import (
    NOW,
    SETTINGS,
    a_body,
    a_pod,
    a_report,
    answers,
    condition,
    later,
    observed,
    placed,
    ready,
    running,
    stamp,
)
from tests.support.packages import PACKAGES, config_map
from tests.support.survey_objects import SURVEY

CPU = {"gpu": {"count": 0}}
HERE = replace(SETTINGS, packages=PACKAGES)


def seen_with(*children: Object, **fields: Any) -> Observed:
    """What was seen of a package: its ConfigMap and these objects."""
    body = a_body(resources=CPU, **fields)
    del body["spec"]["model"]
    body["spec"]["package"] = {"configMap": "chat"}
    return observed(body=body, children=children or (config_map(),))


def reported(seen: Observed) -> Report:
    """The report that reconcile makes of what was seen of a package."""
    try:
        spec = package.resolve(parse(seen.body), seen, PACKAGES)
    except PackageError as error:
        return report(error, seen, None, None)
    rollout = decide(spec, seen, HERE)
    plan = build_plan(spec, seen, HERE, rollout=rollout)
    found = judge(ask(spec, seen, plan, HERE), SURVEY) if plan.claims else None
    return report(spec, seen, build_plan(spec, seen, HERE, found, rollout), None, found)


def with_objects(seen: Observed, *kinds: str) -> Observed:
    """The same once the desired objects of these kinds are there."""
    spec = package.resolve(parse(seen.body), seen, PACKAGES)
    plan = build_plan(spec, seen, HERE)
    held = {
        Ref(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]): obj
        for obj in plan.desired
        if obj["kind"] in kinds
    }
    return replace(seen, children={**seen.children, **held})


def making(told: Object | None = None) -> Observed:
    """The Job's pod at work, which has `told` this."""
    seen = with_objects(with_objects(seen_with(), "PersistentVolumeClaim"), "Job")
    job = next(ref.name for ref in seen.children if ref.kind == "Job")
    pod = running(a_pod("env-1"))
    pod["metadata"]["labels"] = {**names.environment_labels("llama"), names.LABEL_JOB: job}
    return replace(seen, downloads=(pod,), startup={"env-1": told} if told else {})


def told(state: str = "running", **error: Any) -> dict[str, Any]:
    """What the Job's pod answers."""
    stage = {"name": "Environment", "state": state, "started": stamp(NOW), "bytes_done": 2_000_000}
    return {"stage": "Environment", "ready": False, "stages": [stage], "error": error or None}


def stages(found: Report) -> dict[str, str]:
    """Each stage of the timeline and its state."""
    return {row["name"]: row["state"] for row in found.status["startup"]["stages"]}


def test_the_environment_is_a_stage_of_its_own_before_any_pod() -> None:
    """With how much of it is there."""
    found = reported(making(told()))
    assert list(stages(found))[:3] == ["Preflight", "Environment", "Scheduling"]
    assert found.status["startup"]["stage"] == "Environment"
    assert found.status["phase"] == "Downloading"
    assert condition(found, "ModelCached")["reason"] == "Installing"
    assert "2.0 MB so far" in condition(found, "ModelCached")["message"]
    assert "no GPU claimed" in condition(found, "PodsScheduled")["message"]


def test_stages_that_only_models_have_are_none_of_a_package() -> None:
    """There is nothing to download or warm up."""
    assert not {"Resolve", "Download", "WarmUp"} & set(stages(reported(making())))


@pytest.mark.parametrize(
    "reason", ["RequirementsUnsolvable", "IndexUnreachable", "EnvironmentFailed", "PackageInvalid"]
)
def test_what_stands_in_the_way_of_an_environment_is_told_in_its_words(reason: str) -> None:
    """Before any GPU is claimed."""
    found = reported(making(told("failed", reason=reason, message="because of this: do that", attempt=1)))
    row = condition(found, "ModelCached")
    assert (row["reason"], row["message"]) == (reason, "because of this: do that")
    assert found.status["phase"] == "Failed"
    assert found.requeue_after is not None


def test_once_made_the_stage_is_done_and_stays_in_the_timeline_of_the_pods() -> None:
    """How long it took is told as long as the start is."""
    seen = making(told())
    before = reported(seen).status
    job = next(obj for ref, obj in seen.children.items() if ref.kind == "Job")
    done = {**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    there = replace(
        seen, children={**seen.children, Ref("batch/v1", "Job", job["metadata"]["name"]): done}, downloads=()
    )
    there = with_objects(there, "Deployment", "ControllerRevision")
    loading = later(there, before, running(a_pod()), startup={"llama-1": a_report("Load")})
    found = reported(loading)
    assert stages(found)["Environment"] == "done"
    assert found.status["startup"]["stage"] == "Load"
    assert answers(found)["ModelCached"] == "True Installed"
    assert "the package is being loaded" in condition(found, "ModelLoaded")["message"]
    up = reported(later(loading, found.status, ready(a_pod())))
    assert stages(up)["Environment"] == "done"


@pytest.mark.parametrize(
    "reason", ["PackageImportFailed", "PackageSignatureInvalid", "PackageSecretMissing", "PackageLoadFailed"]
)
def test_a_package_that_does_not_load_is_told_with_file_and_line(reason: str) -> None:
    """In the supervisor's words."""
    words = "ZeroDivisionError: division by zero (model/model.py, line 12)"
    seen = with_objects(seen_with(), "Deployment")
    failed = a_report("Load", error={"reason": reason, "message": words, "attempt": 1})
    found = reported(replace(seen, pods=(running(a_pod()),), startup={"llama-1": failed}))
    assert condition(found, "ModelLoaded")["reason"] == reason
    assert condition(found, "ModelLoaded")["message"] == words


def test_a_package_that_cannot_be_served_is_not_accepted_and_looked_at_again() -> None:
    """Its ConfigMap may yet come."""
    seen = seen_with(config_map(name="other"))
    found = reported(seen)
    assert answers(found)["Accepted"] == "False PackageNotFound"
    assert found.requeue_after is not None


def test_a_secret_that_is_declared_and_not_there_holds_everything_up() -> None:
    """The name in config.yaml, the Secret, the key and the command are told."""
    seen = seen_with(config_map({"secrets": {"hf_access_token": None}}))
    found = reported(seen)
    words = condition(found, "PreflightPassed")["message"]
    assert condition(found, "PreflightPassed")["reason"] == "SecretNotFound"
    assert "kubectl create secret generic hf-access-token --from-file=hf_access_token=FILE" in words
    other = SecretFact(name="hf-access-token", exists=True, keys=frozenset({"token"}))
    found = reported(replace(seen, package_secrets=(other,)))
    assert condition(found, "PreflightPassed")["reason"] == "SecretKeyNotFound"
    assert "its keys: token" in condition(found, "PreflightPassed")["message"]
    good = replace(other, keys=frozenset({"hf_access_token"}))
    assert answers(reported(replace(seen, package_secrets=(good,))))["PreflightPassed"] == "True ChecksPassed"


def test_what_is_left_aside_is_a_warning_of_the_checks() -> None:
    """Each field by its name."""
    seen = seen_with(config_map({"resources": {"instance_type": "A100:2x24"}}))
    assert "resources.instance_type" in condition(reported(seen), "PreflightPassed")["message"]


def test_an_image_of_the_job_that_cannot_be_pulled_is_not_the_servers() -> None:
    """Whoever reads it has to look at the right field."""
    seen = making()
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    pod = {**placed(a_pod("env-1"), waiting), "metadata": seen.downloads[0]["metadata"]}
    found = reported(replace(seen, downloads=(pod,)))
    assert "spec.package.image" in condition(found, "ModelLoaded")["message"]


def test_settings_without_any_image_say_so() -> None:
    """Rather than fail with a key that is not there."""
    seen = seen_with()
    with pytest.raises(PackageError, match="it has none"):
        package.resolve(parse(seen.body), seen, PackageSettings())
