"""The words on the Lease: what is read where little is said, and what is written beside what others say."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llama_operator import names
from llama_operator.plan import activity
from llama_operator.plan.activity import Pods

NOW = datetime(2026, 11, 24, 8, 10, tzinfo=UTC)


def lease(**said: str) -> dict[str, Any]:
    """A Lease with these annotations."""
    notes = {getattr(names, f"ANNOTATION_{name.upper()}"): value for name, value in said.items()}
    return {"metadata": {"name": "a", "resourceVersion": "5", "annotations": notes}}


@pytest.mark.parametrize(
    ("said", "wanted", "pods", "seconds"),
    [
        ({}, True, Pods.AWAKE, None),
        ({"wanted": "false", "pods": "asleep", "startup": "41.5"}, False, Pods.ASLEEP, 41.5),
        ({"wanted": "nonsense", "pods": "nonsense", "startup": "nonsense"}, True, Pods.AWAKE, None),
        ({"pods": "stopped"}, True, Pods.STOPPED, None),
    ],
)
def test_where_nothing_is_said_the_model_runs(said: dict[str, str], wanted: bool, pods: Pods, seconds: Any) -> None:
    """Nonsense says nothing."""
    found = activity.read(lease(**said))
    assert (found.version, found.wanted, found.pods, found.startup_seconds) == ("5", wanted, pods, seconds)


def test_a_word_leaves_the_words_of_others() -> None:
    """And says when, and by whom."""
    found = activity.written(lease(pods="asleep"), wanted=True, by="gateway-1", now=NOW)
    assert activity.read(found).pods is Pods.ASLEEP
    assert activity.read(found).wanted
    assert found["spec"]["holderIdentity"] == "gateway-1"
    assert activity.age(found, NOW + timedelta(seconds=90)) == 90
    assert activity.age(lease(), NOW) == 0


@pytest.mark.parametrize(
    ("wanted", "pods", "answered"),
    [
        ("true", "awake", True),
        ("false", "asleep", True),
        ("false", "awake", False),
        ("true", "asleep", False),
        ("true", "stopped", True),
        ("false", "stopped", True),
    ],
)
def test_the_operator_is_woken_by_what_it_has_not_answered(wanted: str, pods: str, answered: bool) -> None:
    """Renewals come all the time, and change nothing for it."""
    assert activity.is_answered(lease(wanted=wanted, pods=pods)) is answered
