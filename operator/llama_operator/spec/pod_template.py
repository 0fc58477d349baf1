"""The schema of `spec.podTemplate`: open, except for what must never stand in it."""

from collections.abc import Sequence
from typing import Any, Final

from llama_operator.names import Env
from llama_operator.spec.values import RULES, rule

TOKEN_VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_RESERVED = sorted(Env)


def _in(names: Sequence[str]) -> str:
    return "self.name in [" + ", ".join(f"'{name}'" for name in names) + "]"


_ENV: Final[dict[str, Any]] = {
    "type": "array",
    "maxItems": 128,
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "maxLength": 256, "description": "Name of the variable."}},
        "x-kubernetes-preserve-unknown-fields": True,
        RULES: [
            rule(
                f"!({_in(_RESERVED)})",
                "this variable is set from other fields of the spec; change those",
                shown='self.name + " is set from other fields of the spec; change those"',
            ),
            rule(
                f"!({_in(TOKEN_VARIABLES)})",
                "a token in a variable is shown by kubectl describe; put it into a Secret and name that in "
                "spec.model.tokenSecretRef",
            ),
        ],
    },
    "description": "Environment variables, merged by name.",
}

_CONTAINERS: Final[dict[str, Any]] = {
    "type": "array",
    "maxItems": 16,
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 63, "description": "Name; inference is the server's container."},
            "env": _ENV,
        },
        "x-kubernetes-preserve-unknown-fields": True,
    },
    "description": "Containers, merged by name.",
}

POD_TEMPLATE: Final[dict[str, Any]] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"containers": _CONTAINERS},
            "description": "Fields of a pod's spec.",
        },
    },
}
