"""GPU-hours: what is held, what of it is idle, and that neither is lost, doubled or taken back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_operator.plan.cost import count, is_due
from llama_operator.plan.observed import Observed, Usage
from llama_operator.spec.cost import CostSpec
from llama_operator.spec.status import Cost
from tests.support.operator_objects import NOW, a_body, a_pod, observed, placed, report_on, stamp

FREE = CostSpec()
NEVER = Cost(as_of=stamp(NOW))


def holder(name: str = "llama-1", gpus: int = 2, *, age_minutes: float = 0) -> dict[str, Any]:
    """A pod that has held GPUs for so long."""
    pod = placed(a_pod(name, age_minutes=age_minutes))
    rows = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": pod["metadata"]["creationTimestamp"]}]
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}}
    spec = {"nodeName": "node-1", "containers": [{"name": "inference", "resources": limits}]}
    return {**pod, "spec": spec, "status": {**pod["status"], "conditions": rows}}


def after(minutes: float, *pods: dict[str, Any], busy: float | None = None, tokens: float = 0) -> Observed:
    """What is seen so much later, each pod telling the same of its work."""
    told = {} if busy is None else {pod["metadata"]["name"]: Usage(busy_seconds=busy, tokens=tokens) for pod in pods}
    return observed(*pods, usage=told, minutes=minutes)


def counted(previous: Cost | None, seen: Observed, spec: CostSpec = FREE) -> Cost:
    """The cost, which there is."""
    cost = count(previous, spec, seen)
    assert cost is not None
    return cost


def test_what_never_held_a_gpu_has_no_cost() -> None:
    """Neither a pod without a node, nor one on CPUs, nor one that has ended."""
    waits, ended = {**holder(), "spec": {**holder()["spec"], "nodeName": None}}, holder()
    ended["status"]["phase"] = "Failed"
    for pod in (waits, holder(gpus=0), ended):
        assert count(None, FREE, after(10, pod)) is None


def test_two_gpus_for_half_an_hour_are_one_hour() -> None:
    """From the moment the pod has its node: an operator that comes later counts what was before it."""
    cost = counted(None, after(30, holder()))
    assert (cost.gpu_hours_held, cost.gpu_hours_idle, cost.gpu_hours_busy) == (1.0, 1.0, 0.0)


def test_idle_is_what_was_held_without_a_request() -> None:
    """A server that worked for ten of thirty minutes was idle for twenty, on each of its GPUs."""
    cost = counted(None, after(30, holder(), busy=600))
    assert (cost.gpu_hours_held, cost.gpu_hours_busy) == (1.0, round(2 * 600 / 3600, 6))
    assert cost.gpu_hours_idle == round(1 - 2 * 600 / 3600, 6)


def test_the_gpus_of_a_sidecar_are_counted() -> None:
    """An engine beside the server holds them; what only runs before the server holds nothing for long."""
    pod = holder()
    (container,) = pod["spec"].pop("containers")
    beside, before = {**container, "restartPolicy": "Always"}, {**container, "name": "before"}
    pod["spec"] |= {"containers": [{"name": "server"}], "initContainers": [before, beside]}
    assert counted(None, after(30, pod)).gpu_hours_held == 1.0


def test_network_devices_are_no_gpus() -> None:
    """Pods over several nodes have both."""
    pod = holder()
    pod["spec"]["containers"][0]["resources"]["limits"] |= {
        "vpc.amazonaws.com/efa": "4",
        "rdma/hca_shared_devices_a": "1",
    }
    assert counted(None, after(30, pod)).gpu_hours_held == 1.0


def test_a_gpu_is_what_the_spec_calls_one() -> None:
    """Whatever its name; pods of an earlier spec are known by the names that vendors give."""
    named = a_body(resources={"gpu": {"count": 2, "resourceName": "acme.example/accelerator"}})
    pod = holder()
    pod["spec"]["containers"][0]["resources"]["limits"] = {"acme.example/accelerator": "2"}
    earlier = holder("llama-2")
    assert counted(None, replace(after(30, pod, earlier), body=named)).gpu_hours_held == 2.0


def test_between_steps_nothing_moves() -> None:
    """Within a minute the status is not written for this; a pod that comes or goes is counted at once."""
    first = counted(None, after(0, holder()))
    assert count(first, FREE, after(0.9, holder())) == first
    assert is_due(first, a_body(), NOW + timedelta(minutes=1), (holder(),))
    assert is_due(first, a_body(), NOW + timedelta(seconds=1), (holder(), holder("llama-2")))
    assert is_due(first, a_body(), NOW + timedelta(seconds=1), ())


def test_a_pod_that_went_is_counted_until_it_was_missed() -> None:
    """Its end is an event; an operator that was away for hours does not make them up."""
    first = counted(None, after(0, holder()))
    assert counted(first, after(0.5)).gpu_hours_held == round(2 * 30 / 3600, 6)
    assert counted(first, after(600)).gpu_hours_held == round(2 * 75 / 3600, 6)


def test_nothing_held_is_nothing_more_to_count() -> None:
    """What was counted stays as it is, for good."""
    last = counted(counted(None, after(0, holder())), after(1))
    assert count(last, FREE, after(600)) == last
    assert not is_due(last, a_body(), NOW + timedelta(days=1), ())


def test_a_counter_that_begins_anew_has_done_what_it_says() -> None:
    """A container that was restarted counts from nothing."""
    first = counted(None, after(10, holder(), busy=300, tokens=1000))
    second = counted(first, after(20, holder(), busy=60, tokens=10))
    assert second.gpu_hours_busy == round(2 * 360 / 3600, 6)
    assert second.generated_tokens == 1010


def test_a_price_makes_it_money() -> None:
    """Per hour held, and per million of the tokens that came of it; without tokens that is no number."""
    priced = CostSpec(price_per_gpu_hour=2.5)
    cost = counted(None, after(60, holder(), busy=60, tokens=4_000_000), priced)
    assert (cost.spent, cost.per_million_tokens) == (5.0, 1.25)
    assert counted(None, after(60, holder(), busy=0), priced).per_million_tokens is None
    assert counted(None, after(60, holder(), busy=60, tokens=1)).spent is None


def test_the_status_has_it_and_is_looked_at_each_minute() -> None:
    """Also where nothing else calls for a look."""
    found = report_on(replace(after(30, holder()), body=a_body(cost={"pricePerGpuHour": 2})))
    assert found.status["cost"]["gpuHoursHeld"] == 1.0
    assert found.status["cost"]["spent"] == 2.0
    assert found.requeue_after is not None
    assert found.requeue_after <= 60


@st.composite
def looks(draw: st.DrawFn) -> list[Observed]:
    """Looks at pods that come, go, restart, work, or do not answer, at whatever distance."""
    at, found = 0.0, list[Observed]()
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.floats(0, 30))
        pods = [holder(f"llama-{number}", gpus=number + 1) for number in draw(st.sets(st.integers(0, 3)))]
        seconds, tokens = st.floats(0, 5000), st.integers(0, 10**6)
        told = {
            pod["metadata"]["name"]: Usage(busy_seconds=draw(seconds), tokens=draw(tokens))
            for pod in pods
            if draw(st.booleans())
        }
        found.append(observed(*pods, usage=told, minutes=at))
    return found


@settings(deadline=None)
@given(looks())
def test_it_only_ever_grows_and_idle_is_part_of_held(seen: list[Observed]) -> None:
    """Whatever pods do and however often the operator is started anew in between."""
    cost = NEVER
    for look in seen:
        # As it comes back from the API server.
        known = Cost.model_validate(cost.model_dump(mode="json", by_alias=True))
        cost = counted(known, look)
        assert cost.gpu_hours_held >= known.gpu_hours_held
        assert cost.gpu_hours_idle >= known.gpu_hours_idle
        assert cost.gpu_hours_busy >= known.gpu_hours_busy
        assert cost.generated_tokens >= known.generated_tokens
        assert cost.gpu_hours_idle <= cost.gpu_hours_held


@settings(deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=20))
def test_however_often_one_looks_the_hours_are_the_same(minutes: list[int]) -> None:
    """Many small steps add up to one large one."""
    cost, at = NEVER, 0
    for step in minutes:
        at += step
        cost = counted(cost, after(at, holder()))
    assert abs(cost.gpu_hours_held - 2 * at / 60) < 1e-4
