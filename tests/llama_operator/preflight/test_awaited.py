"""What a failed check waits for: the objects that can mend it, and nothing where nothing is held."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator.plan.awaited import Awaited
from llama_operator.plan.observed import SecretFact
from llama_operator.plan.survey import HubRefusal, Survey
from llama_operator.preflight import token
from llama_operator.preflight.awaited import awaited
from llama_operator.preflight.case import ask
from llama_operator.preflight.judge import judge
from tests.support.operator_objects import KEY, REPO, SETTINGS, a_body, a_secret, a_spec, observed, plan
from tests.support.survey_objects import A100_40GB, SURVEY, a_limit_range, a_node, a_quota

NAMESPACE = KEY.namespace
TOKEN = Awaited("Secret", NAMESPACE, "hf-access-token")
QUOTAS = {Awaited("ResourceQuota", NAMESPACE), Awaited("LimitRange", NAMESPACE)}


def waits(
    survey: Survey, *, secret: SecretFact | None = None, on_demand: bool = False, **spec: Any
) -> frozenset[Awaited]:
    """What a new LlamaDeployment with these fields waits for."""
    seen = observed(body=a_body(**spec), secret=secret)
    case = ask(a_spec(**spec), seen, plan(seen), replace(SETTINGS, nodes_on_demand=on_demand))
    return awaited(case, judge(case, survey))


def refused(reason: Any) -> Survey:
    """A Hub that gives no facts for this reason."""
    return replace(SURVEY, model=HubRefusal(reason=reason, words="no"))


def test_what_passes_waits_for_nothing() -> None:
    """Nor does what the Hub is being asked about, for it answers by itself."""
    assert waits(SURVEY) == waits(replace(SURVEY, model=None)) == frozenset()


@pytest.mark.parametrize("reason", ["TokenMissing", "TokenRejected", "AccessDenied", "RepositoryNotFound"])
def test_where_another_token_may_help_its_secret_is_waited_for(reason: str) -> None:
    """The one that the spec names, or the one that is looked for; it may not exist yet."""
    assert waits(refused(reason)) == {TOKEN}
    model = {"repo": REPO, "tokenSecretRef": {"name": "mine", "key": "token"}}
    assert waits(refused(reason), secret=a_secret("token", name="mine"), model=model) == {
        Awaited("Secret", NAMESPACE, "mine")
    }


@pytest.mark.parametrize("reason", ["RevisionNotFound", "NoSafetensors", "HubUnreachable"])
def test_what_only_the_hub_can_mend_is_waited_for_nowhere(reason: str) -> None:
    """It is asked again with growing pauses."""
    assert waits(refused(reason)) == frozenset()


def test_a_secret_that_is_not_there_is_waited_for() -> None:
    """That of the token and those that images are pulled with, by their names."""
    model = {"repo": REPO, "tokenSecretRef": {"name": "mine"}}
    pull = {"spec": {"imagePullSecrets": [{"name": "registry"}]}}
    found = waits(replace(SURVEY, absent_secrets=frozenset({"registry"})), model=model, podTemplate=pull)
    assert found == {Awaited("Secret", NAMESPACE, name) for name in ("mine", "registry")}


def test_a_node_is_waited_for_where_none_would_do() -> None:
    """Also where its GPUs are too small: another node, or its label, says that they are larger."""
    assert waits(replace(SURVEY, nodes=())) == {Awaited("Node")}
    small = replace(SURVEY, nodes=(a_node(product=A100_40GB, labels={"nvidia.com/gpu.memory": "40960"}),))
    assert waits(small, resources={"gpu": {"count": 1, "product": "any"}}) == {Awaited("Node")}
    without = {"gpu": {"count": 0}, "memoryLimit": "1Gi", "memory": "1Gi"}
    assert waits(SURVEY, resources=without) == frozenset()


def test_quotas_and_limit_ranges_are_waited_for_together() -> None:
    """Each may refuse what the other would let in, or set what the other asks for."""
    assert waits(replace(SURVEY, quotas=(a_quota({"pods": "0"}),))) == QUOTAS
    assert waits(replace(SURVEY, limit_ranges=(a_limit_range(max={"memory": "1Mi"}),))) == QUOTAS


def test_storage_is_waited_for_where_another_object_would_help() -> None:
    """A class that is not there, or the claim with the model; a cache that is too small is a matter of the spec."""
    assert waits(replace(SURVEY, storage_classes={})) == {Awaited("StorageClass")}
    source = {"repo": REPO, "source": "pvc", "claim": {"name": "weights"}}
    claim = Awaited("PersistentVolumeClaim", NAMESPACE, "weights")
    assert waits(replace(SURVEY, volume_there=False), model=source) == {claim}
    assert waits(SURVEY, cache={"size": "1Gi"}) == frozenset()


def test_everything_that_fails_is_waited_for_at_once() -> None:
    """In whatever order it is mended."""
    found = waits(replace(refused("TokenMissing"), nodes=(), storage_classes={}))
    assert found == {TOKEN, Awaited("Node"), Awaited("StorageClass")}


def test_what_holds_nothing_is_not_waited_for() -> None:
    """In mode warn pods are made and wait by themselves; so do those for a node that comes on demand."""
    nowhere = replace(SURVEY, nodes=())
    assert waits(nowhere, preflight={"mode": "warn"}) == frozenset()
    assert waits(nowhere, on_demand=True) == frozenset()
    assert waits(replace(SURVEY, nodes=None, quotas=None)) == frozenset()


def test_a_bad_token_beside_pods_that_serve_is_waited_for() -> None:
    """It holds nothing, and yet is told until it is mended."""
    seen = observed(secret=a_secret("hf_access_token", version="8"))
    case = ask(a_spec(), seen, plan(seen), SETTINGS)
    bad, away = (
        replace(SURVEY, model=HubRefusal(reason=row, words="no")) for row in ("TokenRejected", "HubUnreachable")
    )
    assert awaited(case, token.verdict(case, bad)) == {TOKEN}
    assert awaited(case, token.verdict(case, SURVEY)) == frozenset()
    assert awaited(case, token.verdict(case, away)) == frozenset()
