"""Grammars that outputs are held to: compiled beside the engine's thread, bounded, and kept for who asks again.

What callers send is compiled by llguidance, within limits on its size and on the work of each step, so that no schema
or expression can stall the server or take its memory.
"""

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

from llguidance import LLMatcher, LLParserLimits, grammar_from

from llama_inference.backends.tokens import Tokens
from llama_inference.errors import InvalidRequestError
from llama_inference.values import Generation, Structure, StructureKind

KEPT: Final = 32
# White space between the parts of JSON: enough to be laid out, too little to go on for ever.
JSON_OPTIONS: Final = {"whitespace_flexible": True, "whitespace_pattern": r"[ \n\r\t]{0,12}"}
LIMITS: Final = LLParserLimits(initial_lexer_fuel=500_000, step_lexer_fuel=100_000, max_lexer_states=50_000)


class Grammars:
    """The compiled grammars of one tokenizer, by what was asked; from any thread, and one at a time is compiled."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._kept: OrderedDict[Structure, LLMatcher] = OrderedDict()
        self._compiling = threading.Lock()

    def prepare(self, generation: Generation) -> Generation:
        """Return the request with its grammar.

        Raises:
            InvalidRequestError: it cannot be compiled; it names the field.
        """
        return replace(generation, grammar=self.of(generation))

    def of(self, generation: Generation) -> LLMatcher | None:
        """Return what the request was prepared with, or compile it now; None where it asks for none."""
        structure = generation.structure
        if structure is None:
            return None
        if isinstance(generation.grammar, LLMatcher):
            return generation.grammar
        with self._compiling:
            if structure not in self._kept:
                self._kept[structure] = self._compile(structure)
            self._kept.move_to_end(structure)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[structure]

    def _compile(self, structure: Structure) -> LLMatcher:
        try:
            matcher = LLMatcher(self._tokens.grammars, _grammar(structure), log_level=0, limits=LIMITS)
        except (ValueError, TypeError) as error:
            raise _refusal(structure, str(error)) from error
        if matcher.is_error():
            raise _refusal(structure, matcher.get_error())
        # The first mask is the dearest: what cannot be computed within the limits is told before it queues.
        first = matcher.deep_copy()
        first.compute_bitmask()
        if first.is_error():
            raise _refusal(structure, first.get_error())
        return matcher


def _grammar(structure: Structure) -> str:
    if structure.kind is StructureKind.JSON_SCHEMA:
        options: Any = {**JSON_OPTIONS, "lenient": structure.lenient}
        return LLMatcher.grammar_from_json_schema(structure.text, overrides=options)
    if structure.kind is StructureKind.REGEX:
        return LLMatcher.grammar_from_regex(structure.text)
    return grammar_from("grammar", structure.text)


def _refusal(structure: Structure, reason: str) -> InvalidRequestError:
    lines = [line.strip() for line in reason.splitlines() if line.strip(" ^")]
    said = "; ".join(lines[:1] + [line for line in lines[1:] if line.startswith("error:")])[:400]
    message = f"{structure.param} cannot be held to: {said}"
    return InvalidRequestError(message, code="invalid_structure", param=structure.param)
