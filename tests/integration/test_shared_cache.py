"""A cache that several LlamaDeployments share, on the real API server: who owns it, who lets it go, when it goes."""

import pytest

from llama_operator.names import shared_claim
from tests.integration.proxy import ApiProxy
from tests.support.cluster import LLAMA, Namespace, a_llama, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SHARED = {"size": "1Gi", "shared": True}
MAIN, NEXT = shared_claim("org/tiny", "main"), shared_claim("org/tiny", "next")


def owners(space: Namespace, name: str, kind: str = "persistentvolumeclaim") -> list[str] | None:
    """Who owns a claim, or its Job; None if it is not there."""
    claim = space.get(kind, name)
    return None if claim is None else sorted(row["name"] for row in claim["metadata"].get("ownerReferences", ()))


def test_each_owns_it_until_it_goes_and_the_last_takes_it_along(space: Namespace, api: ApiProxy) -> None:
    """What one writes takes nothing of another's away, and once both have, neither writes again."""
    space.apply(a_llama("one", cache=SHARED))
    eventually("one owns it", lambda: owners(space, MAIN) == ["one"])
    job = space.there("job", MAIN)
    assert space.get("deployment", "one") is None, "no pod is made before the model is there"
    space.apply(a_llama("two", cache=SHARED))
    eventually("both own it", lambda: owners(space, MAIN) == ["one", "two"])
    eventually("and its Job", lambda: owners(space, MAIN, "job") == ["one", "two"])
    space.condition("two", "ModelCached", "False Waiting")
    asked = len(api.writes(f"persistentvolumeclaims/{MAIN}"))
    for name in ("one", "two"):  # each looks again
        space.run("annotate", LLAMA, name, "look=again")
        space.condition(name, "PodsScheduled", "False NoMatchingNode")
    assert len(api.writes(f"persistentvolumeclaims/{MAIN}")) == asked
    assert space.there("job", MAIN)["metadata"]["uid"] == job["metadata"]["uid"]
    space.run("delete", LLAMA, "one")
    eventually("the other keeps it", lambda: owners(space, MAIN) == ["two"])
    space.run("delete", LLAMA, "two")
    eventually("it goes with the last, and its Job with it", lambda: owners(space, MAIN) is None, seconds=60)
    space.gone("job", MAIN)


def test_another_revision_has_a_volume_of_its_own_and_the_old_one_is_let_go(space: Namespace) -> None:
    """Left to those who still use it, and deleted where nobody does."""
    for name in ("one", "two"):
        space.apply(a_llama(name, cache=SHARED))
    eventually("both own it", lambda: owners(space, MAIN) == ["one", "two"])
    for name, left in (("one", ["two"]), ("two", None)):
        space.patch(LLAMA, name, {"spec": {"model": {"revision": "next"}}})
        for kind in ("persistentvolumeclaim", "job"):
            eventually(f"{name} has let it go", lambda kind=kind, left=left: owners(space, MAIN, kind) == left)
    assert owners(space, NEXT) == ["one", "two"]


def test_one_that_is_retained_outlives_everybody(space: Namespace) -> None:
    """Whoever shares it from then on does not own it either."""
    space.apply(a_llama("one", cache=SHARED))
    eventually("one owns it", lambda: owners(space, MAIN) == ["one"])
    space.apply(a_llama("two", cache={**SHARED, "retain": True}))
    eventually("nobody owns it", lambda: owners(space, MAIN) == [])
    space.run("delete", LLAMA, "one", "two")
    space.gone(LLAMA, "two")
    uid = space.there("persistentvolumeclaim", MAIN)["metadata"]["uid"]
    space.apply(a_llama("three", cache=SHARED))
    space.condition("three", "PodsScheduled", "False NoMatchingNode")
    assert owners(space, MAIN) == []
    assert space.there("persistentvolumeclaim", MAIN)["metadata"]["uid"] == uid
