"""What the supervisor of a package reports, pure: its file's text → values, and the words for what went wrong.

The file is written by `llama_package.supervisor`, in the package's container.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from llama_inference.errors import LoadReason
from llama_inference.values import Json

DEFAULT_CONCURRENCY: Final = 1  # truss's own, where config.yaml says nothing
REASONS: Final[Mapping[str, LoadReason]] = {
    "import": LoadReason.PACKAGE_IMPORT_FAILED,
    "signature": LoadReason.PACKAGE_SIGNATURE_INVALID,
    "secret": LoadReason.PACKAGE_SECRET_MISSING,
    "load": LoadReason.PACKAGE_LOAD_FAILED,
}
ADVICE: Final[Mapping[LoadReason, str]] = {
    LoadReason.PACKAGE_IMPORT_FAILED: "add what is missing to requirements or packages/, or mend the file; push again",
    LoadReason.PACKAGE_SIGNATURE_INVALID: "mend the class as truss wants it, and push again",
    LoadReason.PACKAGE_SECRET_MISSING: "declare it under secrets: in config.yaml, and give its Secret a value",
    LoadReason.PACKAGE_LOAD_FAILED: "the package container's log has the traceback",
}


class State(StrEnum):
    """What the package's server is about."""

    STARTING = "starting"
    LOADING = "loading"
    SERVING = "serving"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a package does not serve: an exception with file and line, as far as they are known."""

    reason: LoadReason
    type: str
    message: str
    file: str | None = None
    line: int | None = None

    @property
    def sentence(self) -> str:
        """The exception, where it was raised, and what to do."""
        where = (
            f" ({self.file}, line {self.line})" if self.file and self.line else f" ({self.file})" if self.file else ""
        )
        message = f": {self.message}" if self.message else ""
        return f"{self.type}{message}{where}: {ADVICE[self.reason]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a package fares.

    Attributes:
        hash: names the code that runs; another one after a live reload.
        attempt: how often it has been started in vain, and once more.
        retry_at: when it is started again, seconds since the epoch; None: not by itself.
        healthy: what the model's own `is_healthy` says; true without one.
        concurrency: `runtime.predict_concurrency`.
    """

    state: State = State.STARTING
    hash: str = ""
    attempt: int = 1
    healthy: bool = True
    concurrency: int | None = None
    failure: Failure | None = None
    retry_at: float | None = None


def parse(text: str) -> Report:
    """Read a report.

    Raises:
        ValueError: it is none.
    """
    told = json.loads(text)
    if not isinstance(told, dict):
        raise ValueError("a report is an object")  # noqa: TRY004 - as of any other text that is none
    runtime: Mapping[str, Json] = told.get("runtime") or {}
    return Report(
        state=State(told["state"]),
        hash=str(told.get("hash", "")),
        attempt=int(told.get("attempt", 1)),
        healthy=bool(told.get("healthy", True)),
        concurrency=int(runtime.get("predict_concurrency") or DEFAULT_CONCURRENCY) if runtime else None,
        failure=_failure(told.get("failure")),
        retry_at=told.get("retry_at"),
    )


def _failure(told: Json) -> Failure | None:
    if told is None:
        return None
    reason = REASONS.get(told.get("kind"), LoadReason.PACKAGE_LOAD_FAILED)
    message = str(told.get("message") or "")
    if reason is LoadReason.PACKAGE_SECRET_MISSING:
        message = message.partition(". ")[0]  # what truss advises beyond that is for its own platform
    return Failure(
        reason=reason,
        type=str(told.get("type") or "Error"),
        message=_bounded(message),
        file=told.get("file"),
        line=told.get("line"),
    )


def _bounded(text: str, most: int = 500) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
