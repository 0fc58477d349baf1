"""W3C trace context: what is taken up, and what begins a trace of its own."""

import pytest

from llama_inference.tracing.context import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f" 00-{TRACE}-{SPAN}-03 ", True),
        (f"01-{TRACE}-{SPAN}-01-what-a-later-version-adds", True),
    ],
)
def test_a_callers_place_is_read(header: str, *, sampled: bool) -> None:
    """Later versions may add to it."""
    assert TraceContext.parse(header) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_what_is_no_place_in_a_trace_is_left_aside(header: str) -> None:
    """As the recommendation says: the request is answered in a trace of its own."""
    assert TraceContext.parse(header) is None


def test_a_request_continues_its_callers_trace() -> None:
    """With an id of its own, and the caller's word on recording; without a caller it begins one."""
    own = TraceContext.after(TraceContext(TRACE, SPAN, sampled=True))
    assert (own.trace_id, own.sampled) == (TRACE, True)
    assert own.span_id != SPAN
    assert own.header == f"00-{TRACE}-{own.span_id}-01"
    fresh = TraceContext.after(None)
    assert TraceContext.parse(fresh.header) == fresh
    assert fresh.trace_id != TraceContext.after(None).trace_id
