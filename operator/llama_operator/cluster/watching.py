"""One watch on the API server: a request whose answer goes on, a change on each line."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Object

SECONDS: Final = 240
"""How long the API server keeps a watch open."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=300, sock_connect=5)
"""Somewhat longer, so that one whose server is gone without a word ends as well."""
LONGEST_LINE: Final = 4 * 2**20
"""In bytes; etcd takes no object of more than 1.5 MiB."""
_TYPES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object as it is now, or as it last was; what is there when a watch opens is told as ADDED."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    obj: Object = field(repr=False)


def query(name: str) -> dict[str, str]:
    """Return the query of a watch on one object, or on all where `name` is empty.

    Without a resourceVersion it begins with what is there, and needs no right but to watch.
    """
    asked = {"watch": "true", "allowWatchBookmarks": "false", "timeoutSeconds": str(SECONDS)}
    return asked | ({"fieldSelector": f"metadata.name={name}"} if name else {})


async def changes(response: aiohttp.ClientResponse, path: str) -> AsyncGenerator[Change]:
    """Yield what the server tells, until it ends the watch.

    Raises:
        ClusterError: if the connection breaks, a line is no change or longer than any object, or the server says that
            it cannot go on, with its status then.
    """
    try:
        while line := await response.content.readline(max_line_length=LONGEST_LINE):
            row = cast("dict[str, Any]", json.loads(line))
            kind, obj = row["type"], cast("dict[str, Any]", row["object"])
            if kind in _TYPES:
                yield Change(type=kind, obj=obj)
            elif kind == "ERROR":
                raise ClusterError(f"the watch of {path} ended: {obj.get('message')}", status=obj.get("code"))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ClusterError(f"the watch of {path} broke: {str(error) or type(error).__name__}") from error
    except (ValueError, KeyError, TypeError, HttpProcessingError) as error:
        # Of the error only its kind: its words may repeat the line, which may be a Secret.
        raise ClusterError(f"the watch of {path} tells no changes: {type(error).__name__}") from None
