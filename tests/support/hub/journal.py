"""The journal: one record for each request, readable while the request is still being answered."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One request. It tells that a token was sent and whose, never the token.

    Attributes:
        number: 1 for the first request.
        host: the `Host` header, which tells downloads from the CDN from requests to the Hub.
        path: without the query; `query` as sent.
        range: the `Range` header as sent, such as `bytes=1000-`.
        status: None until an answer was begun.
        sent: bytes of the body handed to the network so far.
        finished: the answer is over, whole or not.
    """

    number: int
    method: str
    host: str
    path: str
    query: str = ""
    repo: str = ""
    file: str = ""
    range: str | None = None
    token_given: bool = False
    account: str | None = None
    status: int | None = None
    sent: int = 0
    finished: bool = False

    def describe(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


class Journal:
    """All requests since the start or the last `clear`, in the order of their arrival."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: dict[int, Record] = {}
        self._last = 0

    def begin(self, **fields: Any) -> int:
        """Note a request; give its number."""
        with self._changed:
            self._last += 1
            self._records[self._last] = Record(self._last, **fields)
            self._changed.notify_all()
            return self._last

    def update(self, number: int, **fields: Any) -> None:
        """Note what became of a request."""
        with self._changed:
            if number in self._records:
                self._records[number] = replace(self._records[number], **fields)
                self._changed.notify_all()

    def records(self) -> list[Record]:
        """A copy of the journal as it stands."""
        with self._changed:
            return list(self._records.values())

    def clear(self) -> None:
        """Forget all requests."""
        with self._changed:
            self._records.clear()

    def wait_for(self, condition: Callable[[list[Record]], object], timeout_s: float = 10.0) -> list[Record]:
        """Wait until the journal satisfies a condition.

        Returns: the journal at that moment.

        Raises:
            TimeoutError: it did not within `timeout_s`; the message holds the journal.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(list(self._records.values())), timeout_s):
                raise TimeoutError(f"after {timeout_s:g} s the Hub has seen only {list(self._records.values())}")
            return list(self._records.values())
