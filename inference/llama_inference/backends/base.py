"""The interface of a backend: text to tokens, tokens to bytes, and one blocking `generate`.

`scheduler.lane` calls `generate` on the engine thread; `routes` call the rest from any thread.
"""

from collections.abc import Sequence as Seq
from typing import Protocol, runtime_checkable

from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Generation, Json, KvUsage, ModelInfo, Sequence, Step


class Control(Protocol):
    """How a running generation is watched from outside."""

    def step(self, steps: Seq[Step]) -> None:
        """Report one decoding step; `steps` is empty when tokens are not final or nobody streams them.

        Raises:
            AbandonedError: nobody waits any more; the backend lets it pass through.
        """
        ...


class Backend(Protocol):
    """One loaded model."""

    @property
    def info(self) -> ModelInfo:
        """What may be asked of it."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The bytes of its tokens, of which `text` makes texts."""
        ...

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return token ids; `special` adds what the model expects around plain text, such as a start token."""
        ...

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Return the prompt for a chat, by the model's own template.

        Args: `how` holds `add_generation_prompt` (true by default), `continue_final_message`, and the template's own
        variables.

        Raises:
            InvalidRequestError: there is no template, or it refuses these messages.
        """
        ...

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Run one request to its end, calling `control.step` after each decoding step.

        Returns: `generation.sequences` for each prompt, in order.

        Raises:
            InvalidRequestError: the model or transformers refuses the parameters.
            EngineLostError: the device is gone; nothing will work again in this process.
            AbandonedError: as raised by `control.step`.
        """
        ...

    def warm_up(self) -> None:
        """Run a few steps, so that the first caller does not pay for what is set up lazily."""
        ...


@runtime_checkable
class Follows(Backend, Protocol):
    """A backend that answers nobody, but computes what a leader on another node says."""

    def follow(self) -> None:
        """Compute until the leader says that it is over.

        Raises:
            EngineLostError: the leader is gone.
        """
        ...


@runtime_checkable
class Closes(Protocol):
    """A backend that others must be told of when it ends."""

    def close(self) -> None:
        """End; from any thread, within seconds."""
        ...


@runtime_checkable
class KeepsKeys(Protocol):
    """A backend that says how much of its room for keys and values is in use."""

    @property
    def kv_usage(self) -> KvUsage:
        """Tokens in use and tokens in all; may be read from any thread."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A backend that can say before a request waits for its turn that it will never run here."""

    def check(self, generation: Generation) -> None:
        """Return if the request can be computed here, as far as can be told without computing; from any thread.

        Raises:
            InvalidRequestError: naming the parameter that it cannot be computed with, and who can.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """A backend that has work to do for what outputs are held to, which need not hold up others."""

    def prepared(self, generation: Generation) -> bool:
        """Whether `prepare` returns at once, as of what has been asked before; from any thread, at once."""
        ...

    def prepare(self, generation: Generation) -> Generation:
        """Return the request with its grammar; from any thread, and it may take seconds.

        Raises:
            InvalidRequestError: it cannot be compiled.
        """
        ...


def kv_usage(backend: Backend) -> KvUsage:
    """Return what a backend says of its keys and values; nothing of none for one that does not say."""
    return backend.kv_usage if isinstance(backend, KeepsKeys) else KvUsage()
