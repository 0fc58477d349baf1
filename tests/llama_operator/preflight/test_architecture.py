"""Can the engine run this kind of model?"""

from dataclasses import replace

import pytest

from llama_operator.plan.survey import ModelShape
from llama_operator.preflight.architecture import check
from llama_operator.preflight.model_types import CAUSAL
from tests.support.survey_objects import LLAMA_70B


def test_a_llama_runs() -> None:
    """The message names what it is."""
    found = check("a/b", LLAMA_70B, own_image=False)
    assert (found.state, found.message) == ("passed", "a/b is llama (LlamaForCausalLM), which the engine runs")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (ModelShape(model_type="t5", architectures=("T5ForConditionalGeneration",)), "t5 (T5ForConditionalGeneration)"),
        (ModelShape(), "of no type (no architecture)"),
        (replace(LLAMA_70B.shape, quantization="gptq"), "quantized by gptq"),
    ],
)
def test_what_the_engine_cannot_run_is_named_with_a_fix(shape: ModelShape, words: str) -> None:
    """Another kind of model, no model, weights in a form that the image has no code for."""
    found = check("a/b", replace(LLAMA_70B, shape=shape), own_image=False)
    assert (found.state, found.reason) == ("failed", "UnsupportedArchitecture")
    assert words in found.message
    assert "in spec.model.repo" in found.message


@pytest.mark.parametrize(
    ("architectures", "embeds", "words"),
    [
        (("BertForMaskedLM",), False, "made for another task (BertForMaskedLM)"),
        (("LlamaForSequenceClassification",), False, "made for another task (LlamaForSequenceClassification)"),
        (("MistralModel",), True, "makes embeddings for sentence-transformers"),
        (("Qwen3ForCausalLM",), True, "makes embeddings for sentence-transformers"),
    ],
)
def test_a_model_that_was_made_for_something_else_is_told(
    architectures: tuple[str, ...], embeds: bool, words: str
) -> None:
    """Its type is one that the engine runs; what it would write is noise."""
    shape = replace(LLAMA_70B.shape, architectures=architectures)
    found = check("a/b", replace(LLAMA_70B, shape=shape, embeds=embeds), own_image=False)
    assert (found.state, found.reason) == ("failed", "UnsupportedArchitecture")
    assert words in found.message
    assert check("a/b", replace(LLAMA_70B, shape=shape, embeds=embeds), own_image=True).state != "failed"


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "LlamaModel", "T5ForConditionalGeneration"])
def test_a_head_that_may_write_text_is_let_through(name: str) -> None:
    """A name that says nothing of the task refuses nothing."""
    shape = replace(LLAMA_70B.shape, architectures=(name,))
    assert check("a/b", replace(LLAMA_70B, shape=shape), own_image=False).state == "passed"


def test_the_engine_of_another_image_may_know_more() -> None:
    """Nobody knows, so nothing is refused."""
    found = check("a/b", replace(LLAMA_70B, shape=ModelShape(model_type="llama9")), own_image=True)
    assert found.state == "unknown"


def test_a_quantization_that_depends_on_the_gpu_is_not_known() -> None:
    """Eight-bit floats run on some."""
    found = check("a/b", replace(LLAMA_70B, shape=replace(LLAMA_70B.shape, quantization="fp8")), own_image=False)
    assert found.state == "unknown"


@pytest.mark.slow
def test_the_types_are_those_of_the_engine() -> None:
    """A release of transformers that knows others is followed here."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: PLC0415

    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert known == CAUSAL, f"write into preflight/model_types.py: {' '.join(sorted(known))}"
