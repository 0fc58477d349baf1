"""Which files of a repository are a model: safetensors and its configuration, never code or pickles."""

import pytest

from llama_inference.engine.selection import INDEX, SINGLE, Listing, RemoteFile, first_files, select
from llama_inference.errors import LoadError, LoadReason

EXTRAS = ("README.md", "modeling_llama.py", "pytorch_model.bin", "consolidated.00.pth", "model.gguf", "tf_model.h5")


def listing(*paths: str) -> Listing:
    """A commit with these files, each larger than the one before."""
    return Listing("c0ffee", {path: RemoteFile(path, 10 + at, f"key{at}") for at, path in enumerate(paths)})


def test_only_safetensors_and_configuration_are_chosen() -> None:
    """Whatever else lies beside them."""
    beside = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja")
    chosen = select(listing(*EXTRAS, *beside, "additional_chat_templates/tool.jinja", SINGLE, "extra.safetensors"), ())
    assert {file.path for file in chosen} == {*beside, "additional_chat_templates/tool.jinja", SINGLE}


def test_the_shards_are_those_of_the_index() -> None:
    """No others, and the small files come first."""
    files = listing("config.json", INDEX, "a-1.safetensors", "a-2.safetensors", "old.safetensors")
    chosen = select(files, ["a-2.safetensors", "a-1.safetensors"] * 2)
    assert [file.path for file in chosen] == [
        "config.json", INDEX, "a-1.safetensors", "a-2.safetensors",
    ]  # fmt: skip


def test_a_shard_that_is_missing_is_named() -> None:
    """Before anything large is fetched."""
    with pytest.raises(LoadError, match=r"names b\.safetensors, which commit c0ffee does not have") as caught:
        select(listing("config.json", INDEX, "a.safetensors"), ["a.safetensors", "b.safetensors"])
    assert caught.value.reason is LoadReason.BROKEN_REPOSITORY


def test_an_adapter_is_told_as_one() -> None:
    """It has safetensors, and they are no model."""
    with pytest.raises(LoadError, match="holds an adapter") as caught:
        first_files(listing("adapter_config.json", "adapter_model.safetensors"))
    assert caught.value.reason is LoadReason.NOT_A_MODEL


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("config.json", "pytorch_model.bin"), "only pytorch_model.bin"),
        (("config.json", "model.gguf"), "only model.gguf"),
        (("config.json",), "no weights"),
    ],
)
def test_a_repository_without_safetensors_is_refused_with_what_it_has(paths: tuple[str, ...], words: str) -> None:
    """Pickles can hold code, and are not loaded."""
    with pytest.raises(LoadError, match=words) as caught:
        first_files(listing(*paths))
    assert caught.value.reason is LoadReason.NO_SAFETENSORS


def test_a_repository_without_configuration_is_refused() -> None:
    """It is no model of transformers."""
    with pytest.raises(LoadError, match=r"has no config\.json") as caught:
        first_files(listing(SINGLE))
    assert caught.value.reason is LoadReason.LOAD_FAILED


def test_the_first_files_are_those_that_decide() -> None:
    """The configuration, and the index where there are shards."""
    assert first_files(listing("config.json", SINGLE)) == ("config.json",)
    assert first_files(listing("config.json", INDEX, "a.safetensors")) == ("config.json", INDEX)
