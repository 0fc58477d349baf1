"""A token that is changed while pods serve is asked about once, told if it is bad, and disturbs nothing."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator.plan.observed import Object, Observed, SecretFact
from llama_operator.plan.survey import HubAnswer, HubRefusal
from llama_operator.preflight import token
from llama_operator.preflight.case import ask
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.operator_objects import (
    SETTINGS,
    a_body,
    a_pod,
    a_secret,
    condition,
    observed,
    plan,
    ready,
    report_on,
    rolled_out,
)
from tests.support.survey_objects import LLAMA_70B, SURVEY

REJECTED = HubRefusal(reason="TokenRejected", words="401")
AWAY = HubRefusal(reason="HubUnreachable", words="no route")


def serving(secret: SecretFact | None, verified: str | None = "7") -> Observed:
    """A deployment that serves, whose token was good at some version."""
    status = {"preflight": {"checks": [{"name": "Memory", "state": "passed", "message": "fits"}]}}
    if verified is not None:
        status["preflight"]["tokenVersion"] = verified  # pyright: ignore[reportArgumentType] - JSON
    return observed(ready(a_pod()), body=a_body(status=status), children=rolled_out(), secret=secret)


def told(seen: Observed, answer: HubAnswer) -> Any:
    """The report once the Hub has said this."""
    spec, planned = parse(seen.body), plan(seen)
    found = token.verdict(ask(spec, seen, planned, SETTINGS), replace(SURVEY, model=answer))
    return report(spec, seen, plan(seen, preflight=found), None, found)


@pytest.mark.parametrize(
    ("secret", "verified", "due"),
    [
        (a_secret("hf_access_token", version="7"), "7", False),
        (a_secret("hf_access_token", version="8"), "7", True),
        (a_secret("hf_access_token", version="8"), None, True),
        (a_secret("another_key", version="8"), "7", False),
        (SecretFact(name="hf-access-token", exists=False), "7", False),
        (None, None, False),
    ],
    ids=["known", "changed", "never checked", "no such key", "gone", "not read"],
)
def test_each_version_of_a_token_is_asked_about_once(
    secret: SecretFact | None, verified: str | None, due: bool
) -> None:
    """What is known to be good needs no Hub."""
    seen = serving(secret, verified)
    assert token.is_due(parse(seen.body), seen) is due


def test_without_pods_there_is_no_need() -> None:
    """The checks before the first pods ask all the same."""
    seen = observed(secret=a_secret("hf_access_token", version="8"))
    assert not token.is_due(parse(seen.body), seen)


def test_a_good_token_is_noted() -> None:
    """With what else was found before."""
    found = told(serving(a_secret("hf_access_token", version="8")), LLAMA_70B)
    assert found.status["preflight"]["tokenVersion"] == "8"
    assert [row["name"] for row in found.status["preflight"]["checks"]] == ["Memory", "Model"]
    assert condition(found, "PreflightPassed")["status"] == "True"
    assert "is good" in condition(found, "PreflightPassed")["message"]


def test_a_bad_token_is_told_and_nothing_else_changes() -> None:
    """Pods serve on, undisturbed; soon it is asked again."""
    seen = serving(a_secret("hf_access_token", version="8"))
    found = told(seen, REJECTED)
    assert condition(found, "PreflightPassed")["reason"] == "TokenRejected"
    assert "the next download does" in condition(found, "PreflightPassed")["message"]
    assert (found.status["phase"], condition(found, "Available")["status"]) == ("Ready", "True")
    assert found.status["preflight"]["tokenVersion"] == "7"
    assert found.requeue_after == 15.0
    assert [event.reason for event in found.events if event.type == "Warning"] == ["TokenRejected"]


@pytest.mark.parametrize("answer", [AWAY, None], ids=["away", "still asked"])
def test_a_hub_that_does_not_say_is_asked_again(answer: HubAnswer) -> None:
    """That is no fault of the token's."""
    seen = serving(a_secret("hf_access_token", version="8"))
    assert token.verdict(ask(parse(seen.body), seen, plan(seen), SETTINGS), replace(SURVEY, model=answer)) is None


def test_a_settled_deployment_looks_at_its_token_from_time_to_time() -> None:
    """No event tells of a Secret."""
    bodies: list[tuple[Object, float | None]] = [(a_body(), 60.0), (a_body(preflight={"mode": "off"}), None)]
    for body, seconds in bodies:
        seen = observed(ready(a_pod()), body=body, children=rolled_out(body=body), secret=a_secret("hf_access_token"))
        assert report_on(seen).requeue_after == seconds
