"""Text to token ids and back, and chats to prompts, by the tokenizer of a model's own folder."""

from collections.abc import Sequence as Seq
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from llama_inference.backends.vocabulary import TokenizerVocabulary
from llama_inference.errors import InvalidRequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Tokens:
    """One tokenizer of transformers, as `backends.base.Backend` wants it."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self.vocabulary = TokenizerVocabulary(tokenizer)

    @property
    def has_chat_template(self) -> bool:
        """Whether `messages` can be rendered."""
        return self._tokenizer.chat_template is not None

    @property
    def start(self) -> str:
        """The text of the start token, empty where there is none."""
        return str(self._tokenizer.bos_token or "")

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return token ids; `special` adds the model's start token where it has one."""
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def written(self, token_ids: Seq[int]) -> str:
        """Return text with the special tokens' own, nothing cleaned up: what could be encoded again."""
        return str(self._tokenizer.decode(list(token_ids), clean_up_tokenization_spaces=False))

    def render(self, messages: Seq[dict[str, str]]) -> str:
        """Return the prompt for a chat, by the model's own template.

        Raises:
            InvalidRequestError: there is no template, or it refuses these messages.
        """
        if not self.has_chat_template:
            message = "this model has no chat template, so messages cannot be rendered: send prompt instead"
            raise InvalidRequestError(message, code="no_chat_template", param="messages")
        try:
            return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
        except (TemplateError, ValueError, TypeError) as error:
            message = f"the model's chat template refuses these messages: {error}"
            raise InvalidRequestError(message, param="messages") from None
