"""What wakes a key, and what kopf is told to watch."""

import pytest

from llama_operator.handlers import events
from llama_operator.names import LABEL_DEPLOYMENT, SHARED
from llama_operator.plan.observed import Key


def test_a_child_wakes_the_deployment_of_its_label() -> None:
    """Whatever is without our label belongs to nobody here."""
    assert events.keys_of({"namespace": "models", "labels": {LABEL_DEPLOYMENT: "llama"}}) == (Key("models", "llama"),)
    assert events.keys_of({"namespace": "models", "labels": {"app": "llama"}}) == ()
    assert events.keys_of({"namespace": "models"}) == ()


def meta(**fields: object) -> dict[str, object]:
    """The metadata of a LlamaDeployment."""
    return {"namespace": "models", "name": "llama", "uid": "1", "generation": 1, "resourceVersion": "7", **fields}


def test_what_is_written_into_a_status_wakes_nobody() -> None:
    """Else each look that writes one would call for the next."""
    edits = events.Edits()
    assert edits.is_news(meta(), gone=False)
    assert not edits.is_news(meta(resourceVersion="8", managedFields=[{"manager": "llama-operator"}]), gone=False)


@pytest.mark.parametrize(
    "edit",
    [{"generation": 2}, {"annotations": {"a": "b"}}, {"deletionTimestamp": "2026-11-29T00:00:00Z"}, {"uid": "2"}],
)
def test_an_edit_wakes(edit: dict[str, object]) -> None:
    """Of the spec, of what is noted on it, its deletion, and one that is made anew under the same name."""
    edits = events.Edits()
    edits.is_news(meta(), gone=False)
    assert edits.is_news(meta(resourceVersion="8", **edit), gone=False)


def test_one_that_is_gone_wakes_and_is_forgotten() -> None:
    """The last look at it ends what was kept of it."""
    edits = events.Edits()
    edits.is_news(meta(), gone=False)
    assert edits.is_news(meta(), gone=True)
    assert edits.is_news(meta(), gone=False)


def test_what_is_shared_wakes_each_that_owns_it() -> None:
    """Its label names none of them."""
    owners = [{"kind": "LlamaDeployment", "name": name} for name in ("a", "b")]
    owners.append({"kind": "PersistentVolumeClaim", "name": "c"})
    meta = {"namespace": "models", "labels": {LABEL_DEPLOYMENT: SHARED}, "ownerReferences": owners}
    assert events.keys_of(meta) == (Key("models", "a"), Key("models", "b"))


def test_without_gateways_nothing_is_watched_that_only_they_have() -> None:
    """The operator may not, and a watch that is refused would never come up."""
    kinds = {"roles", "rolebindings", "leases"}
    without, all_of_them = ({plural for _, _, plural in events.watched(gateway=some)} for some in (False, True))
    assert all_of_them - without == kinds


def test_children_are_watched_by_label_only() -> None:
    """Not every pod of the cluster passes through the operator; kopf writes nothing of its own."""
    settings = events.settings()
    watched = [("", "v1", kind) for kind in ("pods", "services", "serviceaccounts", "persistentvolumeclaims")]
    for resource in (*watched, ("apps", "v1", "deployments")):
        assert settings.watching.label_selectors[resource] == LABEL_DEPLOYMENT
    assert settings.watching.chunk_size == 500  # not thousands of objects in one answer
    assert (settings.posting.enabled, settings.scanning.disabled, settings.peering.standalone) == (False, True, True)
