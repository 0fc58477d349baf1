"""What OpenAI's requests are to continue: texts, token ids, or a chat."""

from collections.abc import Mapping
from typing import Final, cast

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol.kinds import is_integer
from llama_inference.protocol.parameters import shown
from llama_inference.protocol.predict import MAX_BATCH, check_text
from llama_inference.values import Json

Prompt = str | tuple[int, ...]
ROLES: Final = ("system", "developer", "user", "assistant", "tool")
SYSTEM: Final = {"developer": "system"}  # the newer word; templates of open models know the older one


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
    return tuple(_message(message, f"messages[{place}]") for place, message in enumerate(cast("list[Json]", value)))


def _message(message: Json, path: str) -> dict[str, str]:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise InvalidRequestError(f"{path} must be an object whose role is one of {', '.join(ROLES)}", param=path)
    found: dict[str, Json] = {name: value for name, value in message.items() if value}
    for name in found:
        if name in {"tool_calls", "function_call", "audio", "tool_call_id"} and found["role"] != "tool":
            raise InvalidRequestError(f"{path}.{name} is not supported: this server calls no tools", param=path)
    role = found["role"]
    result = {"role": SYSTEM.get(role, role), "content": _content(message.get("content"), f"{path}.content")}
    if isinstance(found.get("name"), str):
        check_text(found["name"], f"{path}.name")
        result["name"] = found["name"]
    return result


def _content(content: Json, path: str) -> str:
    """The text of a message: as it is, or put together from parts."""
    parts: list[Json] = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts: list[str] = []
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            message = f'{path} must be a text or a list of {{"type": "text", "text": "…"}}: this model reads text alone'
            raise InvalidRequestError(message, param=path)
        texts.append(part["text"])
    text = "".join(texts)
    check_text(text, path)
    return text
