"""One admitted request: its place in the queue, its events, its deadline, and how it is given up.

Event-loop side: `events`, `cancel`, `expire`. Engine-thread side: `step`, called by the backend at each decoding step.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from collections.abc import Sequence as Seq

from llama_inference.errors import AbandonedError, DeadlineError
from llama_inference.tracing.spans import Attributes, current
from llama_inference.values import Generation, Outcome, Sequence, Step


class Ticket:
    """The handle of one generation. All methods but `step` belong to the event loop."""

    def __init__(
        self,
        generation: Generation,
        *,
        arrived: float,
        deadline: float | None,
        on_closed: Callable[["Ticket", Outcome | Exception], None],
        on_gap: Callable[["Ticket", float], None] = lambda _, __: None,
        caller: str | None = None,
    ) -> None:
        """Times are `time.monotonic` seconds.

        Args:
            generation: what is to be computed.
            arrived: when the request came.
            deadline: when its answer is of no use any more.
            on_closed: called once, with the result or why there is none.
            on_gap: called on the engine thread at each step but the first, with the seconds since the one before.
            caller: the name of the caller's API key.
        """
        self.generation = generation
        self.arrived = arrived
        self.caller = caller
        self.alone = False  # whether it runs outside the batch
        self.started: float | None = None
        self.closed = False
        self._first_step: float | None = None
        self._last_step = 0.0
        self._on_gap = on_gap
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Step | Outcome | Exception] = asyncio.Queue()
        self._on_closed = on_closed
        self._span = current.get()  # of the request that is being handled
        self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._expire)

    def step(self, steps: Seq[Step]) -> None:
        """Take one decoding step over from the engine thread; see `backends.base.Control`."""
        if self.closed:
            raise AbandonedError("nobody waits for this generation")
        now = time.monotonic()
        if self._first_step is None:
            self._first_step = now
        else:
            self._on_gap(self, now - self._last_step)
        self._last_step = now
        if steps:
            self._loop.call_soon_threadsafe(self._put_steps, tuple(steps))

    def _put_steps(self, steps: tuple[Step, ...]) -> None:
        if not self.closed:
            for step in steps:
                self._events.put_nowait(step)

    def finish(self, sequences: Seq[Sequence]) -> Outcome | None:
        """End with a result; None when it had been given up before."""
        if self.closed:
            return None
        now = time.monotonic()
        started = now if self.started is None else self.started
        outcome = Outcome(
            sequences=tuple(sequences),
            queued_s=started - self.arrived,
            first_token_s=(self._first_step or now) - self.arrived,
            total_s=now - self.arrived,
        )
        self._close(outcome)
        return outcome

    def fail(self, error: Exception) -> None:
        """End with an error, which `events` raises; nothing happens when it had ended before."""
        self._close(error)

    def cancel(self) -> None:
        """Give up: the caller has gone. The engine stops within one step."""
        self._close(AbandonedError("the caller hung up"))

    def _expire(self) -> None:
        waited = time.monotonic() - self.arrived
        where = "in the queue" if self.started is None else "while tokens were being generated"
        message = f"the deadline of {waited:.1f} s passed {where}: give more time in X-Request-Timeout or ask for less"
        self._close(DeadlineError(message, param="X-Request-Timeout"))

    def _close(self, last: Outcome | Exception) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._trace(last)
        self._events.put_nowait(last)
        self._on_closed(self, last)

    def stages(self, now: float) -> list[tuple[str, float, float]]:
        """Where the time has gone, up to `now`: queue, prefill, decode, as far as it came, each with begin and end."""
        marks = (("queue", self.arrived), ("prefill", self.started), ("decode", self._first_step))
        begun = [(name, at) for name, at in marks if at is not None]
        ends = [*(at for _, at in begun[1:]), now]
        return [(name, at, end) for (name, at), end in zip(begun, ends, strict=True)]

    def _trace(self, last: Outcome | Exception) -> None:
        if self._span is None:
            return
        attributes: dict[str, Attributes] = {
            "prefill": {"gen_ai.usage.input_tokens": sum(len(prompt) for prompt in self.generation.prompts)}
        }
        if isinstance(last, Outcome):
            tokens = sum(len(sequence.token_ids) for sequence in last.sequences)
            attributes["decode"] = {"gen_ai.usage.output_tokens": tokens}
        for name, begin, end in self.stages(time.monotonic()):
            self._span.stage(name, begin, end, attributes.get(name, {}))

    async def events(self) -> AsyncGenerator[Step | Outcome]:
        """Yield steps as they are decided, and the outcome last.

        Raises:
            RequestError: the deadline passed, or the generation failed.
            AbandonedError: `cancel` was called.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Outcome):
                return

    async def outcome(self) -> Outcome:
        """Wait for the end; raises as `events` does."""
        async for event in self.events():
            if isinstance(event, Outcome):
                return event
        raise AssertionError("events end with an outcome or an error")
