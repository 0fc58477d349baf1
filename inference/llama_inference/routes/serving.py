"""What the routes share: the parts of a running server, handed to each router by `app`."""

from dataclasses import dataclass, field

from llama_inference.backends.base import Backend
from llama_inference.engine.progress import Progress
from llama_inference.errors import UnavailableError
from llama_inference.protocol.limits import Limits
from llama_inference.routes.preparing import Preparing
from llama_inference.scheduler.lane import Lane
from llama_inference.scheduler.lifecycle import Lifecycle
from llama_inference.values import Json

UNKNOWN_ETA_S = 30


@dataclass(slots=True, kw_only=True)
class Serving:
    """The parts of one server. `backend` is None until the model is loaded."""

    name: str
    source: str
    lifecycle: Lifecycle
    progress: Progress
    limits: Limits
    lane: Lane
    backend: Backend | None = None
    preparing: Preparing = field(default_factory=Preparing)

    @property
    def live(self) -> bool:
        """Whether the process is worth keeping."""
        return self.lifecycle.live

    def open(self) -> Backend:
        """Return the backend that answers requests now.

        Raises:
            UnavailableError: loading (with stage, bytes and time left), draining, or the engine is lost.
        """
        self.lifecycle.check(loading(self.progress))
        if self.backend is None:
            raise loading(self.progress)
        return self.backend


def loading(progress: Progress) -> UnavailableError:
    """What a server that still loads says: the stage, how far, and how long."""
    report = progress.report()
    stage: dict[str, Json] = next(row for row in report["stages"] if row["name"] == report["stage"])
    message = f"the model is not ready yet: stage {report['stage']}"
    if "bytes_total" in stage:
        message += f", {stage['bytes_done']} of {stage['bytes_total']} bytes"
    eta = progress.eta_seconds()
    if eta is not None:
        message += f", about {eta:.0f} s left"
    if report["error"] is not None:
        message += f"; {report['error']['message']}"
    return UnavailableError(message, code="loading", retry_after=UNKNOWN_ETA_S if eta is None else max(1.0, eta))
