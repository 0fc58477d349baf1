"""What OpenAI's requests are to continue: texts, token ids, or a chat."""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final, cast

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol.kinds import is_integer
from llama_inference.protocol.parameters import shown
from llama_inference.protocol.predict import MAX_BATCH, check_text
from llama_inference.values import Json

Prompt = str | tuple[int, ...]
PARTS: Final = ("text", "refusal")  # each holds its text by its own name
NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]{0,99}")
# What the rendering is told itself, not the template: arguments of transformers' `apply_chat_template`, and its chat.
RENDERING: Final = frozenset(
    {
        "conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt",
        "continue_final_message", "tokenize", "sanitize_control_tokens", "padding", "truncation",
        "max_length", "return_tensors", "return_dict",
        "return_assistant_tokens_mask", "tokenizer_kwargs", "kwargs", "self",
    }
)  # fmt: skip
ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
KNOWN_AS: Final = {"developer": "system", "function": "tool"}  # how templates of open models know them


def prompts(wire: Mapping[str, Json], vocabulary: int) -> tuple[Prompt, ...]:
    """Return the prompts of a completion: a text, a list of texts, a list of token ids, or a list of such lists.

    Raises:
        InvalidRequestError: it is none of these, or a token id is not of this model.
    """
    value = wire.get("prompt")
    if value is None:
        raise InvalidRequestError("prompt is missing: the text to continue", code="missing_parameter", param="prompt")
    items: list[Json] = (
        [value] if isinstance(value, str) or _are_ids(value) else value if isinstance(value, list) else []
    )
    if not items or not all((isinstance(item, str) and item) or _are_ids(item) for item in items):
        message = f"prompt must be a text, a list of texts, or token ids, and not empty; it is {shown(value)}"
        raise InvalidRequestError(message, param="prompt")
    if len(items) > MAX_BATCH:
        raise InvalidRequestError(f"prompt holds {len(items)} prompts; at most {MAX_BATCH} go in one", param="prompt")
    return tuple(_prompt(item, vocabulary) for item in items)


def _are_ids(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(is_integer(item) for item in cast("list[Json]", value))


def _prompt(item: Json, vocabulary: int) -> Prompt:
    if isinstance(item, str):
        check_text(item, "prompt")
        return item
    ids = tuple(int(token) for token in item)
    wrong = [token for token in ids if not 0 <= token < vocabulary]
    if wrong:
        message = f"prompt holds token id {shown(wrong[0])}; those of this model are 0 to {vocabulary - 1}"
        raise InvalidRequestError(message, param="prompt")
    return ids


def messages(wire: Mapping[str, Json]) -> tuple[dict[str, str], ...]:
    """Return the messages of a chat, each with a role, a text, and a name where it has one.

    Raises:
        InvalidRequestError: naming the place of the message that cannot be taken.
    """
    value = wire.get("messages")
    if value is None:
        raise InvalidRequestError(
            "messages is missing: the chat to continue", code="missing_parameter", param="messages"
        )
    if not isinstance(value, list) or not value:
        raise InvalidRequestError(
            f'messages must be a non-empty list of {{"role": "…", "content": "…"}}; it is {shown(value)}',
            param="messages",
        )
    found = [_message(message, f"messages[{place}]") for place, message in enumerate(cast("list[Json]", value))]
    return tuple(_one_system(found))


def _one_system(messages: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Join what the application and its user say to the model in a row: many templates take one such text."""
    for role, group in groupby(messages, key=lambda message: message["role"]):
        texts = list(group)
        if role == "system" and len(texts) > 1:
            yield {"role": role, "content": "\n\n".join(message["content"] for message in texts)}
        else:
            yield from texts


def template(given: Mapping[str, Json], wire: Mapping[str, Json]) -> dict[str, Json]:
    """Return how the template is to render a chat, by the names that `backends.base.Backend.render` takes.

    Raises:
        InvalidRequestError: the variables are none of the template's, or the last message cannot be gone on with.
    """
    continued = given.get("continue_final_message", False)
    if continued and given.get("add_generation_prompt", False):
        message = "give either add_generation_prompt or continue_final_message: an answer has one beginning"
        raise InvalidRequestError(message, param="continue_final_message")
    if continued and wire["messages"][-1]["role"] != "assistant":
        message = "continue_final_message goes on with an answer: the last message must be of role assistant"
        raise InvalidRequestError(message, param="continue_final_message")
    variables = given.get("chat_template_kwargs", {})
    for name in variables:
        if not NAME.fullmatch(name) or name in RENDERING:
            path = f"chat_template_kwargs.{name[:100]}"
            raise InvalidRequestError(f"{path} is no variable of a template", param=path)
    how = {"add_generation_prompt": given.get("add_generation_prompt", not continued)}
    return {**variables, **how, **({"continue_final_message": True} if continued else {})}


def _message(message: Json, path: str) -> dict[str, str]:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise InvalidRequestError(f"{path} must be an object whose role is one of {', '.join(ROLES)}", param=path)
    found: dict[str, Json] = {name: value for name, value in message.items() if value}
    for name in found:
        if name in {"tool_calls", "function_call", "audio", "tool_call_id"} and found["role"] != "tool":
            raise InvalidRequestError(f"{path}.{name} is not supported: this server calls no tools", param=path)
    role = KNOWN_AS.get(found["role"], found["role"])
    content = message.get("content")
    if content is None and role == "assistant":  # an earlier turn without words, or one that refused
        content = message.get("refusal") or ""
    result = {"role": role, "content": _content(content, f"{path}.content")}
    if isinstance(found.get("name"), str):
        check_text(found["name"], f"{path}.name")
        result["name"] = found["name"]
    return result


def _content(content: Json, path: str) -> str:
    """The text of a message: as it is, or put together from parts."""
    parts: list[Json] = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts: list[str] = []
    for place, part in enumerate(parts):
        kind: Json = part.get("type") if isinstance(part, dict) else None
        if kind not in PARTS or not isinstance(part.get(kind), str):
            where = f"{path}[{place}]" if isinstance(content, list) else path
            message = f'{where} must be a text, or {{"type": "text", "text": "…"}}: this model reads text alone'
            raise InvalidRequestError(message, param=where)
        texts.append(part[kind])
    text = "".join(texts)
    check_text(text, path)
    return text
