"""What a person is shown, and when the node is ready."""

from typing import Any

import pytest

from devcluster import status
from devcluster.addons import node_problem
from devcluster.layout import GPU_COUNT
from devcluster.status import Row


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (60, "1m"), (3 * 3600 + 300, "3h05m"), (2 * 86400 + 3600, "2d1h")]
)
def test_time_is_written_as_people_read_it(seconds: float, text: str) -> None:
    """With the two largest units."""
    assert status.duration(seconds) == text


def test_the_table_lines_up_and_shows_what_is_wrong() -> None:
    """A process that does not run has no id."""
    rows = [
        Row("etcd", 7, healthy=True, since="3m", problem=""),
        Row("kubelet", None, healthy=False, since="", problem="not running"),
    ]
    assert status.table(rows).splitlines() == [
        "PROCESS  PID  HEALTHY  SINCE",
        "etcd     7    yes      3m",
        "kubelet  -    no       -      not running",
    ]


def a_node(*, ready: str = "True", taints: tuple[str, ...] = (), gpus: str = str(GPU_COUNT)) -> dict[str, Any]:
    """A node as the API server shows it."""
    return {
        "spec": {"taints": [{"key": key} for key in taints]},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "cni is not ready"}],
            "allocatable": {"nvidia.com/gpu": gpus},
        },
    }


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (None, "has not registered"),
        (a_node(ready="False"), "cni is not ready"),
        (a_node(taints=("node.kubernetes.io/not-ready",)), "taint"),
        (a_node(gpus="0"), f"offers 0 nvidia.com/gpu instead of {GPU_COUNT}"),
        ({"spec": {}, "status": {}}, "not reported yet"),
    ],
)
def test_a_node_that_cannot_run_pods_yet_says_why(node: dict[str, Any] | None, problem: str) -> None:
    """The sentence names what is still missing."""
    assert problem in (node_problem(node) or "")


def test_a_node_with_its_gpus_is_ready() -> None:
    """Nothing is missing."""
    assert node_problem(a_node()) is None
