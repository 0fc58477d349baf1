"""Which admission webhook stands in the way of an object, by the words of the API server: they are all that tell."""

import re
from dataclasses import dataclass
from typing import Final

_WORDS: Final = re.compile(r'(failed calling|admission) webhook "([^"]+)"')


@dataclass(frozen=True, slots=True)
class Webhook:
    """An admission webhook; one that `fails` has judged nothing, another has refused."""

    name: str
    fails: bool


def webhook_of(words: str) -> Webhook | None:
    """Return the webhook that an answer is from; None if it is from another.

    The status does not tell: one that is away is a 500 like any fault, and one that refuses may choose its own.
    """
    found = _WORDS.search(words)
    return Webhook(found[2], fails=found[1] == "failed calling") if found else None
