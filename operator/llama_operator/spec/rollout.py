"""`spec.rollout`: how pods are replaced when the spec changes, what a new pod has to prove, and the ways back."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StrictBool, WithJsonSchema, model_validator

from llama_operator.spec.part import Open, Part
from llama_operator.spec.values import OPEN, RULES, CountOrPercent, rule

_TESTS: Final = ("equals", "startsWith", "contains", "matches")
_ONE_TEST: Final = "an expectation is exactly one of equals, startsWith, contains and matches"
_ONE_QUESTION: Final = "a golden prompt has either prompt or messages, not both and not neither"

Words = Annotated[str, Field(min_length=1, max_length=4096)]


class Expectation(Part):
    """What the answer to a golden prompt has to look like: one of four tests."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [rule(f"[{', '.join(f'has(self.{name})' for name in _TESTS)}].filter(x, x).size() == 1", _ONE_TEST)]
        }
    )

    equals: Words | None = Field(default=None, description="The answer is this text.")
    starts_with: Words | None = Field(default=None, description="The answer starts with this text.")
    contains: Words | None = Field(default=None, description="This text is somewhere in the answer.")
    matches: Words | None = Field(
        default=None, description="This regular expression, in Python's syntax, finds something in the answer."
    )

    @model_validator(mode="after")
    def _one(self) -> "Expectation":
        if sum(value is not None for value in (self.equals, self.starts_with, self.contains, self.matches)) != 1:
            raise ValueError(_ONE_TEST)
        return self


class GoldenPrompt(Part):
    """A question that a new pod answers before it is ready, and what the answer has to look like."""

    model_config = ConfigDict(
        json_schema_extra={RULES: [rule("has(self.prompt) != has(self.messages)", _ONE_QUESTION)]}
    )

    name: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="What messages call it; unset: its place in the list."
    )
    prompt: Annotated[str, Field(min_length=1, max_length=16384)] | None = Field(
        default=None, description="The prompt, as in a predict request."
    )
    messages: (
        Annotated[tuple[dict[str, Any], ...], WithJsonSchema({"type": "array", "items": OPEN, "maxItems": 64})] | None
    ) = Field(default=None, description="Or messages of role and content, for the model's chat template.")
    parameters: Open = Field(
        default_factory=dict,
        description="Parameters of the predict request, such as max_new_tokens; temperature 0 and num_beams 1 make "
        "an answer that repeats.",
    )
    expect: Expectation = Field(description="What the answer has to look like.")

    @model_validator(mode="after")
    def _one(self) -> "GoldenPrompt":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError(_ONE_QUESTION)
        return self


class Rollout(Part):
    """How pods are replaced when the spec changes."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule(
                    "self.strategy != 'RollingUpdate' || !has(self.maxSurge) || !has(self.maxUnavailable) || "
                    "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
                    "maxSurge and maxUnavailable are both 0, so that no pod could ever be replaced; set one of them "
                    "to 1, or leave them out: whether GPUs are to spare is then found out",
                )
            ]
        }
    )

    strategy: Literal["RollingUpdate", "Recreate"] = Field(
        default="RollingUpdate", description="Recreate: stop all old pods first."
    )
    max_surge: CountOrPercent | None = Field(
        default=None,
        description="Pods above replicas during a rolling update. Unset: 1 where a node has the GPUs free for one "
        "more when the rollout begins, else 0.",
    )
    max_unavailable: CountOrPercent | None = Field(
        default=None, description="Pods below replicas during a rolling update. Unset: 0 where maxSurge is not, else 1."
    )
    progress_deadline_seconds: int = Field(
        default=3600,
        ge=10,
        le=86400,
        description="After this long without progress the rollout has failed; bytes that "
        "come, and a stage that begins, are progress.",
    )
    golden_prompts: Annotated[tuple[GoldenPrompt, ...], Field(max_length=16)] = Field(
        default=(), description="Questions that each pod answers as expected before it is ready."
    )
    auto_rollback: StrictBool = Field(
        default=True,
        description="Go back to the last revision that served when a rollout fails; the spec that failed is not tried "
        "again until it changes. false: leave it as it is.",
    )
    rollback_to: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Run this revision of status.history, whatever else the spec says; unset again, the spec holds.",
    )
    paused: StrictBool = Field(
        default=False, description="Replace no pods for now, and do not go back by itself; both kinds serve on."
    )


def golden_json(prompt: GoldenPrompt) -> dict[str, Any]:
    """Return a golden prompt as the server reads it."""
    return prompt.model_dump(mode="json", by_alias=True, exclude_none=True)
