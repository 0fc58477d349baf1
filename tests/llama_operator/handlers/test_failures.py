"""Why a look failed, in one word."""

import pytest

from llama_operator.errors import ClusterError
from llama_operator.handlers.failures import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClusterError("changed", status=409), "conflict"),
        (ClusterError("no", status=403), "forbidden"),
        (ClusterError("who?", status=401), "forbidden"),
        (ClusterError("slower", status=429), "throttled"),
        (ClusterError("etcd", status=500), "server_error"),
        (ClusterError("bad value", status=422), "refused"),
        (ClusterError("no answer"), "unreachable"),
        (TimeoutError(), "timeout"),
        (KeyError("x"), "bug"),
    ],
)
def test_each_failure_has_its_reason(error: Exception, reason: str) -> None:
    """A dashboard tells a busy API server from a fault of ours."""
    assert reason_of(error) == reason
