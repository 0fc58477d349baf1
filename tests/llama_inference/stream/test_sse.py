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


def test_no_reader_takes_a_character_of_the_text_for_the_end_of_a_line() -> None:
    """Python's own `splitlines`, by which several clients read lines, knows three ends more than the norm."""
    data = {"text": "é a\u2028b\u2029c\x85d\x0b\x0c\x1c\x1d\x1e\r\n🦙"}
    event = sse.event(data)
    assert len(event.decode().splitlines()) == 2
    assert json.loads(event.removeprefix(b"data: ")) == data
