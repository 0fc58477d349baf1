"""Logs: one record a line, JSON or text, with the LlamaDeployment that it is about."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal

about: ContextVar[str | None] = ContextVar("about", default=None)
"""The LlamaDeployment that the present task works on, as namespace/name."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_KOPF_NOISE: Final = frozenset({"k8s_skip", "k8s_ref", "settings"})


class JsonFormatter(logging.Formatter):
    """Writes a record, its `extra` fields and its traceback as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (key := about.get()) is not None:
            line["key"] = key
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD | _KOPF_NOISE}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Writes a record for people to read."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        key = about.get()
        text = f"{_time(record)} {record.levelname.lower():7} {f'[{key}] ' if key else ''}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def configure(level: str, style: Literal["json", "text"]) -> None:
    """Send every record and every Python warning to standard error; libraries from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("llama_operator").setLevel(level.upper())
    logging.captureWarnings(capture=True)
