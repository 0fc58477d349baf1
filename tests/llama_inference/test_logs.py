"""Logs: one JSON object a line."""

import json
import logging
import sys

import pytest

from llama_inference.logs import JsonFormatter, request_id


def line(record: logging.LogRecord) -> dict[str, object]:
    """What is written for a record."""
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_record_is_one_line_with_its_fields() -> None:
    """Those of `extra` beside the usual ones."""
    record = logging.makeLogRecord({"name": "a.b", "levelname": "INFO", "msg": "said %s", "args": ("it",), "bytes": 7})
    found = line(record)
    assert (found["level"], found["logger"], found["message"], found["bytes"]) == ("info", "a.b", "said it", 7)
    assert str(found["time"]).endswith("+00:00")


def test_a_record_carries_the_requests_id() -> None:
    """Within a request, and only there."""
    token = request_id.set("abc")
    try:
        assert line(logging.makeLogRecord({}))["request_id"] == "abc"
    finally:
        request_id.reset(token)
    assert "request_id" not in line(logging.makeLogRecord({}))


def test_a_traceback_stays_within_its_line() -> None:
    """It is a field of its own."""
    try:
        json.loads("\n")
    except ValueError:
        found = line(logging.makeLogRecord({"exc_info": sys.exc_info()}))
        assert "JSONDecodeError: Expecting value: line 2" in str(found["traceback"])
    else:
        pytest.fail("there is no fault to log")
