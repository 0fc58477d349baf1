"""`spec.generation`: what a deployment says about the parameters of predict requests.

Keys are the parameters' own names, as in a request; the bounds are the predict contract's (docs/predict.md).
Other fields of transformers' GenerationConfig are held against the server's own tables (`spec.parameters`).
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from llama_operator.spec.values import RULES, rule

Tokens = Annotated[int, Field(ge=1, le=4096)]
Beams = Annotated[int, Field(ge=1, le=16)]
Temperature = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(gt=0, le=1)]
TopK = Annotated[int, Field(ge=0, le=2**31 - 1)]

_BOUNDED: Final = ("max_new_tokens", "temperature", "top_p", "top_k", "num_beams", "num_return_sequences")


class GenerationDefaults(BaseModel):
    """Values of parameters that a request does not give."""

    model_config = ConfigDict(frozen=True, extra="allow")

    max_new_tokens: Tokens | None = Field(
        default=None, description="Prompt and output together, in tokens (contract: 512)."
    )
    temperature: Temperature | None = Field(default=None, description="0 is greedy (contract: 0.1).")
    top_p: Share | None = Field(
        default=None, description="Sample from the likeliest tokens of this share (contract: 0.75)."
    )
    top_k: TopK | None = Field(
        default=None, description="Sample from this many of the likeliest; 0 is off (contract: 40)."
    )
    num_beams: Beams | None = Field(default=None, description="Beams of the beam search; 1 is none (contract: 4).")
    num_return_sequences: Beams | None = Field(default=None, description="Outputs for each prompt.")
    do_sample: StrictBool | None = Field(
        default=None, description="Draw tokens; unset: as the model's own configuration says."
    )
    stream: StrictBool | None = Field(default=None, description="Answer with server-sent events (contract: false).")
    return_full_text: StrictBool | None = Field(default=None, description="Put the prompt in front (contract: false).")


class GenerationMaximums(BaseModel):
    """Largest values that a request may give; never above the contract's."""

    model_config = ConfigDict(frozen=True, extra="allow")

    max_new_tokens: Tokens | None = Field(
        default=None, description="Prompt and output together, in tokens (contract: 4096)."
    )
    temperature: Temperature | None = Field(default=None, description="Largest temperature.")
    top_p: Share | None = Field(default=None, description="Largest share.")
    top_k: TopK | None = Field(default=None, description="Largest number of candidates.")
    num_beams: Beams | None = Field(default=None, description="Most beams (contract: 16).")
    num_return_sequences: Beams | None = Field(default=None, description="Most outputs for each prompt (contract: 16).")


def _within(name: str) -> dict[str, Any]:
    there = "has(self.defaults) && has(self.maximums) && "
    both = f"has(self.defaults.{name}) && has(self.maximums.{name})"
    # The message is fixed: the API server's cost estimate has no bound for a number turned into text.
    return rule(
        f"!({there}{both}) || self.defaults.{name} <= self.maximums.{name}",
        f"defaults.{name} is above maximums.{name}; lower the default or raise the maximum",
    )


class Generation(BaseModel):
    """Defaults and maximums of the parameters of predict requests."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={RULES: [_within(name) for name in _BOUNDED]}
    )

    defaults: GenerationDefaults = Field(
        default_factory=GenerationDefaults,
        description="Values of parameters that a request does not give, under the parameters' own names.",
    )
    maximums: GenerationMaximums = Field(
        default_factory=GenerationMaximums,
        description="Largest values that a request may give, under the parameters' own names.",
    )
