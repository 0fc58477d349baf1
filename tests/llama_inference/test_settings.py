"""Settings: from the environment, and what is wrong with them in one sentence."""

from pathlib import Path

import pytest

from llama_inference.errors import ConfigurationError
from llama_inference.settings import PREFIX, read


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which only a model is named."""
    monkeypatch.setenv(f"{PREFIX}MODEL", "meta-llama/Llama-2-70b-chat-hf")
    return monkeypatch


def test_what_the_operator_sets_is_read(environment: pytest.MonkeyPatch) -> None:
    """Each variable of the table in docs/architecture.md."""
    values = {
        "REVISION": "v1",
        "SERVED_NAME": "llama-2-70b",
        "ENDPOINT": "http://hub",
        "CACHE_DIR": "/cache",
        "TOKEN_FILE": "/run/token",
        "DTYPE": "float16",
        "MAX_CONTEXT_TOKENS": "2048",
        "MAX_QUEUE": "7",
        "GENERATION_DEFAULTS": '{"temperature": 0.5}',
        "GENERATION_MAXIMUMS": '{"num_beams": 2}',
        "DRAIN_SECONDS": "25",
    }
    for name, value in values.items():
        environment.setenv(PREFIX + name, value)
    found = read()
    assert (found.model, found.revision, found.name) == ("meta-llama/Llama-2-70b-chat-hf", "v1", "llama-2-70b")
    assert (found.endpoint, found.cache_dir, found.token_file) == ("http://hub", Path("/cache"), Path("/run/token"))
    assert (found.dtype, found.max_context_tokens, found.max_queue) == ("float16", 2048, 7)
    assert (found.generation_defaults, found.generation_maximums) == ({"temperature": 0.5}, {"num_beams": 2})
    assert found.drain_seconds == 25


def test_an_empty_variable_counts_as_unset(environment: pytest.MonkeyPatch) -> None:
    """A template that leaves a value empty means the default."""
    environment.setenv(f"{PREFIX}MAX_CONTEXT_TOKENS", "")
    assert read().max_context_tokens is None


def test_an_option_wins_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    """One that was not given does not."""
    environment.setenv(f"{PREFIX}PORT", "9000")
    assert (read(port=None).port, read(port=8).port) == (9000, 8)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "http", f"{PREFIX}PORT: "),
        ("MAX_QUEUE", "-1", "it is '-1'"),
        ("DTYPE", "int4", "'float16'"),
        ("GENERATION_DEFAULTS", "{", f"{PREFIX}GENERATION_DEFAULTS is not valid JSON"),
        ("GENERATION_MAXIMUMS", "[]", f"{PREFIX}GENERATION_MAXIMUMS: "),
        ("MODEL", "", f"set {PREFIX}MODEL"),
        ("TENSOR_PARALLEL", "0", f"{PREFIX}TENSOR_PARALLEL: "),
        ("NODE_RANK", "1", f"{PREFIX}NODE_RANK is 1"),
        ("NODES", "2", f"set {PREFIX}LEADER_ADDRESS"),
        ("BATCH_INVARIANT", "maybe", f"{PREFIX}BATCH_INVARIANT: "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """With its variable, and what it is."""
    environment.setenv(PREFIX + name, value)
    with pytest.raises(ConfigurationError) as caught:
        read()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("TENSOR_PARALLEL", "2", "one rank alone"), ("BACKEND", "vllm", "which vllm cannot keep")],
)
def test_who_cannot_keep_scores_free_of_company_does_not_start(
    environment: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """Rather than promise it; each other setting names what to leave out."""
    environment.setenv(f"{PREFIX}BATCH_INVARIANT", "true")
    assert read().batch_invariant
    environment.setenv(PREFIX + name, value)
    with pytest.raises(ConfigurationError, match=words):
        read()


def test_the_name_falls_back_to_the_model() -> None:
    """Outside a cluster nobody gives one."""
    assert read(model="a/b").name == "a/b"
    assert read(model_dir=Path("/models/tiny")).name == "tiny"


def test_several_ranks_need_the_engine_that_computes_with_them() -> None:
    """The message says what to change; without several ranks any backend will do."""
    with pytest.raises(ConfigurationError, match="use native"):
        read(model="a/b", backend="transformers", tensor_parallel=2)
    with pytest.raises(ConfigurationError, match="use native"):
        read(model="a/b", backend="mock", nodes=2, leader_address="leader")
    assert read(model="a/b", backend="transformers").tensor_parallel == "auto"


def test_a_cache_is_a_deployments_own_where_the_operator_lets_its_servers_fill_it(
    environment: pytest.MonkeyPatch,
) -> None:
    """By what pods have had from the beginning; a shared cache is read only, and of any other nothing is known."""
    assert not read().has_own_cache
    environment.setenv(f"{PREFIX}TOKEN_FILE", "/run/token")
    assert not read().has_own_cache
    environment.setenv(f"{PREFIX}TOKEN_FILE", "/run/secrets/llama-operator.dev/hub/token")
    assert read().has_own_cache
    environment.setenv(f"{PREFIX}OFFLINE", "true")
    assert not read().has_own_cache
