"""What the server says of itself: `/healthz`, `/readyz`, `/startupz` and `/info`, for the OpenAPI page."""

from typing import Literal

from pydantic import BaseModel, Field

from llama_inference.values import Json


class Health(BaseModel):
    """Whether the process is worth keeping."""

    live: bool
    phase: str
    reason: str | None = Field(description="Why the engine is lost.")


class Readiness(BaseModel):
    """Whether predict would be answered."""

    ready: bool
    phase: str


class StageReport(BaseModel):
    """One stage of the start-up; what is not known is left out."""

    name: str
    state: Literal["pending", "running", "done", "failed"]
    started: str | None = None
    seconds: float | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    bytes_per_second: float | None = None
    eta_seconds: float | None = None
    idle_seconds: float | None = None


class StartupFault(BaseModel):
    """Why the running stage failed; `retry_in_seconds` is null where it is not tried again."""

    reason: str
    message: str
    attempt: int
    retry_in_seconds: float | None


class StartupReport(BaseModel):
    """How far the start-up is."""

    stage: str
    ready: bool
    model: str
    revision: str
    commit: str | None
    stages: list[StageReport]
    error: StartupFault | None


class Info(BaseModel):
    """What is served, and within which bounds; the model's facts are null until it is loaded."""

    name: str
    model: str
    revision: str | None
    phase: str
    max_context: int | None
    dtype: str | None
    device: str | None
    batch_invariant: bool | None = Field(description="Whether a seed repeats whatever else is computed, bit for bit.")
    chat_template: bool | None
    defaults: dict[str, Json]
    maximums: dict[str, float]
