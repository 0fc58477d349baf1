"""Logs: one record a line, with the LlamaDeployment that it is about."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from llama_operator.handlers.logs import JsonFormatter, TextFormatter, about, configure


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("llama_operator")
    before = (root.handlers[:], root.level, ours.level)
    yield root
    root.handlers[:], root.level, ours.level = before
    logging.captureWarnings(capture=False)


@pytest.fixture
def key() -> Iterator[str]:
    """The LlamaDeployment that is worked on."""
    token = about.set("models/llama")
    yield "models/llama"
    about.reset(token)


def a_record(message: str = "applied %s", **extra: Any) -> logging.LogRecord:
    """A record of ours."""
    fields = {"name": "llama_operator.x", "levelname": "INFO", "levelno": logging.INFO, "created": 0.0}
    return logging.makeLogRecord({**fields, "msg": message, "args": ("Service",), **extra})


def test_a_json_line_has_what_a_search_needs(key: str) -> None:
    """Time, level, logger, message, key, and extra fields; kopf's objects stay out."""
    assert json.loads(JsonFormatter().format(a_record(pod="a", k8s_ref={"uid": "x"}, settings=object()))) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "llama_operator.x",
        "message": "applied Service",
        "key": key,
        "pod": "a",
    }


def test_a_traceback_stays_on_the_line() -> None:
    """What collects logs reads them line by line."""
    error = ValueError("wrong\nwords")
    line = JsonFormatter().format(a_record(exc_info=(ValueError, error, None)))
    assert "\n" not in line
    assert "ValueError: wrong" in json.loads(line)["traceback"]
    assert "key" not in json.loads(line)


def test_text_is_for_people(key: str) -> None:
    """The same, to be read."""
    assert TextFormatter().format(a_record()) == (
        "1970-01-01T00:00:00.000+00:00 info    [models/llama] applied Service"
    )


def test_libraries_speak_from_warnings_on(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """Our own level is the setting's; everything goes to standard error."""
    configure("debug", "json")
    logging.getLogger("llama_operator.x").debug("ours")
    logging.getLogger("kopf.x").info("theirs")
    logging.getLogger("kopf.x").warning("their warning")
    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line)["message"] for line in err.splitlines()] == ["ours", "their warning"]
