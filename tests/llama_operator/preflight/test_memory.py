"""Does the model fit? The formula, the numbers in the message, and fixes that hold when they are followed."""

import re
from dataclasses import replace

import pytest

from llama_operator.plan.survey import ModelFact, ModelShape
from llama_operator.preflight.finding import GIB
from llama_operator.preflight.memory import Load, check, need
from llama_operator.preflight.products import GpuMemory
from tests.support.survey_objects import LLAMA_70B

REPO = "meta-llama/Llama-2-70b-chat-hf"
A100 = GpuMemory(bytes=80 * GIB, whose="node node-1")


def a_load(**fields: int | str | None) -> Load:
    """What a spec's fields lead to; by default the seed's case with its four beams."""
    return Load(**{"repo": REPO, "gpus": 2, "sequences": 4, **fields})  # pyright: ignore[reportArgumentType]


def follow(message: str, load: Load, field: str) -> Load:
    """The load after the fix that a message proposes for a field."""
    found = re.search(rf"{re.escape(field)} to (\d+)", message)
    assert found is not None, message
    name = {"maxContextTokens": "context", "maxConcurrentSequences": "sequences", "count": "gpus"}[
        field.rpartition(".")[2]
    ]
    return replace(load, **{name: int(found[1])})


def test_the_seeds_case_fits_two_a100s_and_the_message_adds_up() -> None:
    """Seventy billion in float16 with four beams of 4096 tokens, on twice 80 GiB."""
    found = check(a_load(), LLAMA_70B, A100)
    assert found.state == "passed"
    assert found.message == (
        f"{REPO} in float16 needs 142.2 GiB (weights 128.5 GiB, KV cache 5.0 GiB for 4 sequences of 4096 tokens, "
        "overhead 8.7 GiB); 2 GPUs with 80.0 GiB each (node node-1) hold it"
    )


def test_each_part_is_what_the_formula_says() -> None:
    """Weights by elements, cache by layers, heads and tokens, a gibibyte for each GPU and a twentieth."""
    wanted = need(a_load(gpus=3, context=1000, sequences=5), LLAMA_70B)
    assert wanted is not None
    assert wanted.weights == 68_976_648_192 * 2
    assert wanted.cache == 2 * 80 * 8 * 128 * 2 * 1000 * 5
    assert wanted.overhead == pytest.approx(3 * GIB + 0.05 * (wanted.weights + wanted.cache), abs=1)


@pytest.mark.parametrize("each", [40, 70, 72, 79])
@pytest.mark.parametrize(
    "field", ["spec.engine.maxContextTokens", "spec.engine.maxConcurrentSequences", "spec.resources.gpu.count"]
)
def test_a_proposed_fix_is_the_smallest_change_that_fits(field: str, each: int) -> None:
    """Followed, it fits; one step less, it does not. What no value of a field could mend is not proposed for it."""
    gpu = GpuMemory(bytes=each * GIB, whose="node node-1")
    load = a_load(sequences=40)
    found = check(load, LLAMA_70B, gpu)
    assert (found.state, found.reason) == ("failed", "ModelDoesNotFit")
    if field not in found.message:
        assert each == 40
        assert field != "spec.resources.gpu.count"
        return
    fixed = follow(found.message, load, field)
    assert check(fixed, LLAMA_70B, gpu).state == "passed"
    step = {"gpus": fixed.gpus - 1} if fixed.gpus > load.gpus else {}
    step = step or ({"context": (fixed.context or 0) + 64} if fixed.context else {"sequences": fixed.sequences + 1})
    assert check(replace(fixed, **step), LLAMA_70B, gpu).state == "failed"


def test_fewer_sequences_are_written_where_they_come_from() -> None:
    """Where the spec bounds no concurrency they are the beams of one request."""
    gpu = GpuMemory(bytes=70 * GIB, whose="node node-1")
    found = check(replace(a_load(), lowers="spec.generation.defaults.num_beams"), LLAMA_70B, gpu)
    assert "lower spec.generation.defaults.num_beams to 2 or raise" in found.message


def test_weights_that_exceed_the_gpus_are_mended_by_more_of_them_only() -> None:
    """One A100 does not hold the seventy billion at any context."""
    found = check(a_load(gpus=1), LLAMA_70B, A100)
    assert found.message.endswith(
        "which 1 GPU with 80.0 GiB each (node node-1) cannot hold: raise spec.resources.gpu.count to 2"
    )


@pytest.mark.parametrize(("dtype", "gib"), [("auto", 128.5), ("bfloat16", 128.5), ("float32", 257.0)])
def test_the_type_that_will_run_counts_and_not_the_stored_one(dtype: str, gib: float) -> None:
    """Float16 on the Hub takes twice as much where float32 was asked for, and the message says how to avoid it."""
    wanted = need(a_load(dtype=dtype), LLAMA_70B)
    assert wanted is not None
    assert wanted.weights / GIB == pytest.approx(gib, abs=0.05)
    assert ("set spec.engine.dtype to float16" in check(a_load(dtype=dtype), LLAMA_70B, A100).message) == (
        dtype == "float32"
    )


def test_quantized_elements_take_what_they_take() -> None:
    """Packed integers and eight-bit floats are not widened."""
    fact = replace(LLAMA_70B, parameters={"I32": 1000, "F8_E4M3": 1000, "F32": 1000})
    wanted = need(a_load(), fact)
    assert wanted is not None
    assert wanted.weights == 4000 + 1000 + 2000


@pytest.mark.parametrize(
    ("stored", "quantization", "expected"),
    [("float32", None, 50), ("bfloat16", None, 100), (None, None, 100), ("float32", "fp8", 100)],
)
def test_without_counts_the_files_tell(stored: str | None, quantization: str | None, expected: int) -> None:
    """Their bytes, converted where it is known what they are stored in; the Hub does not count every repository."""
    shape = replace(LLAMA_70B.shape, dtype=stored, quantization=quantization)
    wanted = need(a_load(), replace(LLAMA_70B, parameters={}, weight_bytes=100, shape=shape))
    assert wanted is not None
    assert wanted.weights == expected


def test_the_context_is_the_specs_or_the_models_and_never_more_than_the_models() -> None:
    """A bound above what the model reads reserves nothing."""
    tokens = [need(a_load(context=context), LLAMA_70B) for context in (None, 1024, 100_000)]
    assert [found.context for found in tokens if found] == [4096, 1024, 4096]


@pytest.mark.parametrize(
    "model",
    [
        replace(LLAMA_70B, shape=ModelShape(model_type="llama")),
        replace(LLAMA_70B, parameters={}, weight_bytes=0),
        replace(LLAMA_70B, shape=replace(LLAMA_70B.shape, context=None)),
    ],
    ids=["no shape", "no sizes", "no context"],
)
def test_what_the_hub_does_not_say_is_said_to_be_unknown(model: ModelFact) -> None:
    """It is no failure: nobody knows that it does not fit."""
    found = check(a_load(), model, A100)
    assert (found.state, found.reason) == ("unknown", "")
    assert "the Hub does not say" in found.message


def test_a_gpu_of_unknown_memory_is_said_to_be_unknown_with_the_need() -> None:
    """The number helps, and so does the field that makes it a check."""
    found = check(a_load(), LLAMA_70B, None)
    assert found.state == "unknown"
    assert "needs 142.2 GiB" in found.message
    assert "spec.resources.gpu.memory" in found.message


def test_a_larger_node_that_would_do_is_named() -> None:
    """The scheduler might choose the smaller one; naming the product keeps it off."""
    found = check(a_load(), LLAMA_70B, GpuMemory(bytes=40 * GIB, whose="node small", larger="NVIDIA-A100-SXM4-80GB"))
    assert "set spec.resources.gpu.product to NVIDIA-A100-SXM4-80GB" in found.message


def test_without_gpus_the_containers_limit_counts() -> None:
    """A container over its limit is killed while it loads; without a limit there is nothing to hold it to."""
    load = a_load(gpus=0, limit=32 * GIB)
    found = check(load, LLAMA_70B, None)
    assert (found.state, found.reason) == ("failed", "ModelDoesNotFit")
    assert "in bfloat16 needs at least 141.2 GiB" in found.message
    raised = re.search(r"spec.resources.memoryLimit to (\d+)Gi", found.message)
    assert raised is not None
    assert check(replace(load, limit=int(raised[1]) * GIB), LLAMA_70B, None).state == "passed"
    assert check(replace(load, limit=None), LLAMA_70B, None).state == "passed"


def test_a_gpu_smaller_than_its_own_overhead_holds_nothing() -> None:
    """No count of them is proposed."""
    found = check(a_load(), LLAMA_70B, GpuMemory(bytes=GIB, whose="spec.resources.gpu.memory"))
    assert found.message.endswith("use GPUs with more memory")


@pytest.mark.parametrize("gpu", [A100, None, GpuMemory(bytes=GIB, whose="node node-1")], ids=["fits", "unknown", "no"])
def test_a_context_above_the_models_own_is_told_as_a_note(gpu: GpuMemory | None) -> None:
    """A wish that is cut is not cut silently: the condition says so, whatever else is found."""
    found, plain = (check(a_load(context=context), LLAMA_70B, gpu) for context in (100_000, 4096))
    note = f"spec.engine.maxContextTokens is 100000, and {REPO} was made for 4096 tokens, which holds"
    assert found == replace(plain, message=f"{plain.message}; {note}", warns=True)
    assert "maxContextTokens is" not in plain.message
