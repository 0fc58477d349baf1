"""An OpenAI request: JSON object → `OpenAIRequest` → `Generation`. Every fault is an `InvalidRequestError`.

In two steps, as `protocol.predict`: `parse` needs the model's facts, `plan` the tokens of the prompts.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace

from llama_inference.backends.base import Backend
from llama_inference.errors import InvalidRequestError, NotFoundError
from llama_inference.protocol import generation
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.openai import fields, inputs, translate
from llama_inference.protocol.openai.fields import Endpoint
from llama_inference.protocol.openai.inputs import Prompt
from llama_inference.values import FinishReason, Generation, Json, ModelInfo, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIRequest:
    """A checked request.

    Attributes:
        prompts: texts or token ids to continue; empty for a chat.
        messages: a chat, to be rendered by the model's template; empty for a completion.
        values: parameters of generation, by the names of `protocol.parameters`, and OpenAI's two penalties.
        copies: how often each prompt is continued in the same way, where nothing is drawn and `n` asks for more.
        special: whether the start token is put in front of the prompt.
        template: how the template renders the chat, as `backends.base.Backend.render` takes it.
        max_output: tokens of each output alone; None is what the context leaves.
        max_output_given: by which name the request itself sets `max_output`; None when it does not.
        room: prompt and output together; the model's context, or less where the deployment says so.
        stream: whether the answer is a stream of chunks.
        include_usage: whether the last chunk counts tokens.
        continuous_usage: whether each chunk counts those so far.
        echo: whether the prompt stands in front of the output.
        cut: stop strings that a text ends with, and begin in the output; our own `stop_strings` may begin before it.
        cut_after: whether a text ends behind them rather than in front of them.
    """

    prompts: tuple[Prompt, ...] = ()
    messages: tuple[dict[str, str], ...] = ()
    values: Mapping[str, Json] = field(default_factory=dict[str, Json])
    max_output: int | None = None
    max_output_given: str | None = None
    room: int = 0
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    echo: bool = False
    cut: tuple[str, ...] = ()
    cut_after: bool = False
    copies: int = 1
    special: bool = True
    template: Mapping[str, Json] = field(default_factory=dict[str, Json])

    @property
    def source(self) -> str:
        """The field that holds the input."""
        return "messages" if self.messages else "prompt"

    def taken(self, step: Step) -> Step:
        """What a caller gets of new tokens: of those that only end the reading of a prompt, none."""
        return replace(step, token_ids=(), logprobs=()) if self.max_output == 0 else step

    def answered(self, outcome: Outcome) -> Outcome:
        """What a caller gets of an outcome, see `taken`."""
        if self.max_output != 0:
            return outcome
        nothing = [
            replace(sequence, token_ids=(), logprobs=(), finish_reason=FinishReason.LENGTH)
            for sequence in outcome.sequences
        ]
        return replace(outcome, sequences=tuple(nothing))


def check_model(wire: Mapping[str, Json], name: str) -> None:
    """Refuse a request for another model than the one of this name.

    Raises:
        InvalidRequestError: no model is named.
        NotFoundError: another one is.
    """
    model = wire.get("model")
    if not isinstance(model, str):
        message = f'model must name the model to ask, such as "{name}"'
        raise InvalidRequestError(message, code="missing_parameter", param="model")
    if model != name:
        message = f"there is no model {model[:200]} here; it is {name}"
        raise NotFoundError(message, param="model", code="model_not_found")


def parse(wire: Mapping[str, Json], endpoint: Endpoint, model: ModelInfo, limits: Limits) -> OpenAIRequest:
    """Check a request against OpenAI's description, the deployment and the model; null counts as not given.

    Raises:
        InvalidRequestError: naming the field and what is expected.
    """
    wire = {name: value for name, value in wire.items() if value is not None}
    given = fields.read(wire, endpoint, model.vocabulary)
    values = translate.values(_spelt_out(given), model, limits)
    _check_together(given, values)
    _check_told(given)
    copies = _copies(values)
    name, max_output = _max_output(given, endpoint)
    chat = endpoint is Endpoint.CHAT
    return OpenAIRequest(
        prompts=() if chat else inputs.prompts(wire, model.vocabulary),
        messages=inputs.messages(wire) if chat else (),
        values=values,
        max_output=max_output,
        max_output_given=name,
        room=min(model.max_context, int(limits.maximums.get("max_new_tokens", model.max_context))),
        stream=given.get("stream", False),
        include_usage=given.get("stream_options", {}).get("include_usage", False),
        continuous_usage=given.get("stream_options", {}).get("continuous_usage_stats", False),
        echo=given.get("echo", False),
        cut=tuple(given.get("stop", ())),
        cut_after=given.get("include_stop_str_in_output", False),
        copies=copies,
        special=given.get("add_special_tokens", not chat),
        template=inputs.template(given, wire) if chat else {},
    )


def _spelt_out(given: Mapping[str, Json]) -> Mapping[str, Json]:
    """A completion's logprobs is a number, of tokens beside each; here that is a number of its own, as in a chat."""
    top = given.get("logprobs")
    return given if isinstance(top, bool) or top is None else {**given, "logprobs": True, "top_logprobs": top}


def _check_together(given: Mapping[str, Json], values: Mapping[str, Json]) -> None:
    """Refuse values that contradict each other, naming both."""
    n, beams = values.get("num_return_sequences", 1), values["num_beams"]
    if any(given.get("stream_options", {}).values()) and not given.get("stream", False):
        raise InvalidRequestError("stream_options needs stream to be true", param="stream_options")
    if beams > 1 and given.get("stream", False):
        message = f"num_beams is {beams}, but a stream needs 1: beams are not final until the end"
        raise InvalidRequestError(message, param="num_beams")
    if given.get("best_of", n) != n:
        message = f"best_of is {given['best_of']}, but n is {n}: all that is generated is returned"
        raise InvalidRequestError(message, param="best_of")
    if beams > 1 and n > beams:
        raise InvalidRequestError(f"n is {n}, more than the {beams} of num_beams", param="n")
    if beams > 1 and "prompt_lookup_num_tokens" in values:
        message = f"prompt_lookup_num_tokens needs num_beams 1; it is {beams}"
        raise InvalidRequestError(message, param="prompt_lookup_num_tokens")


def _check_told(given: Mapping[str, Json]) -> None:
    """Refuse what would tell nothing."""
    if given.get("top_logprobs") and not given.get("logprobs"):
        message = f"top_logprobs is {given['top_logprobs']}: it needs logprobs to be true"
        raise InvalidRequestError(message, param="top_logprobs")
    if given.get("max_tokens") == 0 and not given.get("echo"):
        message = "max_tokens is 0, so that nothing would be answered: it takes 0 with echo alone"
        raise InvalidRequestError(message, param="max_tokens")


def _copies(values: dict[str, Json]) -> int:
    """How many choices are the same because nothing is drawn; those are prompts of their own to a backend."""
    if values["num_beams"] > 1 or generation.samples(values):
        return 1
    return values.pop("num_return_sequences", 1)


def _max_output(given: Mapping[str, Json], endpoint: Endpoint) -> tuple[str | None, int | None]:
    names = [name for name in ("max_completion_tokens", "max_tokens") if name in given]
    if len(names) == 2 and given[names[0]] != given[names[1]]:
        message = f"max_tokens is {given['max_tokens']}, but max_completion_tokens is {given[names[0]]}: give one"
        raise InvalidRequestError(message, param="max_tokens")
    if names:
        return (None, None) if given[names[0]] == -1 else (names[0], given[names[0]])
    row = fields.FIELDS[endpoint].get("max_tokens")
    return None, None if row is None else row.default


def encode(request: OpenAIRequest, backend: Backend) -> list[list[int]]:
    """Return the token ids of each prompt. It may take a moment: run it beside the event loop.

    Raises:
        InvalidRequestError: the model has no chat template, or it refuses these messages.
    """
    if request.messages:
        return [backend.encode(backend.render(request.messages, **request.template), special=request.special)]
    special = request.special
    return [backend.encode(each, special=special) if isinstance(each, str) else list(each) for each in request.prompts]


def plan(request: OpenAIRequest, prompts: Seq[Seq[int]]) -> Generation:
    """Turn a request and the token ids of its prompts into what a backend runs.

    Raises:
        InvalidRequestError: with code `context_length_exceeded` when a prompt leaves no room for what is asked.
    """
    for prompt in prompts:
        _check_room(request, len(prompt))
    return generation.build(
        request.values,
        [prompt for prompt in prompts for _ in range(request.copies)],
        max_tokens=request.room,
        max_output=None if request.max_output is None else max(1, request.max_output),
        streamed=request.stream,
        stops_begin_in_prompt=not request.cut,
        prompt_told=request.echo,
    )


def _check_room(request: OpenAIRequest, tokens: int) -> None:
    source, room, output = request.source, request.room, request.max_output
    if tokens == 0:
        raise InvalidRequestError(f"{source} has no tokens: there is nothing to continue", param=source)
    limit = f"This model's maximum context length is {room} tokens"  # OpenAI's words, which clients look for
    if tokens + 1 > room:
        message = f"{limit}, prompt and output together, and {source} has {tokens}: shorten it"
        message += " (max_tokens 0 reads a prompt by computing one token)" if output == 0 else ""
        raise InvalidRequestError(message, code="context_length_exceeded", param=source)
    name = request.max_output_given
    if name is not None and output is not None and tokens + output > room:
        message = (
            f"{limit}, but {source} has {tokens} tokens and {name} is {output}: "
            f"the largest {name} that works is {room - tokens}"
        )
        raise InvalidRequestError(message, code="context_length_exceeded", param=name)
    left = room - tokens if output is None else min(output, room - tokens)
    least = request.values.get("min_new_tokens", 0)
    if least > left:
        raise InvalidRequestError(f"min_new_tokens is {least}; there is room for {left}", param="min_new_tokens")
