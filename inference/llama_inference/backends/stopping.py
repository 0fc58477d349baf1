"""Transformers' own criteria for stop strings, made beside the engine's thread and kept for requests that ask again.

Each string is compared with every token of the vocabulary: that takes seconds, in which no other request may wait.
"""

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from transformers.generation.stopping_criteria import StopStringCriteria

from llama_inference.engine.native.architecture import Pretrained
from llama_inference.errors import InvalidRequestError
from llama_inference.values import Generation

KEPT: Final = 8  # as many as transformers keeps of their tables, which take megabytes each


class StopTables:
    """The criteria of one tokenizer, by stop strings; from any thread, and one at a time is made."""

    def __init__(self, tokenizer: Pretrained) -> None:
        self._tokenizer = tokenizer
        self._kept: OrderedDict[tuple[str, ...], StopStringCriteria] = OrderedDict()
        self._making = threading.Lock()

    def prepare(self, generation: Generation) -> Generation:
        """Return the request with its criteria.

        Raises:
            InvalidRequestError: transformers refuses the strings.
        """
        return replace(generation, stops=self.of(generation))

    def of(self, generation: Generation) -> StopStringCriteria | None:
        """Return what the request was prepared with, or make it now; None without stop strings. Raises as `prepare`."""
        strings = generation.stop_strings
        if not strings:
            return None
        if isinstance(generation.stops, StopStringCriteria):
            return generation.stops
        with self._making:
            if strings not in self._kept:
                self._kept[strings] = self._make(strings)
            self._kept.move_to_end(strings)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[strings]

    def _make(self, strings: tuple[str, ...]) -> StopStringCriteria:
        try:
            return StopStringCriteria(tokenizer=self._tokenizer, stop_strings=list(strings))
        except (ValueError, TypeError, IndexError) as error:
            message = f"transformers refuses these stop strings: {error}"
            raise InvalidRequestError(message, param="stop_strings") from error
