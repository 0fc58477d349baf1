"""A model that sleeps while nobody asks, and wakes for whoever does: nobody is lost, nobody is served twice."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llama_operator import names
from tests.e2e.test_rotation import FIRST, SECOND, SOON, api_keys
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.predict import Answer, Server
from tests.support.served import small_llama

pytestmark = pytest.mark.cluster
NAME = "llama"
SHORT = {"prompt": "Hello", "max_new_tokens": 12, "num_beams": 1}
CALLERS = 200


def sleepy(**scaling: Any) -> dict[str, Any]:
    """A LlamaDeployment that sleeps after a few seconds."""
    return small_llama(NAME, scaling={"minReplicas": 0, "idleSeconds": 6, **scaling})


def service(space: Namespace, name: str, port: int = 80) -> Server:
    """A Service."""
    return Server(space.there("service", name)["spec"]["clusterIP"], port)


def asleep(space: Namespace) -> None:
    """Wait until it sleeps, and no pod is left."""
    space.condition(NAME, "Available", "False Asleep", seconds=120)
    selector = ",".join(f"{key}={value}" for key, value in names.pod_selector(NAME).items())
    eventually("no pods", lambda: not space.list("pods", selector), seconds=60)


def counted(space: Namespace, name: str, **labels: str) -> float:
    """A metric of all of the gateway's pods together."""
    selector = ",".join(f"{key}={value}" for key, value in names.gateway_selector(NAME).items())
    pods = (pod for pod in space.list("pods", selector) if "deletionTimestamp" not in pod["metadata"])
    return sum(Server(pod["status"]["podIP"], 8081).metric(name, **labels) for pod in pods)


@pytest.mark.parametrize("gateways", [1, 2])
def test_a_sleeping_model_wakes_once_for_two_hundred_callers(space: Namespace, gateways: int) -> None:
    """At the same address as ever, by whichever gateway; each is answered, the server was asked once for each."""
    space.apply(sleepy(holdSeconds=120, gatewayReplicas=gateways))
    eventually("all gateways answer", lambda: _answering(space) == gateways, seconds=120)
    space.condition(NAME, "Available", "True Serving", seconds=180)
    callers = service(space, NAME)
    asleep(space)
    assert space.there(LLAMA, NAME)["spec"]["replicas"] == 1
    assert space.there(LLAMA, NAME)["status"]["phase"] == "Asleep"
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(callers.predict, [SHORT] * CALLERS))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["id"] for answer in answers}) == CALLERS
    pods = service(space, names.pods_service(NAME))
    assert pods.metric("llama_inference_http_requests_total", route="/predict") == CALLERS
    assert counted(space, "llama_gateway_wakes_total") == 1
    assert counted(space, "llama_gateway_requests_total", outcome="forwarded") == CALLERS
    space.condition(NAME, "Available", "True Serving")


def test_a_caller_that_may_not_wait_is_told_when_to_come_again(space: Namespace) -> None:
    """As long as the last start took; the call has woken the model, and the next one is answered."""
    space.apply(sleepy(holdSeconds=1))
    space.condition(NAME, "Available", "True Serving", seconds=180)
    took = eventually(
        "the start was measured", lambda: space.there(LLAMA, NAME)["status"].get("startup", {}).get("seconds")
    )
    callers = service(space, NAME)
    asleep(space)
    early = callers.predict(SHORT)
    assert (early.status, early.body["error"]["code"]) == (503, "model_starting")
    assert took - 3 <= int(early.headers["retry-after"]) <= math.ceil(took)
    answer = eventually("it is answered", lambda: _ok(callers), seconds=120)
    assert len(answer.body["data"]) == 1


def test_who_has_no_key_wakes_nothing(space: Namespace) -> None:
    """The gateway refuses as a pod would, and the model sleeps on; a key wakes it, also one that has just come."""
    space.apply(api_keys("web", site=FIRST))
    selector = {"apiKeySecretSelector": {"matchLabels": {"llama-keys": "mine"}}}
    scaling = {"minReplicas": 0, "idleSeconds": 6, "holdSeconds": 120}
    space.apply(small_llama(NAME, scaling=scaling, auth=selector))
    space.condition(NAME, "Available", "True Serving", seconds=180)
    callers = service(space, NAME)
    asleep(space)
    refused = callers.predict(SHORT), callers.predict(SHORT, Authorization=f"Bearer {SECOND}")
    assert [(one.status, one.body["error"]["code"]) for one in refused] == [
        (401, "missing_api_key"),
        (403, "wrong_api_key"),
    ]
    assert "Api-Key" in refused[0].headers["www-authenticate"]
    assert counted(space, "llama_gateway_requests_total", outcome="refused") == 2
    assert counted(space, "llama_gateway_wakes_total") == 0
    space.condition(NAME, "Available", "False Asleep")
    space.apply(api_keys("web", site=SECOND))
    answer = eventually("the new key wakes it", lambda: _ok(callers, Authorization=f"Bearer {SECOND}"), seconds=SOON)
    assert len(answer.body["data"]) == 1


def _answering(space: Namespace) -> int:
    return space.there("deployment", names.gateway(NAME)).get("status", {}).get("readyReplicas", 0)


def _ok(callers: Server, **headers: str) -> Answer | None:
    answer = callers.predict(SHORT, **headers)
    return answer if answer.status == 200 else None
