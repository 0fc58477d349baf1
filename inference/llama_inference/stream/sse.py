"""Server-sent events: one JSON object an event, `[DONE]` last."""

import json

from llama_inference.values import Json

DONE = b"data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # proxies must not collect events


def event(data: Json, *, name: str | None = None) -> bytes:
    """Return one event; `name` is its type, none for a plain message."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
