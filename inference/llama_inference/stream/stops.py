"""Stop strings that are no part of the output: the text ends in front of the first of them, piece by piece."""

from collections.abc import Iterable


class StopCutter:
    """Hands text on until a stop string; what might be the beginning of one is held back."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Take more text; return what is certain not to belong to a stop string, maybe nothing."""
        if self.stopped:
            return ""
        if not self._stops:
            return piece
        self._held += piece
        found = [place for place in map(self._held.find, self._stops) if place >= 0]
        if found:
            self.stopped = True
            return self._take(min(found))
        return self._take(len(self._held) - self._undecided())

    def finish(self) -> str:
        """Return what was held back, when no stop string came of it."""
        return "" if self.stopped else self._take(len(self._held))

    def _take(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _undecided(self) -> int:
        """How many characters at the end begin a stop string; the most of them, if several do."""
        longest = min(len(self._held), max(map(len, self._stops)) - 1)
        ends = (count for count in range(longest, 0, -1) if self._begins(self._held[-count:]))
        return next(ends, 0)

    def _begins(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self._stops)
