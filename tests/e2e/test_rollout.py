"""Rollouts on the real cluster: bad ones go back by themselves, and nobody who calls notices; others wait for a person.

One LlamaDeployment serves all of the first tests: each ends with the spec it found, for which no pod is replaced.
"""

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.e2e.test_lifecycle import available, callers, selector
from tests.support import models, stack
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.predict import Server
from tests.support.served import CRASHING, small_llama

pytestmark = pytest.mark.cluster
NAME = "llama"
GOLDEN = {"name": "greeting", "prompt": "Hello", "parameters": {"max_new_tokens": 16}, "expect": {"equals": "never"}}
UNKNOWN = {"model": {"revision": "no-such-branch"}, "preflight": {"mode": "off"}}
NOWHERE = {
    "scheduling": {"nodeSelector": {"llama-operator.dev/test": "nowhere"}},
    "rollout": {"progressDeadlineSeconds": 10},
    "preflight": {"mode": "off"},
}


@pytest.fixture(scope="module")
def first(operator: None) -> Generator[Namespace]:
    """A namespace in which `llama` serves its first revision."""
    with stack.restricted_namespace() as found:
        found.apply(small_llama(NAME))
        available(found)
        eventually("its first rollout is noted", lambda: outcomes(found) == {1: "Succeeded"})
        yield found


@pytest.fixture
def home(first: Namespace) -> Generator[Namespace]:
    """That namespace, with the first spec again after each test, however it ended."""
    yield first
    reset(first)


def status(space: Namespace, name: str = NAME) -> dict[str, Any]:
    """The status as it is."""
    return space.there(LLAMA, name)["status"]


def outcomes(space: Namespace, name: str = NAME) -> dict[int, str]:
    """What became of each rollout, oldest first."""
    return {row["revision"]: row["outcome"] for row in reversed(status(space, name).get("history", []))}


def pods(space: Namespace, name: str = NAME) -> set[str]:
    """The pods that are not on their way out."""
    rows = space.list("pods", selector(name))
    return {pod["metadata"]["uid"] for pod in rows if "deletionTimestamp" not in pod["metadata"]}


def reset(space: Namespace) -> None:
    """Put the spec back to what it was at first."""
    spec = space.there(LLAMA, NAME)["spec"]
    gone = {
        path: None
        for path in ("engine", "generation", "rollout", "preflight", "scheduling", "podTemplate")
        if path in spec
    }
    space.patch(LLAMA, NAME, {"spec": {**gone, "model": {"revision": "main"}}})
    space.condition(NAME, "Degraded", "False AllWell", seconds=120)
    space.condition(NAME, "Progressing", "False Settled", seconds=120)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (CRASHING, "Crashing", "No such option"),
        ({"rollout": {"goldenPrompts": [GOLDEN]}}, "GoldenPromptFailed", "greeting"),
        (UNKNOWN, "RevisionNotFound", "no-such-branch"),
        (NOWHERE, "DeadlineExceeded", "it made no progress for 10 seconds"),
    ],
    ids=["crash loop", "golden prompt", "model does not load", "no node in time"],
)
def test_a_bad_revision_is_rolled_back_by_itself_while_the_old_pods_go_on_answering(
    home: Namespace, change: dict[str, Any], reason: str, words: str
) -> None:
    """A client in a loop sees no error, the old pod is never touched, and the status says what failed and why."""
    server, before = available(home), pods(home)
    with callers(server) as answers:
        home.patch(LLAMA, NAME, {"spec": change})
        degraded = home.condition(NAME, "Degraded", "True RolledBack", seconds=240)
        eventually("only the old pod is left", lambda: pods(home) == before, seconds=120)
        home.condition(NAME, "Progressing", "False Settled", seconds=120)
    assert answers
    assert [answer.body for answer in answers if answer.status != 200] == []
    assert reason in degraded["message"]
    failed = status(home)["history"][0]
    assert (failed["outcome"], failed["reason"]) == ("RolledBack", reason)
    assert words in failed["message"] + str(failed["changes"])
    # The same spec is not tried again, whatever else makes the operator look.
    home.run("annotate", LLAMA, NAME, f"look=again-{reason}", "--overwrite")
    home.patch(LLAMA, NAME, {"spec": {"service": {"annotations": {"look": reason}}}})
    eventually("it was looked at", lambda: _observed(home))
    assert status(home)["history"][0]["revision"] == failed["revision"]
    reset(home)
    assert pods(home) == before, "the first spec again is no reason to replace a pod"


def _observed(space: Namespace) -> bool:
    found = space.there(LLAMA, NAME)
    return found["status"]["observedGeneration"] == found["metadata"]["generation"]


def beams(server: Server) -> Any:
    """A default of the pod that answers."""
    return json.loads(server.get("/info")[1])["defaults"]["num_beams"]


def test_a_paused_rollout_waits_and_a_person_goes_back_with_one_field(home: Namespace) -> None:
    """Paused, no pod is replaced; let go, they are; rollbackTo brings back the very revision, and its removal this."""
    server, before = available(home), pods(home)
    first = max(outcomes(home))
    home.patch(LLAMA, NAME, {"spec": {"generation": {"defaults": {"num_beams": 2}}, "rollout": {"paused": True}}})
    paused = home.condition(NAME, "Progressing", "False Paused")
    assert "0 of 1 pods" in paused["message"]
    assert pods(home) == before
    home.patch(LLAMA, NAME, {"spec": {"rollout": {"paused": False}}})
    eventually("the new revision serves", lambda: outcomes(home).get(first + 1) == "Succeeded", seconds=120)
    eventually("the new default", lambda: beams(server) == 2, seconds=30)
    home.patch(LLAMA, NAME, {"spec": {"rollout": {"rollbackTo": first}}})
    eventually("the old one serves", lambda: "rollbackTo" in _settled(home), seconds=120)
    eventually("the old default", lambda: beams(server) == 4, seconds=30)


def _settled(space: Namespace) -> str:
    """The message of a rollout that is done; empty while it is not."""
    row = next(row for row in status(space)["conditions"] if row["type"] == "Progressing")
    return row["message"] if row["reason"] == "Settled" else ""


def test_a_rollout_without_gpus_to_spare_takes_an_old_pod_away_first(space: Namespace) -> None:
    """Five of eight GPUs are held, so one more pod finds no room: found out, not asked, and said."""
    resources = {"gpu": {"count": 5}, "cpu": "100m", "memory": "256Mi", "sharedMemory": "64Mi"}
    space.apply(small_llama(NAME, models.TINY, resources=resources))
    available(space)
    space.patch(LLAMA, NAME, {"spec": {"generation": {"defaults": {"num_beams": 2}}}})
    rolling = space.condition(NAME, "Progressing", "True RollingOut", seconds=30)
    assert rolling["message"].endswith(
        "an old pod stops before a new one starts, for no node had 5 nvidia.com/gpu free for one more"
    )
    limits = space.there("deployment", NAME)["spec"]["strategy"]["rollingUpdate"]
    assert (limits["maxSurge"], limits["maxUnavailable"]) == (0, 1)
