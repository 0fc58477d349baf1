"""A backend without a model, one request at a time: deterministic words at a chosen pace, for tests.

One token is one byte of UTF-8, so multi-byte characters are split over steps as with a real byte-level tokenizer.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Seq
from itertools import cycle, islice
from math import log

from llama_inference.backends.base import Control
from llama_inference.errors import InvalidRequestError
from llama_inference.text.stops import StopScan, stops_of
from llama_inference.text.vocabulary import Bytes
from llama_inference.values import FinishReason, Generation, Json, Logprob, ModelInfo, Sequence, Step

END = 256
TEXT = "The llama (Lama glama) grüßt — 🦙 — and says no more. "


class MockBackend:
    """Repeats `TEXT` until the room is used up, or until a stop string appears."""

    def __init__(self, *, step_seconds: float = 0.0, pace: Callable[[], object] | None = None) -> None:
        """`pace` is called before each step and may block; by default it sleeps `step_seconds`."""
        self.vocabulary = Bytes()
        self._pace = pace or (lambda: time.sleep(step_seconds) if step_seconds else None)
        self.info = ModelInfo(
            max_context=4096, vocabulary=END + 1, has_chat_template=True, dtype="none", device="none", backend="mock"
        )

    def encode(self, text: str, *, special: bool) -> list[int]:
        """One id a byte; `special` has nothing to add."""
        del special
        return list(text.encode())

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Role and content, a line each; nothing depends on `how`."""
        del how
        return "".join(f"{message['role']}: {message['content']}\n" for message in messages)

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Emit the text, one byte for each sequence a step."""
        results: list[Sequence] = []
        stops = stops_of(generation, self.vocabulary)
        for number, prompt in enumerate(generation.prompts):
            first = number * generation.sequences
            tokens: list[int] = []
            reason = FinishReason.LENGTH
            scan = StopScan(stops, prompt)
            for token in islice(words(), generation.room(len(prompt))):
                self._pace()
                tokens.append(token)
                rows: Iterable[int] = range(first, first + generation.sequences) if generation.streamed else ()
                told = likely((token,), generation.logprobs)
                read = likely(prompt[1:], generation.prompt_logprobs) if len(tokens) == 1 else ()
                control.step([Step(row, (token,), told, read) for row in rows])
                if scan.finds(token):
                    reason = FinishReason.STOP
                    break
            told, read = likely(tokens, generation.logprobs), likely(prompt[1:], generation.prompt_logprobs)
            results += [Sequence(tuple(tokens), reason, told, read)] * generation.sequences
        if not results:
            raise InvalidRequestError("there is no prompt", param="prompt")
        return results

    def warm_up(self) -> None:
        """Nothing to warm."""


def likely(tokens: Seq[int], top: int | None) -> tuple[Logprob, ...]:
    """What a model might say of such tokens: each is held half likely, and the bytes after it half of that each."""
    if top is None:
        return ()
    ranks = [-(rank + 1) * log(2) for rank in range(max(1, top))]
    return tuple(
        Logprob(token, ranks[0], tuple(((token + rank) % END, value) for rank, value in enumerate(ranks[:top])))
        for token in tokens
    )


def words() -> Iterator[int]:
    """Yield the mock's tokens, without end."""
    return cycle(TEXT.encode())
