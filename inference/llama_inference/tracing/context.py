"""W3C trace context, https://www.w3.org/TR/trace-context/: `traceparent` read, continued and written."""

import re
import secrets
from dataclasses import dataclass
from typing import Final

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where in a trace one is: ids in lower-case hexadecimal, 32 and 16 digits; `sampled` is whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool = False

    @classmethod
    def parse(cls, header: str) -> "TraceContext | None":
        """Return what a `traceparent` header says; None when it is none, as the recommendation asks for."""
        found = _FORM.fullmatch(header.strip())
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

    @classmethod
    def after(cls, parent: "TraceContext | None") -> "TraceContext":
        """Return a fresh place in the parent's trace, or in a trace of its own."""
        span_id = secrets.token_hex(8)
        return cls(secrets.token_hex(16), span_id) if parent is None else cls(parent.trace_id, span_id, parent.sampled)

    @property
    def header(self) -> str:
        """The value of `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED * self.sampled:02x}"
