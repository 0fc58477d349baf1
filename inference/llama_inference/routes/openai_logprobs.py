"""The log-probabilities of one OpenAI answer, choice by choice, beside the texts that are handed on."""

from dataclasses import replace

from llama_inference.protocol.openai import logprobs
from llama_inference.protocol.openai.fields import Endpoint
from llama_inference.stream.logprobs import Placed, Placer, placed_prompt
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Generation, Json, Sequence, Step


class Logprobs:
    """What is told of each choice; nothing of any where the request does not ask."""

    def __init__(self, vocabulary: Vocabulary, generation: Generation, endpoint: Endpoint) -> None:
        self._vocabulary = vocabulary
        self._generation = generation
        self._chat = endpoint is Endpoint.CHAT
        rows = len(generation.prompts) * generation.sequences if generation.logprobs is not None else 0
        self._placers = [Placer(vocabulary, self._prompt(row)) for row in range(rows)]
        self._sent = [0] * rows
        self._begun: set[int] = set()
        self._prompts: dict[int, list[Placed]] = {}

    def _prompt(self, index: int) -> tuple[int, ...]:
        return self._generation.prompts[index // self._generation.sequences]

    def push(self, index: int, new: Step | Sequence) -> None:
        """Take what is known of new tokens of a choice, and, the first time, of its prompt's."""
        if not self._placers:
            return
        self._placers[index].push(new.logprobs)
        if self._generation.prompt_logprobs is not None and index not in self._begun:
            prompt = self._prompt(index)
            self._begun.add(index)
            self._prompts[index] = placed_prompt(self._vocabulary, prompt, new.prompt_logprobs)

    def beside(self, index: int, text: str, *, front: int = 0) -> Json:
        """Return what goes with more text of a choice; None where nothing is asked for, or nothing is new.

        Args: front is how many characters of the prompt stand in front of the output.
        """
        if not self._placers:
            return None
        self._sent[index] += len(text)
        return self._shaped(index, self._placers[index].take(self._sent[index]), front) or None

    def closing(self, index: int, *, front: int = 0) -> Json:
        """Return what goes with the end of a choice: a completion's end token; a chat's is not told."""
        left = self._placers[index].rest(self._sent[index]) if self._placers and not self._chat else []
        return self._shaped(index, left, front) or None

    def whole(self, index: int, text: str, *, front: int = 0) -> Json:
        """Return what goes with the whole text of a choice."""
        if not self._placers:
            return None
        self._sent[index] = len(text)
        places = self._placers[index].take(len(text))
        places += [] if self._chat else self._placers[index].rest(len(text))
        return self._shaped(index, places, front) or self._shape([])

    def _shaped(self, index: int, places: list[Placed], front: int) -> Json:
        places = [replace(place, start=place.start + front) for place in places] if front else places
        places = self._prompts.pop(index, []) + places
        return self._shape(places) if places else {}

    def _shape(self, places: list[Placed]) -> Json:
        return (logprobs.chat if self._chat else logprobs.completion)(places, self._vocabulary.literal)
