"""Text to token ids and back, and chats to prompts, by the tokenizer of a model's own folder."""

import logging
from collections.abc import Sequence as Seq
from threading import Lock
from typing import TYPE_CHECKING

from jinja2 import TemplateError
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer

from llama_inference.backends.vocabulary import TokenizerVocabulary
from llama_inference.errors import InvalidRequestError
from llama_inference.values import Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)


class Tokens:
    """One tokenizer of transformers, as `backends.base.Backend` wants it."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, vocabulary: int = 0) -> None:
        """`vocabulary` is the number of token ids that the model knows, where that is more than the tokenizer's."""
        self._tokenizer = tokenizer
        self.vocabulary = TokenizerVocabulary(tokenizer)
        self._most = vocabulary
        self._making = Lock()
        self._grammars: LLTokenizer | None = None

    @property
    def grammars(self) -> LLTokenizer:
        """The tokenizer as llguidance has it; made when it is first asked for, which takes a second.

        Raises:
            InvalidRequestError: its kind cannot be had so.
        """
        with self._making:
            if self._grammars is None:
                self._grammars = _grammars(self._tokenizer, self._most)
            return self._grammars

    @property
    def has_chat_template(self) -> bool:
        """Whether `messages` can be rendered."""
        return self._tokenizer.chat_template is not None

    @property
    def start(self) -> str:
        """The text of the start token, empty where there is none."""
        return str(self._tokenizer.bos_token or "")

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return token ids; `special` adds the model's start token where it has one, and the text has not."""
        ids = list(self._tokenizer(text, add_special_tokens=special)["input_ids"])
        start = self._tokenizer.bos_token_id
        # Prompts are often copied with it, or rendered by a template that writes it; no model was trained on two.
        return ids[1:] if special and start is not None and ids[:2] == [start, start] else ids

    def written(self, token_ids: Seq[int]) -> str:
        """Return text with the special tokens' own, nothing cleaned up: what could be encoded again."""
        return str(self._tokenizer.decode(list(token_ids), clean_up_tokenization_spaces=False))

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Return the prompt for a chat, by the model's own template.

        Raises:
            InvalidRequestError: there is no template, or it refuses these messages.
        """
        if not self.has_chat_template:
            message = "this model has no chat template, so messages cannot be rendered: send prompt instead"
            raise InvalidRequestError(message, code="no_chat_template", param="messages")
        how = {"add_generation_prompt": True, **how}
        try:
            return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, **how))
        except Exception as error:  # a template is a program of the model's author, and fails as programs do
            log.info("the chat template failed", exc_info=error)
            # What the author says to the caller, by `raise_exception`; all else is said by the interpreter.
            said = f": {error}" if type(error) is TemplateError else ""
            message = f"the model's chat template refuses these messages{said}"
            raise InvalidRequestError(message, param="messages") from None


def _grammars(tokenizer: "PreTrainedTokenizerBase", vocabulary: int) -> LLTokenizer:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - it takes a moment to import

    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        message = f"outputs of this model cannot be held to a format: its tokenizer is a {type(tokenizer).__name__}"
        raise InvalidRequestError(message, code="unsupported_parameter")
    return from_tokenizer(tokenizer, n_vocab=max(vocabulary, len(tokenizer)))
