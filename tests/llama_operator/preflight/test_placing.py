"""The scheduler's rules about nodes, row by row."""

from typing import Any

import pytest

from llama_operator.preflight.placing import selected, untolerated
from tests.support.survey_objects import a_node

NODE = a_node("node-1", labels={"zone": "a", "cores": "64"})
TAINT = {"key": "team", "value": "ml", "effect": "NoSchedule"}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    """A pod spec with a required node affinity."""
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": rule}}


def row(key: str, operator: str, *values: str) -> dict[str, Any]:
    """One expression."""
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (row("zone", "In", "a", "b"), True),
        (row("zone", "In", "b"), False),
        (row("zone", "NotIn", "b"), True),
        (row("rack", "NotIn", "b"), True),
        (row("zone", "NotIn", "a"), False),
        (row("zone", "Exists"), True),
        (row("rack", "Exists"), False),
        (row("rack", "DoesNotExist"), True),
        (row("zone", "DoesNotExist"), False),
        (row("cores", "Gt", "63"), True),
        (row("cores", "Gt", "64"), False),
        (row("cores", "Lt", "65"), True),
        (row("zone", "Gt", "1"), False),
        (row("rack", "Lt", "1"), False),
        (row("zone", "Resembles", "a"), False),
    ],
)
def test_each_operator_means_what_kubernetes_says(expression: dict[str, Any], expected: bool) -> None:
    """A label that is missing is in no list and outside each."""
    assert selected(required({"matchExpressions": [expression]}), NODE) is expected


def test_terms_are_alternatives_and_expressions_hold_together() -> None:
    """One term that holds is enough; an empty one selects nothing."""
    holds, fails = row("zone", "In", "a"), row("zone", "In", "b")
    assert selected(required({"matchExpressions": [fails]}, {"matchExpressions": [holds]}), NODE)
    assert not selected(required({"matchExpressions": [holds, fails]}), NODE)
    assert not selected(required({}), NODE)
    assert selected(required({"matchFields": [row("metadata.name", "In", "node-1")]}), NODE)
    assert not selected(required({"matchFields": [row("metadata.name", "In", "node-2")]}), NODE)


def test_a_selector_and_a_name_hold_besides() -> None:
    """All three are demands."""
    assert selected({}, NODE)
    assert selected({"nodeSelector": {"zone": "a"}, "nodeName": "node-1"}, NODE)
    assert not selected({"nodeSelector": {"zone": "b"}}, NODE)
    assert not selected({"nodeName": "node-2"}, NODE)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "ml"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "value": "web"}, False),
        ({"key": "crew", "operator": "Exists"}, False),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({}, False),
    ],
)
def test_a_toleration_lets_in_what_it_names(toleration: dict[str, str], tolerated: bool) -> None:
    """By key, value and effect; what it leaves out is any, but for the value."""
    node = a_node(taints=(TAINT,))
    assert (list(untolerated({"tolerations": [toleration]}, node)) == []) is tolerated


def test_a_preference_keeps_nobody_out() -> None:
    """PreferNoSchedule is a wish."""
    assert list(untolerated({}, a_node(taints=({**TAINT, "effect": "PreferNoSchedule"},)))) == []
