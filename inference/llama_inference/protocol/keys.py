"""API keys, pure: what a caller presents in `Authorization`, and which configured key it is.

`routes.keys` reads the keys from their folder. No message, value or representation here holds a key.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from llama_inference.errors import ForbiddenError, UnauthorizedError

SCHEMES: Final = frozenset({"api-key", "bearer"})
HOW: Final = "send Authorization: Api-Key KEY, or Authorization: Bearer KEY"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a deployment, as digests: of equal length, so that comparing tells nothing about a key."""

    _digests: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    @classmethod
    def parse(cls, files: Mapping[str, bytes]) -> "Keys":
        """Take a key from each file, named by the file; white space around it is no part of it, an empty one no key."""
        return cls({name: _digest(content.strip()) for name, content in sorted(files.items()) if content.strip()})

    def __len__(self) -> int:
        return len(self._digests)

    def name_of(self, presented: bytes) -> str | None:
        """Return the name of a key, None when it is none of them.

        All are compared in full, so the time taken tells neither which key was nearly met nor which one was.
        """
        given = _digest(presented)
        found = [name for name, digest in self._digests.items() if hmac.compare_digest(digest, given)]
        return found[0] if found else None

    def check(self, authorization: bytes | None, *, of_openai: bool = False) -> str:
        """Return the name of the key in an `Authorization` header; `of_openai` says whose client presents it.

        Raises:
            UnauthorizedError: there is no key in it, or a wrong one where OpenAI's clients expect this status.
            ForbiddenError: there is one, and it is none of the configured ones.
        """
        name = self.name_of(presented(authorization))
        if name is None:
            message = f"this API key is none of the {len(self)} that this deployment accepts: use another; {HOW}"
            if of_openai:
                raise UnauthorizedError(message, code="invalid_api_key", param="Authorization")
            raise ForbiddenError(message, code="wrong_api_key", param="Authorization")
        return name


def presented(authorization: bytes | None) -> bytes:
    """Return the key in an `Authorization` header.

    Raises:
        UnauthorizedError: there is none.
    """
    scheme, _, key = (authorization or b"").strip().partition(b" ")
    if scheme.decode("latin-1").lower() not in SCHEMES or not key.strip():
        raise UnauthorizedError(f"an API key is needed: {HOW}", param="Authorization")
    return key.strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
