"""A deployment's own defaults and maximums."""

from typing import Any

import pytest

from llama_inference.errors import ConfigurationError, InvalidRequestError
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.predict import parse
from llama_inference.values import ModelInfo

MODEL = ModelInfo(max_context=256, vocabulary=100, defaults={"repetition_penalty": 1.1, "top_k": 7})


def values(limits: Limits, **wire: Any) -> dict[str, Any]:
    """What a request is run with."""
    return dict(parse({"prompt": "x", **wire}, MODEL, limits).values)


def test_a_request_wins_over_the_deployment_and_that_over_the_contract_and_that_over_the_model() -> None:
    """The nearer to the caller, the more it counts."""
    limits = Limits.parse({"temperature": 0.9, "top_p": 0.5}, {})
    found = values(limits, temperature=0.3)
    assert (found["temperature"], found["top_p"], found["top_k"]) == (0.3, 0.5, 40)
    assert found["repetition_penalty"] == 1.1


def test_a_deployment_may_set_any_parameter() -> None:
    """Also one that has no default in the contract."""
    assert values(Limits.parse({"stop_strings": ["END"]}, {}))["stop_strings"] == ("END",)


def test_a_value_above_the_deployments_maximum_is_refused() -> None:
    """The message has both numbers; the maximum itself is allowed."""
    limits = Limits.parse({}, {"max_new_tokens": 100, "num_beams": 2})
    assert values(limits, max_new_tokens=100)["max_new_tokens"] == 100
    with pytest.raises(InvalidRequestError) as caught:
        values(limits, max_new_tokens=101)
    assert caught.value.param == "max_new_tokens"
    assert str(caught.value) == "max_new_tokens is 101; this deployment allows at most 100"


def test_a_maximum_lowers_the_contracts_default() -> None:
    """A request that gives nothing must work."""
    found = values(Limits.parse({}, {"max_new_tokens": 100, "num_beams": 2}))
    assert (found["max_new_tokens"], found["num_beams"]) == (100, 2)


@pytest.mark.parametrize(
    ("defaults", "maximums", "words"),
    [
        ({"temperature": -1}, {}, "spec.generation.defaults.temperature: temperature must be a number"),
        ({"temprature": 1}, {}, "did you mean temperature?"),
        ({"trust_remote_code": True}, {}, "is not accepted"),
        ({}, {"stop_strings": 3}, "spec.generation.maximums.stop_strings: there is no numeric parameter"),
        ({}, {"nonsense": 3}, "spec.generation.maximums.nonsense: there is no numeric parameter"),
        ({}, {"num_beams": 17}, "spec.generation.maximums.num_beams: num_beams must be an integer from 1 to 16"),
        ({"num_beams": 4}, {"num_beams": 2}, "is 4, above spec.generation.maximums.num_beams: 2"),
    ],
)
def test_wrong_limits_stop_the_server_with_the_field(
    defaults: dict[str, Any], maximums: dict[str, Any], words: str
) -> None:
    """Before it loads a model, and in the words of the LlamaDeployment."""
    with pytest.raises(ConfigurationError) as caught:
        Limits.parse(defaults, maximums)
    assert words in str(caught.value)


def test_a_default_token_id_beyond_the_vocabulary_never_reaches_the_device() -> None:
    """The vocabulary is known only when the model is loaded, so each request is told."""
    limits = Limits.parse({"suppress_tokens": [100]}, {})
    with pytest.raises(InvalidRequestError) as caught:
        values(limits)
    assert caught.value.param == "suppress_tokens[0]"
