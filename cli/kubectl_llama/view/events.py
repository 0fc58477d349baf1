"""Server-sent events out of pieces of bytes, and the text in them, whichever API it is of. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, `message` if it has none, and its data."""

    name: str
    data: str

    @property
    def fields(self) -> dict[str, Any]:
        """The data as a JSON object; empty where it is none."""
        try:
            found = json.loads(self.data)
        except ValueError:
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    @property
    def text(self) -> str:
        """The text that it adds to the answer."""
        fields = self.fields
        choices = cast("list[dict[str, Any]]", fields.get("choices") or [])
        if not choices:
            return str(fields.get("text") or "")
        delta = cast("dict[str, Any]", choices[0].get("delta") or {})
        return str(delta.get("content") or choices[0].get("text") or "")

    @property
    def failure(self) -> str | None:
        """What is wrong, where the stream ends with an error."""
        error = self.fields.get("error")
        if self.name != "error" and not error:
            return None
        inner = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
        return str(self.fields.get("message") or inner or self.data)


@dataclass(slots=True)
class Events:
    """Puts pieces together, wherever they were cut."""

    _rest: bytes = b""
    _lines: list[str] = field(default_factory=list[str])

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that are complete with this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode(errors="replace")
            if text:
                self._lines.append(text)
            elif self._lines:
                yield from self._event()

    def _event(self) -> Iterator[Event]:
        rows = [line.partition(":") for line in self._lines if not line.startswith(":")]
        self._lines = []
        data = [value.removeprefix(" ") for name, _, value in rows if name == "data"]
        if data:
            name = next((value.strip() for name, _, value in rows if name == "event"), "message")
            yield Event(name, "\n".join(data))
