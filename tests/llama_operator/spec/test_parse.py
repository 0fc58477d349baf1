"""Reading the spec: defaults, and errors that name the field and say what to write."""

from typing import Any

import pytest

from llama_operator.errors import SpecError
from tests.support.operator_objects import a_spec

MODEL: dict[str, Any] = {"repo": "org/name"}


def test_a_repository_is_all_a_spec_needs() -> None:
    """The least spec means two A100s, one replica, our engine, auto dtype and a cache that goes with it."""
    spec = a_spec()
    assert (spec.replicas, spec.resources.gpu.count, spec.resources.gpu.product) == (1, 2, "A100")
    assert (spec.engine.name, spec.engine.dtype, spec.model.revision) == ("native", "auto", "main")
    assert (spec.cache.access_mode, spec.cache.retain, spec.service.port) == ("ReadWriteOnce", False, 80)


def test_an_amount_may_be_written_as_an_integer() -> None:
    """`cpu: 2` and `maxSurge: 1` are what people write."""
    spec = a_spec(resources={"cpu": 2}, rollout={"maxSurge": 3})
    assert (spec.resources.cpu, spec.rollout.max_surge) == ("2", "3")


def test_a_named_secret_has_the_default_key() -> None:
    """A token Secret needs no key when it uses the usual one."""
    spec = a_spec(model={**MODEL, "tokenSecretRef": {"name": "mine"}})
    assert spec.model.token_secret_ref is not None
    assert spec.model.token_secret_ref.key == "hf_access_token"


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"model": {}}, "spec.model.repo", "required"),
        ({"model": {"repo": "org/na me"}}, "spec.model.repo", "organisation/name"),
        ({"model": {"repo": "a/b/c"}}, "spec.model.repo", "'a/b/c'"),
        ({"model": {**MODEL, "revision": ""}}, "spec.model.revision", "such as main"),
        ({"model": {**MODEL, "endpoint": "ftp://hub"}}, "spec.model.endpoint", "http or https"),
        ({"model": {**MODEL, "endpoint": "https://user:pass@hub"}}, "spec.model.endpoint", "without user"),
        ({"engine": {"name": "magic"}}, "spec.engine.name", "transformers"),
        ({"replicas": -1}, "spec.replicas", "0"),
        ({"resources": {"memory": "much"}}, "spec.resources.memory", "140Gi"),
        ({"resources": {"gpu": {"resourceName": "gpu"}}}, "spec.resources.gpu.resourceName", "nvidia.com/gpu"),
        ({"generation": {"defaults": {"num_beams": 17}}}, "spec.generation.defaults.num_beams", "16"),
        ({"generation": {"defaults": {"top_p": 0}}}, "spec.generation.defaults.top_p", "greater than 0"),
        ({"generation": {"maximums": {"max_new_tokens": 4097}}}, "spec.generation.maximums.max_new_tokens", "4096"),
        ({"rollout": {"maxSurge": "half"}}, "spec.rollout.maxSurge", "25%"),
        (
            {"rollout": {"goldenPrompts": [{"prompt": "Hi", "expect": {}}]}},
            "spec.rollout.goldenPrompts[0].expect",
            "one of",
        ),
        (
            {"rollout": {"goldenPrompts": [{"expect": {"equals": "x"}}]}},
            "spec.rollout.goldenPrompts[0]",
            "either prompt",
        ),
        ({"rollout": {"rollbackTo": 0}}, "spec.rollout.rollbackTo", "1"),
        ({"auth": {"apiKeySecretSelector": {}}}, "spec.auth.apiKeySecretSelector", "every Secret"),
        (
            {"auth": {"apiKeySecretSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
            "spec.auth.apiKeySecretSelector.matchExpressions[0]",
            "need values",
        ),
        ({"colour": "red"}, "spec.colour", "not permitted"),
    ],
)
def test_an_error_names_the_field_and_what_to_write(fields: dict[str, Any], path: str, words: str) -> None:
    """Each refusal has the path of the field and a way out."""
    with pytest.raises(SpecError) as caught:
        a_spec(**fields)
    assert caught.value.field == path
    assert words in str(caught.value)


def test_other_generation_parameters_pass_through() -> None:
    """The server knows more parameters than the operator; it checks those itself."""
    spec = a_spec(generation={"defaults": {"repetition_penalty": 1.1}})
    assert spec.generation.defaults.model_dump(exclude_none=True) == {"repetition_penalty": 1.1}


def test_a_selector_is_written_as_the_api_server_takes_it() -> None:
    """All demands, joined."""
    rows = [
        {"key": "team", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "tier", "operator": "NotIn", "values": ["test"]},
        {"key": "llama", "operator": "Exists"},
    ]
    spec = a_spec(auth={"apiKeySecretSelector": {"matchLabels": {"keys": "mine"}, "matchExpressions": rows}})
    assert spec.auth.api_key_secret_selector is not None
    assert spec.auth.api_key_secret_selector.written() == "keys=mine,team in (a,b),!old,tier notin (test),llama"
