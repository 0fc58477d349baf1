"""Each case that the genuine truss server was asked, asked of ours in front of it: the same answers."""

import json
from typing import Any, Final

import pytest

from tests.llama_inference.package.conftest import Pods
from tests.llama_inference.package.pod import Pod
from tests.support.truss.cases import CASES, OBSERVED, PREDICT, Case
from tests.support.truss.replaying import replay, starting

pytestmark = pytest.mark.slow

THROUGH: Final = "/v1/models/tiny:predict"
DIFFERENT: Final = {
    "route-predict-short": "the platform's path is routed here as well",
    "route-metrics": "/metrics is this server's; the package's own stand after it, and at /metrics/",
    "stream-fails-first": "broken off, not ended as if complete",
    "stream-fails-later": "broken off, not ended as if complete",
}
"""Documented in docs/packages.md; each has a test of its own."""


def same(answers: Any) -> Any:
    """An answer without what differs from run to run, or is named by the path that was asked."""
    if isinstance(answers, list):
        return [same(answer) for answer in answers]
    if isinstance(answers, dict) and "answers" in answers:
        return same(answers["answers"])
    return answers


@pytest.mark.parametrize("case", [case for case in CASES if case.kind != "starting"], ids=lambda case: case.id)
def test_a_request_is_answered_as_the_truss_server_answers_it(case: Case, pods: Pods) -> None:
    """Through the name that the LlamaDeployment has."""
    if case.id in DIFFERENT:
        pytest.skip(DIFFERENT[case.id])
    found = same(replay(case, pods.of(case.package).url, THROUGH))
    assert json.loads(json.dumps(found).replace(THROUGH, PREDICT)) == json.loads(json.dumps(same(OBSERVED[case.id])))


@pytest.mark.parametrize("case", [case for case in CASES if case.kind == "starting"], ids=lambda case: case.id)
def test_a_package_that_does_not_serve_yet_is_answered_for_as_the_truss_server_answers(case: Case) -> None:
    """The words of its first second; where the truss server is gone after a load that failed, they stay."""
    with Pod(case.package) as pod:
        found = starting(pod.url, lambda: pod.startup()["ready"] or pod.startup()["error"] is not None)
        attempts = (pod.container.root / "app/tried.txt", 2) if case.package == "load_fails" else None
        if attempts is not None:
            assert len(attempts[0].read_text()) >= attempts[1]
    loaded = OBSERVED["starting-slow"]
    for name, answers in found.items():
        for answer in answers:
            answer["headers"].pop("retry-after", None)  # which says what truss does not: when to ask again
        serves = case.id == "starting-slow"
        assert answers == (loaded[name] if serves else loaded[name][:1]), name
