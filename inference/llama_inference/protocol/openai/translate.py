"""OpenAI's and vLLM's names for how tokens are chosen → the parameters of generation that a backend knows.

Defaults are OpenAI's, then what the deployment says; of the model's own configuration, what is no matter of taste, such
as its end tokens.
"""

from collections.abc import Mapping
from typing import Final

from llama_inference.backends.abilities import fit
from llama_inference.errors import InvalidRequestError
from llama_inference.protocol import generation
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.openai import fields
from llama_inference.protocol.predict import model_defaults
from llama_inference.values import Json, ModelInfo

DEFAULTS: Final[Mapping[str, Json]] = {
    "do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "num_beams": 1,
}  # fmt: skip
TASTE: Final = frozenset({*generation.SAMPLING, *DEFAULTS, "num_return_sequences"})  # of the model: not taken over
# Of the deployment: bounds and defaults of /predict, which mean something else here or have a name of their own.
PREDICTS_OWN: Final = frozenset({"max_new_tokens", "num_beams", "stream", "seed", "top_logprobs", *fields.NOT_HERE})
RENAMED: Final = {
    "stop": "stop_strings", "n": "num_return_sequences", "logit_bias": "sequence_bias", "min_tokens": "min_new_tokens",
    "logprobs": "return_logprobs",
}  # fmt: skip
ENDS: Final = ("ignore_eos", "stop_token_ids")  # two ways to say what `eos_token_id` says
OF_NO_EFFECT_WHEN_EMPTY: Final = ("presence_penalty", "frequency_penalty", "sequence_bias", "stop_strings")
NEITHER: Final = frozenset(
    {
        "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "echo", "best_of", "top_p",
        "add_special_tokens", "add_generation_prompt", "continue_final_message", "chat_template_kwargs",
        "include_stop_str_in_output", *ENDS,
    }
)  # fmt: skip
"""What a backend does not see, or not as it stands."""


def values(given: Mapping[str, Json], model: ModelInfo, limits: Limits) -> dict[str, Json]:
    """Return the parameters of generation that a request's checked fields come to.

    Raises:
        InvalidRequestError: one is above the deployment's maximum, not for this backend, or given by two names.
    """
    _check_names(given)
    for name, value in given.items():
        limits.hold(name, value, bound=RENAMED.get(name))
    asked = {RENAMED.get(name, name): value for name, value in given.items() if name not in NEITHER}
    for name in OF_NO_EFFECT_WHEN_EMPTY:
        if not asked.get(name):  # 0, or no bias at all, asks for nothing, and any backend can do that
            asked.pop(name, None)
    if "seed" in asked:
        asked["seed"] %= 2**63  # OpenAI's may be negative
    if "top_k" in asked:
        asked["top_k"] = max(0, asked["top_k"])
    asked |= _top_p(given.get("top_p")) | _ends(given, model)
    of_model = {name: value for name, value in model_defaults(model).items() if name not in TASTE}
    contract = {name: min(value, limits.maximums.get(name, value)) for name, value in DEFAULTS.items()}
    of_deployment = {
        name: limits.default(name, model.vocabulary) for name in limits.defaults if name not in PREDICTS_OWN
    }
    try:
        return fit(model.backend, asked, {**of_model, **contract, **of_deployment, **asked})
    except InvalidRequestError as error:
        raise _as_written(error, given) from None


def _check_names(given: Mapping[str, Json]) -> None:
    pairs = [*RENAMED.items(), *((name, "eos_token_id") for name in ENDS)]
    for name, other in pairs:
        if name in given and other in given:
            raise InvalidRequestError(f"give either {name} or {other}, not both", param=other)


def _top_p(share: float | None) -> dict[str, Json]:
    """A share of 0 leaves the likeliest token alone: nothing is drawn."""
    return {} if share is None else {"top_p": share} if share > 0 else {"do_sample": False}


def _ends(given: Mapping[str, Json], model: ModelInfo) -> dict[str, Json]:
    """The end tokens: the model's own, where they are not to be ignored, and those that a request adds."""
    if not given.get("ignore_eos") and not given.get("stop_token_ids"):
        return {}
    own: Json = None if given.get("ignore_eos") else model.defaults.get("eos_token_id")
    ends = [] if own is None else list(own) if isinstance(own, list) else [own]
    return {"eos_token_id": [*ends, *given.get("stop_token_ids", ())]}


def _as_written(error: InvalidRequestError, given: Mapping[str, Json]) -> InvalidRequestError:
    """The same error by the name that the caller gave the parameter."""
    names = [*((other, name) for name, other in RENAMED.items()), *(("eos_token_id", name) for name in ENDS)]
    for name, written in names:
        if name == error.param and written in given:
            message = str(error).replace(name, written, 1)
            return InvalidRequestError(message, code=error.code, param=written)
    return error
