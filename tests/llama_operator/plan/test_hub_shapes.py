"""Repositories that people name by mistake, and broken ones: told for what they are, from the Hub's own pages."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llama_operator.cluster.hub import HubClient, HubQuery, hub_over_http
from llama_operator.plan import hub_shapes
from llama_operator.plan.survey import HubRefusal, ModelFact
from tests.support.hub import HubServer

INDEX, SHARDS = hub_shapes.INDEX, ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
CONFIG = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
WHOLE = {"config.json": CONFIG, "model.safetensors": "w", "tokenizer.json": "{}"}
SHARDED = {
    "config.json": CONFIG,
    "tokenizer.model": "t",
    INDEX: json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}),
}
REPO = "acme/llama"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A Hub."""
    with HubServer() as hub:
        yield hub


@pytest.fixture
async def client() -> AsyncIterator[HubClient]:
    """What asks."""
    async with hub_over_http() as client:
        yield client


async def told(client: HubClient, hub: HubServer, folder: Path, files: Mapping[str, str]) -> ModelFact | HubRefusal:
    """What is told of a repository with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    hub.add_repo(REPO, folder)
    return await client.ask(HubQuery(endpoint=hub.url, repo=REPO, revision="main"))


def adapter(**fields: Any) -> dict[str, str]:
    """What peft saves."""
    return {"adapter_config.json": json.dumps(fields), "adapter_model.safetensors": "w", "tokenizer.json": "{}"}


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        (
            adapter(peft_type="LORA", base_model_name_or_path="meta-llama/Llama-2-7b-hf"),
            "NotAModel",
            "an adapter (LORA) for meta-llama/Llama-2-7b-hf",
        ),
        (adapter(base_model_name_or_path="/home/me/base"), "NotAModel", "an adapter"),
        ({"model_index.json": "{}", "unet/model.safetensors": "w"}, "NotAModel", "a pipeline of diffusers"),
        ({"a/model.safetensors": "w", "b/model.safetensors": "w"}, "NotAModel", "models in folders (a, b)"),
        ({"config.json": CONFIG, "pytorch_model.bin": "w"}, "NoSafetensors", "only pytorch_model.bin"),
        ({"consolidated.safetensors": "w", "tekken.json": "{}"}, "NoSafetensors", "only consolidated.safetensors"),
        ({"llama.Q4_K_M.gguf": "w"}, "NoSafetensors", "only llama.Q4_K_M.gguf"),
        ({"README.md": "soon"}, "NoSafetensors", "no weights at all"),
        ({"config.json": CONFIG, "model.safetensors": "w"}, "NoTokenizer", "none of tokenizer.json, tokenizer.model"),
        ({"model.safetensors": "w", "tokenizer.json": "{}"}, "UnsupportedArchitecture", "it has no config.json"),
        ({"config.json": CONFIG, SHARDS[0]: "w"}, "BrokenRepository", f"no {INDEX} that names them"),
        ({**SHARDED, SHARDS[0]: "w"}, "BrokenRepository", f"{INDEX} names {SHARDS[1]}, which commit "),
        (SHARDED, "BrokenRepository", f"{INDEX} names {SHARDS[0]} and 1 more, which commit "),
        ({**SHARDED, INDEX: "{}"}, "BrokenRepository", "is no index of shards"),
        ({**SHARDED, INDEX: "not JSON"}, "BrokenRepository", "is not valid JSON"),
        ({**WHOLE, "config.json": '{"model_type": "lla'}, "BrokenRepository", "config.json at commit "),
        ({**WHOLE, "config.json": "[]"}, "BrokenRepository", "is no JSON object"),
        ({**WHOLE, "tokenizer_config.json": "no"}, "BrokenRepository", "tokenizer_config.json at commit "),
    ],
)
async def test_what_is_nothing_to_serve_is_told_for_what_it_is(
    client: HubClient, hub: HubServer, tmp_path: Path, *, files: Mapping[str, str], reason: str, words: str
) -> None:
    """Before a byte of weights is fetched; a fault of the content is not the Hub's."""
    found = await told(client, hub, tmp_path, files)
    assert isinstance(found, HubRefusal)
    assert found.reason == reason
    assert words in found.words


async def test_whoever_names_an_adapter_is_told_which_model_it_is_for(
    client: HubClient, hub: HubServer, tmp_path: Path
) -> None:
    """By its own word, if that can be a repository."""
    found = await told(client, hub, tmp_path, adapter(base_model_name_or_path="acme/base"))
    assert isinstance(found, HubRefusal)
    assert found.fix.startswith("name acme/base in spec.model.repo, or a repository that holds the two merged")
    assert "the model that it was trained on" in hub_shapes.adapter({"base_model_name_or_path": "/home/me/base"}).fix


@pytest.mark.parametrize(
    ("card", "fix"),
    [
        ({"base_model": "acme/base"}, "name acme/base in spec.model.repo"),
        ({"base_model": ["acme/base", "acme/other"]}, "name acme/base in spec.model.repo"),
        ({}, "name the repository that they were made from in spec.model.repo"),
        ({"base_model": 7}, "name the repository that they were made from in spec.model.repo"),
    ],
)
def test_whoever_names_files_of_llama_cpp_is_told_what_they_were_made_from(card: dict[str, Any], fix: str) -> None:
    """As the model's card says; owners write what they like there."""
    found = hub_shapes.refusal({"llama.Q4_K_M.gguf", "README.md"}, card)
    assert found is not None
    assert found.fix == f"GGUF is llama.cpp's own format; {fix}"


@pytest.mark.parametrize("kind", ["dataset", "space"])
async def test_a_dataset_and_a_space_are_told_from_a_typing_error(client: HubClient, hub: HubServer, kind: Any) -> None:
    """The name is right, and of something else."""
    hub.add_other(kind, f"acme/{kind}")
    found = await client.ask(HubQuery(endpoint=hub.url, repo=f"acme/{kind}", revision="main"))
    assert found == HubRefusal(
        reason="NotAModel", words=f"a {kind}", fix="name a repository of a model in spec.model.repo"
    )


@pytest.mark.parametrize(
    ("files", "known"),
    [
        ({}, False),
        ({"tokenizer_config.json": "{}"}, False),
        ({"tokenizer_config.json": '{"chat_template": "{{ messages }}"}'}, True),
        ({"chat_template.jinja": "{{ messages }}", "tokenizer_config.json": "{}"}, True),
        ({"additional_chat_templates/tools.jinja": "{{ messages }}"}, True),
    ],
)
async def test_it_is_known_whether_messages_can_be_rendered(
    client: HubClient, hub: HubServer, tmp_path: Path, files: Mapping[str, str], known: bool
) -> None:
    """By either place where transformers keeps a chat template."""
    found = await told(client, hub, tmp_path, {**WHOLE, **files})
    assert isinstance(found, ModelFact)
    assert found.chat_template is known


async def test_an_index_that_holds_is_read_and_no_shard_is(client: HubClient, hub: HubServer, tmp_path: Path) -> None:
    """All that it names is there."""
    hub.journal.clear()
    assert isinstance(await told(client, hub, tmp_path, SHARDED | dict.fromkeys(SHARDS, "w")), ModelFact)
    files = {row.file for row in hub.requests}
    assert INDEX in files
    assert not any(name.endswith(".safetensors") for name in files)


async def test_a_model_of_embeddings_is_known_by_its_files(client: HubClient, hub: HubServer, tmp_path: Path) -> None:
    """Its type and its head may be those of a model that writes text."""
    files = {**WHOLE, "modules.json": "[]", "config_sentence_transformers.json": "{}"}
    found = await told(client, hub, tmp_path, files)
    assert isinstance(found, ModelFact)
    assert found.embeds
