"""The Hub token: read from its mounted file at each try, and noticed when it changes. Never logged, never kept."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 1.0


class TokenFile:
    """A file that may be absent, and may appear or change while the server runs."""

    def __init__(self, path: Path | None, *, pause: Callable[[float], None] = time.sleep) -> None:
        """`pause` waits for that many seconds; tests hand in their own."""
        self.path = path
        self._pause = pause

    def read(self) -> str | None:
        """Return the token without surrounding white space; None when there is none."""
        if self.path is None:
            return None
        try:
            return self.path.read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def fingerprint(self) -> str:
        """What changes when the token does; says nothing about it."""
        return hashlib.sha256((self.read() or "").encode()).hexdigest()

    def wait(self, seconds: float, *, since: str) -> bool:
        """Wait `seconds`, or until the fingerprint is no longer `since`; return whether it changed."""
        left = seconds
        while left > 0:
            if self.fingerprint() != since:
                return True
            self._pause(min(POLL_S, left))
            left -= POLL_S
        return self.fingerprint() != since
