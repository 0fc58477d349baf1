"""Take secrets out of what is to be given to others: known values, and what looks like a token. Pure."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

MARK: Final = "[redacted]"
_TOKEN: Final = re.compile(
    r"\b(hf_[A-Za-z0-9]{8,}\b|sk-[A-Za-z0-9_-]{12,}|ey[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)"
    r"|((?i:bearer|api-key|basic)\s+)[A-Za-z0-9._~+/=-]{4,}"
    r"|(//)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(--(?i:[a-z0-9_-]*(?:token|secret|password|passwd|api[-_]?key|credentials?))=)\S+"
)
_SECRET_FLAG: Final = re.compile(r"(?i)--?[a-z0-9_-]*(?:token|secret|password|passwd|api[-_]?key|credentials?)")
"""A flag whose last word says what follows: --token and --hf-api-key, not --max-tokens or --tokenizer."""
_SECRET_NAME: Final = re.compile(r"(?i)token|secret|password|passwd|api_?key|credential")
_DROPPED: Final = frozenset({"managedFields", "kubectl.kubernetes.io/last-applied-configuration"})
_SHORTEST: Final = 4
"""Shorter values are no secrets, and would blot out half of the text."""


class Redactor:
    """Takes these values out, as they are and in base64, and whatever looks like a token."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        # A log has a certificate or a key line by line.
        known = {
            row
            for value in values
            for row in (value, value.strip(), *map(str.strip, value.splitlines()))
            if len(row) >= _SHORTEST
        }
        known |= {base64.b64encode(value.encode()).decode() for value in known}
        # The longest first: one may be part of another.
        self._known = tuple(sorted(known, key=len, reverse=True))

    def text(self, text: str) -> str:
        """Return a text without them."""
        for value in self._known:
            text = text.replace(value, MARK)
        return _TOKEN.sub(lambda found: f"{found[2] or found[3] or found[4] or ''}{MARK}", text)

    def value(self, value: object) -> Any:  # noqa: ANN401  (as JSON has it)
        """Return an object without them, and without what only the API server needs."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            items = cast("list[object]", value)
            # A flag in the arguments of a container, whose value is the argument behind it.
            return [
                MARK if isinstance(item, str) and _SECRET_FLAG.fullmatch(str(before)) else self.value(item)
                for before, item in zip(("", *items), items, strict=False)
            ]
        if not isinstance(value, Mapping):
            return value
        rows = cast("Mapping[str, object]", value)
        kept = {self.text(name): self.value(row) for name, row in rows.items() if name not in _DROPPED}
        # A variable of a container, whose name says what it holds.
        if _SECRET_NAME.search(str(rows.get("name", ""))) and isinstance(rows.get("value"), str):
            kept["value"] = MARK
        return kept
