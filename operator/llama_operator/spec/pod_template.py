"""The schema of `spec.podTemplate`: open, except for what must never stand in it."""

from collections.abc import Sequence
from typing import Any, Final

from llama_operator.names import Env
from llama_operator.spec.values import RULES, Schema, rule

TOKEN_VARIABLES: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_RESERVED = sorted(Env)


def _in(names: Sequence[str]) -> str:
    return "self.name in [" + ", ".join(f"'{name}'" for name in names) + "]"


_NOT_RESERVED: Final = rule(
    f"!({_in(_RESERVED)})",
    "this variable is set from other fields of the spec; change those",
    shown='self.name + " is set from other fields of the spec; change those"',
)
_NO_TOKEN: Final = rule(
    f"!({_in(TOKEN_VARIABLES)})",
    "a token in a variable is shown by kubectl describe; put it into a Secret and name that in "
    "spec.model.tokenSecretRef",
)


def _containers(name: str, rules: Sequence[Schema], description: str) -> dict[str, Any]:
    """Return a list of containers; `rules` are for each of their variables, and `name` describes their names."""
    env = {
        "type": "array",
        "maxItems": 128,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string", "maxLength": 256, "description": "Name of the variable."}},
            "x-kubernetes-preserve-unknown-fields": True,
            RULES: list(rules),
        },
        "description": "Environment variables, merged by name.",
    }
    return {
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string", "maxLength": 63, "description": name}, "env": env},
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "description": description,
    }


POD_TEMPLATE: Final[dict[str, Any]] = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "containers": _containers(
                    "Name; inference is the server's container.",
                    (_NOT_RESERVED, _NO_TOKEN),
                    "Containers, merged by name.",
                ),
                # The server's variables say nothing to others, which may have some of these names.
                "initContainers": _containers(
                    "Name; tgi is TGI's container, which runs beside the server.",
                    (_NO_TOKEN,),
                    "Containers that run before the server's, or beside it with restartPolicy Always, merged by name.",
                ),
            },
            "description": "Fields of a pod's spec.",
        },
    },
}
