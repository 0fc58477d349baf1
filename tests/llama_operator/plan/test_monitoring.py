"""The ServiceMonitor: where the kind is known it reads the pods' metrics; where not, that is said and nothing else."""

from typing import Any

from llama_operator import names
from llama_operator.plan.observed import Observed
from tests.support.operator_objects import (
    KEY,
    a_body,
    a_pod,
    answers,
    applied,
    condition,
    desired,
    later,
    observed,
    plan,
    ready,
    report_on,
    rolled_out,
)

KNOWN = frozenset({"ServiceMonitor"})
WANTED: Any = {"serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}}}


def serving(kinds: frozenset[str]) -> Observed:
    """A deployment that serves, with a ServiceMonitor asked for."""
    body = a_body(monitoring=WANTED)
    children = [obj for obj in rolled_out(body=body) if obj["kind"] != "ServiceMonitor"]
    return observed(ready(a_pod()), body=body, children=children, kinds=kinds)


def test_it_reads_the_metrics_of_the_predict_service() -> None:
    """By its labels and the name of its port; a Prometheus finds it by the labels that were asked for."""
    monitor = desired("ServiceMonitor", serving(KNOWN))
    service = desired("Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("http", "/metrics", "10s")
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert monitor["metadata"]["labels"] == {"release": "prometheus", **names.child_labels(KEY.name)}


def test_where_the_kind_is_known_it_is_made_and_unmade() -> None:
    """Asked for no more, it goes."""
    assert [obj["kind"] for obj in plan(serving(KNOWN)).apply] == ["ServiceMonitor"]
    kept = observed(children=applied(a_body(monitoring=WANTED)), kinds=KNOWN)
    assert [ref.kind for ref in plan(kept).prune] == ["ServiceMonitor"]


def test_where_the_kind_is_unknown_that_is_said_and_serving_goes_on() -> None:
    """Only Degraded tells, with what to install; one event; it is looked for again."""
    seen = serving(frozenset())
    assert plan(seen).apply == ()
    found = report_on(seen)
    told = {kind: answer for kind, answer in answers(found).items() if kind in ("Accepted", "Available", "Degraded")}
    assert told == {"Accepted": "True SpecValid", "Available": "True Serving", "Degraded": "True KindNotInstalled"}
    assert "install the Prometheus Operator" in condition(found, "Degraded")["message"]
    assert found.status["phase"] == "Degraded"
    assert [event.reason for event in found.events if event.type == "Warning"] == ["KindNotInstalled"]
    assert report_on(later(seen, found.status)).events == ()
    assert found.requeue_after == 15


def test_once_the_kind_is_there_all_is_well() -> None:
    """It is made, and Degraded says so."""
    before = report_on(serving(frozenset()))
    after = report_on(later(serving(KNOWN), before.status))
    assert answers(after)["Degraded"] == "False AllWell"
