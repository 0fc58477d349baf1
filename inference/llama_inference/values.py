"""What the layers pass along: generations, steps, sequences, and what a model is. No behaviour, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

Json = Any  # what `json.loads` returns; checked where it enters, in protocol
BackendName: TypeAlias = Literal["native", "transformers", "vllm", "tgi", "mock"]


class FinishReason(StrEnum):
    """Why a sequence ended: an end token or stop string, no room left, or `max_time`."""

    STOP = "stop"
    LENGTH = "length"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a caller may ask of the loaded model.

    Attributes:
        max_context: prompt and output together, in tokens.
        vocabulary: number of token ids the output layer knows; every id in a request must be below it.
        defaults: the parameters that the model's own `generation_config.json` sets.
        has_chat_template: whether `messages` can be rendered.
        dtype: such as `float16`.
        device: such as `cuda:0`, or `cuda:0,cuda:1` when the layers are spread.
        backend: what computes, which decides what parameters are honoured (`backends.abilities`).
        batch_invariant: whether a seed repeats whatever else is computed, bit for bit.
    """

    max_context: int
    vocabulary: int
    defaults: Mapping[str, Json] = field(default_factory=dict[str, Json])
    has_chat_template: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    backend: BackendName = "native"
    batch_invariant: bool = False


class StructureKind(StrEnum):
    """What the text of a `Structure` is: a JSON schema, a regular expression, or a grammar (Lark's or GBNF)."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    GRAMMAR = "grammar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What an output is held to.

    Attributes:
        kind, text: the grammar as it is asked for.
        param: the field of the request that asks.
        lenient: whether what cannot be held to in a JSON schema is passed over instead of refused.
    """

    kind: StructureKind
    text: str
    param: str
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One request as a backend runs it.

    Attributes:
        prompts: token ids of each prompt; each prompt is run alone, in order.
        max_tokens: prompt and output together, for each prompt.
        max_output: output alone, for each sequence; None is no bound of its own. `length` holds both.
        sequences: returned sequences for each prompt; row `i` of prompt `p` has index `p * sequences + i`.
        parameters: fields of `GenerationConfig`, checked; lengths, `max_time` and `stop_strings` stand apart.
        stop_strings: output ends with the first of these.
        stops_begin_in_prompt: whether a stop string may begin in the prompt, as transformers has it; OpenAI's may not.
        max_time: seconds of computing for the whole request.
        seed: prompt `p` is drawn with `seed + p`; None draws a fresh one.
        streamed: whether the backend hands over tokens at each step.
        logprobs: how many of the likeliest tokens are told at each place of the output; 0 tells the chosen one's
            log-probability alone, None nothing.
        prompt_logprobs: the same for each place of the prompt.
        structure: what every output is held to.
        grammar: what the backend has prepared for that; it alone reads it, and can do without.
    """

    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    max_output: int | None = None
    sequences: int = 1
    parameters: Mapping[str, Json] = field(default_factory=dict[str, Json])
    stop_strings: tuple[str, ...] = ()
    stops_begin_in_prompt: bool = True
    max_time: float | None = None
    seed: int | None = None
    streamed: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    structure: Structure | None = None
    grammar: object = field(default=None, repr=False, compare=False)

    def length(self, prompt: int) -> int:
        """Prompt and output together at most, for a prompt of so many tokens."""
        return self.max_tokens if self.max_output is None else min(self.max_tokens, prompt + self.max_output)

    def room(self, prompt: int) -> int:
        """Output alone at most, after a prompt of so many tokens."""
        return self.length(prompt) - prompt

    @property
    def rows(self) -> int:
        """Sequences that are computed side by side: each beam of each prompt is one."""
        return len(self.prompts) * max(self.sequences, self.parameters.get("num_beams") or 1)


@dataclass(frozen=True, slots=True)
class KvUsage:
    """Tokens whose keys and values a backend keeps, and how many it may; `total` is 0 where it does not say."""

    used: int = 0
    total: int = 0

    @property
    def ratio(self) -> float:
        """The part in use, from 0 to 1."""
        return self.used / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Logprob:
    """How likely the model itself held a token, as a natural logarithm.

    It is the log-softmax of the model's scores as they are: no penalty, temperature, filter or ban is in it.

    Attributes:
        token: the token that stands there.
        value: its log-probability.
        top: the likeliest tokens there and their log-probabilities, best first.
    """

    token: int
    value: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """New tokens of the sequence `index`, in the order they were decided.

    Attributes:
        logprobs: one for each token, where they are asked for.
        prompt_logprobs: with the first step, one for each token of the prompt but its first, where asked for.
    """

    index: int
    token_ids: tuple[int, ...]
    logprobs: tuple[Logprob, ...] = ()
    prompt_logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """One finished output: its token ids without the prompt, the end token included; `Step` has the rest."""

    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[Logprob, ...] = ()
    prompt_logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished generation; times in seconds since the request arrived."""

    sequences: tuple[Sequence, ...]
    queued_s: float
    first_token_s: float
    total_s: float
