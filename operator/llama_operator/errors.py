"""The error tree: each class says who acts, each message says what to do."""


class LlamaOperatorError(Exception):
    """Base of every error this operator raises on purpose."""


class SpecError(LlamaOperatorError):
    """The resource cannot be served as written: shown in status, not retried until it changes."""

    def __init__(self, field: str, message: str) -> None:
        """Keep the path of the offending `field`, such as `spec.engine.name`, beside the message."""
        super().__init__(f"{field}: {message}")
        self.field = field


class PackageError(SpecError):
    """The package that a resource names cannot be served: shown in status, looked at again, for it may change."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        """Keep the reason, one of `status.reason.Reason`."""
        super().__init__(field, message)
        self.reason = reason


class ClusterError(LlamaOperatorError):
    """The API server refused or failed: retried with backoff."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """Keep the HTTP `status` of the answer; None when there was no answer."""
        super().__init__(message)
        self.status = status


class NamespaceTerminatingError(ClusterError):
    """The namespace is being deleted and takes nothing new: what is in it goes with it, there is nothing to do."""


class LeadershipLostError(LlamaOperatorError):
    """Another replica holds the Lease: this process must exit and start over."""


class PortError(LlamaOperatorError):
    """The port of the probes cannot be had: the process cannot start."""
