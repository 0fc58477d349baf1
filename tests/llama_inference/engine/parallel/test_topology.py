"""Which ranks there are, and how it is said that one has ended."""

import signal

import pytest

from llama_inference.engine.parallel.children import told
from llama_inference.engine.parallel.topology import Topology


def test_ranks_are_numbered_node_by_node() -> None:
    """The first of each node is its main process, and each has a GPU of its node."""
    second = Topology(nodes=3, per_node=2, node=1, address="leader", port=29500)
    assert (second.size, second.own, list(second.children)) == (6, 2, [3])
    assert [second.node_of(rank) for rank in range(6)] == [0, 0, 1, 1, 2, 2]
    assert [second.local(rank) for rank in range(6)] == [0, 1, 0, 1, 0, 1]


def test_one_rank_has_no_children() -> None:
    """It is the main process itself."""
    alone = Topology(per_node=1)
    assert (alone.size, list(alone.children)) == (1, [])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "ended with exit code 1"),
        (-signal.SIGKILL, "was ended by SIGKILL"),
        (-signal.SIGSEGV, "was ended by SIGSEGV"),
        (-200, "was ended by signal 200"),
    ],
)
def test_an_end_is_told_by_its_signal_or_code(code: int, words: str) -> None:
    """So that a log line says whether the kernel or the program did it."""
    assert told(code) == words
