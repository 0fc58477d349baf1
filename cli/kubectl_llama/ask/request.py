"""What is sent to a model: body, headers and key, from the flags. Pure."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from kubectl_llama.errors import NotFoundError, UsageError

Object = Mapping[str, Any]
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_SECRET: Final = re.compile(r"(?P<name>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(?:/(?P<key>[A-Za-z0-9._-]+))?")


def body(text: str, *, stream: bool) -> bytes:
    """Return the body of a predict request; what is no JSON goes as it is, and the model says what is wrong with it.

    Raises:
        UsageError: if it is to be streamed and is no JSON object.
    """
    if not stream:
        try:
            return text.encode()
        except UnicodeEncodeError:  # of a shell's argument
            raise UsageError("the body is not UTF-8", field="--data") from None
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the body is no JSON: {error}", field="--data") from None
    if not isinstance(fields, dict):
        raise UsageError("--stream needs a JSON object", fix="leave it out", field="--stream")
    return json.dumps({**cast("dict[str, Any]", fields), "stream": True}).encode()


def written(rows: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and value of each `Name: value`.

    Raises:
        UsageError: if one is no header; it is not repeated, for it may hold a key.
    """
    found = [(name.strip(), colon, value.strip()) for name, colon, value in (row.partition(":") for row in rows)]
    for name, colon, value in found:
        if not colon or not _HEADER.fullmatch(name):
            what = f"-H has the name {name!r}" if colon else "a header has no colon"
            raise UsageError(what, fix="write -H 'Name: value'", field="--header")
        if not _HEADER_VALUE.fullmatch(value):
            raise UsageError(f"the value of header {name} has characters that no header has", field="--header")
    return [(name, value) for name, _, value in found]


def headers(more: Sequence[tuple[str, str]], *, key: str | None, deadline: float | None) -> dict[str, str]:
    """Return the headers of a request; `more` come on top, and in place of those of the same name."""
    found = {"Content-Type": "application/json", "User-Agent": "kubectl-llama", "Connection": "close"}
    if deadline is not None:
        found["X-Request-Timeout"] = f"{deadline:g}"
    if key is not None:
        found["Authorization"] = f"Api-Key {key}"
    for name, value in more:
        found = {known: old for known, old in found.items() if known.lower() != name.lower()}
        found[name] = value
    return found


def secret_of(text: str) -> tuple[str, str | None]:
    """Return name and key of `SECRET` or `SECRET/KEY`.

    Raises:
        UsageError: if it is neither; it is not repeated, for it may be the key itself.
    """
    found = _SECRET.fullmatch(text)
    if found is None:
        raise UsageError(
            "--api-key-from does not name a Secret",
            fix="write SECRET or SECRET/KEY: the name of a Secret of the namespace, never its content",
            field="--api-key-from",
        )
    return found["name"], found["key"]


def key_in(secret: Object | None, name: str, key: str | None) -> str:
    """Return an API key out of a Secret.

    Raises:
        NotFoundError: if it is not there.
        UsageError: if it is not said which of several.
    """
    if secret is None:
        raise NotFoundError(f"there is no Secret {name}", field="--api-key-from")
    data: Mapping[str, str] = secret.get("data") or {}
    if key is None and len(data) != 1:
        fix = f"write {name}/KEY with one of {', '.join(sorted(data))}" if data else "it is empty"
        raise UsageError(f"Secret {name} has {len(data)} keys", fix=fix, field="--api-key-from")
    chosen = key or next(iter(data))
    if chosen not in data:
        fix = f"it has {', '.join(sorted(data))}" if data else "it is empty"
        raise NotFoundError(f"Secret {name} has no key {chosen}", fix=fix, field="--api-key-from")
    return base64.b64decode(data[chosen]).decode(errors="replace").strip()


def fault(status: int, answer: bytes) -> str:
    """Return what a model says is wrong: the message of ours, of OpenAI's and of truss's form, else the body."""
    try:
        found = json.loads(answer)
    except ValueError:
        return f"{status}: {answer.decode(errors='replace').strip()[:500]}"
    error = found.get("error") if isinstance(found, dict) else None
    fields = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    inner = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
    said = fields.get("message") or inner or fields.get("detail") or answer.decode(errors="replace")[:500]
    return f"{status}: {said}"
