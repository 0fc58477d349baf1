"""The request's JSON schema for the OpenAPI page, out of the same table that checks requests."""

from collections.abc import Mapping
from typing import Final

from llama_inference.protocol.parameters import HELD_TO, PARAMETERS, REFUSED, Parameter
from llama_inference.values import Json

TEXT: Final = {"type": "string", "minLength": 1}
EXAMPLES: Final[Mapping[str, Json]] = {
    "a prompt": {"value": {"prompt": "What is the meaning of life?", "max_new_tokens": 512}},
    "a chat": {"value": {"messages": [{"role": "user", "content": "What is the meaning of life?"}]}},
    "a stream": {"value": {"prompt": "Once upon a time", "stream": True, "do_sample": True, "seed": 7}},
    "a batch": {"value": {"prompt": ["The sky is", "Grass is"], "num_beams": 1, "max_new_tokens": 64}},
}


def request_schema() -> dict[str, Json]:
    """Return the JSON schema of a predict request."""
    message = {
        "type": "object",
        "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
        "required": ["role", "content"],
        "additionalProperties": False,
    }
    properties: dict[str, Json] = {
        "prompt": {
            "description": "The text to continue, or a batch of texts.",
            "anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}],
        },
        "messages": {
            "description": "Instead of prompt: a chat, rendered with the model's own template.",
            "type": "array",
            "items": message,
            "minItems": 1,
        },
    }
    properties |= {name: _property(parameter) for name, parameter in {**PARAMETERS, **HELD_TO}.items()}
    return {
        "type": "object",
        "title": "PredictRequest",
        "description": "Never accepted: " + ", ".join(sorted(REFUSED)) + ".",
        "properties": properties,
        "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Json]:
    schema = {"description": parameter.text, **parameter.kind.schema}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return schema
