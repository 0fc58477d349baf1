"""What is made of a listing and a config that somebody else wrote."""

import json
from typing import Any

import pytest

from llama_operator.plan.hub_answers import fact, read_listing, shape
from llama_operator.plan.survey import ModelShape

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def listing(**fields: Any) -> bytes:
    """A listing of one commit."""
    return json.dumps({"sha": COMMIT, "siblings": [], **fields}).encode()


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"cardData": {"license": "llama3.1"}}, "llama3.1"),
        ({"cardData": {"license": "other", "license_name": "acme-community"}}, "acme-community"),
        ({"cardData": {"license": ["mit", "apache-2.0"]}, "tags": ["license:mit"]}, "mit"),
        ({"tags": ["pytorch", "license:apache-2.0"]}, "apache-2.0"),
        ({"cardData": "none"}, None),
        ({}, None),
    ],
)
def test_the_licence_is_that_of_the_model_card(fields: dict[str, Any], licence: str | None) -> None:
    """By its identifier, or by its own name, or by the tag that the Hub makes of it."""
    assert read_listing(listing(**fields)).licence == licence


def test_bytes_are_those_that_a_server_downloads() -> None:
    """Shards in transformers' layout and small files beside them; no second copy in another layout, no pictures."""
    siblings = [
        {"rfilename": "model-00001-of-00002.safetensors", "size": 135, "lfs": {"size": 1000}},
        {"rfilename": "model-00002-of-00002.safetensors", "size": 135, "lfs": {"size": 500}},
        {"rfilename": "model.safetensors.index.json", "size": 10},
        {"rfilename": "consolidated.00.pth", "size": 135, "lfs": {"size": 1500}},
        {"rfilename": "original/params.json", "size": 3},
        {"rfilename": "tokenizer.model", "size": 7},
        {"rfilename": "llama.png", "size": 9},
    ]
    found = fact(read_listing(listing(siblings=siblings)), {})
    assert (found.weight_bytes, found.total_bytes) == (1500, 1517)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"num_attention_heads": 32, "hidden_size": 4096, "torch_dtype": "bfloat16"},
            ModelShape(kv_heads=32, head_dim=128, dtype="bfloat16"),
        ),
        ({"num_attention_heads": 32, "hidden_size": 4096, "head_dim": 64}, ModelShape(kv_heads=32, head_dim=64)),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, ModelShape(quantization="awq")),
        ({"num_hidden_layers": -3, "max_position_embeddings": 1e40, "hidden_size": "wide"}, ModelShape()),
        ({"architectures": "LlamaForCausalLM", "model_type": ["llama"], "dtype": True}, ModelShape()),
    ],
    ids=["heads of the usual width", "heads of their own width", "quantized", "nonsense numbers", "nonsense types"],
)
def test_a_shape_is_read_as_transformers_would(config: dict[str, Any], expected: ModelShape) -> None:
    """What a config does not say, or says in another form, is not known; it fails nothing."""
    assert shape(config) == expected


def test_what_an_owner_wrote_is_cut_down_before_it_is_shown() -> None:
    """A status is no place for control characters or for a novel."""
    found = shape({"model_type": "llama\x1b[31m\n" + "x" * 900})
    assert found.model_type is not None
    assert found.model_type.startswith("llama[31mxxx")
    assert len(found.model_type) == 200
