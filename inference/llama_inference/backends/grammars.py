"""Grammars that outputs are held to: compiled beside the engine's thread, bounded, and kept for who asks again.

What callers send is compiled by llguidance, within limits on its size and on the work of each step, so that no schema
or expression can stall the server or take its memory.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from llguidance import LLMatcher, LLParserLimits, grammar_from

from llama_inference.backends.tokens import Tokens
from llama_inference.errors import InvalidRequestError
from llama_inference.values import Generation, Structure, StructureKind

KEPT: Final = 32
# White space between the parts of JSON: enough to be laid out, too little to go on for ever.
JSON_OPTIONS: Final = {"whitespace_flexible": True, "whitespace_pattern": r"[ \n\r\t]{0,12}"}
STACK: Final = 256 << 20  # bytes, of addresses alone: what of it is not used takes no memory
LIMITS: Final = LLParserLimits(initial_lexer_fuel=500_000, step_lexer_fuel=100_000, max_lexer_states=50_000)


class Grammars:
    """The compiled grammars of one tokenizer, by what was asked; from any thread, and one at a time is compiled."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._kept: OrderedDict[Structure, LLMatcher] = OrderedDict()
        self._compiling = threading.Lock()  # for seconds
        self._looking = threading.Lock()  # for a moment, also while another compiles

    @property
    def eos(self) -> int:
        """The tokenizer's end token, which grammars allow where they may end."""
        return self._tokens.grammars.eos_token

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
        if (found := self._found(structure)) is not None:
            return found
        with self._compiling:
            found = self._found(structure)  # another may have compiled it meanwhile
            return found if found is not None else self._keep(structure, _deep(lambda: self._compile(structure)))

    def prepared(self, generation: Generation) -> bool:
        """Whether `of` answers at once; it waits for nothing, also while another is compiled."""
        structure = generation.structure
        return structure is None or isinstance(generation.grammar, LLMatcher) or self._found(structure) is not None

    def _found(self, structure: Structure) -> LLMatcher | None:
        with self._looking:
            if structure in self._kept:
                self._kept.move_to_end(structure)
            return self._kept.get(structure)

    def _keep(self, structure: Structure, matcher: LLMatcher) -> LLMatcher:
        with self._looking:
            self._kept[structure] = matcher
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return matcher

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


def _deep(work: Callable[[], LLMatcher]) -> LLMatcher:
    """Do it on a thread with a stack for the deepest grammar of the allowed size: llguidance follows it by recursion.

    The size is a setting of the whole process: a thread that begins at the same moment gets the larger one as well.
    """
    before = threading.stack_size(STACK)
    pool = ThreadPoolExecutor(1, thread_name_prefix="grammar")
    try:
        future = pool.submit(work)
    finally:
        threading.stack_size(before)
        pool.shutdown(wait=False)
    return future.result()


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
