"""What callers are told when a library refuses their parameters: its sentence, and never the interpreter's."""

import logging
from typing import Final

from llama_inference.errors import InvalidRequestError

log = logging.getLogger(__name__)
AUTHORS: Final = ("transformers", "llama_inference")  # whose own sentences are about parameters


def refusal(message: str, error: Exception, *, param: str | None = None) -> InvalidRequestError:
    """Return the error for a caller: `message`, and the reason where the library gives one; all of it is logged."""
    log.info("a request is refused", exc_info=error)
    reason = f": {error}" if _is_a_sentence(error) else ""
    return InvalidRequestError(message + reason, param=param)


def _is_a_sentence(error: Exception) -> bool:
    """Whether an error was raised on purpose: a ValueError by a line of the library, not from within what it calls."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = "" if place is None else str(place.tb_frame.f_globals.get("__name__"))
    return type(error) is ValueError and module.partition(".")[0] in AUTHORS
