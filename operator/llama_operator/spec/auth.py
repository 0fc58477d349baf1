"""`spec.auth`: who may call predict."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from llama_operator.spec.part import Part
from llama_operator.spec.values import RULES, Form, rule

_EMPTY: Final = (
    "the selector selects every Secret of the namespace; name a label in matchLabels, such as llama-keys: mine"
)
_VALUES: Final = "In and NotIn need values, Exists and DoesNotExist have none"

LabelKey = Annotated[
    str,
    Form(
        r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
        "write a label's name, such as llama-keys or example.com/llama-keys",
        317,
    ),
]
LabelValue = Annotated[
    str, Form(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", "write a label's value, such as team-a", 63)
]


class LabelRequirement(Part):
    """One demand on a label."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule(
                    "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                    _VALUES,
                )
            ]
        }
    )

    key: LabelKey = Field(description="Name of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="What is demanded of it.")
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32)] = Field(
        default=(), description="Its values, for In and NotIn."
    )

    @model_validator(mode="after")
    def _values(self) -> "LabelRequirement":
        if (self.operator in ("In", "NotIn")) != bool(self.values):
            raise ValueError(_VALUES)
        return self


class SecretSelector(Part):
    """Which Secrets, by their labels; all demands hold together."""

    model_config = ConfigDict(
        json_schema_extra={
            RULES: [
                rule(
                    "(has(self.matchLabels) && self.matchLabels.size() > 0) || "
                    "(has(self.matchExpressions) && self.matchExpressions.size() > 0)",
                    _EMPTY,
                )
            ]
        }
    )

    match_labels: Annotated[
        dict[LabelKey, LabelValue],
        WithJsonSchema(
            {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}, "maxProperties": 16}
        ),
    ] = Field(default_factory=dict, description="Labels that a Secret has.")
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] = Field(
        default=(), description="Demands on labels of a Secret."
    )

    @model_validator(mode="after")
    def _some(self) -> "SecretSelector":
        if not self.match_labels and not self.match_expressions:
            raise ValueError(_EMPTY)
        return self

    def written(self) -> str:
        """Return the selector as the API server takes it."""
        return ",".join((*(f"{key}={value}" for key, value in sorted(self.match_labels.items())), *self._demands()))

    def _demands(self) -> tuple[str, ...]:
        return tuple(_demand(row) for row in self.match_expressions)


def _demand(row: LabelRequirement) -> str:
    match row.operator:
        case "Exists":
            return row.key
        case "DoesNotExist":
            return f"!{row.key}"
        case "In":
            return f"{row.key} in ({','.join(row.values)})"
        case "NotIn":
            return f"{row.key} notin ({','.join(row.values)})"


class Auth(Part):
    """Who may call predict."""

    api_key_secret_selector: SecretSelector | None = Field(
        default=None,
        description="Secrets of the namespace (type Opaque) whose values are the API keys: each value is one, called "
        "SECRET.KEY. They may come, change and go at any time; no pod restarts. Set, a key is required, also while "
        "there is none. Unset: anybody may call who reaches the Service.",
    )
