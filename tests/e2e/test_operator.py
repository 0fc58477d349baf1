"""The operator itself, upgraded and killed: what it has made does not notice.

No other test of this folder may run meanwhile, for all of them share the operator.
"""

import pytest

from tests.e2e.test_lifecycle import available, selector
from tests.e2e.test_rollout import outcomes, pods
from tests.support import stack
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.kubectl import kubectl_ok
from tests.support.served import small_llama
from tools.generate import NAMESPACE

pytestmark = pytest.mark.cluster
NAME = "llama"


def test_upgrading_the_operator_restarts_no_pod(space: Namespace) -> None:
    """A release with another default image leaves what runs alone; the next edit takes it up."""
    space.apply(small_llama(NAME))
    available(space)
    before = {pod["metadata"]["uid"] for pod in space.list("pods", selector())}
    images = stack.images()
    generation = space.there("deployment", NAME)["metadata"]["generation"]
    try:
        stack.install_operator(hub=stack.hub_endpoint(), operator=images["operator"], inference="elsewhere/new:2")
        space.run("annotate", LLAMA, NAME, "look=again")
        space.apply(small_llama("other"))
        other = eventually("the new operator acts", lambda: space.get("deployment", "other"))
        assert other["spec"]["template"]["spec"]["containers"][0]["image"] == "elsewhere/new:2"
        assert space.there("deployment", NAME)["metadata"]["generation"] == generation
        assert {pod["metadata"]["uid"] for pod in space.list("pods", selector())} == before
    finally:
        stack.install_operator(hub=stack.hub_endpoint(), operator=images["operator"], inference=images["inference"])


def test_an_operator_killed_at_any_moment_restarts_nothing_and_doubles_nothing(space: Namespace) -> None:
    """Killed again and again while a rollout goes on, and after it: one rollout, one new pod, each object once."""
    space.apply(small_llama(NAME))
    available(space)
    eventually("its first rollout is noted", lambda: outcomes(space) == {1: "Succeeded"})
    before, made = pods(space), created(space)
    generation, newest = space.there("deployment", NAME)["metadata"]["generation"], max(outcomes(space))
    space.patch(LLAMA, NAME, {"spec": {"generation": {"defaults": {"num_beams": 3}}}})
    for _ in range(3):
        kill_operator()
    eventually("it is done", lambda: outcomes(space).get(newest + 1) == "Succeeded", seconds=180)
    space.condition(NAME, "Progressing", "False Settled", seconds=60)
    kill_operator()
    space.run("annotate", LLAMA, NAME, "look=after", "--overwrite")
    eventually("the old pod is gone", lambda: len(pods(space)) == 1, seconds=60)
    assert pods(space) & before == set()
    assert len(created(space) - made) == 1
    assert max(outcomes(space)) == newest + 1
    # One change of the template; whatever else was done to it would count too.
    assert space.there("deployment", NAME)["metadata"]["generation"] == generation + 1


def test_an_operator_killed_while_it_makes_the_first_objects_makes_each_once(space: Namespace) -> None:
    """Whoever leads next goes on where the other was: one of each object, one pod, one rollout that succeeds."""
    space.apply(small_llama(NAME))
    for _ in range(3):
        kill_operator()
    available(space)
    eventually("its first rollout is noted", lambda: outcomes(space) == {1: "Succeeded"})
    assert len(created(space)) == 1
    assert len(pods(space)) == 1
    counts = {kind: len(space.list(kind)) for kind in ("deployments", "services", "persistentvolumeclaims")}
    assert counts == dict.fromkeys(counts, 1)
    assert space.there("deployment", NAME)["metadata"]["generation"] == 1


def created(space: Namespace) -> set[str]:
    """Every pod that was ever made, in the words of whoever made it."""
    return {row["message"] for row in space.list("events", fields="reason=SuccessfulCreate")}


def kill_operator() -> None:
    """Kill the leader's pod without a word; return once another leads, which is in the middle of its first look."""
    here = ("--namespace", NAMESPACE)
    label = "--selector=app.kubernetes.io/name=llama-operator"
    killed = kubectl_ok(*here, "get", "pods", label, "-o", "name").split()
    kubectl_ok(*here, "delete", *killed, "--grace-period=0", "--force", "--wait=false")
    eventually("another leads", lambda: _leads(killed), seconds=60)


def _leads(killed: list[str]) -> bool:
    here = ("--namespace", NAMESPACE, "get", "lease", stack.RELEASE, "-o", "jsonpath={.spec.holderIdentity}")
    holder = f"pod/{kubectl_ok(*here)}"
    return not any(holder.startswith(f"{name}_") for name in killed) and len(holder) > len("pod/")
