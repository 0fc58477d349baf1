"""What holds for every backend, also for one that does not say much."""

from llama_inference.backends.base import kv_usage
from llama_inference.backends.mock import MockBackend
from llama_inference.values import KvUsage


class Keeping(MockBackend):
    """A backend that keeps keys and values."""

    kv_usage = KvUsage(used=256, total=1024)


def test_a_backend_that_keeps_keys_says_how_many() -> None:
    """What it says is passed on."""
    assert kv_usage(Keeping()) == KvUsage(used=256, total=1024)
    assert kv_usage(Keeping()).ratio == 0.25


def test_a_backend_that_does_not_say_uses_nothing_of_nothing() -> None:
    """So that a gauge of it is zero and divides by nothing."""
    assert kv_usage(MockBackend()) == KvUsage(used=0, total=0)
    assert kv_usage(MockBackend()).ratio == 0.0
