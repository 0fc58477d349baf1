"""The error tree: each class is an exit code, each message says what is wrong, each fix what to do."""

from collections.abc import Mapping
from typing import Any, Final

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


class CliError(Exception):
    """Something that was asked for cannot be done; as such: it was tried and has failed."""

    exit_code = 1
    code = "Failed"

    def __init__(self, message: str, *, fix: str = "", field: str = "", code: str = "") -> None:
        """Keep what to do in `fix`, the flag or the field of the spec in `field`, and one word in `code`.

        `told` is set where standard output holds it already.
        """
        super().__init__(message)
        self.fix = fix
        self.field = field
        self.code = code or self.code
        self.told = False

    def as_json(self) -> Mapping[str, Any]:
        """Return it as `-o json` prints it."""
        return {
            "error": {"code": self.code, "message": str(self), "field": self.field or None, "fix": self.fix or None}
        }


class UsageError(CliError):
    """The command line does not say what to do."""

    exit_code = 2
    code = "Usage"


class NotFoundError(CliError):
    """What it names is not there."""

    exit_code = 3
    code = "NotFound"


class RefusedError(CliError):
    """Nothing was created: the spec, the package or the cluster does not allow it."""

    exit_code = 4
    code = "Refused"


class AnswerError(CliError):
    """The model answered with an error, or its stream broke."""

    exit_code = 5
    code = "ModelError"


class TimedOutError(CliError):
    """It took too long for whoever asked; it goes on."""

    exit_code = 6
    code = "TimedOut"


class ClusterError(CliError):
    """There is no cluster, or no right to do this in it."""

    exit_code = 7
    code = "NoCluster"
