"""A predict request: bytes → `PredictRequest` → `Generation`. Every fault is an `InvalidRequestError` with its param.

In two steps, since the number of prompt tokens stands between them: `parse` needs the model's facts, `plan` the tokens.
"""

import json
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Final, NoReturn, cast

from llama_inference.backends.abilities import fit
from llama_inference.backends.base import Backend
from llama_inference.errors import InvalidRequestError
from llama_inference.protocol import generation
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.parameters import INPUT, OWN, PARAMETERS, check_asked, shown
from llama_inference.values import Generation, Json, ModelInfo

MAX_BATCH: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """A checked request.

    Attributes:
        prompts: the texts to continue; empty when `messages` is given.
        messages: a chat, to be rendered by the model's template; empty when `prompt` is given.
        given: every parameter that the request itself sets, checked.
        values: every parameter that is set at all: the request's, else the deployment's, else the contract's, else
            the model's; of defaults, those that the backend can honour.
    """

    prompts: tuple[str, ...] = ()
    messages: tuple[dict[str, str], ...] = ()
    given: Mapping[str, Json] = field(default_factory=dict[str, Json])
    values: Mapping[str, Json] = field(default_factory=dict[str, Json])

    @property
    def stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return bool(self.values["stream"])


def decode(body: bytes) -> dict[str, Json]:
    """Return the JSON object in `body`.

    Raises:
        InvalidRequestError: with code `invalid_json`, and where the fault is.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not valid JSON: {_why(error)}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequestError('the body must be a JSON object, such as {"prompt": "…"}', code="invalid_json")
    return value


class _NoJsonError(ValueError):
    """What Python would read and JSON does not have."""


def _no_constant(name: str) -> NoReturn:
    raise _NoJsonError(f"{name} is not a JSON value")


def _why(error: Exception) -> str:
    """What is wrong, in words for callers: Python's are about Python."""
    match error:
        case json.JSONDecodeError(doc=text, pos=place):
            where = f"line {error.lineno} column {error.colno}"
            rest = text[place : place + 20]
            return f"it breaks off at {where}" if not rest else f"at {where} it goes on with {shown(rest)}"
        case UnicodeDecodeError(start=place):
            return f"byte {place + 1} is no UTF-8"
        case _NoJsonError():
            return str(error)
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "it holds a number of too many digits"


def parse(wire: Mapping[str, Json], model: ModelInfo, limits: Limits) -> PredictRequest:
    """Check a request against the contract, the deployment and the model; null counts as not given.

    Raises:
        InvalidRequestError: naming the parameter and what is expected.
    """
    wire = {name: value for name, value in wire.items() if value is not None}
    given = {name: check_asked(name, value, model.vocabulary) for name, value in wire.items() if name not in INPUT}
    for name, value in given.items():
        limits.hold(name, value)
        if name == "max_length":  # another name of the same bound
            limits.hold(name, value, bound="max_new_tokens")
    prompts, messages = _input(wire)
    values = {**model_defaults(model), **_defaults(limits, given, model.vocabulary), **given}
    values = fit(model.backend, given, values)
    _check_stream(given, values)
    _check_together(given, values)
    return PredictRequest(prompts=prompts, messages=messages, given=given, values=values)


def model_defaults(model: ModelInfo) -> dict[str, Json]:
    """What the model's own configuration sets, of what a request could set: the rest of such a file is not for us."""
    return {name: value for name, value in model.defaults.items() if name in PARAMETERS}


def _defaults(limits: Limits, given: Mapping[str, Json], vocabulary: int) -> dict[str, Json]:
    names = {*OWN, *limits.defaults}
    if "max_length" in given:
        names.discard("max_new_tokens")
    values = {name: limits.default(name, vocabulary) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _input(wire: Mapping[str, Json]) -> tuple[tuple[str, ...], tuple[dict[str, str], ...]]:
    if "prompt" in wire and "messages" in wire:
        raise InvalidRequestError("give either prompt or messages, not both", param="messages")
    if "messages" in wire:
        return (), _messages(wire["messages"])
    if "prompt" not in wire:
        raise InvalidRequestError("prompt is missing: the text to continue", code="missing_parameter", param="prompt")
    prompt = wire["prompt"]
    prompts: list[Json] = prompt if isinstance(prompt, list) else [prompt]
    if not prompts or not all(isinstance(text, str) and text for text in prompts):
        message = f"prompt must be a non-empty string or a list of non-empty strings; it is {shown(prompt)}"
        raise InvalidRequestError(message, param="prompt")
    if len(prompts) > MAX_BATCH:
        raise InvalidRequestError(f"prompt holds {len(prompts)} texts; at most {MAX_BATCH} go in one", param="prompt")
    for text in prompts:
        check_text(text, "prompt")
    return tuple(prompts), ()


def _messages(value: Json) -> tuple[dict[str, str], ...]:
    given = [_given(message) for message in cast("list[Json]", value)] if isinstance(value, list) else []
    if not given or not all(isinstance(message, dict) and set(message) == {"role", "content"} for message in given):
        message = 'messages must be a non-empty list of {"role": "…", "content": "…"} with strings'
        raise InvalidRequestError(f"{message}; it is {shown(value)}", param="messages")
    for place, message in enumerate(given):
        for name, text in message.items():
            path = f"messages[{place}].{name}"
            if not isinstance(text, str):
                raise InvalidRequestError(f"{path} must be a string; it is {shown(text)}", param=path)
            check_text(text, path)
    return tuple(given)


def _given(message: Json) -> Json:
    return {name: value for name, value in message.items() if value is not None} if isinstance(message, dict) else None


def check_text(text: str, param: str) -> None:
    """Refuse what no tokenizer could read.

    Raises:
        InvalidRequestError: naming the parameter.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{param} holds half of a surrogate pair: it is no text", param=param) from None


def _check_stream(given: Mapping[str, Json], values: dict[str, Json]) -> None:
    """One beam for a stream, unless the request itself wants more: then it cannot be had."""
    if not values["stream"]:
        return
    if given.get("num_beams", 1) > 1:
        message = f"num_beams is {given['num_beams']}, but a stream needs 1: beams are not final until the end"
        raise InvalidRequestError(message, param="num_beams")
    values["num_beams"] = 1


def _check_together(given: Mapping[str, Json], values: Mapping[str, Json]) -> None:
    """Refuse values that contradict each other, naming both."""
    sequences, beams = values.get("num_return_sequences", 1), values["num_beams"]
    if sequences > 1 and beams == 1 and not generation.samples(values):
        message = (
            f"num_return_sequences is {sequences}, but num_beams is 1 and nothing is sampled: all would be the same; "
            "set do_sample to true with a temperature above 0"
        )
        message += "" if values["stream"] else f", or num_beams to {sequences}"
        raise InvalidRequestError(message, param="num_return_sequences")
    if beams > 1 and sequences > beams:
        message = f"num_return_sequences is {sequences}, more than the {beams} of num_beams"
        raise InvalidRequestError(message, param="num_return_sequences")
    if given.get("top_logprobs") and not values.get("return_logprobs"):
        message = f"top_logprobs is {given['top_logprobs']}: it needs return_logprobs to be true"
        raise InvalidRequestError(message, param="top_logprobs")
    if beams > 1 and "prompt_lookup_num_tokens" in given:
        message = f"prompt_lookup_num_tokens needs num_beams 1; it is {beams}"
        raise InvalidRequestError(message, param="prompt_lookup_num_tokens")


def encode(request: PredictRequest, backend: Backend) -> list[list[int]]:
    """Return the token ids of each prompt. It may take a moment: run it beside the event loop.

    Raises:
        InvalidRequestError: the model has no chat template, or it refuses these messages.
    """
    if request.messages:
        # The template writes the start token itself.
        return [backend.encode(backend.render(request.messages), special=False)]
    return [backend.encode(prompt, special=True) for prompt in request.prompts]


def plan(request: PredictRequest, prompts: Seq[Seq[int]], model: ModelInfo) -> Generation:
    """Turn a request and the token ids of its prompts into what a backend runs.

    Raises:
        InvalidRequestError: with code `context_length_exceeded` when a prompt leaves no room for output.
    """
    values = dict(request.values)
    max_tokens, param = _max_tokens(request, model)
    for prompt in prompts:
        _check_room(request, len(prompt), max_tokens, param, model)
    for name in ("max_new_tokens", "max_length", "stream", "return_full_text"):
        values.pop(name, None)
    full = bool(request.values["return_full_text"])
    return generation.build(values, prompts, max_tokens=max_tokens, streamed=request.stream, prompt_told=full)


def _max_tokens(request: PredictRequest, model: ModelInfo) -> tuple[int, str]:
    """Prompt and output together; defaults are lowered to the model's context, what a request gives is not."""
    bounds = {name: request.values[name] for name in ("max_new_tokens", "max_length") if name in request.values}
    for name, value in bounds.items():
        if name in request.given and value > model.max_context:
            message = f"{name} is {value}; this model's context is {model.max_context} tokens, prompt included"
            raise InvalidRequestError(message, code="context_length_exceeded", param=name)
    param = min(bounds, key=lambda name: bounds[name])
    return min(bounds[param], model.max_context), param


def _check_room(request: PredictRequest, tokens: int, max_tokens: int, param: str, model: ModelInfo) -> None:
    source = "messages" if request.messages else "prompt"
    if tokens == 0:
        raise InvalidRequestError(f"{source} has no tokens: there is nothing to continue", param=source)
    if tokens + 1 > model.max_context:
        message = f"{source} has {tokens} tokens; this model's context is {model.max_context}: shorten it"
        raise InvalidRequestError(message, code="context_length_exceeded", param=source)
    if tokens + 1 > max_tokens:
        message = (
            f"{source} has {tokens} tokens, and {param} is {max_tokens}, which counts prompt and output together: "
            f"the smallest {param} that works is {tokens + 1}"
        )
        raise InvalidRequestError(message, code="context_length_exceeded", param=param)
    shortest = max(request.given.get("min_length", 0), tokens + request.given.get("min_new_tokens", 0))
    if shortest > max_tokens:
        name = "min_length" if "min_length" in request.given else "min_new_tokens"
        message = f"{name} asks for {shortest} tokens with the prompt's {tokens}; {param} leaves {max_tokens}"
        raise InvalidRequestError(message, param=name)
