"""A stand-in for a server of Text Generation Inference: it checks requests and answers by TGI's own description."""

from typing import Any

from tests.support.tgi.description import checks
from tests.support.tgi.server import TgiServer

__all__ = ["TgiServer", "checked"]


def checked(tokenizer: Any, *, port: int = 0) -> TgiServer:
    """Return the stand-in, held to TGI's description."""
    request, event = checks()
    return TgiServer(tokenizer, port=port, request=request, event=event)
