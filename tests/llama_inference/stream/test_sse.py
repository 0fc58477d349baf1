"""Events as they stand on the wire."""

import json

from llama_inference.stream import sse


def test_an_event_is_one_line_of_json() -> None:
    """New lines within text stay inside the JSON, so no event falls apart; other characters are sent as they are."""
    event = sse.event({"text": "a\n\nb\r🦙"})
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert "🦙".encode() in event
    assert json.loads(event.removeprefix(b"data: ")) == {"text": "a\n\nb\r🦙"}


def test_a_named_event_says_its_name_first() -> None:
    """As EventSource wants it."""
    assert sse.event({}, name="error") == b"event: error\ndata: {}\n\n"
