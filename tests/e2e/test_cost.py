"""What a GPU has cost, and for how many tokens: in the status, and as metrics of the operator."""

from datetime import datetime
from typing import Any, Final

import pytest

from tests.e2e.test_lifecycle import available, selector
from tests.support import stack
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.operator_metrics import value
from tests.support.served import small_llama

pytestmark = pytest.mark.cluster
NAME: Final = "llama"
PRICE: Final = 1000.0
CALLS: Final = 4
ROUNDED: Final = 1e-5
"""Hours have six places; each step of the count is rounded."""


def cost(space: Namespace) -> dict[str, Any]:
    """What the status says of the cost; empty before there is any."""
    return (space.there(LLAMA, NAME).get("status") or {}).get("cost") or {}


def held_since_placed(space: Namespace, as_of: str) -> float:
    """Hours from when the only pod got its node."""
    (pod,) = space.list("pods", selector())
    (placed,) = [row for row in pod["status"]["conditions"] if row["type"] == "PodScheduled"]
    start = datetime.fromisoformat(placed["lastTransitionTime"])
    return (datetime.fromisoformat(as_of) - start).total_seconds() / 3600


def agree(space: Namespace) -> bool:
    """Whether the operator's metrics say of this LlamaDeployment what its status says."""
    told, text = cost(space), stack.operator_metrics()
    wanted = {
        "llama_operator_gpu_held_seconds_total": told["gpuHoursHeld"] * 3600,
        "llama_operator_gpu_idle_seconds_total": told["gpuHoursIdle"] * 3600,
        "llama_operator_generated_tokens_total": told["generatedTokens"],
    }
    return {name: value(text, name, namespace=space.name, name=NAME) for name in wanted} == pytest.approx(wanted)


def check(told: dict[str, Any]) -> None:
    """The numbers of a status belong to each other, and to the price."""
    assert 0 <= told["gpuHoursIdle"] <= told["gpuHoursHeld"]
    assert told["gpuHoursBusy"] + told["gpuHoursIdle"] == pytest.approx(told["gpuHoursHeld"], abs=ROUNDED)
    assert told["spent"] == pytest.approx(told["gpuHoursHeld"] * PRICE)
    assert told["perMillionTokens"] == pytest.approx(told["spent"] / told["generatedTokens"] * 1e6)


def test_a_gpu_that_has_served_tells_its_hours_its_tokens_and_what_they_cost(space: Namespace) -> None:
    """Counted from the node on, by what the pod's server tells; once there are no pods, nothing is added."""
    space.apply(small_llama(NAME, cost={"pricePerGpuHour": PRICE}))
    server = available(space)
    called = {"prompt": "Hello", "max_new_tokens": 16, "num_beams": 1}
    written = sum(server.predict(called).body["usage"]["completion_tokens"] for _ in range(CALLS))
    assert written > 0

    def counted() -> dict[str, Any] | None:
        told = cost(space)
        return told if told.get("generatedTokens") == written else None

    told = eventually("all tokens are counted", counted, seconds=120, shows=lambda: cost(space))
    check(told)
    assert told["gpuHoursHeld"] == pytest.approx(held_since_placed(space, told["asOf"]), abs=ROUNDED)
    (holder,) = told["holders"]
    (pod,) = space.list("pods", selector())
    assert (holder["name"], holder["gpus"], holder["tokens"]) == (pod["metadata"]["name"], 1, written)
    assert holder["busySeconds"] > 0
    eventually("the metrics say the same", lambda: agree(space), shows=lambda: (cost(space), stack.operator_metrics()))

    space.run("scale", LLAMA, NAME, "--replicas=0")
    eventually("nothing holds a GPU", lambda: not cost(space)["holders"], seconds=120, shows=lambda: cost(space))
    last = cost(space)
    check(last)
    assert last["gpuHoursHeld"] >= told["gpuHoursHeld"]
    assert last["generatedTokens"] == written
    eventually("the metrics say the same", lambda: agree(space), shows=lambda: (cost(space), stack.operator_metrics()))
