"""The state of the server itself, loading to lost, and what each phase means for a probe and a caller."""

from enum import StrEnum

from llama_inference.errors import UnavailableError

RESTART_S = 10.0  # until a fresh process begins to load


class Phase(StrEnum):
    """What the server is about."""

    LOADING = "loading"
    SERVING = "serving"
    LEAVING = "leaving"
    DRAINING = "draining"
    LOST = "lost"


class Lifecycle:
    """Moves one way: loading → serving → leaving → draining, and from anywhere to lost.

    Only a server behind this one may take it back from serving to loading: it begins again by itself.
    """

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        self.reason = ""
        self.restart_s = RESTART_S  # until another process answers; more once it is known how long loading takes

    def serving(self) -> None:
        """The model answers; a server that drains already goes on draining."""
        if self.phase is Phase.LOADING:
            self.phase = Phase.SERVING

    def loading(self) -> None:
        """What serves begins again."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.LOADING

    def leaving(self) -> None:
        """SIGTERM came: not ready, but requests are taken while routing has yet to notice."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.LEAVING

    def draining(self) -> None:
        """No new requests."""
        if self.phase is not Phase.LOST:
            self.phase = Phase.DRAINING

    def lost(self, reason: str) -> None:
        """The engine is gone; the first reason is kept."""
        if self.phase is not Phase.LOST:
            self.phase, self.reason = Phase.LOST, reason

    @property
    def live(self) -> bool:
        """Whether the process is worth keeping."""
        return self.phase is not Phase.LOST

    @property
    def ready(self) -> bool:
        """Whether predict would be answered."""
        return self.phase is Phase.SERVING

    def check(self, loading: UnavailableError) -> None:
        """Raise why a request cannot be taken now; `loading` is what a loading server says.

        Raises:
            UnavailableError: in every phase but serving and leaving.
        """
        match self.phase:
            case Phase.SERVING | Phase.LEAVING:
                return
            case Phase.LOADING:
                raise loading
            case Phase.DRAINING:
                message = "this replica is shutting down: try again, another one answers"
                raise UnavailableError(message, code="draining", retry_after=1)
            case Phase.LOST:
                raise engine_lost(self.restart_s)


def engine_lost(restart_s: float = RESTART_S) -> UnavailableError:
    """What a caller hears of a lost engine, whether its request ran or comes only now; the reason is for operators."""
    message = "this replica's engine is lost and restarts: try again; GET /healthz says why"
    return UnavailableError(message, code="engine_lost", retry_after=restart_s)
