"""The supervisor's report, read: values, and the sentence of a failure."""

import json

import pytest

from llama_inference.errors import LoadReason
from llama_inference.package.report import ADVICE, REASONS, State, parse

FAILED = {
    "state": "failed",
    "hash": "abc",
    "attempt": 2,
    "failure": {"kind": "load", "type": "ValueError", "message": "no", "file": "model/model.py", "line": 3},
    "retry_at": 5.0,
}


def test_a_failure_is_a_sentence_with_its_place_and_what_to_do() -> None:
    """Exception, message, file and line."""
    report = parse(json.dumps(FAILED))
    assert (report.state, report.attempt, report.retry_at) == (State.FAILED, 2, 5.0)
    assert report.failure is not None
    advice = ADVICE[LoadReason.PACKAGE_LOAD_FAILED]
    assert report.failure.sentence == f"ValueError: no (model/model.py, line 3): {advice}"


def test_a_message_without_end_is_cut() -> None:
    """A status has room for a sentence."""
    told = {**FAILED, "failure": {**FAILED["failure"], "message": "x" * 10_000}}  # pyright: ignore[reportGeneralTypeIssues]
    failure = parse(json.dumps(told)).failure
    assert failure is not None
    assert len(failure.message) == 500


def test_the_number_at_once_is_the_packages_own() -> None:
    """Truss's default where config.yaml does not say; unknown before it has been read."""
    assert parse('{"state": "starting"}').concurrency is None
    assert parse('{"state": "loading", "runtime": {"predict_concurrency": 8}}').concurrency == 8
    assert parse('{"state": "loading", "runtime": {"streaming_read_timeout": 60}}').concurrency == 1


def test_every_reason_says_what_to_do() -> None:
    """A condition without a fix is half of one."""
    assert set(ADVICE) == set(REASONS.values())


@pytest.mark.parametrize("text", ["", "[]", '{"state": "asleep"}', "{}"])
def test_what_is_no_report_is_refused(text: str) -> None:
    """As one error or another that its reader knows."""
    with pytest.raises((ValueError, KeyError)):
        parse(text)
