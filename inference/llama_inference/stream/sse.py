"""Server-sent events: one JSON object an event, `[DONE]` last."""

import json

from llama_inference.values import Json

DONE = b"data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"
# They end no line of an event, but readers that split text as Python does take them for such an end.
LINE_ENDS = str.maketrans({end: f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"})
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # proxies must not collect events


def event(data: Json, *, name: str | None = None) -> bytes:
    """Return one event; `name` is its type, none for a plain message."""
    head = f"event: {name}\n" if name else ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii():
        text = text.translate(LINE_ENDS)
    return f"{head}data: {text}\n\n".encode()
