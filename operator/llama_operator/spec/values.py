"""Kinds of values in the spec: each checks itself here and describes itself to the API server by the same rule.

The API server's own message for a failed `pattern` shows the pattern; a CEL rule can say what to write instead.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

Schema = dict[str, Any]
"""A node of an OpenAPI v3 schema."""

RULES: Final = "x-kubernetes-validations"
OPEN: Final[Schema] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""An object whose fields are Kubernetes' own: checked when the API server takes the object they end up in."""


def rule(expression: str, message: str, *, shown: str | None = None, path: str | None = None) -> Schema:
    """Return a CEL rule; `shown` is a CEL expression of the message with the values in it."""
    row: Schema = {"rule": expression, "message": message}
    if shown is not None:
        row["messageExpression"] = shown
    if path is not None:
        row["fieldPath"] = path
    return row


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a string: `pattern` for the whole of it, `wants` as the sentence that says what to write.

    Patterns are written for RE2, which the API server uses, and mean the same to Python. With `or_integer` the
    value may be written as an integer too; it is a string here all the same.
    """

    pattern: str
    wants: str
    max_length: int
    or_integer: bool = False

    def check(self, value: str) -> str:
        """Return `value` if it has the form.

        Raises:
            ValueError: with what to write instead.
        """
        if len(value) > self.max_length or not re.fullmatch(self.pattern, value):
            raise ValueError(f"it is {value!r}; {self.wants}")
        return value

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(self.check, handler(source))
        return core_schema.no_info_before_validator_function(_as_text, checked) if self.or_integer else checked

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        kind = _INT_OR_STRING if self.or_integer else handler(schema)
        value = "string(self)" if self.or_integer else "self"
        matches = f"{value}.matches('^({self.pattern})$')".replace("\\", "\\\\")
        return {**kind, "maxLength": self.max_length, RULES: [rule(matches, self.wants)]}


_INT_OR_STRING: Final[Schema] = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Form(
        r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?",
        "write an amount, such as 500m, 2 or 140Gi",
        32,
        or_integer=True,
    ),
]
CountOrPercent = Annotated[
    str,
    Form(r"[0-9]{1,6}|[0-9]{1,3}%", "write a number of pods or a share of them, such as 1 or 25%", 6, or_integer=True),
]
Repo = Annotated[
    str,
    Form(
        r"([A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}",
        "write the repository as on the Hub, organisation/name, such as meta-llama/Llama-2-70b-chat-hf",
        193,
    ),
]
Revision = Annotated[str, Form(r"[A-Za-z0-9._/+-]{1,255}", "write a branch, a tag or a commit, such as main", 255)]
Endpoint = Annotated[
    str,
    Form(
        r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
        "write an http or https URL without user, password or query, such as https://huggingface.co",
        2048,
    ),
]
Image = Annotated[
    str,
    Form(
        r"[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?(@sha256:[0-9a-f]{64})?",
        "write an image with its tag or digest, such as registry.example/llama-inference:0.1.0",
        512,
    ),
]
ObjectName = Annotated[
    str,
    Form(
        r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
        "write an object's name: lower-case letters, digits, dots and hyphens",
        253,
    ),
]
NamespaceName = Annotated[
    str,
    Form(
        r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
        "write a namespace's name: lower-case letters, digits and hyphens",
        63,
    ),
]
Duration = Annotated[
    str,
    Form(r"[0-9]{1,5}(ms|s|m|h)", "write a time, such as 30s or 2m", 7),
]
SecretKey = Annotated[str, Form(r"[A-Za-z0-9._-]{1,253}", "write a key: letters, digits, dots, hyphens", 253)]
ResourceName = Annotated[
    str,
    Form(
        r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
        "write an extended resource, such as nvidia.com/gpu",
        253,
    ),
]
Product = Annotated[
    str,
    Form(
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
        "write a product such as A100, the exact value of the node label nvidia.com/gpu.product, or any",
        63,
    ),
]
Text = Annotated[str, StringConstraints(max_length=1024)]
