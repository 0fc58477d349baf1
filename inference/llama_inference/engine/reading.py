"""How much of the weights is in memory: counted while they are read, and told to the start-up report.

transformers tells of each parameter by the hook for its progress bars; `native.checkpoint` of each part that it reads.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import transformers

from llama_inference.engine.native.checkpoint import Checkpoint
from llama_inference.engine.progress import Progress, Stage
from llama_inference.errors import LoadError

Pair = TypeVar("Pair", bound=tuple[str, Any])

_BAR: Final = "Loading weights"
"""What transformers writes beside its progress bar over the parameters."""


class Reading:
    """Bytes of the weights that are in memory, never more than were announced; of no use without a report."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._left = total
        if progress is not None:
            progress.expect(total, 0, Stage.LOAD)

    def add(self, count: int) -> None:
        """`count` more bytes are in memory."""
        told = min(count, self._left)
        self._left -= told
        if self._progress is not None:
            self._progress.received(told, Stage.LOAD)

    def complete(self) -> None:
        """Everything is in memory, what nobody told of included."""
        self.add(self._left)


@contextmanager
def counted(folder: Path, progress: Progress | None) -> Generator[None]:
    """Count what transformers loads from a folder meanwhile."""
    try:
        sizes = Checkpoint(folder).sizes()
    except LoadError:  # transformers knows more forms, and tells what is wrong
        yield
        return
    reading = Reading(progress, sum(sizes.values()))
    with _hooked(lambda pairs: _counting(pairs, sizes, reading)):
        yield
    reading.complete()


def _counting(pairs: Collection[Pair], sizes: Mapping[str, int], reading: Reading) -> Generator[Pair]:
    """Yield parameters with their names; each is in memory once the next one is asked for."""
    nameless = [name for name, _ in pairs if name not in sizes]
    # One that is named otherwise in the files, or made of several there, counts as much as any other such.
    rest = sum(sizes.values()) - sum(sizes.get(name, 0) for name, _ in pairs)
    share = rest // len(nameless) if nameless else 0
    for pair in pairs:
        yield pair
        reading.add(sizes.get(pair[0], share))


@contextmanager
def _hooked(wrap: Callable[[Any], Iterable[Any]]) -> Generator[None]:
    set_hook = getattr(transformers.utils.logging, "set_tqdm_hook", None)
    if set_hook is None:  # before transformers had it
        yield
        return

    def bar(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        if kwargs.get("desc") != _BAR or not args:
            return factory(*args, **kwargs)
        return factory(wrap(args[0]), *args[1:], **{"total": len(args[0]), **kwargs})

    before = set_hook(bar)
    try:
        yield
    finally:
        set_hook(before)
