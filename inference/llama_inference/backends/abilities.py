"""Which parameter which backend honours: one table, and what becomes of values that a backend cannot honour.

Pure. `protocol` asks before a request is queued: what a request itself gives is refused with the backends that can;
what is only a default gives way to what asks for nothing. Names are those of `protocol.parameters`.
"""

import json
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import Final

from llama_inference.errors import InvalidRequestError
from llama_inference.values import BackendName, Json

EVERYTHING: Final[tuple[BackendName, ...]] = ("native", "transformers", "mock")
"""Backends that honour every parameter: the mock has nothing to choose, so that none could change its words."""
HELD_TO: Final = frozenset(
    {"response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"}
)
"""What holds an output to a grammar. The mock's words keep to none, and callers would believe that they do."""

_COMMON: Final = frozenset(
    {
        "max_new_tokens", "max_length", "max_time", "stream", "seed", "return_full_text", "stop_strings", "do_sample",
        "temperature", "top_k", "top_p", "repetition_penalty", "frequency_penalty", "num_return_sequences",
    }
)  # fmt: skip
# They say how transformers is to go about it; the tokens are the same without.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "bos_token_id", "pad_token_id", "decoder_start_token_id", "use_cache", "cache_implementation",
        "prefill_chunk_size", "max_matching_ngram_size",
    }
)  # fmt: skip

HONOURED: Final[Mapping[BackendName, frozenset[str]]] = {
    "vllm": _COMMON
    | _WITHOUT_EFFECT
    | {"presence_penalty", "min_p", "min_length", "min_new_tokens", "eos_token_id", "num_beams", "length_penalty"},
    "tgi": _COMMON | _WITHOUT_EFFECT | {"typical_p"},
}
"""What the backends honour that do not honour everything."""

NOTHING_ASKED: Final[Mapping[str, tuple[Json, ...]]] = {
    "return_logprobs": (False,),
    "top_logprobs": (0,),
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "do_sample": (False,),
    "top_k": (0,),
    "top_p": (1,),
    "min_p": (0,),
    "typical_p": (1,),
    "top_h": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "early_stopping": (False,),
    "length_penalty": (1,),
    "guidance_scale": (1,),
    "renormalize_logits": (False,),
    "remove_invalid_values": (False,),
    "bad_words_ids": ((), []),
    "suppress_tokens": ((), []),
    "begin_suppress_tokens": ((), []),
}
"""Values that ask for nothing, the one that stands for all of them first; every backend honours those."""

BESIDE_BEAMS: Final[Mapping[BackendName, frozenset[str]]] = {
    "vllm": _WITHOUT_EFFECT
    | {
        "max_new_tokens", "max_length", "stream", "return_full_text", "num_beams", "num_return_sequences",
        "length_penalty", "seed", "temperature", "top_k", "top_p", "min_p",
    }
}  # fmt: skip
"""What is honoured in a beam search, for backends that honour less there; drawing is not, and its parameters idle."""


def honours(backend: BackendName, parameter: str) -> bool:
    """Whether a backend honours a parameter, whatever its value."""
    if backend in EVERYTHING:
        return backend != "mock" or parameter not in HELD_TO
    return parameter in HONOURED[backend]


def able(parameter: str) -> tuple[BackendName, ...]:
    """Return the backends that honour a parameter and compute something."""
    return tuple(name for name in ("native", "transformers", *HONOURED) if honours(name, parameter))


def fit(backend: BackendName, given: Mapping[str, Json], values: Mapping[str, Json]) -> dict[str, Json]:
    """Return the values that a backend can honour.

    Args:
        backend: which one.
        given: what the request itself says.
        values: those and the defaults of deployment, contract and model.

    Raises:
        InvalidRequestError: the request itself asks for what this backend cannot do; it says which backends can.
    """
    if backend in EVERYTHING and backend != "mock":
        return dict(values)
    fitting: dict[str, Json] = {}
    for name, value in values.items():
        if honours(backend, name) or _asks_nothing(name, value):
            fitting[name] = value
        elif name in given:
            raise refusal(backend, name, value)
        elif name in NOTHING_ASKED:
            fitting[name] = NOTHING_ASKED[name][0]
    return _beside_beams(backend, given, fitting) if backend in BESIDE_BEAMS else fitting


def _beside_beams(backend: BackendName, given: Mapping[str, Json], values: dict[str, Json]) -> dict[str, Json]:
    """Beams that are only a default give way to what a request asks for, and to drawing; else the rest gives way."""
    if values.get("num_beams", 1) == 1:
        return values
    greedy = not values.get("do_sample") or values.get("temperature") == 0
    values = {**values, "do_sample": not greedy}
    others = [
        name for name, value in values.items() if name not in BESIDE_BEAMS[backend] and not _asks_nothing(name, value)
    ]
    asked = [name for name in others if name in given]
    if "num_beams" not in given and (asked or not greedy):
        return {**values, "num_beams": 1}
    if asked:
        raise refusal(backend, asked[0], values[asked[0]], beside="num_beams")
    kept = {name: value for name, value in values.items() if name not in others}
    return {**kept, "do_sample": False}


def refusal(backend: BackendName, name: str, value: Json, *, beside: str = "") -> InvalidRequestError:
    """Return the error for a parameter that a backend cannot honour, on its own or `beside` another one."""
    asked = (
        f"{name} is {json.dumps(value, ensure_ascii=False)}"
        if isinstance(value, int | float | str)
        else f"{name} is set"
    )
    others = [other for other in able(name) if not beside or (honours(other, beside) and other not in BESIDE_BEAMS)]
    with_it = f" together with {beside}" if beside else ""
    message = f"{asked}, and this deployment's backend, {backend}, cannot honour it{with_it}; {_those(others)} can"
    return InvalidRequestError(message, code="unsupported_parameter", param=name)


def _asks_nothing(name: str, value: Json) -> bool:
    return value is None or value in NOTHING_ASKED.get(name, ())


def _those(names: Seq[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
